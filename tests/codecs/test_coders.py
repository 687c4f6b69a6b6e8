"""Coders of single latents: what goes in comes out, and data of another length or size is refused."""

import numpy as np
import pytest

from codec_zoo.codecs import coders
from codec_zoo.codecs.coders import Place
from codec_zoo.codecs.payloads import Payload, join, split
from codec_zoo.errors import BitstreamError
from codec_zoo.stream import Latent, Stream, StreamLayer
from codec_zoo.stream_coders import FixedBits, LosslessImage, RangeCoder, Raw


def no_tables(name):
    raise AssertionError(name)


@pytest.mark.parametrize(
    "coder, dtype, low, high",
    [
        (Raw("uint8"), np.uint8, 0, 255),
        (Raw("int8"), np.int8, -128, 127),
        (Raw("int16"), np.int16, -32768, 32767),
        (Raw("int32"), np.int32, -(2**31), 2**31 - 1),
        (FixedBits(1), np.uint8, 0, 1),
        (FixedBits(3), np.uint8, 0, 7),
        (FixedBits(8), np.uint8, 0, 255),
        (LosslessImage("png"), np.uint8, 0, 255),
        (LosslessImage("jxl-lossless", 6), np.uint8, 0, 63),
    ],
)
@pytest.mark.parametrize("shape, block", [((8, 12, 1), 0), ((8, 12, 3), 4), ((4, 8, 5), 4), ((1, 1, 3), 0)])
def test_values_come_back(coder, dtype, low, high, shape, block):
    values = np.random.default_rng(0).integers(low, high, shape, endpoint=True).astype(dtype)
    place = Place(8 * shape[0], 8 * shape[1], shape, (1, "latent"), block)
    data = coders.encode(coder, values, place, no_tables, None)
    decoded = coders.decode(coder, data, place, no_tables, None)
    assert decoded.dtype == dtype and np.array_equal(decoded, values)
    other = Place(place.height, place.width, (shape[0], 4 * shape[1], shape[2]), (1, "latent"), block)
    with pytest.raises(BitstreamError):
        coders.decode(coder, data, other, no_tables, None)


def test_floats_come_back():
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    place = Place(16, 16, values.shape, (1, "latent"))
    data = coders.encode(Raw("float32"), values, place, no_tables, None)
    assert data[:4] == values.astype(">f4").tobytes()[:4]
    assert np.array_equal(coders.decode(Raw("float32"), data, place, no_tables, None), values)


def test_values_beyond_the_bits_are_refused():
    place = Place(16, 16, (4, 4, 3), (1, "latent"))
    data = coders.encode(LosslessImage("png"), np.full((4, 4, 3), 64, np.uint8), place, no_tables, None)
    with pytest.raises(BitstreamError, match="more than 6 bits"):
        coders.decode(LosslessImage("png", 6), data, place, no_tables, None)


def test_payloads_of_several_values():
    """Lengths stand before all values but the last."""
    latents = tuple(Latent(name, RangeCoder(name), 8, 4) for name in ("z", "first", "second"))
    layer = StreamLayer("latent", latents, "decode", checked=True)
    stream = Stream((layer,), 8)
    parts = Payload(b"CRC!", {}, b"", 0, [b"z" * 200, b"", b"rest"])
    data = join(stream, layer, parts)
    assert data == b"CRC!" + b"\xc8\x01" + b"z" * 200 + b"\0" + b"rest"
    assert split(stream, layer, data) == parts
    with pytest.raises(BitstreamError, match="cut"):
        split(stream, layer, data[:4])
