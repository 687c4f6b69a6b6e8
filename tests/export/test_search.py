"""The searching encoder: D + λ·R, or of blocks D, falls, whatever the size of picture or the kind of codec."""

import numpy as np
import pytest
import tensorflow as tf

from codec_zoo import weights
from codec_zoo.export.search import signatures
from codec_zoo.models.balle2017 import FactorizedPriorModel
from codec_zoo.presets import get_preset

PRESET = "jia2019-sae-mse-e1"
FACTORIZED = {"channels": 8, "latent_channels": 12, "rate_weight": 20.0}


@pytest.fixture(scope="module")
def trained():
    return weights.create(PRESET)


def search(model, k, images, rounds, **below):
    run = signatures(model)[f"search_{k}"].function
    found = run(images=tf.constant(images), rounds=tf.fill([len(images)], rounds), **below)
    return {name: np.asarray(value) for name, value in found.items()}


def loss(model, images, coded, k):
    """Squared error plus λ times bits of each picture, by the model and not by the search."""
    latents = {f"y{i}": coded[f"y{i}"] for i in range(1, k + 1)}
    size = np.array([images.shape[1:3]] * len(images), np.int32)
    decoded = np.asarray(model.decode(size, **latents)["images"]).astype(float)
    coder = model.coders()[k - 1]
    bits = np.sum([*coder.cross_entropies({n: coded[f"{n}{k}"] for n in coder.latent_channels_of}).values()], axis=0)
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
    model = FactorizedPriorModel(**FACTORIZED)
    last = model.analysis.layers[-1]
    last.kernel.assign(40 * np.asarray(last.kernel))
    images = photo[None, :64, :64]
    plain, found = (search(model, 1, images, rounds) for rounds in (0, 5))
    assert found.keys() == {"y1"} and loss(model, images, found, 1) < loss(model, images, plain, 1)


def test_only_for_squared_error():
    other = FactorizedPriorModel(**FACTORIZED, distortion="ms_ssim")
    assert signatures(other).keys() == other.signatures.keys()
    hybrid = get_preset("fu2019-hybrid-s16-prelu").create()
    assert signatures(hybrid).keys() == hybrid.signatures.keys()


BLOCKS = ["report2017-gan-ae-l1-w", "report2017-cnn-rnn-ae", "report2017-gan-w", "report2017-cnn-ae-ft"]


def search_blocks(model, images, rounds):
    coded: dict = {}
    for k in range(1, model.steps + 1):
        coded |= search(model, k, images, rounds, **coded)
    return coded


def error(model, images, coded):
    """Squared error of each picture, as decoded."""
    size = np.array([images.shape[1:3]] * len(images), np.int32)
    decoded = np.asarray(model.decode(size, **coded)["images"]).astype(float)
    return np.mean(np.square(decoded - images), (1, 2, 3))


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_gain(name, photo):
    """The more rounds the more, and none loses in a step; without a round they are what the encoder gives."""
    model = weights.create(name)
    images = np.stack([photo[y : y + 32, y : y + 32] for y in range(0, 256, 32)])
    encoded = {key: np.asarray(value) for key, value in model.encode(images).items() if key != "size"}
    plain, few, more = (search_blocks(model, images, rounds) for rounds in (0, 2, 8))
    assert all(np.array_equal(plain[key], encoded[key]) and plain[key].dtype == np.uint8 for key in encoded)
    before, some, most = (error(model, images, coded).mean() for coded in (plain, few, more))
    assert most < some < before and most < 0.97 * before
    first = [error(model, images, {"latents1": coded["latents1"]}) for coded in (plain, few, more)]
    assert np.all(first[1] <= first[0]) and np.all(first[2] <= first[0])


@pytest.mark.parametrize("size", [(1, 1), (30, 3), (33, 18)])
def test_padding_of_blocks_counts_for_nothing(noise, size):
    model = weights.create("report2017-gan-ae-l1-w")
    picture = noise(*size)[None]
    plain, found = (search_blocks(model, picture, rounds) for rounds in (0, 6))
    assert error(model, picture, found) < error(model, picture, plain)
