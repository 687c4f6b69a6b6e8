"""``import codec_zoo``: pictures to bytes and back in Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec_zoo as cz
from codec_zoo.codecs.images import write_image
from codec_zoo.errors import BitstreamError, ImageError, MissingPackageError, ModelError, UsageError
from codec_zoo.export.runtime import open_model

GOLDEN = Path(__file__).parent / "data" / "golden"
LAYERED = "jia2019-sae-mse-base"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache for the exports of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEC_ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def crop(photo):
    return np.ascontiguousarray(photo[:96, :128])


def test_all_names_are_there():
    assert all(hasattr(cz, name) for name in cz.__all__)
    assert set(cz.__all__) <= set(dir(cz))
    with pytest.raises(AttributeError, match="nothing"):
        _ = cz.nothing


def test_import_brings_no_library():
    program = (
        "import sys; before = set(sys.modules); import codec_zoo; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["codec_zoo"]


def test_default_model(crop, tmp_path, capfd):
    write_image(tmp_path / "photo.png", crop)
    data = cz.compress(tmp_path / "photo.png")
    image = cz.decompress(data)
    assert image.shape == crop.shape and image.dtype == np.uint8
    assert np.abs(image.astype(int) - crop).mean() < 6
    assert cz.compress(str(tmp_path / "photo.png")) == cz.compress(crop) == cz.compress(Image.fromarray(crop)) == data
    (tmp_path / "photo.czoo").write_bytes(data)
    assert np.array_equal(cz.decompress(tmp_path / "photo.czoo"), image)
    assert cz.open(data).model == "hu2018-filter-bpg444-q34"
    assert "port.cc" not in capfd.readouterr().err
