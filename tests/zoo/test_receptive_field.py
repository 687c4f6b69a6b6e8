"""Receptive fields that follow from the layers are those of the networks, on every architecture.

A change just beyond the field of a signature leaves its output as it was. The windows of the networks are exact: the
samples with a gradient are those of the window.
"""

import math

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.presets import get_preset
from codec_zoo.receptive_field import Window, receptive_fields, window

NARROW_LAYER = {"channels": 3, "latent_channels": 4, "hyper_channels": 3}
# A preset of each architecture → a narrow network of the same layers.
ARCHITECTURES = {
    "balle2017-factorized-mse-vbr": {"channels": 3, "latent_channels": 4},
    "balle2018-hyperprior-mse-3": NARROW_LAYER,
    "balle2018-hyperprior-mse-vbr": NARROW_LAYER,
    "jia2019-sae-mse-e1": {"layers": [NARROW_LAYER] * 2, "rate_weights": [1.0, 1.0]},
    "fu2019-hybrid-s8-relu": {"widths": (8, 8, 8), "activation": "relu"},
    "fu2019-hybrid-s8-prelu": {"widths": (8, 8, 8), "activation": "prelu"},
    "hu2018-filter-svac-q48": {},
    "bpg-filter": {"channels": 6, "coarse_channels": 8, "coarse_blocks": 2},
    "zhao2018-mixed": {
        "branches": {
            "low": {"scale": 2, "qualities": (10,), "channels": 4},
            "high": {"scale": 1, "qualities": (10,), "channels": 4},
        }
    },
    "jiang2017-comcnn": {"branches": {"low": {"scale": 2, "qualities": (10,), "channels": 4}}},
    "report2017-cnn-ae": {"latent_channels": 4, "bits": 6, "decoder_widths": (8, 10)},
    "report2017-cnn-rnn-ae": {"latent_channels": 4, "bits": 2, "decoder_widths": (8, 10), "steps": 3},
    "report2017-gan-w": {"adversarial": "w", "error": "l2", "latent_channels": 0, "bits": 8},
    "report2017-gan-ae-l1-dc": {"adversarial": "dc", "error": "l1", "latent_channels": 4, "bits": 6},
}


def positive(model):
    """Give all weights values with which no change cancels, dies behind a ReLU or saturates."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("kernel"):
            size = math.prod(variable.shape)
            variable.assign(random.uniform(0.5, 1.5, variable.shape) * variable.shape[-1] / size)
        elif variable.path.endswith("bias"):
            variable.assign(ops.zeros(variable.shape) + 0.1)


def spread(found, changed, axis):
    """First and last place along an axis where two outputs differ."""
    different = np.argwhere(np.asarray(found) != np.asarray(changed))[:, axis]
    return different.min(), different.max()


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "filter" not in name])
def test_the_windows_are_those_of_the_networks(name):
    """By the windows of the layers, and by gradients, which show every way through a network."""
    model = get_preset(name).model(**ARCHITECTURES[name])
    positive(model)
    for part, shape in networks(model):
        expected = window(part)
        low, high = window_by_changes(part, shape, expected)
        assert (low, high) == (math.floor(expected.before), math.floor(expected.after)), part.name


def networks(model):
    """All networks of a model that one output sample of which can be changed, with the channels of their inputs."""
    seen = []
    for part in model._flatten_layers(include_self=False):
        if isinstance(part, keras.Model) and getattr(part, "inputs", None) and part.name != "discriminator":
            seen.append((part, part.inputs[0].shape[-1]))
    return seen


def window_by_changes(network, channels, expected):
    """How far an output sample in the middle looks, from its derivative by the inputs."""
    import tensorflow as tf

    step = float(expected.step)
    side = 2 * math.ceil(max(1, step) * 8) + 2 * math.ceil(float(expected.before + expected.after) + step)
    side = math.ceil(side / max(1, step)) * math.ceil(max(1, step))
    # Several images: a pool passes the gradient of its largest input alone.
    images = tf.random.stateless_uniform((24, side, max(4, math.ceil(step)), channels), (0, 0), -1.0, 1.0)
    looks = []
    middle = int(side / 2 / step)
    for output in range(middle, middle + math.ceil(1 / step)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(network(images, training=False)[:, output])
        rows = np.flatnonzero(np.abs(tape.gradient(value, images)).max((0, 2, 3)))
        looks.append((step * output - rows.min(), rows.max() - step * output))
    return math.floor(max(low for low, _ in looks)), math.floor(max(high for _, high in looks))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_change_beyond_the_field_changes_nothing(name):
    """In all signatures, whatever the model does between its networks."""
    preset = get_preset(name)
    keras.utils.set_random_seed(0)
    model = preset.model(**ARCHITECTURES[name])
    positive(model)
    fields = receptive_fields(model)
    assert fields.keys() >= model.signatures.keys() - {"reconstruct"}
    for signature, field in fields.items():
        if not signature.startswith("search"):
            check(model, signature, field)


def test_the_field_of_the_luma_filter_is_tight():
    """A changed pixel changes the output in a square with sides of twice the field and one."""
    model = get_preset("hu2018-filter-svac-q48").create()
    positive(model)
    image = np.full((1, 41, 41, 1), 200, np.float32)
    changed = image.copy()
    changed[0, 20, 20] = 255
    field = receptive_fields(model)["changes"]
    assert spread(model(image), model(changed), axis=1) == (20 - field, 20 + field)


def test_the_field_of_the_filter_behind_bpg_is_tight():
    """A pixel changes the output as far as the field says, but for the squares that it lies in."""
    model = get_preset("bpg-filter").model(**ARCHITECTURES["bpg-filter"])
    positive(model)
    image, quality = np.full((1, 160, 8, 3), 200, np.uint8), np.array([[34.0]], np.float32)
    found = []
    for place in range(80, 84):
        changed = image.copy()
        changed[0, place] = 255
        first, last = spread(model.residual(image, quality), model.residual(changed, quality), axis=1)
        found += [place - first, last - place]
    field = receptive_fields(model)["changes"]
    assert field - model.stride < max(found) <= field


def check(model, name, field):
    """Change all inputs that are more than ``field`` pixels away from a region: at the start, then at the end."""
    stride, signature = model.stride, model.signatures[name]
    region = math.ceil(64 / stride) * stride
    side = region + 2 * field + 2 * stride
    random = np.random.default_rng(0)
    inputs, units = {}, {}
    for key, (dtype, shape) in signature.inputs.items():
        if key == "size":
            inputs[key] = np.array([[side, stride * 2]], np.int32)
        elif key == "strengths":
            inputs[key] = np.eye(1, shape[-1], dtype=np.float32)
        elif key == "quality":
            inputs[key] = np.array([[34.0]], np.float32)
        elif key == "step":
            inputs[key] = np.array([24], np.int32)
        else:
            units[key] = unit_of(model, key, name)
            rows, columns = side // units[key], stride * 2 // units[key]
            low, high = (96, 160) if units[key] == 1 or "compact" in key or "representation" in key else (0, 3)
            inputs[key] = random.integers(low, high, (1, rows, columns, shape[-1])).astype(dtype)

    def outputs(values):
        found = signature.function(**{key: ops.convert_to_tensor(value) for key, value in values.items()})
        given = ("size", "strengths", "quality", "step")
        return {key: np.asarray(value) for key, value in found.items() if key not in given}

    before = outputs(inputs)
    for upwards in (True, False):
        start, stop = (0, region) if upwards else (side - region, side)
        beyond = {key: value.copy() for key, value in inputs.items()}
        for key, unit in units.items():
            rows = np.s_[(stop + field) // unit :] if upwards else np.s_[: (start - field) // unit]
            beyond[key][:, rows] += 3
        for key, value in outputs(beyond).items():
            unit = side // value.shape[1]
            kept = np.s_[:, start // unit : stop // unit]
            assert np.array_equal(value[kept], before[key][kept]), (name, key)


def unit_of(model, key, signature):
    """Side of the square of pixels that a sample of an input stands for."""
    if key in ("images", "ycbcr", "rgb"):
        return 1
    if key == "representation":
        return 2 if len(model.branches) == 1 or signature != "decode_high" else 1
    if key == "compact" or key.startswith("latents"):
        return model.stride
    return model.coders()[0].latent_stride * (4 if key.startswith("z") else 1)


def test_windows_of_layers():
    """Closed forms."""
    assert window(keras.layers.Conv2D(1, 5, strides=2, padding="same")) == Window(2, 1, 3)
    assert window(keras.layers.Conv2D(1, 3, dilation_rate=2, padding="same")) == Window(1, 2, 2)
    assert window(keras.layers.Conv2DTranspose(1, 5, strides=2, padding="same")).margin == 1
    assert window(keras.layers.MaxPooling2D(2)) == Window(2, 0, 1)
    stack = keras.Sequential(
        [keras.Input((None, None, 1)), *(keras.layers.Conv2D(1, 3, padding="same") for _ in "ab")]
    )
    assert window(stack) == Window(1, 2, 2) and window(stack).of_latents(16).margin == 32


def test_windows_of_functional_networks_join_all_ways():
    inputs = keras.Input((None, None, 1))
    short = keras.layers.Conv2D(1, 3, padding="same")(inputs)
    long = keras.layers.Conv2D(1, 7, padding="same")(keras.layers.Conv2D(1, 3, padding="same")(inputs))
    joined = keras.layers.Concatenate()([short, long])
    assert window(keras.Model(inputs, keras.layers.ReLU()(joined))) == Window(1, 4, 4)


def test_what_is_unknown_is_refused():
    class Strange(keras.layers.Layer):
        pass

    with pytest.raises(TypeError, match="Strange"):
        window(Strange())
    with pytest.raises(ValueError, match="one size"):
        Window() | Window(step=2)
    with pytest.raises(TypeError, match="dilation"):
        window(keras.layers.Conv2DTranspose(1, 3, padding="same", dilation_rate=2))
