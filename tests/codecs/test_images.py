"""Pictures as arrays, and their files. What is read from which kind of file: tests/codecs/test_image_reader.py."""

import numpy as np
import pytest

from codec_zoo.codecs.images import as_rgb, read_image, write_image
from codec_zoo.errors import ImageError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


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
