"""The luma filter: the paper's layers, where it starts, that it learns."""

import itertools

import keras
import numpy as np
import pytest

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb
from codec_zoo.convolutions import policy
from codec_zoo.models.hu2018 import (
    CORRECTIONS,
    FILTER_STEPS,
    FILTER_UNIT,
    LumaFilter,
    best_strengths,
    mix,
)
from codec_zoo.presets import get_preset


@pytest.fixture
def model():
    return get_preset("hu2018-filter-svac-q48").create()


def test_the_papers_layers(model):
    """§3.1 and 3.2: eleven layers, 80 channels concatenated; then what is beyond the paper."""
    kernels = [tuple(w.shape) for w in model.weights if len(w.shape) == 4]
    features = (1, 16, 14, 12, 11, 10, 9, 8)
    expected = [(3, 3, a, b) for a, b in itertools.pairwise(features)]
    expected += [(1, 1, 80, 24), (1, 1, 80, 8), (3, 3, 8, 8), (1, 1, 32, 1)]
    assert kernels == [*expected, (1, 1, 32, CORRECTIONS)] and len(expected) == 11


def test_it_starts_as_the_codecs_picture(model, noise):
    picture = noise(9, 13)
    ycbcr, coded = rgb_to_ycbcr(picture), model.encode(picture[None])
    got = keras.ops.convert_to_numpy(model.decode(**coded)["images"])[0]
    assert np.array_equal(got, ycbcr_to_rgb(ycbcr))


def test_strengths_mix_the_changes(model, noise):
    """Zeros are the codec's picture; what is shown else is luma with the changes at their strengths, rounded."""
    model.last.kernel.assign(keras.random.normal(model.last.kernel.shape, 0, 1, seed=1))
    strengths = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0.5, -0.25, 1.5, 0]], np.float32)
    ycbcr = np.repeat(rgb_to_ycbcr(noise(24, 24))[None], len(strengths), axis=0)
    ycbcr[..., 0], ycbcr[..., 1:] = 60 + ycbcr[..., 0] // 4, 128
    shown = keras.ops.convert_to_numpy(model.decode(ycbcr, strengths)["images"]).astype(float)[..., 1]
    changes = keras.ops.convert_to_numpy(model(ycbcr))
    exported = (keras.ops.convert_to_numpy(model.changes(ycbcr)["changes"]).astype(float) - 128) / FILTER_STEPS
    assert np.abs(exported - np.clip(changes, -16, 127 / 8)).max() <= 1 / 16
    expected = np.clip(ycbcr[..., 0] + np.einsum("nhwk,nk->nhw", changes, strengths), 0, 255)
    assert np.array_equal(shown[0], ycbcr[0, ..., 0]) and np.abs(shown - expected).max() <= 0.51
    assert len({picture.tobytes() for picture in shown}) == len(strengths)


def test_the_best_strengths():
    """Those that made what is missing are found, to a step of a signed byte; alike or empty changes do no harm."""
    random = np.random.default_rng(0)
    changes = random.normal(size=(2, 40, 40, 4)).astype(np.float32)
    strengths = np.array([[1, 0.5, -0.25, 0], [-1.5, 0, 0.125, 9]], np.float32)
    missing = keras.ops.convert_to_numpy(mix(changes, strengths))
    found = keras.ops.convert_to_numpy(best_strengths(changes, missing))
    assert np.array_equal(found[0], strengths[0]) and np.array_equal(found[1, :3], strengths[1, :3])
    assert found[1, 3] == 127 / FILTER_UNIT
    changes[..., 1], changes[..., 2] = changes[..., 0], 0
    missing = 1.5 * changes[..., :1]
    again = keras.ops.convert_to_numpy(best_strengths(changes, missing))
    assert np.allclose(again[:, 0] + again[:, 1], 1.5, atol=1 / FILTER_UNIT) and np.abs(again).max() <= 1.5
    assert not keras.ops.convert_to_numpy(best_strengths(np.zeros_like(changes), missing)).any()


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_dormant_channels_get_new_weights(precision):
    """Their weights are new, the others' stay, and the picture that the filter makes hardly changes."""
    keras.mixed_precision.set_dtype_policy(policy(precision))
    try:
        model = get_preset("hu2018-filter-svac-q48").create()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    random = np.random.default_rng(0)
    model.last.kernel.assign(random.normal(0, 0.05, model.last.kernel.shape))
    layer = model.features[4]
    kernel, bias = (keras.ops.convert_to_numpy(value).copy() for value in (layer.kernel, layer.bias))
    bias[[2, 7]] = -100  # never fires
    layer.bias.assign(bias)
    smooth = np.kron(random.integers(0, 256, (6, 5, 5, 1)), np.ones((1, 8, 8, 2)))
    pairs = np.clip(smooth + random.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)
    before = keras.ops.convert_to_numpy(model(pairs))
    dormant = model.reset_dormant_channels(pairs)
    assert dormant >= 2
    after, biases = (keras.ops.convert_to_numpy(value) for value in (layer.kernel, layer.bias))
    assert (after[..., [2, 7]] != kernel[..., [2, 7]]).all() and (biases[[2, 7]] > -100).all()
    assert np.count_nonzero(biases) < len(biases)  # those alone get a bias
    change = keras.ops.convert_to_numpy(model(pairs)) - before
    assert np.abs(change).mean() < 0.2 * np.abs(before).mean()
    assert model.reset_dormant_channels(pairs) < dormant


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = LumaFilter()
    random = np.random.default_rng(0)
    true = np.kron(random.integers(0, 256, (8, 6, 6, 1)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    pairs = np.concatenate([np.clip(true + random.integers(-9, 10, true.shape), 0, 255), true], axis=-1)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    losses = [float(model.train_on_batch(pairs.astype(np.uint8))) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
