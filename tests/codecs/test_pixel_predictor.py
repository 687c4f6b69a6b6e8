"""Lossless files of a picture's own perceptron."""

import contextlib
import tracemalloc

import numpy as np
import pytest

from codec_zoo.codecs import container, pixel_predictor
from codec_zoo.codecs.pixel_predictor import LEFT, UPPER, predict
from codec_zoo.codecs.specs import codec_for, open_codec
from codec_zoo.codecs.standard import get_codec
from codec_zoo.errors import BitstreamError, ModelError, UsageError
from codec_zoo.export.runtime import find_model, open_model
from codec_zoo.export.tables import hash_tables

NAME = "report2017-mlp"


def degenerate_pictures():
    """Fifty pictures of all kinds of sizes, flat ones, ramps, noise, and extremes."""
    random = np.random.default_rng(7)
    sizes = [(1, 1), (1, 9), (9, 1), (1, 300), (300, 1), (2, 2), (5, 6), (6, 5), (17, 33), (40, 64)]
    for number, (height, width) in enumerate(sizes):
        channels = 1 if number % 2 else 3
        shape = (height, width, channels)
        ramp = np.arange(height * width).reshape(height, width, 1) * 7 % 256
        yield np.full(shape, 0 if number % 3 else 255, np.uint8)
        yield random.integers(0, 256, shape, np.uint8)
        yield random.choice(np.array([0, 255], np.uint8), shape)
        yield np.broadcast_to(ramp, shape).astype(np.uint8)
        yield np.clip(random.normal(ramp, 3, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("coding", ["range", "huffman"])
def test_every_picture_comes_back(coding):
    """To the last bit, whatever it is."""
    codec = open_codec(f"{NAME},coding={coding}")
    pictures = list(degenerate_pictures())
    assert len(pictures) == 50
    for picture in pictures:
        assert np.array_equal(codec.decode(codec.encode(picture)), picture), picture.shape


def test_photograph_is_smaller_than_png(photo):
    """And Huffman's file is larger than the range coder's; large enough to pay for the weights in both."""
    photo, sizes = photo[:320, :320], {}
    for spec in (NAME, f"{NAME},coding=huffman"):
        data = open_codec(spec).encode(photo)
        assert np.array_equal(open_codec(spec).decode(data), photo)
        assert container.read(data).layers[0].payload[1] > 0  # weights
        sizes[spec] = len(data)
    assert sizes[NAME] < sizes[f"{NAME},coding=huffman"] < len(get_codec("png").encode(photo))


def test_file_does_not_depend_on_what_was_coded_before(photo):
    codec = open_codec(NAME)
    first = codec.encode(photo[:160, :160])
    codec.encode(photo[160:320, :160])
    assert codec.encode(photo[:160, :160]) == first


def test_prediction_is_exact_in_any_order():
    """Sums of whole numbers in float64: shuffled neighbours give the same prediction, one by one too."""
    random = np.random.default_rng(0)
    known = random.integers(0, 511, (500, 60)).astype(np.float64)
    weights = [random.integers(-4000, 4000, s).astype(np.float64) for s in ((60, 16), 16, (16, 8), 8, (8, 1), 1)]
    expected = predict(known, weights, 511)
    assert np.array_equal(np.concatenate([predict(row[None], weights, 511) for row in known]), expected)
    order = random.permutation(60)
    order[[LEFT, np.flatnonzero(order == LEFT)[0]]] = (
        LEFT,
        order[LEFT],
    )
    order[[UPPER, np.flatnonzero(order == UPPER)[0]]] = (
        UPPER,
        order[UPPER],
    )
    shuffled = [weights[0][order], *weights[1:]]
    assert np.array_equal(predict(known[:, order], shuffled, 511), expected)


def test_learning_beats_the_linear_predictor_and_the_neighbours(photo):
    """Each step of the method is worth its bits: entropy of the errors falls."""
    plane = photo[..., 1].astype(np.int32)
    padded = pixel_predictor._pad(plane, 256)

    def energy(weights):
        return np.mean(np.abs(plane - pixel_predictor.predict_all(padded, weights, 256)))

    (learned,) = pixel_predictor.learn([plane], NAME)
    assert energy(learned) < 0.95 * energy(None)


def test_weights_come_back():
    """Of any size, in as few bits as they need."""
    preset = open_model(NAME).preset
    random = np.random.default_rng(1)
    shapes = ((60, 16), 16, (16, 8), 8, (8, 1), 1)
    for largest in (1, 2, 1000, 2**24):
        weights = [random.integers(-largest, largest, s).astype(np.float64) for s in shapes]
        data = pixel_predictor._pack_weights(weights)
        from codec_zoo.presets import get_preset

        got, used = pixel_predictor._unpack_weights(data + b"more", get_preset(preset))
        assert used == len(data)
        assert all(np.array_equal(a, b) for a, b in zip(got, weights, strict=True))


def test_tables_are_what_they_were():
    """A table that changes makes files of before undecodable."""
    tables = pixel_predictor.tables()
    starts = np.flatnonzero(tables.cdf == -16)
    assert len(starts) == len(tables.offset) == pixel_predictor.SCALES
    for row in np.split(tables.cdf, starts[1:]):
        assert row[1] == 0 and row[-1] == 2**16 and (np.diff(row[1:]) > 0).all()
    assert hash_tables({"errors": tables}).hex().startswith("fc0d149f5e24a047")


def test_layers_are_planes(photo):
    """Cut behind luma, a colour file decodes as gray; its luma is that of YCoCg."""
    data = open_codec(NAME).encode(photo[:32, :40])
    stream = container.read(container.truncate(data, 1))
    gray = codec_for(find_model(stream)).decode_layers(stream, 1)
    luma = pixel_predictor.rgb_to_ycocg(photo[:32, :40])[..., 0]
    assert np.array_equal(gray, np.repeat(luma[..., None], 3, axis=2))


def test_damage_is_named(photo):
    """Payloads that no encoder makes: one clear error each, never a crash."""
    random = np.random.default_rng(3)
    for coding in ("range", "huffman"):
        codec = open_codec(f"{NAME},coding={coding}")
        data = codec.encode(photo[:24, :24])
        stream = container.read(data)
        head = (open_model(NAME).card["preset"], open_model(NAME).card["weights_sha256"])
        for _ in range(40):
            layers = [bytearray(layer.payload) for layer in stream.layers]
            payload = layers[random.integers(3)]
            payload[random.integers(len(payload))] = random.integers(256)
            del payload[int(random.integers(len(payload) // 2, len(payload) + 1)) :]
            damaged = container.write(
                *head, 24, 24, 3, [container.Layer(container.LayerKind.PLANE, bytes(p)) for p in layers]
            )
            with contextlib.suppress(BitstreamError):
                assert codec.decode(damaged).shape == (24, 24, 3)


def test_wrong_use_is_named():
    """There is nothing to train, and no such coding."""
    with pytest.raises(UsageError, match="range or huffman"):
        open_codec(f"{NAME},coding=lzw")
    with pytest.raises(UsageError, match="nothing to train"):
        from codec_zoo import weights

        weights.entry(NAME)
    with pytest.raises(ModelError, match="no trained preset"):
        find_model(container.read(container.write("other", "00" * 32, 1, 1, 1, [container.Layer(6, b"x")])))


def test_huffman_matches_the_library():
    """The string is a canonical Huffman code, no longer than entropy + 1 bit a value."""
    errors = np.random.default_rng(0).geometric(0.3, (50, 60)).astype(np.int32) - 1
    data = pixel_predictor._encode_huffman(errors)
    values = pixel_predictor._HuffmanErrors(data, 50, 60)
    y, x = np.mgrid[:50, :60]
    assert np.array_equal(values.take(y, x), errors)
    _, counts = np.unique(errors, return_counts=True)
    entropy = -np.sum(counts * np.log2(counts / errors.size)) / errors.size
    assert entropy <= int.from_bytes(data[:4], "big") / errors.size < entropy + 0.1


def test_coding_a_plane_takes_few_bytes_a_pixel():
    """Parts of it come into decoding order, one after the other; all at once took 150 bytes a pixel."""
    errors = np.clip(np.random.default_rng(0).laplace(0, 4, (1200, 2000)), -255, 255).astype(np.int16)
    pixel_predictor._encode_range(errors[:9, :9])
    tracemalloc.start()
    try:
        pixel_predictor._encode_range(errors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * errors.size
