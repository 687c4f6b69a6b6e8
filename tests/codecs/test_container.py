"""The container: what is written is read, and nothing damaged passes."""

import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.errors import BitstreamError, ImageError
from codec_zoo.presets import preset_id

WEIGHTS = "0123456789abcdef" * 4
LAYERS = [Layer(LayerKind.BASE, b"base payload"), Layer(LayerKind.RESIDUAL, b"residual payload")]
# Written out by hand from docs/bitstream.md.
GOLDEN = bytes.fromhex("435a4f4f 01 23 4c12a7b8 01234567 000300 000200".replace("4c12a7b8", preset_id("p").hex()))


def make(layers=LAYERS, width=768, height=512, channels=3):
    return container.write("p", WEIGHTS, width, height, channels, layers)


def test_layout_is_the_documented_one():
    data = make()
    assert data[:20] == GOLDEN
    assert data[20:24] == zlib.crc32(GOLDEN).to_bytes(4, "big")
    word = (1 << 28 | len(b"base payload")).to_bytes(4, "big")
    assert data[24:28] == word
    assert data[28:32] == zlib.crc32(GOLDEN + b"\x00" + word + b"base payload").to_bytes(4, "big")
    assert data[32:44] == b"base payload"
    assert len(data) == 24 + 2 * 8 + sum(len(layer.payload) for layer in LAYERS)


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=15),
    st.integers(1, 2**12),
    st.integers(1, 2**12),
    st.sampled_from([1, 3]),
)
def test_round_trip(payloads, width, height, channels):
    layers = [Layer(LayerKind.RESIDUAL, payload) for payload in payloads]
    stream = container.read(make(layers, width, height, channels))
    assert (stream.width, stream.height, stream.channels) == (width, height, channels)
    assert list(stream.layers) == layers and stream.missing == 0
    assert stream.weights_id.hex() == WEIGHTS[:8] and stream.preset_id == preset_id("p")


def test_every_cut():
    data = make()
    for length in range(len(data)):
        if length < 24 + 8 + len(LAYERS[0].payload):
            with pytest.raises(BitstreamError, match=r"cut inside its .*Fetch the file again\.$"):
                container.read(data[:length])
        else:
            stream = container.read(data[:length])
            assert stream.layers == (LAYERS[0],) and stream.missing == 1


def test_every_flipped_bit_is_noticed():
    """A flip raises, or (in the last layer's length) shows as a missing layer; never as other content."""
    data = make()
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        try:
            stream = container.read(bytes(damaged))
        except BitstreamError:
            continue
        assert stream.layers == (LAYERS[0],) and stream.missing == 1


def test_errors_say_once_what_to_do():
    """Also those that a worker process sends."""
    for error, words in (
        (BitstreamError("it is cut"), "it is cut. Fetch the file again."),
        (BitstreamError("it is newer.", "Update."), "it is newer. Update."),
    ):
        assert str(error) == str(pickle.loads(pickle.dumps(error))) == words


def test_layers_cannot_move_between_files():
    a, b = make(), make(width=512)
    with pytest.raises(BitstreamError, match=r"checksum is wrong\)\. Fetch the file again\.$"):
        container.read(a[:24] + b[24:])
    swapped = make(LAYERS[::-1])
    first = 8 + len(LAYERS[0].payload)
    with pytest.raises(BitstreamError, match=r"checksum is wrong\)\. Fetch the file again\.$"):
        container.read(a[:24] + a[24 + first :] + a[24 : 24 + first])
    assert container.read(swapped).layers == tuple(LAYERS[::-1])


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"CZ", b"CZOO", b"CZOO\x02" + bytes(40)])
def test_foreign_files(data):
    with pytest.raises(BitstreamError):
        container.read(data)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (2**24 - 1, 2**24 - 1)])
def test_impossible_sizes(size):
    with pytest.raises(ImageError):
        make(width=size[0], height=size[1])
    # the same, in a header whose checksum is right
    head = bytearray(make()[:20])
    head[14:17], head[17:20] = size[0].to_bytes(3, "big"), size[1].to_bytes(3, "big")
    forged = bytes(head) + zlib.crc32(head).to_bytes(4, "big") + make()[24:]
    with pytest.raises(BitstreamError, match="out of range"):
        container.read(forged)


def test_random_bytes_never_pass():
    random = np.random.default_rng(0)
    for _ in range(500):
        with pytest.raises(BitstreamError):
            container.read(b"CZOO\x01" + random.bytes(int(random.integers(0, 200))))
