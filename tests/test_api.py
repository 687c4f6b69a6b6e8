"""``import codec_zoo``: pictures to bytes and back in Python."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec_zoo as cz
from codec_zoo.codecs import container
from codec_zoo.codecs.images import write_image
from codec_zoo.errors import BitstreamError, ImageError, MissingPackageError, ModelError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.presets import DEFAULT_PRESET

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
    assert cz.open(data).model == DEFAULT_PRESET
    assert "port.cc" not in capfd.readouterr().err


def test_the_codec_options(crop):
    data = cz.compress(crop, LAYERED, layers=1, tile=64)
    assert cz.open(data).model == LAYERED
    small, large = (cz.compress(crop, quality=quality) for quality in (45, 20))
    assert len(small) < len(large)
    assert cz.compress(crop, quality=None, search=None) == cz.compress(crop)
    with pytest.raises(UsageError, match="--quality is for"):
        cz.compress(crop, LAYERED, quality=3)
    with pytest.raises(UsageError, match="--nonsense is no option of any preset"):
        cz.compress(crop, nonsense=1)
    with pytest.raises(UsageError, match="Close to it: jia2019"):
        cz.compress(crop, "jia2019-sae")
    with pytest.raises(ModelError, match="no trained weights"):
        cz.compress(crop, "jia2019-sae-ms-ssim-e3")


def test_targets(crop, capfd):
    data = cz.compress(crop, target_bpp=1.0)
    assert cz.open(data).bits_per_pixel <= 1.0
    assert not capfd.readouterr().err
    cz.compress(crop, target_bpp=0.001)
    assert "the picture: --target-bpp 0.001 is missed" in capfd.readouterr().err
    cz.compress(crop, target_psnr=99)
    assert "the picture: --target-psnr 99 is missed" in capfd.readouterr().err
    with pytest.raises(UsageError, match="give one of them"):
        cz.compress(crop, target_psnr=30, target_bpp=1)


def test_layers_and_cut_files():
    data = (GOLDEN / "layered.czoo").read_bytes()
    layers = len(cz.open(data).layers)
    assert layers > 1 and cz.open(data).missing_layers == 0
    cut = data[:-1]
    assert (len(cz.open(cut).layers), cz.open(cut).missing_layers) == (layers - 1, 1)


def test_one_layer_of_a_file(crop, capfd):
    data = cz.compress(crop, "fu2019-hybrid-s16-prelu")
    base = cz.decompress(data, layers=1)
    assert np.abs(base.astype(int) - crop).mean() > np.abs(cz.decompress(data).astype(int) - crop).mean()
    capfd.readouterr()
    assert np.array_equal(cz.decompress(data[:-1]), base)
    assert "the file is cut: 1 of 2 layers are missing" in capfd.readouterr().err
    with pytest.raises(UsageError, match="--layers is a whole number"):
        cz.decompress(data, layers=0)


def test_a_file_without_its_model():
    layers = container.read((GOLDEN / "filter.czoo").read_bytes())
    data = container.write("nobody", "00" * 32, layers.width, layers.height, 3, layers.layers)
    assert cz.open(data).model is None
    assert cz.decompress(data, no_filter=True).shape == (layers.height, layers.width, 3)
    with pytest.raises(ModelError, match="no trained preset of this zoo coded the file"):
        cz.decompress(data)


def test_open_knows_the_header(tmp_path):
    path = GOLDEN / "hybrid.czoo"
    found = cz.open(path)
    assert found == cz.open(path.read_bytes()) == cz.open(str(path)) == cz.open(bytearray(path.read_bytes()))
    assert (found.height, found.width) == np.asarray(Image.open(path.with_suffix(".png"))).shape[:2]
    assert found.bytes == path.stat().st_size and found.version == 1 and found.channels == 3
    assert [layer.kind for layer in found.layers] == ["base", "residual"]
    assert sum(layer.bytes for layer in found.layers) < found.bytes
    assert found.bits_per_pixel == 8 * found.bytes / (found.width * found.height)
    with pytest.raises(AttributeError):
        found.width = 3  # frozen


@pytest.mark.parametrize("read", [cz.open, cz.decompress])
def test_refusals_of_files(read, tmp_path):
    data = bytearray((GOLDEN / "hybrid.czoo").read_bytes())
    data[-1] ^= 1
    path = tmp_path / "damaged.czoo"
    path.write_bytes(data)
    with pytest.raises(BitstreamError, match=r"^layer 2 of 2 is damaged"):
        read(bytes(data))
    with pytest.raises(BitstreamError, match=r"damaged.czoo: layer 2 of 2 is damaged"):
        read(path)
    with pytest.raises(BitstreamError, match=r"not a .czoo file"):
        read(b"PNG")
    with pytest.raises(UsageError, match=r"cannot read .*missing.czoo: No such file"):
        read(tmp_path / "missing.czoo")
    with pytest.raises(UsageError, match=r"its bytes or its path. Received: int"):
        read(3)


def test_a_model_is_loaded_once(crop):
    data = cz.compress(crop, LAYERED)
    codec = cz.load(LAYERED)
    cz.decompress(data)
    assert open_model.cache_info().misses == (before := open_model.cache_info().misses)
    assert cz.load(LAYERED).model is codec.model
    cz.compress(crop, LAYERED)
    cz.decompress(data)
    assert open_model.cache_info().misses == before
    assert codec.encode(crop) == data and np.array_equal(codec.decode(data), cz.decompress(data))


def test_load_takes_options_and_folders(crop, exports):
    codec = cz.load(exports / "fu2019-hybrid-s16-prelu", quality=40)
    data = codec.encode(crop)
    assert data == cz.compress(crop, exports / "fu2019-hybrid-s16-prelu", quality=40)
    assert np.array_equal(cz.decompress(data, model=exports / "fu2019-hybrid-s16-prelu"), codec.decode(data))


def test_gray_stays_gray(crop):
    gray = np.ascontiguousarray(crop[..., 1])
    data = cz.compress(gray)
    assert data == cz.compress(gray[..., None]) == cz.compress(Image.fromarray(gray))
    assert cz.open(data).channels == 1 and cz.decompress(data).shape == gray.shape


def test_refusals_of_pictures(crop, tmp_path):
    with pytest.raises(ImageError, match="uint8"):
        cz.compress(crop / 255)
    with pytest.raises(ImageError, match="uint8"):
        cz.compress(np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(ImageError, match="out of range"):
        cz.compress(np.zeros((0, 8, 3), np.uint8))
    with pytest.raises(ImageError, match="there is no file"):
        cz.compress(tmp_path / "missing.png")
    with pytest.raises(UsageError, match=r"a path, a Pillow image, or an array .* Received: bytes"):
        cz.compress(b"")


def test_transparent_pictures(crop):
    image = Image.fromarray(crop)
    image.putalpha(Image.new("L", image.size, 128))
    with pytest.raises(ImageError, match="transparent"):
        cz.compress(image)
    flat = cz.compress(image, background="white")
    assert flat == cz.compress(image, background=(255, 255, 255)) != cz.compress(crop)
    with pytest.raises(UsageError, match="no such colour"):
        cz.compress(image, background="whitish")


def test_the_memory_limit(crop, monkeypatch):
    monkeypatch.setenv("CODEC_ZOO_MEMORY", "1M")
    with pytest.raises(cz.CodecZooError, match=r"the picture: coding 128×96 pixels .* the limit is 0.00 GiB"):
        cz.compress(crop)


def test_list_presets():
    presets = {preset.name: preset for preset in cz.list_presets()}
    assert presets[LAYERED].trained and presets["report2017-mlp"].trained
    assert not presets["jia2019-sae-ms-ssim-e3"].trained
    assert presets[LAYERED].paper.year == 2019


def test_create():
    trained, fresh = cz.create(LAYERED), cz.create(LAYERED, pretrained=False)
    assert trained.count_params() == fresh.count_params()
    assert not all(np.array_equal(a, b) for a, b in zip(trained.get_weights(), fresh.get_weights(), strict=True))
    with pytest.raises(ModelError, match="no trained weights"):
        cz.create("jia2019-sae-ms-ssim-e3")


@pytest.mark.parametrize("call", ["cz.compress('p.png')", "cz.list_presets()", "cz.create('jia2019-sae-mse-base')"])
def test_without_tensorflow(call, crop, tmp_path):
    write_image(tmp_path / "p.png", crop)
    program = f"""
import sys
sys.modules["tensorflow"] = None
import codec_zoo as cz
try:
    {call}
except cz.CodecZooError as error:
    print(error)
"""
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert "pip install 'codec-zoo[tf]'" in process.stdout and "tensorflow" in process.stdout, process.stderr


def test_missing_packages_name_their_extra():
    assert "pip install 'codec-zoo[corpus]'" in str(MissingPackageError("apache_beam"))
