"""Strided convolutions on phases are Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from codec_zoo import convolutions

KERNELS = [(3, 2), (4, 2), (5, 2), (9, 4)]


@pytest.mark.parametrize(("side", "stride"), KERNELS)
def test_convolution(side, stride):
    random = np.random.default_rng(side)
    pictures = random.normal(size=(2, 5 * stride, 3 * stride, 3)).astype(np.float32)
    kernel = random.normal(size=(side, side, 3, 4)).astype(np.float32)
    expected = ops.conv(pictures, kernel, strides=stride, padding="same")
    got = convolutions.convolve(ops.convert_to_tensor(pictures), ops.convert_to_tensor(kernel), stride)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(("side", "stride"), KERNELS)
def test_transposed_convolution(side, stride):
    random = np.random.default_rng(side)
    maps = random.normal(size=(2, 5, 3, 4)).astype(np.float32)
    kernel = random.normal(size=(side, side, 3, 4)).astype(np.float32)
    expected = ops.conv_transpose(maps, kernel, strides=stride, padding="same")
    got = convolutions.convolve_transposed(ops.convert_to_tensor(maps), ops.convert_to_tensor(kernel), stride)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_layers_on_phases_are_keras_s(monkeypatch, transposed):
    """As on JAX, which this environment may lack: with bias and activation, and where sides do not fit."""
    kind = "Conv2DTranspose" if transposed else "Conv2D"
    options = {"strides": 2, "padding": "same", "activation": "relu", "bias_initializer": "random_normal"}
    ours = getattr(convolutions, kind)(4, 5, **options)
    theirs = getattr(keras.layers, kind)(4, 5, **options)
    random = np.random.default_rng(0)
    for height, width in ((8, 6), (7, 5)):
        maps = ops.convert_to_tensor(random.normal(size=(1, height, width, 3)).astype(np.float32))
        if not ours.built:
            ours(maps), theirs(maps)
            theirs.set_weights(ours.get_weights())
        expected = theirs(maps)
        with monkeypatch.context() as patch:
            patch.setattr(keras.backend, "backend", lambda: "jax")
            np.testing.assert_allclose(ours(maps), expected, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_last_layer_of_a_synthesis_is_computed_on_phases(precision):
    """Three channels, any sides: one convolution without stride, and Keras's values."""
    options = {"strides": 2, "padding": "same", "bias_initializer": "random_normal"}
    with convolutions.layers_in(precision):
        ours, wide = (convolutions.Conv2DTranspose(channels, 5, **options) for channels in (3, 5))
    theirs = keras.layers.Conv2DTranspose(3, 5, **options)
    random = np.random.default_rng(0)
    for height, width in ((8, 6), (7, 5)):
        maps = ops.convert_to_tensor(random.normal(size=(1, height, width, 16)).astype(np.float32))
        if not ours.built:
            ours(maps), theirs(maps), wide(maps)
            theirs.set_weights(ours.get_weights())
        expected, found = theirs(maps), ours(maps)
        assert found.dtype == "float32" and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-4 if precision == "float32" else 0.1)
    for layer, called in ((ours, "DepthToSpace"), (wide, "Conv2DBackpropInput")):
        graph = tf.function(layer).get_concrete_function(maps).graph
        assert called in {operation.type for operation in graph.get_operations()}
