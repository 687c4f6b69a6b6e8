"""YCbCr in integers: the definition, the way back, the same on tensors."""

import numpy as np
from keras import ops

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb

RANDOM = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_it_is_jpegs_ycbcr():
    """ITU-T T.871, §7."""
    red, green, blue = np.moveaxis(RANDOM.astype(np.float64), -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = np.stack([y, (blue - y) / 1.772 + 128, (red - y) / 1.402 + 128], axis=-1)
    assert np.abs(rgb_to_ycbcr(RANDOM) - expected).max() < 0.51


def test_there_and_back():
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(RANDOM)).astype(int) - RANDOM).max() <= 2
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert np.array_equal(ycbcr_to_rgb(rgb_to_ycbcr(gray)), gray)


def test_tensors_and_arrays_agree():
    for function in (rgb_to_ycbcr, ycbcr_to_rgb):
        assert np.array_equal(ops.convert_to_numpy(function(ops.convert_to_tensor(RANDOM))), function(RANDOM))
