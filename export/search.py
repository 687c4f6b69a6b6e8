"""An encoder that searches: latents move while D + λ·R of the picture falls. The decoder stays as it is.

Rounding takes each latent by itself. But what an integer costs in bits, and what other latents already do for the
same pixels, can make the next one better (Yang, Bamler and Mandt 2020, "Improving inference for neural image
compression", §3; they follow gradients through ever harder rounding, here ŷ is an integer all along). In each round

    ΔL = ± ∂D/∂ŷ + ½ ∂²D/∂ŷ² + λ · (bits of ŷ ± 1 − bits of ŷ)

tells what a step up or down would bring each latent, and the best of each neighbourhood move. ẑ stays as it is: made
again from the moved latents, in three ways, it saved no bits (``docs/training.md``).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from codec_zoo.entropy_models import bits, gaussian_likelihood, scale_table
from codec_zoo.layered import LayeredAutoencoder, TransformCodec
from codec_zoo.layers import pad_to_multiple
from codec_zoo.model import Signature

# Latents that share pixels would overshoot together. Of so many places in each direction, all channels, one moves,
# and with it only what gains nearly as much.
NEIGHBOURHOOD, NEARLY = 3, 0.7
# Pictures of random signs that the curvature is estimated from.
PROBES = 2


def signatures(model: keras.Model) -> dict[str, Signature]:
    """What is exported of a model: its own signatures, and ``search_k`` for each layer of a transform codec whose
    distortion is the squared error.

    ``search_k``: ``images`` (uint8 ``[N, H, W, 3]``), ``y1`` … of the layers below (int32 ``[N, h, w, C]``) and
    ``rounds`` (int32 ``[N]``, of which the largest counts) → ``yk`` and, with a hyperprior, ``zk``: as ``encode``
    gives them, but for the moves.
    """
    if not isinstance(model, LayeredAutoencoder) or model.distortion != "mse":
        return dict(model.signatures)
    return {**model.signatures, **{f"search_{k}": _signature(model, k) for k in range(1, len(model.codecs) + 1)}}


def _signature(model: LayeredAutoencoder, k: int) -> Signature:
    below, codec, weight = model.codecs[: k - 1], model.codecs[k - 1], model.rate_weights[k - 1]

    def search(images, rounds, **latents):
        padded = tf.cast(pad_to_multiple(images, model.stride), tf.float32)
        reconstruction = tf.fill(tf.shape(padded), model.GRAY)
        for lower, y in zip(below, latents.values(), strict=True):
            reconstruction += 255.0 * lower.decode(y)
        target = (padded - reconstruction) / 255.0
        inside = _inside(tf.shape(images), tf.shape(padded))
        y, z = codec.encode(target)
        moved = _move(codec, target, inside, tf.cast(y, tf.float32), _rate(codec, z), weight, tf.reduce_max(rounds))
        found = {f"y{k}": tf.cast(moved, tf.int32)}
        return found if z is None else {**found, f"z{k}": z}

    latents = {f"y{i}": ("int32", (None, None, None, lower.latents)) for i, lower in enumerate(below, 1)}
    return Signature(search, {"images": ("uint8", (None, None, None, 3)), **latents, "rounds": ("int32", (None,))})


def _inside(shape, padded):
    """1 in the picture, 0 in its padding: float32 ``[1, H, W, 1]``."""
    rows, columns = (tf.cast(tf.range(padded[axis]) < shape[axis], tf.float32) for axis in (1, 2))
    return rows[None, :, None, None] * columns[None, None, :, None]


def _rate(codec: TransformCodec, z) -> Callable:
    """y → bits of each latent, as the tables have them."""
    if z is None:
        return lambda y: bits(codec.prior(y))
    scale = tf.gather(scale_table().astype("float32"), codec.hyper_synthesis.exact(z))
    return lambda y: bits(gaussian_likelihood(y, scale))


def _move(codec: TransformCodec, target, inside, y, rate: Callable, weight: float, rounds):
    """The best of what ``rounds`` rounds of the search come by, ``y`` among it, for each picture."""
    curvature = _curvature(codec, y, inside)

    def search(count, y, best, least):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y)
            error = 255.0 * (codec.synthesis(y) - target) * inside
            distortion = tf.reduce_sum(tf.square(error), (1, 2, 3)) / 3
        slope, spent = tape.gradient(distortion, y), rate(y)
        loss = distortion + weight * tf.reduce_sum(spent, (1, 2, 3))
        best = tf.where((loss < least)[:, None, None, None], y, best)
        down, up = (s * slope + curvature / 2 + weight * (rate(y + s) - spent) for s in (-1.0, 1.0))
        gain = -tf.minimum(down, up)
        most = tf.nn.max_pool2d(tf.reduce_max(gain, -1, keepdims=True), NEIGHBOURHOOD, 1, "SAME")
        moves = (gain > 0) & (gain >= NEARLY * most)
        step = tf.where(moves, tf.where(up < down, 1.0, -1.0), 0.0)
        return count + 1, y + step, best, tf.minimum(loss, least)

    # One pass more than rounds, for what the last of them came to.
    start = (tf.constant(0), y, y, tf.fill(tf.shape(y)[:1], float("inf")))
    return tf.while_loop(lambda count, *_: count <= rounds, search, start)[2]


def _curvature(codec: TransformCodec, y, inside):
    """∂²D/∂ŷ² of each latent where the synthesis is taken as linear: float32, the shape of ``y``.

    The squares of ∂(x̂·v)/∂ŷ, for random signs v, have ‖∂x̂/∂ŷ‖² as their mean. They vary much, so half of what counts
    is the mean over the picture, half that of the neighbours.
    """
    squares = tf.zeros_like(y)
    shape = tf.concat([tf.shape(y)[:1], tf.shape(inside)[1:3], [3]], 0)
    for probe in range(PROBES):
        signs = 2.0 * tf.cast(tf.random.stateless_uniform(shape, (probe, 0), 0, 2, tf.int32), tf.float32) - 1.0
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y)
            product = tf.reduce_sum(codec.synthesis(y) * signs * inside)
        squares += tf.square(tape.gradient(product, y))
    curvature = 255.0**2 * 2 / 3 * squares / PROBES
    return (tf.reduce_mean(curvature, (1, 2), keepdims=True) + tf.nn.avg_pool2d(curvature, 5, 1, "SAME")) / 2
