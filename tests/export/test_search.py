"""The searching encoder: D + λ·R falls, whatever the size of picture or the kind of codec."""

import numpy as np
import pytest
import tensorflow as tf

from codec_zoo import weights
from codec_zoo.export.search import signatures
from codec_zoo.layered import LayeredAutoencoder
from codec_zoo.presets import get_preset

PRESET = "jia2019-sae-mse-e1"
FACTORIZED = {"maps": 8, "latents": 12, "hyper_maps": None}


@pytest.fixture(scope="module")
def trained():
    return weights.pretrained(PRESET)


def search(model, k, images, rounds, **below):
    run = signatures(model)[f"search_{k}"].function
    found = run(images=tf.constant(images), rounds=tf.fill([len(images)], rounds), **below)
    return {name: np.asarray(value) for name, value in found.items()}


def loss(model, images, coded, k):
    """Squared error plus λ times bits of each picture, by the model and not by the search."""
    latents = {f"y{i}": coded[f"y{i}"] for i in range(1, k + 1)}
    size = np.array([images.shape[1:3]] * len(images), np.int32)
    decoded = np.asarray(model.decode(size, **latents)["images"]).astype(float)
    bits = np.asarray(model.codecs[k - 1].cross_entropy(coded[f"y{k}"], coded.get(f"z{k}")))
    return np.sum(np.square(decoded - images), (1, 2, 3)) / 3 + model.rate_weights[k - 1] * bits


def test_every_layer_gains(trained, photo):
    """Each on what the search made of those below."""
    images = np.stack([photo[:128, :192], photo[200:328, 300:492]])
    coded = dict(trained.encode(images))
    for k in (1, 2):
        below = {f"y{i}": coded[f"y{i}"] for i in range(1, k)}
        plain, few, more = (coded | search(trained, k, images, rounds, **below) for rounds in (0, 2, 8))
        before, some, most = (loss(trained, images, latents, k) for latents in (plain, few, more))
        assert np.all(some < 0.99 * before) and np.all(most < 0.98 * before) and np.all(most < some)
        assert np.array_equal(plain[f"z{k}"], more[f"z{k}"])
        coded = more


def test_no_round_is_plain_rounding(trained, photo):
    coded = trained.encode(photo[None, :90, :70])
    for k, below in ((1, {}), (2, {"y1": coded["y1"]})):
        found = search(trained, k, photo[None, :90, :70], 0, **below)
        assert found.keys() == {f"y{k}", f"z{k}"}
        for name, value in found.items():
            assert np.array_equal(value, np.asarray(coded[name])) and value.dtype == np.int32


@pytest.mark.parametrize("size", [(1, 1), (65, 3), (130, 75)])
def test_padding_counts_for_nothing(trained, noise, size):
    """Of small pictures most is padding, which need not look like anything."""
    picture = noise(*size)[None]
    plain, found = (search(trained, 1, picture, rounds) for rounds in (0, 6))
    assert loss(trained, picture, found, 1) < loss(trained, picture, plain, 1)


def test_without_a_hyperprior(photo):
    model = LayeredAutoencoder([FACTORIZED], [20.0])
    last = model.codecs[0].analysis.layers[-1]
    last.kernel.assign(40 * np.asarray(last.kernel))
    images = photo[None, :64, :64]
    plain, found = (search(model, 1, images, rounds) for rounds in (0, 5))
    assert found.keys() == {"y1"} and loss(model, images, found, 1) < loss(model, images, plain, 1)


def test_only_for_squared_error():
    other = LayeredAutoencoder([FACTORIZED], [20.0], "ms_ssim")
    assert signatures(other).keys() == other.signatures.keys()
    hybrid = get_preset("fu2019-hybrid-s16-prelu").create()
    assert signatures(hybrid).keys() == hybrid.signatures.keys()
