"""Priors and GDN against TensorFlow Compression's golden vectors and closed forms."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from codec_zoo.entropy_models import (
    FactorizedPrior,
    bits,
    bits_above_next,
    count_reached,
    gaussian_likelihood,
    scale_table,
    scale_thresholds,
    step_thresholds,
    to_scale,
)
from codec_zoo.layers.gdn import GDN

VECTORS = Path(__file__).parents[1] / "data" / "tfc"


@pytest.fixture(scope="module")
def gdn_vectors():
    return dict(np.load(VECTORS / "gdn.npz"))


@pytest.mark.parametrize("name", ["gdn1", "igdn1", "gdn2", "igdn2"])
def test_gdn_is_that_of_tensorflow_compression(gdn_vectors, name):
    alpha = float(name[-1])
    layer = GDN(inverse=name[0] == "i", alpha=alpha, epsilon=1 / alpha)
    layer.build((None, None, None, 6))
    layer.gamma_root.assign(np.sqrt(gdn_vectors[f"{name}_gamma"]))
    layer.beta_root.assign(np.sqrt(gdn_vectors[f"{name}_beta"] - layer.beta_min))
    got = ops.convert_to_numpy(layer(gdn_vectors["x"]))
    np.testing.assert_allclose(got, gdn_vectors[name], rtol=1e-5, atol=1e-5)


def test_gdn_starts_as_one_division_a_map():
    x = np.random.default_rng(0).normal(size=(1, 3, 3, 4)).astype("float32")
    got = ops.convert_to_numpy(GDN()(x))
    np.testing.assert_allclose(got, x / np.sqrt(1 + 0.1 * x**2), rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(GDN(inverse=True)(x)), x * np.sqrt(1 + 0.1 * x**2), rtol=1e-5)


def test_factorized_prior_is_that_of_tensorflow_compression():
    stored = np.load(VECTORS / "deep_factorized.npz")
    prior = FactorizedPrior(widths=(3, 3))
    prior.build((None, 8))
    names = [name for name in stored.files if name.startswith("var")]
    for kind, variables in (("bias", prior.biases), ("factor", prior.factors), ("matrix", prior.matrices)):
        for variable, name in zip(variables, sorted(n for n in names if f"_{kind}_" in n), strict=True):
            variable.assign(stored[name])
    got = ops.convert_to_numpy(prior(stored["y"]))
    np.testing.assert_allclose(got, stored["likelihood"], rtol=1e-5, atol=1e-5)


def test_bits_above_the_next_integer():
    """Those of the likelihoods, for scales of the table."""
    magnitudes, scale = np.meshgrid(np.arange(17, dtype="float32"), scale_table().astype("float32"))
    spent = ops.convert_to_numpy(bits(gaussian_likelihood(magnitudes, scale)))
    got = ops.convert_to_numpy(bits_above_next(magnitudes, scale))
    np.testing.assert_allclose(got[:, 1:], np.diff(spent, axis=1), atol=2e-3)
    assert not got[:, 0].any()
    beyond = ops.convert_to_numpy(bits_above_next(np.float32([40.0, 1e4]), np.float32([3.0, 1e6])))
    assert np.isfinite(beyond).all() and beyond.shape == (2,)


def test_factorized_prior_is_a_distribution():
    prior = FactorizedPrior()
    values = np.arange(-2000, 2001, dtype="float32")[:, None] * np.ones(5, "float32")
    mass = ops.convert_to_numpy(prior(values))
    assert (mass >= 0).all()
    np.testing.assert_allclose(mass.sum(0), 1, atol=1e-4)


def test_gaussian_likelihood_is_that_of_tensorflow_compression():
    stored = np.load(VECTORS / "gaussian_64_scales.npz")
    np.testing.assert_allclose(scale_table(), stored["scales"], rtol=1e-12)
    scale = scale_table()[stored["indexes"].astype(int)].astype("float32")
    got = ops.convert_to_numpy(gaussian_likelihood(np.round(stored["y"]), scale))
    np.testing.assert_allclose(got, stored["likelihood_of_rounded"], rtol=1e-4, atol=1e-5)


def test_thresholds_lie_between_the_rows():
    scales = ops.convert_to_numpy(to_scale(scale_thresholds().astype("float32")))
    assert (scales > scale_table()[:-1]).all() and (scales < scale_table()[1:]).all()


def test_bits():
    got = ops.convert_to_numpy(bits(np.array([1, 0.5, 0.125, 0], "float32")))
    np.testing.assert_allclose(got, [0, 1, 3, -np.log2(1e-9)], rtol=1e-6)


@pytest.mark.parametrize("thresholds", [scale_thresholds(), step_thresholds(), np.array([0.5]), np.array([0.5, 2])])
def test_thresholds_reached(thresholds):
    """The integers of NumPy's search, on the thresholds and between them."""
    edges = np.round(thresholds * 2.0**24)
    far = np.array([-(2.0**53), 0.0, 2.0**53, *np.random.default_rng(0).integers(-(2**31), 2**31, 1000)])
    values = np.concatenate([edges - 1, edges, edges + 1, far])[:, None]
    reached = ops.convert_to_numpy(count_reached(ops.convert_to_tensor(values, "float64"), edges))
    assert reached.dtype == np.int32 and np.array_equal(reached, np.searchsorted(edges, values, side="right"))
