"""A model in somebody else's package trains, lists, exports, compresses, decompresses and evaluates like ours.

``docs/own-model.md`` tells how; its model is this package, ``tests/data/example_package``.
"""

import json
import os
import re
import site
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from codec_zoo import presets
from codec_zoo.cli import main as cli_module
from codec_zoo.codecs import container
from codec_zoo.codecs.specs import codec_for
from codec_zoo.errors import ModelError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.server import Server, find_served
from codec_zoo.metrics import psnr

PACKAGE = Path(__file__).parent / "data" / "example_package"
MODULE, NAME = "example_codec", "example-mean-scale"
QUALIFIED = f"{MODULE}:{NAME}"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
TRAIN = ("--steps", 4, "--evaluate-every", 2, "--patch-size", 32, "--batch-size", 2, "--run", "a")


@pytest.fixture
def photos(tmp_path, kodak_paths):
    """A folder of training pictures and held-out ones, parts of Kodak's."""
    for i, path in enumerate(kodak_paths[:3]):
        target = tmp_path / "photos" / ("val" if i == 2 else "train") / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((200, 100, 400, 280)).save(target)
    return tmp_path / "photos"


def walk(codec_zoo, preset, photos, folder):
    """The whole way of a model by the command line.

    Args:
        codec_zoo: runs a command, gives its standard output.
        preset: its name as users write it.
        photos: pictures to train on and to code.
        folder: for all that is written.

    Returns:
        A coded file, and the folder of the export that coded it.
    """
    codec_zoo("train", preset, "--data", photos, "--logs", folder / "logs", *TRAIN)
    run = folder / "logs" / NAME / "a"
    assert json.loads((run / "run.json").read_text())["step"] == 4
    codec_zoo("export", preset, folder / "exports", "--from-run", run, "--no-verify")
    model, photo = folder / "exports" / NAME, photos / "val" / "2.png"
    codec_zoo("compress", photo, "-o", folder / "by_folder.czoo", "--model", model)

    assert "are in " in codec_zoo("publish", run)
    (row,) = (row for row in rows(codec_zoo("list", "--json")) if row["preset"] == NAME)
    assert row["trained"] and row["trained_steps"] in (2, 4)
    done = rows(codec_zoo("compress", photo, "-o", folder / "a.czoo", "--model", preset, "--json"))[0]
    assert done["bytes"] == (folder / "a.czoo").stat().st_size > 40
    codec_zoo("decompress", folder / "a.czoo", "-o", folder / "a.png")  # the model is in the cache
    assert np.isclose(psnr(np.asarray(Image.open(photo)), np.asarray(Image.open(folder / "a.png"))), done["psnr"])
    specs = [QUALIFIED, f"{QUALIFIED},tile=64"]
    points = rows(codec_zoo("evaluate", *specs, "--pictures", photo.parent, "--workers", 1, "--json"))
    assert [point["codec"] for point in points] == specs
    for point, tolerance in zip(points, (1e-6, 1e-3), strict=True):  # in tiles float sums come out otherwise
        assert np.isclose(point["bpp"], done["bpp"], tolerance) and np.isclose(point["psnr"], done["psnr"], tolerance)
    return folder / "by_folder.czoo", model


def check_served(file, model):
    """Where the package is not installed, a server's model is found by its name there."""
    server, stream = LocalServer(model), container.read(file.read_bytes())
    served = find_served(server, stream, QUALIFIED)
    shown, here = (codec_for(found).decode(file.read_bytes()) for found in (served, open_model(str(model))))
    assert np.array_equal(shown, here)
    with pytest.raises(ModelError, match="Name the server's model that did: --model"):
        find_served(server, stream)


class LocalServer(Server):
    """A server of one model, without a network."""

    def __init__(self, model):
        super().__init__("nowhere:1", 60)
        self.model = open_model(str(model))

    def _states(self, model, seconds):
        assert model == NAME
        return {1: "AVAILABLE"}

    def _predict(self, model, version, signature, inputs, seconds):
        assert model == NAME
        return self.model.run(signature, **inputs)


def rows(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    open_model.cache_clear()

    def run(*arguments):
        result = CliRunner().invoke(cli_module.cli, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.mark.parametrize(
    ("preset", "package"), [(NAME, PROJECT["name"]), pytest.param(QUALIFIED, None, marks=pytest.mark.slow)]
)
def test_a_package_of_another_house(package_site, in_process, photos, tmp_path, preset, package):
    """Installed, and on the PYTHONPATH alone; then its files decode where there is nothing of it but the export."""
    package_site(MODULE, (PACKAGE / f"{MODULE}.py").read_text(), package)
    listed = NAME in in_process("list", "--all", "--json")
    assert listed == bool(package)
    file, model = walk(in_process, preset, photos, tmp_path)
    (row,) = (row for row in rows(in_process("list", "--json")) if row["preset"] == NAME)
    assert row["package"] == (package or MODULE)

    decoded = tmp_path / "with.png", tmp_path / "without.png"
    in_process("decompress", file, "-o", decoded[0], "--model", model)
    package_site.remove()
    assert not presets.find_preset(NAME)
    check_served(file, model)
    in_process("decompress", file, "-o", decoded[1], "--model", model)
    assert decoded[0].read_bytes() == decoded[1].read_bytes()
    in_process("decompress", tmp_path / "a.czoo", "-o", tmp_path / "cached.png")  # its model is in the cache still


def test_the_entry_point_is_of_the_group():
    assert PROJECT["entry-points"] == {presets.GROUP: {PROJECT["name"]: MODULE}}


def test_the_page_quotes_the_example():
    page = (Path(__file__).parents[1] / "docs" / "own-model.md").read_text()
    quoted = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    assert len(quoted) >= 4
    files = [path.read_text() for path in (PACKAGE / f"{MODULE}.py", PACKAGE / "pyproject.toml")]
    for block in quoted:
        assert any(textwrap.indent(block, margin) in text for text in files for margin in ("", "    ")), block


@pytest.mark.slow
def test_it_is_really_installed(photos, tmp_path):
    """By pip, in an environment of its own that sees this one's packages; then removed."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    ask = "import site; print(site.getsitepackages()[0])"
    own = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    others = [path for path in [*site.getsitepackages(), *sys.path] if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(others)]
    (Path(own) / "others.pth").write_text("\n".join(lines) + "\n")

    def pip(*arguments):
        subprocess.run([python, "-m", "pip", "-q", *arguments], check=True, cwd=tmp_path)

    def codec_zoo(*arguments):
        command = [python, "-m", "codec_zoo.cli.main", *map(str, arguments)]
        variables = os.environ | {"CODEC_ZOO_CACHE": str(tmp_path / "cache")}
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables)
        assert process.returncode == 0, process.stderr
        return process.stdout

    source = tmp_path / "source"
    source.mkdir()
    for path in PACKAGE.glob("*.*"):
        (source / path.name).write_bytes(path.read_bytes())
    pip("install", "--no-deps", "--no-build-isolation", source)
    (row,) = (row for row in rows(codec_zoo("list", "--all", "--json")) if row["preset"] == NAME)
    assert (row["package"], row["trained"]) == (PROJECT["name"], False)
    file, model = walk(codec_zoo, NAME, photos, tmp_path)
    both = photos / "train"
    codec_zoo("compress", both, "-o", tmp_path / "coded", "--model", QUALIFIED, "--workers", 2)
    codec_zoo("decompress", tmp_path / "coded", "-o", tmp_path / "decoded", "--workers", 2)
    assert len(list((tmp_path / "decoded").iterdir())) == 2

    pip("uninstall", "--yes", PROJECT["name"])
    assert NAME not in codec_zoo("list", "--all", "--json")
    codec_zoo("decompress", file, "-o", tmp_path / "without.png", "--model", model)
