"""Codecs whose model runs on a server: the same files, and clear errors when the server fails."""

import concurrent.futures
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.images import as_rgb, read_image
from codec_zoo.codecs.specs import codec_for
from codec_zoo.codecs.tiling import Tiles
from codec_zoo.errors import MessageTooLargeError, ModelError, ServerError, UsageError
from codec_zoo.export.runtime import ExportedModel, open_model
from codec_zoo.export.server import ServedModel, find_served, open_server

KINDS = ("blocks", "picture", "filtered", "base", "latent", "representation")


def test_every_kind_of_codec_is_covered(kinds):
    assert set(kinds) == set(KINDS)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_served_codec_writes_and_reads_the_same_bytes(server, serving, kinds, photo, kind, protocol):
    picture = photo[:200, :333]
    local = codec_for(open_model(str(serving / "models" / kinds[kind])))
    remote_server = open_server(getattr(server, protocol))
    remote = codec_for(ServedModel(remote_server, kinds[kind]))
    data = remote.encode(picture)
    assert data == local.encode(picture)
    stream = container.read(data)
    found = find_served(remote_server, stream)
    assert np.array_equal(codec_for(found).decode(data), local.decode(data))
    assert found.card == local.model.card and found.seconds > 0


@pytest.mark.parametrize(("kind", "protocol"), [("latent", "grpc"), ("latent", "rest"), ("blocks", "grpc")])
def test_a_served_model_searches(server, serving, kinds, photo, kind, protocol):
    picture = photo[:128, :192]
    local = codec_for(open_model(str(serving / "models" / kinds[kind])))
    remote = codec_for(ServedModel(open_server(getattr(server, protocol)), kinds[kind]), search=4)
    data = remote.encode(picture)
    assert data != local.encode(picture) and np.array_equal(local.decode(data), remote.decode(data))


def test_grey_pictures_and_single_pixels(server, serving, kinds):
    local = codec_for(open_model(str(serving / "models" / kinds["base"])))
    remote = codec_for(ServedModel(open_server(server.grpc), kinds["base"]))
    for picture in (np.full((1, 1, 3), 200, np.uint8), np.full((9, 30, 1), 7, np.uint8)):
        data = remote.encode(picture)
        assert data == local.encode(picture) and np.array_equal(remote.decode(data), local.decode(data))


@pytest.mark.slow
def test_versions_and_labels(start_server, exports, tmp_path, photo):
    """Two versions of a model with other weights: each file finds the one that coded it."""
    from codec_zoo.export.saved_model import export_model
    from codec_zoo.export.serving_config import write_serving
    from codec_zoo.presets import get_preset

    name = "hu2018-filter-svac-q48"
    export_model(name, get_preset(name).create(), tmp_path / "models", 1, verify=False)
    write_serving(tmp_path, [name], base_path=str(tmp_path / "models"))
    assert sorted(path.name for path in (tmp_path / "models" / name).iterdir()) == ["1", "2"]
    server = start_server(tmp_path)
    for url in (server.grpc, server.rest):
        remote = open_server(url)
        assert remote.versions(name) == [2, 1]
        stable, canary = ServedModel(remote, name, "stable"), ServedModel(remote, name, "canary")
        assert (stable.card["version"], canary.card["version"]) == (1, 2)
        assert ServedModel(remote, name).card == canary.card
        stream = container.read(codec_for(stable).encode(photo[:32, :32]))
        assert find_served(remote, stream).card == stable.card
        with pytest.raises(UsageError, match=r"no version 3 .* Ready: 2, 1"):
            ServedModel(remote, name, 3)
        with pytest.raises(UsageError, match="label"):
            ServedModel(remote, name, "nothing")
    other = container.read(container.write(name, "ab" * 32, 8, 8, 3, [container.Layer(4, b"")]))
    with pytest.raises(ModelError, match="other weights"):
        find_served(open_server(server.grpc), other)


def test_the_probe_finds_every_model(server, serving):
    port = server.rest.rpartition(":")[2]
    assert not subprocess.run(["bash", serving / "probe.sh", port]).returncode


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_unknown_models_and_refused_requests(server, kinds, protocol):
    remote = open_server(getattr(server, protocol))
    with pytest.raises(UsageError, match="no model called 'nothing'"):
        ServedModel(remote, "nothing")
    model = ServedModel(remote, kinds["base"])
    with pytest.raises(ServerError, match="nothing"):
        model.run("nothing", images=np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ServerError, match="refused"):
        model.run("encode", pictures=np.zeros((1, 8, 8, 3), np.uint8))
    assert model.run("encode", images=np.zeros((1, 8, 8, 3), np.uint8))["size"].tolist() == [[8, 8]]


def test_no_server(kinds):
    for url in ("grpc://localhost:1", "http://localhost:1"):
        with pytest.raises(ServerError, match="cannot be reached"):
            ServedModel(open_server(url, timeout=1), kinds["base"])
    for url in ("localhost:8500", "ftp://localhost", "grpc://", "http://[::1"):
        with pytest.raises(UsageError, match="Received"):
            open_server(url)


PROXIES = [f"{name}_proxy" for name in ("http", "https", "all", "grpc")]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_on_this_machine_is_reached_without_a_proxy(server, kinds, monkeypatch, protocol):
    with socket.create_server(("localhost", 0)) as closed:
        dead = f"http://localhost:{closed.getsockname()[1]}"
    for name in PROXIES:
        monkeypatch.setenv(name, dead)
        monkeypatch.setenv(name.upper(), dead)
    for host in ("localhost", "127.0.0.1"):
        remote = open_server(getattr(server, protocol).replace("localhost", host), timeout=5)
        assert ServedModel(remote, kinds["base"]).preset == kinds["base"]


@pytest.mark.parametrize(("protocol", "request_line"), [("grpc", b"CONNECT "), ("http", b"GET http://")])
def test_a_server_elsewhere_is_reached_through_the_proxy(kinds, monkeypatch, protocol, request_line):
    with socket.create_server(("localhost", 0)) as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://localhost:{proxy.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(ServerError):
            open_server(f"{protocol}://models.invalid:80", timeout=1).versions("a")
        with proxy.accept()[0] as connection:
            assert connection.recv(100).startswith(request_line + b"models.invalid")


def test_a_web_page_is_no_model_server(tmp_path, kinds):
    (tmp_path / "v1" / "models").mkdir(parents=True)
    (tmp_path / "v1" / "models" / "page").write_text("<html>")
    handler = lambda *given: QuietHandler(*given, directory=tmp_path)  # noqa: E731
    with serve_http(handler) as url, pytest.raises(ServerError, match="REST port"):
        ServedModel(open_server(url), "page")


def test_a_request_that_cannot_be_sent_in_time():
    """The server takes the connection and reads nothing: late, not unreachable."""
    with socket.create_server(("localhost", 0)) as listener:
        address = f"http://localhost:{listener.getsockname()[1]}"
        with pytest.raises(ServerError, match="no answer within 2 s"):
            open_server(address, timeout=2)._request("m:predict", "x" * 50_000_000, 2)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_server_stalls_then_dies_then_comes_back(start_server, serving, kinds, photo, protocol):
    server = start_server(serving)
    url = getattr(server, protocol)
    model = ServedModel(open_server(url, timeout=30), kinds["base"])
    impatient = ServedModel(open_server(url, timeout=5), kinds["base"])
    expected = model.run("encode", images=photo[None])

    server.stop(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(ServerError, match="no answer within 5 s"):
        impatient.run("encode", images=photo[None])
    assert time.monotonic() - started < 7

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(model.run, "encode", images=photo[None])
        time.sleep(1)
        server.stop()  # with the request in it
        with pytest.raises(ServerError, match="cannot be reached"):
            under_way.result()

    server.start()  # the same client goes on
    again = model.run("encode", images=photo[None])
    assert np.array_equal(again["compact"], expected["compact"])


def test_a_request_survives_a_restart(server, kinds, photo):
    """Not available, then cut with the request in it, back before the client gives up: no error at all."""
    gateway = Gateway(server.rest)
    with serve_http(gateway.handler()) as url:
        model = ServedModel(open_server(url), kinds["base"])
        gateway.drop = 2
        assert model.run("encode", images=photo[None, :64])["size"].tolist() == [[64, 768]]
        assert gateway.drop == 0


@pytest.mark.slow
def test_messages_too_large_go_in_tiles(start_server, serving, kinds, photo):
    limited = start_server(serving, "--grpc_channel_arguments=grpc.max_receive_message_length=1000000")
    remote = open_server(limited.grpc)
    picture = np.concatenate([photo[:400], photo[:400, ::-1]], axis=1)  # 1.8 MB
    for kind in ("latent", "picture", "base", "representation"):
        local = codec_for(open_model(str(serving / "models" / kinds[kind])))
        data = local.encode(picture)
        tiled = codec_for(ServedModel(remote, kinds[kind])).encode(picture)
        assert tiled == data if kind == "picture" else len(tiled) == pytest.approx(len(data), rel=1e-3)
        decoded = codec_for(ServedModel(remote, kinds[kind])).decode(data).astype(int)
        difference = np.abs(decoded - local.decode(data))
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.001
    with pytest.raises(MessageTooLargeError, match=r"no request of 1\.8 MiB"):
        ServedModel(remote, kinds["base"]).run("encode", images=picture[None])


def test_a_proxy_with_a_limit(server, serving, kinds, photo):
    gateway = Gateway(server.rest, limit=600_000)
    local = codec_for(open_model(str(serving / "models" / kinds["picture"])))
    picture = photo[:320, :480]
    with serve_http(gateway.handler()) as url:
        assert codec_for(ServedModel(open_server(url), kinds["picture"])).encode(picture) == local.encode(picture)
        assert gateway.refused > 0
        with pytest.raises(MessageTooLargeError, match="413"):
            ServedModel(open_server(url), kinds["base"]).run("encode", images=photo[None])


def test_no_tile_is_small_enough():
    sides = []

    class Refusing(ExportedModel):
        def _run(self, signature, inputs):
            sides.append(inputs["images"].shape[1])
            raise MessageTooLargeError("too large")

    model = Refusing("here", {"receptive_field": {"encode": 8}, "signatures": {}}, {})
    with pytest.raises(MessageTooLargeError):
        Tiles(model, 1, 512).analyse("encode", np.zeros((600, 600, 3), np.uint8), ["ycbcr"], {})
    assert sides == [600, 264, 136]


def test_warm_up_requests_are_replayed(server, serving, kinds):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    for name in kinds.values():
        folder = serving / "models" / name / "1"
        records = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
        requests = [prediction_log_pb2.PredictionLog.FromString(r.numpy()).predict_log.request for r in records]
        card = json.loads((folder / "assets" / "model_card.json").read_text())
        # All whose inputs are batches: `reconstruct` takes a decoder's weights beside them.
        batched = {
            s for s, inputs in card["signatures"].items() if all(shape[0] is None for _, shape in inputs.values())
        }
        assert {request.model_spec.signature_name for request in requests} == batched
        assert {request.model_spec.name for request in requests} == {name}
        for request in requests:
            given = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            assert ServedModel(open_server(server.grpc), name).run(request.model_spec.signature_name, **given)


@pytest.mark.slow
def test_command_line(cli, server, serving, kinds, kodak_paths, tmp_path):
    model, url = kinds["base"], server.grpc
    file, remote, back = tmp_path / "local.czoo", tmp_path / "remote.czoo", tmp_path / "back.png"
    assert cli("compress", kodak_paths[22], "--model", serving / "models" / model, "-o", file)[0] == 0
    code, out, err = cli("compress", kodak_paths[22], "--model", model, "--server", url, "-o", remote, "--json")
    assert code == 0 and remote.read_bytes() == file.read_bytes(), err
    code, again, err = cli("decompress", remote, "--server", server.rest, "-o", back, "--json")
    assert code == 0 and json.loads(again)["pixels_sha256"] == json.loads(out)["pixels_sha256"], err
    before = sorted(tmp_path.iterdir())
    for arguments, words, status in [
        (["--server-version", "9"], "no version 9", 2),
        (["--server", "grpc://localhost:1", "--timeout", "1"], "cannot be reached", 1),
    ]:
        code, _, err = cli(
            "compress", kodak_paths[22], "--model", model, "--server", url, "-o", tmp_path / "x.czoo", *arguments
        )
        assert (code, words in err) == (status, True), (arguments, code, err)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_the_whole_path(cli, start_server, kinds, kodak_paths, tmp_path):
    """Release, mirror, download, serve, compress: 24 pictures give the same files served and local."""
    from codec_zoo import weights

    presets = [name for name in kinds.values() if name in weights.index()]
    cache = {"CODEC_ZOO_CACHE": str(tmp_path / "cache")}
    code, out, err = cli("release", tmp_path / "mirror", *presets)
    assert code == 0, err
    handler = lambda *given: QuietHandler(*given, directory=tmp_path / "mirror")  # noqa: E731
    with serve_http(handler) as url:
        folders = {}
        for name in presets:
            code, out, err = cli("download", name, "--from", url, **cache)
            assert code == 0, err
            folders[name] = out.strip()
        code, out, err = cli(
            *("serve-config", tmp_path / "serve", "--from", url, "--base-path", tmp_path / "serve" / "models"),
            **cache,
        )
        assert code == 0, err
    server = start_server(tmp_path / "serve")
    for name in presets:
        hashes = {}
        for where, options in {"local": ["--model", folders[name]], "served": ["--model", name]}.items():
            options = [*options, *(["--server", server.grpc] if where == "served" else [])]
            code, _, err = cli("compress", *kodak_paths, "-o", f"{tmp_path / where / name}/", *options, **cache)
            assert code == 0, err
            files = sorted((tmp_path / where / name).iterdir())
            hashes[where] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        assert len(hashes["served"]) == 24 and hashes["served"] == hashes["local"]
        print(f"{name}: 24 of 24 files equal")


def dials_of(card):
    """Inputs of ``encode`` beside the images: a model of variable rate has a quantisation step."""
    return {"step": np.zeros(1, np.int32)} if "step" in card["signatures"]["encode"] else {}


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [60])
def test_sixteen_clients(server, kinds, kodak_paths, seconds):
    """Each with its own connection, coding real pictures without a pause."""
    name = kinds["latent"]
    pictures = [as_rgb(read_image(path))[None, :256, :256] for path in kodak_paths]
    served = ServedModel(open_server(server.grpc), name)
    dials = dials_of(served.card)
    expected = [served.run("encode", images=picture, **dials) for picture in pictures]
    until = time.monotonic() + seconds

    def client(number: int) -> list[float]:
        model, times = ServedModel(open_server(server.grpc), name), []
        while time.monotonic() < until:
            i = (number + len(times)) % len(pictures)
            started = time.monotonic()
            coded = model.run("encode", images=pictures[i], **dials)
            times.append(time.monotonic() - started)
            assert all(np.array_equal(coded[key], expected[i][key]) for key in coded)
        return times

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        times = [value for answers in pool.map(client, range(16)) for value in answers]
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    print(
        f"{len(times)} requests of 256×256 pixels in {seconds} s by 16 clients, no error: {len(times) / seconds:.1f} "
        f"a second; latency p50 {p50:.3f}, p95 {p95:.3f}, p99 {p99:.3f} s"
    )
    assert len(times) >= 16


@pytest.mark.slow
def test_another_tensorflow_loads_it(serving, kinds, photo, tmp_path):
    """TensorFlow 2.21 in an environment of its own: the same values as here, but for last bits of float sums."""
    python = os.environ.get("CODEC_ZOO_TF221_PYTHON")
    if not python:
        python = tmp_path / "venv" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "tensorflow==2.21.*"], check=True)
    program = """
import sys, numpy as np, tensorflow as tf
assert tf.__version__.startswith("2.21"), tf.__version__
model = tf.saved_model.load(sys.argv[1])
inputs = model.signatures["encode"].structured_input_signature[1]
dials = {"step": tf.constant([0])} if "step" in inputs else {}
coded = model.signatures["encode"](images=tf.constant(np.load(sys.argv[2])), **dials)
decoded = model.signatures["decode"](**coded)
np.savez(sys.argv[3], **{key: value.numpy() for key, value in {**coded, **decoded}.items()})
"""
    np.save(tmp_path / "in.npy", photo[None])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in kinds.values():
        folder = serving / "models" / name / "1"
        command = [python, "-I", "-c", program, folder, tmp_path / "in.npy", tmp_path / "out.npz"]
        subprocess.run(command, check=True, env=environment)
        local = open_model(str(folder))
        coded = local.run("encode", images=photo[None], **dials_of(local.card))
        expected = coded | local.run("decode", **coded)
        with np.load(tmp_path / "out.npz") as got:
            assert set(got.files) == set(expected)
            for key, value in expected.items():
                different = np.mean(got[key] != value)
                print(f"{name} {key}: {different:.2e} different")
                assert different < 0.001


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class serve_http:
    """A web server in a thread; the block gets its URL."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("localhost", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://localhost:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """A proxy in front of a REST server, as there are: it limits sizes, and answers 503 while a server restarts."""

    def __init__(self, upstream: str, limit: int = 2**30):
        self.upstream, self.limit = upstream, limit
        self.drop = self.refused = 0

    def handler(self):
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.forward(None)

            def do_POST(self):
                self.forward(self.rfile.read(int(self.headers["Content-Length"])))

            def forward(self, body):
                if body and len(body) > gateway.limit:
                    gateway.refused += 1
                    self.send_error(413)
                elif body and gateway.drop:
                    gateway.drop -= 1
                    if gateway.drop:
                        self.send_error(503)
                    else:
                        self.connection.shutdown(2)
                else:
                    try:
                        with urllib.request.urlopen(gateway.upstream + self.path, body) as answer:
                            status, data = answer.status, answer.read()
                    except urllib.error.HTTPError as error:
                        status, data = error.code, error.read()
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler
