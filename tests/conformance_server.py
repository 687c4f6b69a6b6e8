"""A model server for the tests where ``tensorflow_model_server`` is not installed: not TensorFlow Serving.

It implements the official stubs of PredictionService and ModelService and the REST API over ``tf.saved_model.load``,
with TensorFlow Serving's flags, status codes and messages, in a process without project code.
"""

import argparse
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2


class Failure(Exception):
    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class Version:
    """One loaded SavedModel: its warm-up requests are replayed before it is used."""

    def __init__(self, folder: Path):
        proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signature_def = proto.meta_graphs[0].signature_def
        self.loaded = tf.saved_model.load(str(folder))
        warmup = folder / "assets.extra" / "tf_serving_warmup_requests"
        self.warmed = 0
        if warmup.exists():
            for record in tf.data.TFRecordDataset(str(warmup)):
                log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
                request = log.predict_log.request
                self.run(
                    request.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
                )
                self.warmed += 1

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        signature = signature or "serving_default"
        if signature not in self.loaded.signatures:
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f'Serving signature name: "{signature}" not found in signature def',
            )
        wanted = self.signature_def[signature].inputs
        if set(wanted) != set(inputs):
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"inputs are {sorted(inputs)}, the signature's are {sorted(wanted)}",
            )
        tensors = {}
        for name, value in inputs.items():
            if tf.as_dtype(wanted[name].dtype) != tf.as_dtype(value.dtype):
                raise Failure(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"{name} is {value.dtype}, the signature has {tf.as_dtype(wanted[name].dtype).name}",
                )
            tensors[name] = tf.constant(value)
        try:
            outputs = self.loaded.signatures[signature](**tensors)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000]) from error
        return {name: value.numpy() for name, value in outputs.items()}


class Models:
    def __init__(self, config: model_server_config_pb2.ModelServerConfig):
        self.versions: dict[str, dict[int, Version]] = {}
        self.labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            there = sorted(int(p.name) for p in Path(model.base_path).iterdir() if p.name.isdecimal())
            policy = model.model_version_policy
            chosen = list(policy.specific.versions) or (there if policy.HasField("all") else there[-1:])
            self.versions[model.name] = {n: Version(Path(model.base_path) / str(n)) for n in chosen}
            self.labels[model.name] = dict(model.version_labels)

    def find(self, name: str, version: int | None, label: str | None) -> tuple[int, Version]:
        known = self.versions.get(name, {})
        if label is not None:
            version = self.labels.get(name, {}).get(label)
            if known and version is None:
                raise Failure(
                    grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label} for {name}"
                )
        if version is None and known:
            version = max(known)
        if version not in known:
            shown = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {shown}")
        return version, known[version]

    def find_spec(self, spec) -> tuple[int, Version]:
        return self.find(
            spec.name,
            spec.version.value if spec.HasField("version") else None,
            spec.version_label if spec.HasField("version_label") else None,
        )

    def status(self, name: str) -> get_model_status_pb2.GetModelStatusResponse:
        if name not in self.versions:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.versions[name]:
            response.model_version_status.add(version=version, state=30)  # AVAILABLE
        return response

    def metadata(self, version: Version) -> get_model_metadata_pb2.SignatureDefMap:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, value in version.signature_def.items():
            signatures.signature_def[name].CopyFrom(value)
        return signatures


class Grpc(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, models: Models):
        self.models = models

    def Predict(self, request, context):
        return self._answer(context, self._predict, request)

    def GetModelMetadata(self, request, context):
        return self._answer(context, self._metadata, request)

    def GetModelStatus(self, request, context):
        return self._answer(context, lambda request: self.models.status(request.model_spec.name), request)

    def _answer(self, context, function, request):
        try:
            return function(request)
        except Failure as failure:
            context.abort(failure.code, str(failure))

    def _predict(self, request):
        number, version = self.models.find_spec(request.model_spec)
        outputs = version.run(
            request.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        )
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = number
        for name, value in outputs.items():
            if name in (request.output_filter or outputs):
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def _metadata(self, request):
        number, version = self.models.find_spec(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, number
        response.metadata["signature_def"].Pack(self.models.metadata(version))
        return response


class Rest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: Models

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def log_message(self, *_):
        pass

    def _answer(self, function):
        codes = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.INVALID_ARGUMENT: 400}
        try:
            status, value = 200, function()
        except Failure as failure:
            status, value = codes[failure.code], {"error": str(failure)}
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _find(self, path: str) -> tuple[str, int, Version, str]:
        """``/v1/models/NAME[/versions/N|/labels/L][REST]`` → name, version, REST."""
        parts = path.removeprefix("/v1/models/").split("/")
        name, version, label = parts.pop(0), None, None
        if parts and parts[0] in ("versions", "labels"):
            kind, value = parts.pop(0), parts.pop(0)
            version, label = (int(value), None) if kind == "versions" else (None, value)
        return (name, *self.models.find(name, version, label), "/".join(parts))

    def _get(self):
        if not self.path.startswith("/v1/models/"):
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Malformed request: GET {self.path}")
        name = self.path.removeprefix("/v1/models/")
        if "/" not in name:
            return json_format.MessageToDict(self.models.status(name), preserving_proto_field_name=True)
        name, number, version, rest = self._find(self.path)
        if rest != "metadata":
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Malformed request: GET {self.path}")
        signatures = json_format.MessageToDict(self.models.metadata(version), preserving_proto_field_name=True)
        return {"model_spec": {"name": name, "version": str(number)}, "metadata": {"signature_def": signatures}}

    def _post(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, _, verb = self.path.rpartition(":")
        if verb != "predict":
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, f"Malformed request: POST {self.path}")
        _, _, version, _ = self._find(path)
        request = json.loads(body)
        signature = request.get("signature_name", "serving_default")
        types = {}
        if signature in version.signature_def:
            types = {name: tf.as_dtype(i.dtype) for name, i in version.signature_def[signature].inputs.items()}
        rows = "instances" in request
        if rows:  # one object, or one bare value of the only input, for each of a batch
            first = request["instances"][0]
            names = list(first) if isinstance(first, dict) else list(types)[:1]
            given = {n: [r[n] if isinstance(first, dict) else r for r in request["instances"]] for n in names}
        else:
            given = request["inputs"]
            if not isinstance(given, dict):
                given = {next(iter(types)): given}
        known = {name: value for name, value in given.items() if name in types}
        arrays = {name: np.array(value, types[name].as_numpy_dtype) for name, value in known.items()}
        outputs = version.run(signature, arrays)
        values = {name: value.tolist() for name, value in outputs.items()}
        if rows:
            count = len(request["instances"])
            predictions = [{name: value[i] for name, value in values.items()} for i in range(count)]
            return {"predictions": [next(iter(p.values())) for p in predictions] if len(values) == 1 else predictions}
        return {"outputs": next(iter(values.values())) if len(values) == 1 else values}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_config_file", type=Path, required=True)
    parser.add_argument("--monitoring_config_file", type=Path)
    parser.add_argument("--batching_parameters_file", type=Path)
    parser.add_argument("--enable_batching")
    parser.add_argument("--allow_version_labels_for_unavailable_models")
    parser.add_argument("--grpc_channel_arguments", default="grpc.max_receive_message_length=2147483647")
    arguments = parser.parse_args()
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(arguments.model_config_file.read_text(), config)
    models = Models(config)
    options = [pair.split("=") for pair in arguments.grpc_channel_arguments.split(",")]
    server = grpc.server(
        futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0), *((k, int(v)) for k, v in options)]
    )
    servicer = Grpc(models)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"localhost:{arguments.port}")
    Rest.models = models
    rest = ThreadingHTTPServer(("localhost", arguments.rest_api_port), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    server.start()
    for name, versions in models.versions.items():
        print(
            name, {number: f"{version.warmed} warm-up requests" for number, version in versions.items()}, flush=True
        )
    server.wait_for_termination()


if __name__ == "__main__":
    main()
