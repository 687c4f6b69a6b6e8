"""Strengths of a filter's changes, found for one image from exact sums."""

import keras
import numpy as np

from codec_zoo.codecs import strengths
from codec_zoo.models.hu2018 import best_strengths
from codec_zoo.stream import picture_layer

ENTRY = picture_layer("svac").entries[0]


def test_least_squares():
    """They are those that training finds in tensors; where all changes are empty they are 0."""
    random = np.random.default_rng(0)
    changes = random.integers(90, 166, (40, 50, 4)).astype(np.uint8)
    decoded = random.integers(60, 196, (40, 50)).astype(np.uint8)
    in_gray_levels = (changes.astype(np.float32) - 128) / ENTRY.steps
    luma = np.clip(decoded + in_gray_levels @ np.array([1.1, -0.3, 0.7, 1.9]), 0, 255).astype(np.uint8)
    missing = (luma.astype(np.float32) - decoded)[None, ..., None]
    expected = keras.ops.convert_to_numpy(best_strengths(in_gray_levels[None], missing))[0] * ENTRY.unit
    assert np.array_equal(strengths.least_squares(ENTRY, changes, luma, decoded), expected) and expected.all()
    assert not strengths.least_squares(ENTRY, np.full_like(changes, 128), luma, decoded).any()


def test_the_paper_has_one_change():
    assert strengths.paper(ENTRY).tolist() == [64, 0, 0, 0]
