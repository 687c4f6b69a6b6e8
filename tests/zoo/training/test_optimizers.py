"""Muon for convolutions: what it does to a kernel, what it leaves to Adam."""

import keras
import numpy as np
import pytest

from codec_zoo.errors import UsageError
from codec_zoo.presets import Recipe
from codec_zoo.training.optimizers import ConvolutionMuon, make_optimizer


def step(kernel, gradient, **options):
    """What one step at a rate of 1 takes off a variable."""
    variable = keras.Variable(kernel, dtype="float32")
    optimizer = ConvolutionMuon(1.0, **options)
    optimizer.build([variable])
    optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient, "float32"), variable)])
    return kernel - keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 8, 24), (5, 5, 12, 6), (1, 1, 16, 16)])
def test_a_kernel_moves_by_an_orthogonal_matrix_of_taps(shape):
    """Against NumPy's singular vectors: the same directions, all about equally far; in the size of Adam's steps."""
    random = np.random.default_rng(0)
    gradient = random.normal(size=shape).astype("float32")
    moved = step(np.zeros(shape, np.float32), gradient).reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(gradient.reshape(-1, shape[-1]), full_matrices=False)
    along = np.diag(left.T @ moved @ right.T)
    size = 0.2 * np.sqrt(max(moved.shape))
    assert np.abs(along / size - 1).max() < 0.4  # five iterations of Newton and Schulz leave 0.7 … 1.2
    assert np.abs(left.T @ moved @ right.T - np.diag(along)).max() < 0.02 * size


@pytest.mark.parametrize("shape", [(200, 16), (16, 200), (24, 24)])
def test_its_iteration_is_that_of_keras(shape):
    """Also where singular values span four decades, of which the Gram matrix has the squares."""
    left, _, right = np.linalg.svd(np.random.default_rng(4).normal(size=shape), full_matrices=False)
    matrix = keras.ops.convert_to_tensor(left * np.logspace(0, -4, min(shape)) @ right, "float32")
    optimizer = ConvolutionMuon(1.0)
    ours = optimizer.zeropower_via_newtonschulz5(matrix, 5)
    theirs = keras.optimizers.Muon.zeropower_via_newtonschulz5(optimizer, matrix, 5)
    ours, theirs = keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


def test_the_size_of_the_gradient_does_not_matter():
    gradient = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype("float32")
    zero = np.zeros_like(gradient)
    np.testing.assert_allclose(step(zero, 1000 * gradient), step(zero, gradient), atol=1e-4)


@pytest.mark.parametrize("shape", [(24,), (16, 16), (8, 3, 1), (1, 1, 32, 1), (3, 3, 64, 3)])
def test_adam_keeps_what_is_no_kernel_or_too_small(shape):
    """Biases, pools of GDN, priors, kernels with a side below four: each value moves by the rate, as in Adam."""
    gradient = np.random.default_rng(2).normal(size=shape).astype("float32")
    moved = step(np.zeros(shape, np.float32), gradient)
    np.testing.assert_allclose(moved, np.sign(gradient), atol=0.02)


def test_nothing_decays():
    kernel = np.random.default_rng(3).normal(size=(3, 3, 8, 8)).astype("float32")
    np.testing.assert_allclose(step(kernel, np.zeros_like(kernel)), 0, atol=1e-6)


def test_it_is_made_again_from_its_config():
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(ConvolutionMuon(0.003, momentum=0.9)))
    assert isinstance(optimizer, ConvolutionMuon) and optimizer.momentum == 0.9 and optimizer.weight_decay is None


def test_a_recipe_sets_its_momentum_and_the_rate_of_what_adam_keeps():
    recipe = Recipe(32, 4, 100, 0.5, optimizer="muon", momentum=0.8, adam_ratio=4.0)
    optimizer = make_optimizer(recipe)
    assert isinstance(optimizer, ConvolutionMuon) and optimizer.momentum == 0.8
    bias = keras.Variable(np.zeros(24, np.float32))
    optimizer.build([bias])
    optimizer.apply_gradients([(keras.ops.ones(24), bias)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(bias), -2.0, rtol=1e-3)  # 4 times 0.5


@pytest.mark.parametrize("option", [{"momentum": 0.8}, {"adam_ratio": 4.0}])
def test_its_options_are_not_taken_by_others(option):
    with pytest.raises(UsageError, match="are Muon's: the optimizer is adam"):
        make_optimizer(Recipe(32, 4, 100, 0.5, **option))


def test_a_trapezoid():
    """It rises over the warm-up, stays, and falls straight to 0 over the last quarter."""
    recipe = Recipe(patch_size=8, batch_size=1, steps=100, learning_rate=2.0, schedule="trapezoid", warmup_steps=4)
    optimizer = make_optimizer(recipe)
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, 1, 4, 50, 75, 80, 99, 100)]
    np.testing.assert_allclose(rates, [0.4, 0.8, 2, 2, 2, 1.6, 0.08, 0], atol=1e-6)
    again = type(schedule).from_config(schedule.get_config())
    assert float(again(80)) == float(schedule(80))
