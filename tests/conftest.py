"""Fixtures that several folders share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

PRESET = "fu2019-hybrid-s16-prelu"


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
    from codec_zoo.harness.exported import open_model

    return open_model(str(exports / PRESET))


@pytest.fixture(scope="session")
def kodak_paths():
    """The 24 Kodak pictures."""
    from codec_zoo.harness.evaluation import find_pictures

    return find_pictures("kodak")


@pytest.fixture(scope="session")
def photo(kodak_paths):
    """A real photograph, ``uint8 [512, 768, 3]``."""
    from codec_zoo.harness.images import read_image

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
