"""The rooms of the house import one way; its foundation, ``zoo/``, needs Keras, NumPy and Pillow alone.

No source file is long.
"""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"cli", "harness", "datasets", "codecs", "export"}
LIBRARIES = {"PIL", "h5py", "keras", "numpy"}  # Keras brings h5py
# Beyond these libraries, each imported inside the function that needs it.
EXCEPTIONS = {
    ("codec_zoo.training.jax_steps", "jax"),
    ("codec_zoo.training.loop", "jax"),
    ("codec_zoo.training.loop", "torch"),
}
MOST_LINES = 500
# A process in which Keras and its backends cannot be imported.
BLOCKED = """
import importlib, pkgutil, sys
for name in ("jax", "keras", "tensorflow", "tensorflow_datasets", "torch"):
    sys.modules[name] = None
import codec_zoo.codecs
names = [module.name for module in pkgutil.walk_packages(codec_zoo.codecs.__path__, "codec_zoo.codecs.")]
assert len(names) > 20, names
for name in [*names, *(f"codec_zoo.export.{name}" for name in ("card", "manifest", "quiet", "runtime", "tables"))]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == "apache_beam", f"{name}: {error}"
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Which module imports which, anywhere in its file."""
    return grimp.build_graph("codec_zoo", include_external_packages=True, cache_dir=None)


def foundation(graph: grimp.ImportGraph) -> list[str]:
    """Every module that is in no room, but for the front door, which imports the rooms when it is called."""
    own = [name.split(".") for name in graph.modules if name.startswith("codec_zoo.")]
    return [".".join(name) for name in own if name[1] not in ROOMS]


def test_the_rooms_import_one_way():
    command = [Path(sys.executable).with_name("lint-imports"), "--config", "pyproject.toml", "--no-cache"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_foundation_imports_no_room(graph):
    modules = foundation(graph)
    assert len(modules) > 25
    upwards = [
        f"{module} imports {name}"
        for module in modules
        for name in graph.find_modules_directly_imported_by(module)
        if name.startswith("codec_zoo.") and name.split(".")[1] in ROOMS
    ]
    assert not upwards


def test_the_foundation_needs_few_libraries(graph):
    imported = {
        (module, name)
        for module in foundation(graph)
        for name in graph.find_modules_directly_imported_by(module)
        if not name.startswith("codec_zoo") and name not in sys.stdlib_module_names | LIBRARIES
    }
    assert imported == EXCEPTIONS


def test_codecs_import_neither_keras_nor_a_backend():
    process = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_no_source_file_is_over_500_lines():
    command = ["git", "ls-files", "-z", "*.py", "*.js", "*.css", "*.html"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    sources = [name for name in tracked.stdout.split("\0") if name and (ROOT / name).exists()]
    assert len(sources) > 300
    long = {name for name in sources if len((ROOT / name).read_text().splitlines()) > MOST_LINES}
    assert not long
