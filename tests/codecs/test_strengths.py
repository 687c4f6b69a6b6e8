"""Strengths of a filter's changes, found for one image from exact sums."""

import keras
import numpy as np

from codec_zoo.codecs import strengths
from codec_zoo.filter_layers import filtered_layer, picture_layer
from codec_zoo.models.hu2018 import best_strengths

ENTRY = picture_layer("svac").entries[0]
RGB = filtered_layer().entries[1]


def test_least_squares():
    """They are those that training finds in tensors; where all changes are empty they are 0."""
    random = np.random.default_rng(0)
    changes = random.integers(90, 166, (40, 50, 4)).astype(np.uint8)
    decoded = random.integers(60, 196, (40, 50)).astype(np.uint8)
    in_gray_levels = (changes.astype(np.float32) - 128) / ENTRY.steps
    luma = np.clip(decoded + in_gray_levels @ np.array([1.1, -0.3, 0.7, 1.9]), 0, 255).astype(np.uint8)
    planes = [np.dstack([plane, random.integers(0, 256, (40, 50, 2))]) for plane in (luma, decoded)]
    missing = (luma.astype(np.float32) - decoded)[None, ..., None]
    expected = keras.ops.convert_to_numpy(best_strengths(in_gray_levels[None], missing))[0] * ENTRY.unit
    assert np.array_equal(strengths.least_squares(ENTRY, changes, *planes), expected) and expected.all()
    assert not strengths.least_squares(ENTRY, np.full_like(changes, 128), *planes).any()


def test_least_squares_of_all_planes():
    """A change may touch several planes, and counts in all of them."""
    random = np.random.default_rng(1)
    changes = random.integers(100, 157, (40, 50, 9)).astype(np.uint8)
    decoded = random.integers(90, 166, (40, 50, 3)).astype(np.uint8)
    in_gray_levels = (changes.reshape(40, 50, 3, 3) - 128.0) / RGB.steps
    true = np.round(decoded + in_gray_levels @ np.array([1.25, -0.5, 0.75])).astype(np.uint8)
    assert strengths.least_squares(RGB, changes, true, decoded).tolist() == [80, -32, 48]


def test_the_best_are_kept():
    """Full strengths, where the filter is exact with them; none, where it does harm."""
    random = np.random.default_rng(2)
    decoded = random.integers(90, 166, (70, 50, 3)).astype(np.uint8)
    change = random.integers(-9, 10, (70, 50, 3))
    changes = np.zeros((70, 50, 3, 3), np.uint8)
    changes[:] = 128
    for plane in range(3):
        changes[:, :, plane, plane] += (4 * change[..., plane]).astype(np.uint8)

    def best(sign):
        def show(found):
            return (decoded + sign * np.round(change * np.frombuffer(found, np.int8) / 64)).astype(np.uint8)

        return strengths.best(RGB, changes.reshape(70, 50, 9), (decoded + change).astype(np.uint8), decoded, show)

    assert best(1).tolist() == [64, 64, 64] and best(-1).tolist() == [0, 0, 0]


def test_full_strengths():
    assert strengths.full(ENTRY).tolist() == [64, 0, 0, 0]
    assert strengths.full(RGB).tolist() == [64, 64, 64]
