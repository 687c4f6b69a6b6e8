"""Pairs for filters: what is in them, and that coding is done once."""

import numpy as np
import pytest

from codec_zoo.codecs.standard import get_codec
from codec_zoo.datasets import coded_pairs
from codec_zoo.datasets.coded_pairs import CROP, luma_pairs, rgb_pairs


@pytest.fixture
def images(noise):
    return [noise(40, 50), noise(CROP + 8, 33), noise(64, 64)]


def test_pairs_of_rgb(images, tmp_path, monkeypatch):
    """Decoded and true RGB of a crop, and the quality; the second time nothing is coded."""
    pairs = rgb_pairs(images, "jpeg", (20, 60), tmp_path)
    assert [pair.shape for pair in pairs] == [(40, 50, 7), (CROP, 33, 7), (64, 64, 7)]
    for image, pair in zip(images, pairs, strict=True):
        assert pair.dtype == np.uint8
        (quality,) = np.unique(pair[..., 6])
        codec = get_codec(f"jpeg:{quality}")
        assert 20 <= quality <= 60
        assert np.array_equal(pair[..., :3], codec.decode(codec.encode(np.ascontiguousarray(pair[..., 3:6]))))
        assert any(np.array_equal(image[top : top + CROP], pair[..., 3:6]) for top in range(9))
    assert len({int(pair[0, 0, 6]) for pair in pairs}) > 1

    def refuse(spec):
        raise AssertionError(spec)

    monkeypatch.setattr(coded_pairs, "get_codec", refuse)
    for before, after in zip(pairs, rgb_pairs(images, "jpeg", (20, 60), tmp_path), strict=True):
        assert np.array_equal(before, after)


def test_a_damaged_file_of_the_cache_is_made_again(images, tmp_path):
    pairs = luma_pairs(images, "jpeg-420:30", tmp_path)
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:99])
    for before, after in zip(pairs, luma_pairs(images, "jpeg-420:30", tmp_path), strict=True):
        assert np.array_equal(before, after)
