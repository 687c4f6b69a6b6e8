"""The luma filter: the paper's layers, where it starts, what a place depends on, that it learns."""

import itertools

import keras
import numpy as np
import pytest

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb
from codec_zoo.models.hu2018 import LumaFilter
from codec_zoo.presets import get_preset


@pytest.fixture
def model():
    return get_preset("hu2018-filter-svac-q48").create()


def test_the_papers_layers(model):
    """§3.1 and 3.2: eleven layers, 80 maps concatenated."""
    kernels = [tuple(w.shape) for w in model.weights if len(w.shape) == 4]
    features = (1, 16, 14, 12, 11, 10, 9, 8)
    expected = [(3, 3, a, b) for a, b in itertools.pairwise(features)]
    expected += [(1, 1, 80, 24), (1, 1, 80, 8), (3, 3, 8, 8), (1, 1, 32, 1)]
    assert kernels == expected and len(kernels) == 11


def test_it_starts_as_the_codecs_picture(model, noise):
    ycbcr = rgb_to_ycbcr(noise(9, 13))
    got = keras.ops.convert_to_numpy(model.decode(ycbcr[None])["images"])[0]
    assert np.array_equal(got, ycbcr_to_rgb(ycbcr))


def test_reach(model):
    """The tiles of large pictures rely on it."""
    reach = get_preset("hu2018-filter-svac-q48").pipeline["reach"]
    model.last.kernel.assign(keras.random.normal(model.last.kernel.shape, seed=1))
    for layer in (*model.features, model.a1, model.b1, model.b2):
        layer.bias.assign(layer.bias + 1.0)
    picture = np.zeros((1, 41, 41, 1), np.float32)
    changed = picture.copy()
    changed[0, 20, 20] = 255
    rows = np.argwhere(np.abs(np.asarray(model(picture)) - np.asarray(model(changed)))[0].max((1, 2)) > 0)
    assert rows.min() == 20 - reach and rows.max() == 20 + reach


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = LumaFilter()
    random = np.random.default_rng(0)
    true = np.kron(random.integers(0, 256, (8, 6, 6, 1)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    pairs = np.concatenate([np.clip(true + random.integers(-9, 10, true.shape), 0, 255), true], axis=-1)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    losses = [float(model.train_on_batch(pairs.astype(np.uint8))) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
