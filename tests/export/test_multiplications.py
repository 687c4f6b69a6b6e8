"""The multiplications in cards are those that one counts by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.contract import IMAGES, Signature
from codec_zoo.export.multiplications import multiplications
from codec_zoo.harness.release import make_card, render_card
from codec_zoo.presets import get_preset

FEATURES = ("float32", (None, None, None, 8))


def signature(function, outputs=FEATURES, **inputs):
    inputs = inputs or {"images": IMAGES}
    return Signature(lambda **given: {"y": function(*given.values())}, inputs, {"y": outputs})


def layer(kind, *arguments, channels=3, **options):
    built = kind(*arguments, **options)
    built.build((None, None, None, channels))
    return lambda images: built(ops.cast(images, "float32"))


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (layer(keras.layers.Conv2D, 8, 5, padding="same"), 5 * 5 * 3 * 8),
        (layer(keras.layers.Conv2D, 8, 6, strides=4, padding="same"), 6 * 6 * 3 * 8 / 16),
        (layer(keras.layers.Conv2DTranspose, 8, 5, strides=2, padding="same"), 5 * 5 * 3 * 8),
        (layer(keras.layers.DepthwiseConv2D, 3, depth_multiplier=2, padding="same"), 3 * 3 * 6),
        (layer(keras.layers.Dense, 8), 3 * 8),
        (lambda images: ops.einsum("nhwc,cd->nhwd", ops.cast(images, "float32"), np.ones((3, 8), "float32")), 3 * 8),
        (lambda images: ops.relu(ops.cast(images, "float32")[..., :1] * np.ones(8, "float32")), 0),
    ],
)
def test_one_layer(function, count):
    counted = multiplications({"encode": signature(function, ("float32", (None, None, None, None)))})
    assert counted == {"encode": count}


def test_what_no_output_needs_is_not_counted():
    """TensorFlow runs none of it: `encode` of a transform code is traced with the synthesis."""
    used, unused = (layer(keras.layers.Conv2D, 8, 1) for _ in range(2))

    def run(images):
        unused(images)
        return used(images)

    assert multiplications({"encode": signature(run)}) == {"encode": 3 * 8}


def test_latents_have_the_size_that_encode_gives_them():
    counted = multiplications(
        {
            "encode": signature(layer(keras.layers.Conv2D, 8, 2, strides=2)),
            "decode": signature(layer(keras.layers.Conv2D, 8, 1, channels=8), y=FEATURES),
        }
    )
    assert counted == {"encode": 2 * 2 * 3 * 8 / 4, "decode": 8 * 8 / 4}


def test_what_depends_on_values_is_left_out():
    network, wide = layer(keras.layers.Conv2D, 8, 1), layer(keras.layers.Conv2D, 8, 1, channels=8)

    def loop(images):
        return ops.while_loop(lambda y: ops.sum(y) < 0, lambda y: (wide(y),), [network(images)])[0]

    counted = multiplications(
        {
            "encode": signature(lambda images: network(images[:, : ops.cast(images[0, 0, 0, 0], "int32")])),
            "loop": signature(loop),
            "decode": signature(network),
        }
    )
    assert counted == {"decode": 3 * 8}


def test_the_hyperprior_of_balle_2018():
    """N = 128, M = 192: Fig. 4 of the paper; each layer's work is over its own number of pixels.

    The last layer of the decoder is computed on four phases, 36 products for 25 (``codec_zoo.convolutions``).
    """
    n, m = 128, 192
    inner = 25 * n * n
    gdn = n * n * (1 / 4 + 1 / 16 + 1 / 64)
    without = inner / 16 + inner / 64 + 25 * n * m / 256 + gdn
    analysis, synthesis = 25 * 3 * n / 4 + without, 36 * 3 * n / 4 + without
    hyper_transform = 9 * n * m / 256 + inner / 1024 + inner / 4096
    card = make_card(get_preset("balle2018-hyperprior-mse-3"))
    assert card["multiplications"] == {
        "encode": analysis + hyper_transform,
        "entropy_parameters_1": hyper_transform,
        "decode_1": synthesis,
        "decode": synthesis,
    }
    row = {"width": 768, "height": 512, "threads": 2, "device": "2× CPU", "encode_s": 0.5}
    page = render_card(card, [], [{**row, "decode_s": seconds} for seconds in (0.1, 0.2, 0.9)])
    encode, decode = analysis + 2 * hyper_transform, synthesis + hyper_transform
    assert f"| multiplications a pixel | encode {encode:,.0f}, decode {decode:,.0f} |" in page
    assert "| seconds, 768×512 pixels, 2 threads of 2× CPU | encode 0.50, decode 0.20 |" in page


def test_a_filter_and_alternatives():
    """The encoder of a filter needs its changes to find their strengths; each of two networks has its own count."""
    page = render_card(make_card(get_preset("bpg-filter")), [])
    assert "| multiplications a pixel | encode 46,848, decode 46,857 |" in page
    page = render_card(make_card(get_preset("zhao2018-mixed")), [])
    assert "| multiplications a pixel (low) | encode 234,144, decode 226,368 |" in page
    assert "| multiplications a pixel (high) | encode 905,472, decode 905,472 |" in page
