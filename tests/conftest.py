"""Fixtures that several folders share; among them a model server with one preset of each kind of codec."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import dataclasses
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from codec_zoo import presets, weights
from codec_zoo.errors import CodecZooError
from codec_zoo.presets import list_presets

PRESET = "fu2019-hybrid-s16-prelu"


@pytest.fixture(scope="session")
def experiment():
    """Name of a script in experiments → its module."""

    def load(name):
        path = Path(__file__).parents[1] / "experiments" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        # Data classes look their module up while it runs.
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A folder with the trained preset, exported and verified once for the whole session."""
    from codec_zoo.export.saved_model import export_pretrained

    folder = tmp_path_factory.mktemp("exports")
    export_pretrained(PRESET, folder)
    return folder


@pytest.fixture(scope="session")
def model(exports):
    """The exported model, loaded."""
    from codec_zoo.export.runtime import open_model

    return open_model(str(exports / PRESET))


@pytest.fixture(scope="session")
def kodak_paths():
    """The 24 Kodak pictures."""
    from codec_zoo.harness.evaluation import find_pictures

    return find_pictures("kodak")


@pytest.fixture(scope="session")
def photo(kodak_paths):
    """A real photograph, ``uint8 [512, 768, 3]``."""
    from codec_zoo.codecs.images import read_image

    return read_image(kodak_paths[22])


@pytest.fixture(scope="session")
def screenshot():
    """Lines of text, black on white, then coloured on coloured, ``uint8 [192, 320, 3]``."""
    image = Image.new("RGB", (320, 192), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 96, 320, 192), fill=(16, 24, 96))
    for i in range(12):
        colour = "black" if i < 6 else [(255, 224, 0), (255, 64, 64), (64, 255, 96)][i % 3]
        draw.text((4, 16 * i + 1), f"{i}: The quick brown fox jumps over the lazy dog (0123456789).", fill=colour)
    return np.asarray(image)


@pytest.fixture(scope="session")
def jax_environment(tmp_path_factory):
    """A virtual environment with this package and JAX, and no TensorFlow; for slow tests."""
    return _environment(tmp_path_factory.mktemp("jax"), "jax")


@pytest.fixture(scope="session")
def torch_environment(tmp_path_factory):
    """The same with PyTorch."""
    return _environment(tmp_path_factory.mktemp("torch"), "torch==2.13.0")


def _environment(folder, backend):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", backend, Path(__file__).parents[1]], check=True)
    return folder


@pytest.fixture
def package_site(tmp_path, monkeypatch):
    """Install a module, as that of a package with an entry point or without; afterwards the registry is as before."""
    monkeypatch.syspath_prepend(tmp_path)
    list_presets()
    known, imported = set(presets._PRESETS), set(sys.modules)

    def forget():
        presets._entry_points.cache_clear()
        presets._load_installed.cache_clear()

    def remove():
        for metadata in tmp_path.glob("*.dist-info"):
            shutil.rmtree(metadata)
        forget()
        for name in presets._PRESETS.keys() - known:
            del presets._PRESETS[name], presets._MODULES[name]
        for name in sys.modules.keys() - imported:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    def install(module: str, source: str, package: str | None = None) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        if package:
            metadata = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            (metadata / "entry_points.txt").write_text(f"[{presets.GROUP}]\n{package} = {module}\n")
        importlib.invalidate_caches()
        forget()

    install.remove = remove
    forget()
    yield install
    remove()


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of this machine."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not executable:
        pytest.skip("there is no Chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def noise():
    """Noise of any size, ``uint8 [H, W, 3]``."""
    random = np.random.default_rng(0)
    return lambda height, width: random.integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def mutants():
    """Damaged copies of a file: one bit flipped in each, half of them cut as well."""

    def make(data: bytes, count: int):
        random = np.random.default_rng(1)
        for _ in range(count):
            mutant = bytearray(data)
            mutant[int(random.integers(len(mutant)))] ^= 1 << int(random.integers(8))
            if random.integers(2):
                del mutant[int(random.integers(1, len(mutant))) :]
            yield bytes(mutant)

    return make


@pytest.fixture
def refuses_mutants(mutants):
    """Whether a codec refuses damaged copies of a file of its own: 300 of a small piece of a picture."""

    def check(codec, picture):
        for mutant in mutants(codec.encode(picture[:64, :96]), 300):
            with pytest.raises(CodecZooError):
                codec.decode(mutant)

    return check


STAND_IN = Path(__file__).with_name("conformance_server.py")


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
        until = time.monotonic() + 600  # loads all models; busy machines take minutes
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
    """Kind of the files' first layer, or blocks → the smallest trained preset of that kind, or any.

    Those that learn each picture cannot compress by a server. Of hybrids it is the one in the examples of
    docs/serving.md.
    """
    size = {name: (weights.FOLDER / record["file"]).stat().st_size for name, record in weights.index().items()}
    served = [preset for preset in list_presets() if preset.stream and not preset.stream.layers[-1].tuned]
    presets = sorted(served, key=lambda preset: size.get(preset.name, float("inf")), reverse=True)
    smallest = {"blocks" if p.stream.block else p.stream.layers[0].kind: p.name for p in presets}
    return {**smallest, "base": PRESET}


@pytest.fixture(scope="session")
def serving(tmp_path_factory, kinds, exports):
    """What ``codec-zoo serve-config`` writes, for one preset of each kind."""
    from codec_zoo.export.runtime import export_to_cache
    from codec_zoo.export.saved_model import export_model
    from codec_zoo.export.serving_config import write_serving
    from codec_zoo.presets import get_preset

    directory = tmp_path_factory.mktemp("serving")
    models = directory / "models"
    for name in kinds.values():
        if (exports / name).exists():
            shutil.copytree(exports / name, models / name)
        elif name in weights.index():
            shutil.copytree(export_to_cache(name).parent, models / name)
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
