"""The hybrid codec's networks: what the paper fixes, and what the decoder relies on."""

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.models.fu2019 import (
    HybridAutoencoder,
    QuantizePixels,
    ResidualBlock,
    to_pixel_range,
    to_unit_range,
)
from codec_zoo.presets import get_preset, list_presets

NAMES = [p.name for p in list_presets() if p.name.startswith("fu2019-")]


def small(**config):
    keras.utils.set_random_seed(1)
    return HybridAutoencoder(**{"widths": (8, 8, 8, 8), **config})


def photo(height, width, count=1):
    y, x = np.mgrid[:height, :width]
    picture = np.stack([127 + 60 * np.sin(x / (5 + i)) + 60 * np.cos(y / (9 - i)) for i in range(3)], -1)
    return np.repeat(picture[None].astype(np.uint8), count, axis=0)


def test_six_variants():
    assert [f"fu2019-hybrid-s{s}-{a}" for s in (16, 32, 8) for a in ("prelu", "relu")] == NAMES


def test_thirteen_layers_each_all_3x3():
    model = get_preset("fu2019-hybrid-s16-prelu").create()

    def convolutions(layers):
        for layer in layers:
            if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
                yield layer
            elif isinstance(layer, ResidualBlock):
                yield from (layer.conv1, layer.conv2)

    for part in (model.analysis, model.synthesis):
        found = list(convolutions(part.layers))
        assert len(found) == 13 and {layer.kernel_size for layer in found} == {(3, 3)}
        assert sum(layer.strides == (2, 2) for layer in found) == 4


@pytest.mark.parametrize("name", NAMES)
def test_compact_image_has_the_stride_of_its_name(name):
    model = get_preset(name).create()
    stride = int(name.split("-")[2][1:])
    coded = model.encode(photo(2 * stride + 1, 3 * stride))
    assert coded["compact"].shape == (1, 3, 3, 3) and model.stride == stride


def test_scalings_are_equations_1_and_2():
    pixels = np.arange(256, dtype=np.uint8)
    unit = ops.convert_to_numpy(to_unit_range(pixels))
    np.testing.assert_allclose(unit, pixels / 255 * 2 - 1, atol=1e-7)
    assert np.array_equal(np.rint(ops.convert_to_numpy(to_pixel_range(unit))), pixels)


def test_rounding_is_what_a_decoder_gets_and_passes_gradients():
    values = np.linspace(-1, 1, 1001, dtype=np.float32)[None, None, :, None]
    rounded = ops.convert_to_numpy(QuantizePixels()(values))
    np.testing.assert_allclose(rounded, np.rint((values + 1) / 2 * 255) / 255 * 2 - 1, atol=1e-6)
    model = small()
    model.compile(optimizer=keras.optimizers.SGD(1e-2), jit_compile=False)
    before = ops.convert_to_numpy(model.analysis.get_layer("down0").kernel).copy()
    model.train_on_batch(photo(32, 32))
    after = ops.convert_to_numpy(model.analysis.get_layer("down0").kernel)
    assert np.abs(after - before).max() > 0


def test_nothing_follows_the_skip_connection():
    block = ResidualBlock(4, "relu")
    x = -np.ones((1, 5, 5, 4), np.float32)
    assert np.array_equal(ops.convert_to_numpy(block(x)), x)  # fresh blocks add nothing, and clip nothing


def test_dropout_only_in_training():
    model = small(dropout=0.5)
    x = to_unit_range(photo(32, 32))
    model.analysis.get_layer("block0").conv2.kernel.assign(np.ones((3, 3, 8, 8)))
    calm = [ops.convert_to_numpy(model.analysis(x, training=False)) for _ in range(2)]
    noisy = [ops.convert_to_numpy(model.analysis(x, training=True)) for _ in range(2)]
    assert np.array_equal(*calm) and not np.array_equal(*noisy)


def test_fresh_networks_are_a_picture_pyramid():
    """Before any training, smooth pictures come back recognisable."""
    picture = photo(96, 96)
    model = small()
    result = model.evaluate_image(picture[0])
    inner = np.s_[16:-16, 16:-16]
    correlation = np.corrcoef(picture[0][inner].ravel(), result.reconstruction[inner].ravel())[0, 1]
    assert correlation > 0.3
    assert np.array_equal(result.latents["compact"].shape, (6, 6, 3)) and result.bpp > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 17), (16, 16), (33, 31)])
def test_any_size(size):
    model = small()
    images = photo(*size, count=2)
    coded = model.encode(images)
    assert np.array_equal(coded["size"], [size, size])
    decoded = ops.convert_to_numpy(model.decode(**coded)["images"])
    assert decoded.shape == images.shape and decoded.dtype == np.uint8


def test_serialises():
    model = small(activation="relu", dropout=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert again.get_config() == model.get_config()


def test_loss_is_equation_5():
    model = small()
    images = photo(32, 32)
    model.compile(optimizer="sgd", jit_compile=False)
    expected = np.mean(np.square(ops.convert_to_numpy(model(images)) - (images / 255 * 2 - 1)))
    assert np.isclose(float(model.test_on_batch(images)), expected, rtol=1e-4)
