"""Exported models on a server that speaks TensorFlow Serving's gRPC or REST protocol.

A codec around a :class:`ServedModel` runs the transforms on the server; entropy coding and codec steps stay here.

    image ─▶ codec ─▶ ServedModel.run ─▶ PredictionService ─▶ SavedModel's signature
    file    ◀─ codec ◀────────────────────────────────────────◀─┘
"""

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from codec_zoo.errors import CodecZooError, MessageTooLargeError, ModelError, ServerError, UsageError
from codec_zoo.export.card import Coded, parse_card
from codec_zoo.export.loopback import is_loopback, proxies_for
from codec_zoo.export.runtime import ExportedModel, coded
from codec_zoo.export.tables import load_tables
from codec_zoo.presets import known_presets, preset_id, split_name

# Seconds before each attempt that follows a failure.
_PAUSES = (0.25, 0.5, 1, 2, 4)

Arrays = dict[str, np.ndarray]
T = TypeVar("T")


class _Busy(Exception):
    """A failure after which the same request may succeed."""


class Server:
    """A model server.

    Args:
        address: ``host:port``, for REST with the scheme before it and perhaps a path behind.
        timeout: seconds for each request, its repetitions included.
    """

    def __init__(self, address: str, timeout: float):
        self.address = address
        self.timeout = timeout

    def predict(self, model: str, version: int | str, signature: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Run a signature on the server.

        Args:
            model: its name there.
            version: its number, or a label.
            signature: of the SavedModel.
            inputs: its tensors.

        Raises:
            UsageError: no such model or version.
            MessageTooLargeError: the server takes no request of that size.
            ServerError: it cannot be reached, does not answer in time, or refuses the request.
        """
        return self._repeat(lambda seconds: self._predict(model, version, signature, inputs, seconds))

    def versions(self, model: str) -> list[int]:
        """The versions of a model that the server has ready, newest first.

        Raises:
            UsageError: no such model.
            ServerError: none of its versions is ready; or as :meth:`predict`.
        """
        states = self._repeat(lambda seconds: self._states(model, seconds))
        ready = sorted((version for version, state in states.items() if state == "AVAILABLE"), reverse=True)
        if not ready:
            shown = ", ".join(f"{version} is {state}" for version, state in states.items()) or "it has none"
            raise ServerError(f"no version of {model} on {self.address} is ready ({shown}). Try again later.")
        return ready

    def _predict(
        self, model: str, version: int | str, signature: str, inputs: Mapping[str, np.ndarray], seconds: float
    ) -> Arrays:
        raise NotImplementedError

    def _states(self, model: str, seconds: float) -> dict[int, str]:
        raise NotImplementedError

    def _repeat(self, attempt: Callable[[float], T]) -> T:
        """``attempt(seconds left)``, again after failures that may pass."""
        deadline = time.monotonic() + self.timeout
        for pause in (*_PAUSES, None):
            try:
                return attempt(max(0.001, deadline - time.monotonic()))
            except _Busy as error:
                if pause is None or time.monotonic() + pause >= deadline:
                    raise ServerError(
                        f"the server at {self.address} cannot be reached or has no room ({error}). "
                        "Check the address and whether it runs."
                    ) from error
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _late(self) -> ServerError:
        return ServerError(
            f"the server at {self.address} gave no answer within {self.timeout:g} s. "
            "Try again, allow more with --timeout, or use a server with less to do."
        )

    def _too_large(self, size: int, reason: str) -> MessageTooLargeError:
        return MessageTooLargeError(
            f"the server at {self.address} takes no request of {size / 2**20:.1f} MiB ({reason}). "
            "Raise its limit, or that of the proxy before it; or run the model here, without --server."
        )

    def _missing(self, model: str, version: int | str) -> UsageError:
        ready = self.versions(model)  # of a model that is missing, this says so
        return UsageError(
            f"the server at {self.address} has no version {version} of {model}. "
            f"Ready: {', '.join(map(str, ready))}. Leave out --server-version for the newest."
        )

    def _refused(self, reason: str) -> CodecZooError:
        if "servable version label" in reason:
            return UsageError(f"the server at {self.address} does not know that label: {reason}")
        return ServerError(f"the server at {self.address} refused the request: {reason}")

    def _unknown(self, model: str) -> UsageError:
        return UsageError(
            f"the server at {self.address} has no model called {model!r}. "
            "Its models.config names those it has; `codec-zoo serve-config` writes one."
        )


class GrpcServer(Server):
    """A server behind gRPC.

    Args:
        address: ``host:port``.
        timeout: seconds for each request.
        secure: TLS, with the system's certificate authorities.
    """

    def __init__(self, address: str, timeout: float, secure: bool):
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        super().__init__(address, timeout)
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        # Without its own pause between connections: the pauses are _PAUSES.
        options = [*unlimited, ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        if is_loopback(f"grpc://{address}"):
            options.append(("grpc.enable_http_proxy", 0))
        if secure:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        else:
            channel = grpc.insecure_channel(address, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(channel)

    def _predict(
        self, model: str, version: int | str, signature: str, inputs: Mapping[str, np.ndarray], seconds: float
    ) -> dict[str, np.ndarray]:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        if isinstance(version, int):
            request.model_spec.version.value = version
        else:
            request.model_spec.version_label = version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._prediction.Predict(request, timeout=seconds)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise self._missing(model, version) from error
            raise self._translate(error, request.ByteSize()) from error
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def _states(self, model: str, seconds: float) -> dict[int, str]:
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            response = self._model.GetModelStatus(request, timeout=seconds)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise self._unknown(model) from error
            raise self._translate(error, request.ByteSize()) from error
        return {s.version: s.State.Name(s.state) for s in response.model_version_status}

    def _translate(self, error: Any, size: int) -> Exception:
        """What to raise for a gRPC error: ``_Busy``, or an error for the user."""
        import grpc

        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._late()
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            return self._too_large(size, details)
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED):
            return _Busy(f"{code.name}: {details}"[:200])
        return self._refused(f"{code.name}: {details}")


class RestServer(Server):
    """A server behind HTTP: slower, since numbers travel as JSON, but through any proxy.

    Args:
        address: URL without the API's path.
        timeout: seconds for each request.
    """

    def __init__(self, address: str, timeout: float):
        import requests

        super().__init__(address.rstrip("/"), timeout)
        self._session = requests.Session()
        self._proxies = proxies_for(address)
        self._signatures: dict[str, Any] = {}

    def _predict(
        self, model: str, version: int | str, signature: str, inputs: Mapping[str, np.ndarray], seconds: float
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf

        started = time.monotonic()
        path = f"{model}/{'versions' if isinstance(version, int) else 'labels'}/{version}"
        if path not in self._signatures:
            metadata = self._request(f"{path}/metadata", None, seconds)
            if metadata is None:
                raise self._missing(model, version)
            self._signatures[path] = metadata["metadata"]["signature_def"]["signature_def"]
        if signature not in self._signatures[path]:
            raise self._refused(f"{model} has no signature {signature!r}")
        # JSON's numbers have no type.
        outputs_info = self._signatures[path][signature]["outputs"]
        types = {
            name: tf.as_dtype(info["dtype"].removeprefix("DT_").lower()).as_numpy_dtype
            for name, info in outputs_info.items()
        }
        body = {"signature_name": signature, "inputs": {name: value.tolist() for name, value in inputs.items()}}
        answer = self._request(f"{path}:predict", json.dumps(body), seconds - (time.monotonic() - started))
        if answer is None:
            raise self._missing(model, version)
        outputs = answer["outputs"]
        if len(types) == 1:  # then the protocol leaves out its name
            outputs = dict.fromkeys(types, outputs)
        return {name: np.array(outputs[name], dtype) for name, dtype in types.items()}

    def _states(self, model: str, seconds: float) -> dict[int, str]:
        answer = self._request(model, None, seconds)
        if answer is None:
            raise self._unknown(model)
        return {int(s["version"]): s["state"] for s in answer["model_version_status"]}

    def _request(self, path: str, body: str | None, seconds: float) -> Any:
        """The answer to GET, or with a body POST; None for 404."""
        import requests

        if seconds <= 0:
            raise self._late()
        url = f"{self.address}/v1/models/{path}"
        size = len(body or "")
        try:
            method = "POST" if body else "GET"
            answer = self._session.request(method, url, data=body, timeout=seconds, proxies=self._proxies)
        except requests.Timeout as error:
            raise self._late() from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            if _timed_out(error):  # while it was sent
                raise self._late() from error
            raise _Busy(f"{type(error).__name__}: {error}"[:200]) from error
        except requests.RequestException as error:
            raise ServerError(f"{url} cannot be asked ({error}). Check the address.") from error
        if answer.status_code == 404:
            return None
        if answer.status_code == 413:
            raise self._too_large(size, "413")
        if answer.status_code in (429, 502, 503, 504):
            raise _Busy(f"{answer.status_code} {answer.reason}")
        if not answer.ok:
            raise self._refused(f"{answer.status_code} {answer.text[:300]}")
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError(f"{url} does not answer in JSON: is it a model server's REST port?") from error


def _timed_out(error: BaseException | None) -> bool:
    """Whether a time-out is behind an error."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__
    return error is not None


def open_server(url: str, timeout: float = 60) -> Server:
    """The server at a URL; connects with the first request.

    Args:
        url: ``grpc://host:port``, ``grpcs://host:port`` (TLS), ``http://host:port`` or ``https://host:port``.
        timeout: seconds for each request, its repetitions included.

    Raises:
        UsageError: of another form.
    """
    scheme, separator, address = url.partition("://")
    try:
        host = urlsplit(url).hostname
    except ValueError:  # a [ that is not closed
        host = None
    if not separator or not host or scheme not in ("grpc", "grpcs", "http", "https"):
        raise UsageError(f"a server is grpc://HOST:PORT, grpcs://…, http://… or https://…. Received: {url!r}")
    if scheme.startswith("grpc"):
        return GrpcServer(address.rstrip("/"), timeout, scheme == "grpcs")
    return RestServer(url, timeout)


class ServedModel(ExportedModel):
    """An exported model on a server. Without a label it stays with one version, whatever the server loads later.

    Args:
        server: that has it.
        name: of the model there; of ``MODULE:NAME`` the last part.
        version: number or label; None: the newest that is ready.

    Raises:
        UsageError: no such model or version.
        ModelError: it is not an export of this version of codec-zoo.
        ServerError: see :meth:`Server.predict`.
    """

    def __init__(self, server: Server, name: str, version: int | str | None = None):
        name = split_name(name)[1]
        self._server, self._name = server, name
        self._version = server.versions(name)[0] if version is None else version
        where = f"{name} (version {self._version}) on {server.address}"
        try:
            described = self._run("describe", {"request": np.zeros(1, np.int32)})
            tables = described["tables"].tobytes()
            loaded = load_tables(io.BytesIO(tables)) if tables else {}
            card = parse_card(described["card"].tobytes(), where)
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(f"{where} does not describe itself: put an export of codec-zoo there.") from error
        except ServerError as error:
            if "describe" in str(error):
                raise ModelError(f"{where} is not an export of this codec-zoo ({error}). Export it again.") from error
            raise
        super().__init__(where, card, loaded)

    def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._server.predict(self._name, self._version, signature, inputs)


def find_served(server: Server, stream: Coded, name: str | None = None) -> ServedModel:
    """The model on ``server`` that coded ``stream``, of whatever version.

    Args:
        server: to look at.
        stream: a coded file.
        name: of the model there, or ``MODULE:NAME``, of which the last part is; None: its preset's.

    Raises:
        UsageError: the server does not have the model.
        ModelError: it has it, with other weights.
        ServerError: see :meth:`Server.predict`.
    """
    if name is not None:
        name = split_name(name)[1]
    else:
        name = next((p.name for p in known_presets() if preset_id(p.name) == stream.preset_id), None)
    if name is None:
        raise ModelError(
            f"no preset of this codec-zoo coded the file (preset id {stream.preset_id.hex()}). "
            "Name the server's model that did: --model."
        )
    newest = None
    for version in server.versions(name):
        model = ServedModel(server, name, version)
        if coded(model.card, stream):
            return model
        newest = newest or model
    assert newest is not None  # versions() gives one at least
    newest.check_coded(stream)
    return newest
