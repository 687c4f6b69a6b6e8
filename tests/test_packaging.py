"""An installation has every file of the folders that ``setup.py`` maps to packages, and works without a checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import numpy as np
import pytest

import codec_zoo as cz
from codec_zoo.codecs.images import read_image, write_image
from codec_zoo.metrics import psnr

ROOT = Path(__file__).parents[1]
FOLDERS = ("zoo", "datasets", "export", "codecs", "harness", "cli")
# Imported where they are installed, by what says so itself when they are missing.
OPTIONAL = {"apache_beam", "bm3d", "jax", "torch"}
# They come with packages that are required.
BROUGHT = {"etils": "tensorflow-datasets", "h5py": "keras", "markupsafe": "jinja2"}
# In a process of its own: setuptools changes the process that it runs in.
PROGRAM = """
import json, os, sys
import setuptools  # first: it brings the distutils that Python has no more
from distutils.core import run_setup
sys.stdout, printed = sys.stderr, sys.stdout
setup = run_setup("setup.py", stop_after="init")
command = setup.get_command_obj("build_py")
command.ensure_finalized()
print(json.dumps({
    "files": [os.path.relpath(path) for path in command.get_output_mapping().values()],
    "requires": setup.install_requires,
    "extras": setup.extras_require,
    "version": setup.get_version(),
    "description": setup.get_long_description(),
}), file=printed)
"""
MEBIBYTES_OF_INDEX = 100  # the largest file that the Python Package Index takes unasked


@pytest.fixture(scope="module")
def setup():
    """What ``setup.py`` says."""
    process = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_every_file_is_installed(setup):
    files = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert len(files) > 150
    assert set(setup["files"]) == files


def test_one_version(setup):
    assert setup["version"] == cz.__version__
    assert f"\nversion: {cz.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == cz.__version__


def test_the_description_names_no_files(setup):
    text = setup["description"]
    assert len(text) > 1000
    code = re.compile(r"```.*?```", re.DOTALL)
    targets = re.findall(r"\]\(([^)]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", code.sub("", text))
    found = {"".join(target) for target in targets}
    assert not {target for target in found if not target.startswith(("https://", "http://", "#"))}


def test_every_library_is_required(setup):
    graph = grimp.build_graph("codec_zoo", include_external_packages=True, cache_dir=None)
    libraries = {name for name in graph.modules if not name.startswith("codec_zoo")} - sys.stdlib_module_names
    names = [*setup["requires"], *(name for extra in setup["extras"].values() for name in extra)]
    required = {re.split(r"[\[<>=! ;]", name)[0].lower() for name in names}
    known = packages_distributions()
    missing = {
        library
        for library in libraries - OPTIONAL
        if BROUGHT.get(library) not in required
        and not {name.lower() for name in known.get(library, [library])} & required
    }
    assert not missing


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The source distribution of the files that git has, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("distributions")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "checkout" / name)
    build = "from setuptools import build_meta; build_meta.build_sdist('../dist')"
    subprocess.run([sys.executable, "-c", build], cwd=folder / "checkout", check=True, capture_output=True)
    (source,) = (folder / "dist").glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    build = "from setuptools import build_meta; build_meta.build_wheel('../dist')"
    unpacked = folder / source.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-c", build], cwd=unpacked, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return folder, source, wheel


@pytest.mark.slow
def test_the_distributions_are_whole(distributions):
    folder, source, wheel = distributions
    for path in (source, wheel):
        assert path.stat().st_size < MEBIBYTES_OF_INDEX * 2**20, f"{path.name}: {path.stat().st_size:,} bytes"
    unpacked = folder / source.name.removesuffix(".tar.gz")
    left_out = {
        path.relative_to(folder / "checkout").parts[0]
        for path in (folder / "checkout").rglob("*")
        if path.is_file() and not (unpacked / path.relative_to(folder / "checkout")).exists()
    }
    assert left_out <= {".ci", ".gitignore", "codec_zoo.egg-info", "tensorboard_logs"}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".weights.h5") for name in names) > 30
    assert not [
        name for name in names if not name.startswith(("codec_zoo/", f"codec_zoo-{cz.__version__}.dist-info/"))
    ]


@pytest.mark.slow
def test_the_wheel_works_without_a_checkout(distributions, tmp_path, photo, monkeypatch):
    """From the wheel: the commands and the three lines of Python. The libraries are those of this environment."""
    _, _, wheel = distributions
    monkeypatch.chdir(tmp_path)
    venv.create("environment", with_pip=True)
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    paths = {"base": str(tmp_path / "environment"), "platbase": str(tmp_path / "environment")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    # A folder in a .pth file lends its packages, and not the editable installation of this one in its own .pth files.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    environment = {**os.environ, "CODEC_ZOO_CACHE": str(tmp_path / "cache")}

    def run(*arguments):
        process = subprocess.run(
            [python, "-P", *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    def command(*arguments):
        return run(python.with_name("codec-zoo"), *arguments)

    (tmp_path / "photos").mkdir()
    for i in range(3):
        write_image(tmp_path / "photos" / f"{i}.png", photo[64 * i : 64 * i + 128, :160])
    program = """
import codec_zoo, sys
data = codec_zoo.compress(sys.argv[1])
print(codec_zoo.__file__, codec_zoo.__version__, codec_zoo.decompress(data).shape)
"""
    said = run("-c", program, "photos/0.png")
    assert said.startswith(str(tmp_path / "environment")) and f"{cz.__version__} (128, 160, 3)" in said
    command("compress", "photos/0.png", "-o", "photo.czoo")
    command("decompress", "photo.czoo", "-o", "photo.png")
    assert psnr(read_image("photos/0.png"), np.asarray(read_image("photo.png"))) > 25
    command("export", "jia2019-sae-mse-base", "exported")
    command("serve-config", "serving", "jia2019-sae-mse-base")
    assert (tmp_path / "serving" / "models.config").exists()
    steps = ("--steps", 2, "--evaluate-every", 2, "--patch-size", 64, "--batch-size", 2)
    command("train", "jia2019-sae-mse-base", "--data", "photos", "--logs", "logs", "--run", "a", *steps)
    assert list((tmp_path / "logs").rglob("best.weights.h5"))
