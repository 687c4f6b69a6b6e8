"""A model server with one preset of each kind of codec, for the tests of this folder."""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from codec_zoo import weights
from codec_zoo.presets import list_presets

STAND_IN = Path(__file__).parents[1] / "conformance_server.py"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@dataclasses.dataclass
class ModelServer:
    """A server process: ``tensorflow_model_server`` where the PATH has it, otherwise the stand-in."""

    directory: Path  # as `codec-zoo serve-config` writes it
    arguments: tuple[str, ...] = ()
    grpc_port: int = dataclasses.field(default_factory=free_port)
    rest_port: int = dataclasses.field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def grpc(self) -> str:
        return f"grpc://localhost:{self.grpc_port}"

    @property
    def rest(self) -> str:
        return f"http://localhost:{self.rest_port}"

    @property
    def log(self) -> Path:
        return self.directory / f"server-{self.grpc_port}.log"

    def start(self):
        real = shutil.which("tensorflow_model_server")
        command = [real] if real else [sys.executable, "-I", str(STAND_IN)]
        command += [f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}"]
        command += [f"--model_config_file={self.directory / 'models.config'}"]
        command += [f"--batching_parameters_file={self.directory / 'batching_parameters.txt'}"]
        command += [f"--monitoring_config_file={self.directory / 'monitoring.config'}"]
        command += ["--enable_batching=true", "--allow_version_labels_for_unavailable_models=true", *self.arguments]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        names = [path.name for path in (self.directory / "models").iterdir()]
        until = time.monotonic() + 120
        while names:
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{self.rest}/v1/models/{names[-1]}") as answer:
                    if b"AVAILABLE" in answer.read():
                        names.pop()
                continue
            time.sleep(0.2)

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


@pytest.fixture
def start_server():
    """Start servers that end with the test."""
    servers = []

    def start(directory, *arguments) -> ModelServer:
        servers.append(ModelServer(directory, arguments))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def kinds() -> dict[str, str]:
    """Kind of codec → the smallest trained preset of that kind, or any where none is trained.

    Those that learn each picture cannot compress by a server.
    """
    size = {name: (weights.FOLDER / record["file"]).stat().st_size for name, record in weights.index().items()}
    served = [preset for preset in list_presets() if preset.trains and not preset.pipeline.get("tuned")]
    presets = sorted(served, key=lambda preset: size.get(preset.name, float("inf")), reverse=True)
    return {preset.pipeline["kind"]: preset.name for preset in presets}


@pytest.fixture(scope="session")
def serving(tmp_path_factory, kinds, exports):
    """What ``codec-zoo serve-config`` writes, for one preset of each kind."""
    from codec_zoo.export.saved_model import export_model, export_pretrained
    from codec_zoo.harness.serving_config import write_serving
    from codec_zoo.presets import get_preset

    directory = tmp_path_factory.mktemp("serving")
    models = directory / "models"
    for name in kinds.values():
        if (exports / name).exists():
            shutil.copytree(exports / name, models / name)
        elif name in weights.index():
            export_pretrained(name, models, verify=False)
        else:
            export_model(name, get_preset(name).create(), models, verify=False)
    write_serving(directory, [name for name in kinds.values() if name in weights.index()], base_path=str(models))
    return directory


@pytest.fixture(scope="session")
def server(serving):
    """A running server for the whole session."""
    server = ModelServer(serving)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cli(tmp_path_factory):
    """Run ``codec-zoo`` in a process of its own; returns exit code, stdout, stderr. The cache is the session's."""
    cache = tmp_path_factory.mktemp("cache")

    def run(*arguments, **environment):
        process = subprocess.run(
            [Path(sys.executable).with_name("codec-zoo"), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "CODEC_ZOO_CACHE": str(cache), **environment},
            timeout=600,
        )
        assert "Traceback" not in process.stderr + process.stdout, process.stderr
        return process.returncode, process.stdout, process.stderr

    return run
