"""The residual mappings of Fu 2019, Eq. 3 and 4."""

import numpy as np
import pytest

from codec_zoo.codecs.residual import MAPPINGS, Mapping
from codec_zoo.errors import BitstreamError


def choose(name, residual):
    return Mapping.choose(name, int(residual.min()), int(residual.max()))


ALL = np.arange(-255, 256, dtype=np.int16)


def test_shift_is_equation_3():
    assert np.array_equal(choose("shift", ALL).apply(ALL), np.rint((ALL + 255) / 2))


@pytest.mark.parametrize("name, bounds", [("clip", (-120, 120)), ("minmax", (-37, 90))])
def test_equation_4(name, bounds):
    residual = np.clip(ALL, -37, 90)
    mapping = choose(name, residual)
    low, high = bounds
    assert (mapping.low, mapping.high) == bounds
    assert np.array_equal(mapping.apply(residual), np.rint((residual - low) / (high - low) * 255))


def test_what_fits_the_range_comes_back_exactly():
    """240 or 127 levels spread over 256: nothing is lost. Shift halves: at most 1 is lost."""
    inside = ALL[(ALL >= -120) & (ALL <= 120)]
    clip = choose("clip", ALL)
    assert np.array_equal(clip.invert(clip.apply(inside)), inside)
    minmax = choose("minmax", inside // 2)
    assert np.array_equal(minmax.invert(minmax.apply(inside // 2)), inside // 2)
    shift = choose("shift", ALL)
    assert np.abs(shift.invert(shift.apply(ALL)) - ALL).max() == 1


def test_clipping():
    clip = choose("clip", ALL)
    assert np.array_equal(clip.invert(clip.apply(ALL)), np.clip(ALL, -120, 120))


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("value", [-255, 0, 255])
def test_constant_residuals(name, value):
    residual = np.full((4, 4, 3), value, np.int16)
    mapping = choose(name, residual)
    expected = np.clip(residual, mapping.low, mapping.high)
    assert np.abs(mapping.invert(mapping.apply(residual)) - expected).max() <= 1


@pytest.mark.parametrize("name", MAPPINGS)
def test_stream(name):
    mapping = choose(name, ALL[3:-7])
    data = mapping.to_bytes()
    assert Mapping.from_bytes(data + b"rest") == (mapping, b"rest")
    assert len(data) == (5 if name == "minmax" else 1)


@pytest.mark.parametrize("data", [b"", b"\x07", b"\x01\x00\x00", b"\x01\x7f\xff\x00\x00", b"\x01\x00\x05\x00\x05"])
def test_invalid_stream(data):
    with pytest.raises(BitstreamError):
        Mapping.from_bytes(data)
