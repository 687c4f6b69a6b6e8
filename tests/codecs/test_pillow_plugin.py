"""Pillow opens and saves ``.czoo`` files after ``codec_zoo.register_pillow()``."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import codec_zoo as cz
from codec_zoo.errors import ImageError, UsageError
from codec_zoo.presets import DEFAULT_PRESET

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PRESET = "jia2019-sae-mse-base"


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    """The plug-in, registered twice, and a cache; Pillow is as before afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEC_ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        Image.init()
        for name in ("OPEN", "SAVE", "EXTENSION", "MIME"):
            patch.setattr(Image, name, dict(getattr(Image, name)))
        patch.setattr(Image, "ID", list(Image.ID))
        cz.register_pillow()
        cz.register_pillow()
        yield


@pytest.fixture(scope="module")
def crop(photo):
    return np.ascontiguousarray(photo[:96, :128])


def test_there_and_back(crop, tmp_path):
    path = tmp_path / "photo.czoo"
    Image.fromarray(crop).save(path, model=PRESET, tile=64)
    assert path.read_bytes() == cz.compress(crop, PRESET, tile=64)
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("CZOO", "RGB", (128, 96))
        assert image.get_format_mimetype() == "image/x-czoo"
        assert image.info == {"model": PRESET, "layers": 1, "missing_layers": 0}
        assert np.array_equal(np.asarray(image), cz.decompress(path))
        image.save(tmp_path / "photo.png")
        image.save(tmp_path / "smaller.czoo", quality=45)
    assert cz.open(tmp_path / "smaller.czoo").model == DEFAULT_PRESET
    assert np.array_equal(np.asarray(Image.open(tmp_path / "photo.png")), cz.decompress(path))


def test_gray_and_streams(crop):
    file = io.BytesIO()
    Image.fromarray(crop).convert("L").save(file, "CZOO")
    image = Image.open(file)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), cz.decompress(file.getvalue()))
    assert Image.open(file).resize((8, 8)).size == (8, 8)


def test_a_cut_file(crop):
    data = (GOLDEN / "hybrid.czoo").read_bytes()
    assert Image.open(io.BytesIO(data[:-1])).info["missing_layers"] == 1


def test_the_header_needs_no_model():
    program = f"""
import sys
import codec_zoo
from PIL import Image
codec_zoo.register_pillow()
for name in ("hybrid", "layered", "filter"):
    with Image.open({str(GOLDEN)!r} + f"/{{name}}.czoo") as image:
        print(image.size)
        image.verify()
loaded = {{"jax", "keras", "numba", "tensorflow", "torch"}} & sys.modules.keys()
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_damaged_file(tmp_path):
    data = bytearray((GOLDEN / "hybrid.czoo").read_bytes())
    data[-1] ^= 1
    path = tmp_path / "damaged.czoo"
    path.write_bytes(data)
    with pytest.raises(UnidentifiedImageError, match=r"damaged.czoo.*layer 2 of 2 is damaged"):
        Image.open(path)
    with pytest.raises(UnidentifiedImageError, match="cut inside its header"):
        Image.open(io.BytesIO(bytes(data[:20])))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"CZO"))


def test_mutants_end_in_errors_of_pillow(mutants):
    for mutant in mutants((GOLDEN / "layered.czoo").read_bytes(), 100):
        try:
            Image.open(io.BytesIO(mutant))
        except OSError as error:
            assert str(error)


def test_a_file_that_does_not_decode(monkeypatch):
    image = Image.open(GOLDEN / "filter.czoo")
    monkeypatch.setenv("CODEC_ZOO_MEMORY", "1M")
    with image, pytest.raises(OSError, match=r"cannot decode image file '.*filter.czoo': .*the limit is"):
        image.load()


def test_the_decompression_bomb_rule(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 190 * 131 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(GOLDEN / "layered.czoo")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 190 * 131 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(GOLDEN / "layered.czoo").close()


def test_what_cannot_be_saved(crop, tmp_path):
    path = tmp_path / "photo.czoo"
    image = Image.fromarray(crop)
    with pytest.raises(UsageError, match="--optimize is no option of any preset"):
        image.save(path, optimize=True)
    image.putalpha(128)
    with pytest.raises(ImageError, match="transparent"):
        image.save(path)
    assert not path.exists()
    image.save(path, background="white")
    assert cz.open(path).channels == 3
