"""What happens to each kind of picture file: the table in codec_zoo.harness.images."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from codec_zoo.errors import ImageError
from codec_zoo.harness.images import as_rgb, read_image, write_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture
def saved(tmp_path):
    def save(image, name="picture.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        notices = []
        return read_image(path, notices.append), notices

    return save


def test_rgb_and_gray(saved):
    assert np.array_equal(saved(Image.fromarray(RGB))[0], RGB)
    gray, notices = saved(Image.fromarray(RGB[..., 0]))
    assert np.array_equal(gray, RGB[..., :1]) and not notices


def test_one_bit_and_palette(saved):
    bits, _ = saved(Image.fromarray(RGB[..., 0] > 127))
    assert np.array_equal(bits[..., 0], np.where(RGB[..., 0] > 127, 255, 0))
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(saved(palette)[0], np.asarray(palette.convert("RGB")))


def test_16_bits_are_reduced_and_said(saved):
    deep = (RGB[..., 0].astype(np.uint16) * 257).astype(np.uint16)
    reduced, notices = saved(Image.fromarray(deep))
    assert np.array_equal(reduced[..., 0], RGB[..., 0]) and "16 bits" in notices[0]


def test_16_bit_rgb_is_reduced_and_said(tmp_path):
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 257))
    notices = []
    assert np.array_equal(read_image(tmp_path / "deep.png", notices.append), RGB) and "16 bits" in notices[0]


def test_cmyk_is_converted_and_said(saved):
    image, notices = saved(Image.fromarray(RGB).convert("CMYK"), "picture.tif")
    assert image.shape == RGB.shape and "CMYK" in notices[0]


def test_exif_rotation_is_applied(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to view
    turned, _ = saved(Image.fromarray(RGB), exif=exif)
    assert np.array_equal(turned, np.rot90(RGB, -1))


def test_opaque_alpha_is_dropped_and_transparency_refused(saved):
    opaque = np.dstack([RGB, np.full((6, 9, 1), 255, np.uint8)])
    assert np.array_equal(saved(Image.fromarray(opaque))[0], RGB)
    opaque[2, 3, 3] = 254
    with pytest.raises(ImageError, match="transparent"):
        saved(Image.fromarray(opaque))
    gray = np.dstack([RGB[..., 0], np.zeros((6, 9), np.uint8)])
    with pytest.raises(ImageError, match="transparent"):
        saved(Image.fromarray(gray))


def test_several_frames_are_refused(saved):
    image = Image.fromarray(RGB)
    with pytest.raises(ImageError, match="2 frames"):
        saved(image, "moving.gif", save_all=True, append_images=[Image.fromarray(255 - RGB)])


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_not_pictures(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageError, match="not a picture"):
        read_image(tmp_path / "x.png")


def test_cut_pictures_and_missing_files(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)
    with pytest.raises(ImageError, match="no file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)


@pytest.mark.parametrize(("side", "words"), [(20000, "out of range"), (99999, "too large")])
def test_claims_of_huge_pictures_are_refused(tmp_path, side, words):
    (tmp_path / "huge.ppm").write_bytes(f"P6\n{side} {side}\n255\n".encode())
    with pytest.raises(ImageError, match=words):
        read_image(tmp_path / "huge.ppm")


@pytest.mark.parametrize("name", ["a.png", "a.pnm", "a.tif", "a.bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_written_pictures_are_lossless(tmp_path, name, channels):
    write_image(tmp_path / name, RGB[..., :channels])
    assert np.array_equal(read_image(tmp_path / name), RGB[..., :channels])


def test_lossy_output_is_refused(tmp_path):
    with pytest.raises(ImageError, match="written as"):
        write_image(tmp_path / "a.jpg", RGB)
    assert not list(tmp_path.iterdir())


def test_as_rgb():
    assert as_rgb(RGB[..., :1]).shape == RGB.shape
    for bad in (RGB[..., 0], RGB[..., :2], RGB.astype(float)):
        with pytest.raises(ImageError):
            as_rgb(bad)
