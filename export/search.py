"""An encoder that searches: latents move while D + λ·R of the picture falls. The decoder stays as it is.

**Transform codecs.** Rounding takes each latent by itself. But what an integer costs in bits, and what other latents
already do for the same pixels, can make the next one better (Yang, Bamler and Mandt 2020, "Improving inference for
neural image compression", §3; they follow gradients through ever harder rounding, here ŷ is an integer all along). In
each round

    ΔL = ± ∂D/∂ŷ + ½ ∂²D/∂ŷ² + λ · (bits of ŷ ± 1 − bits of ŷ)

tells what a step up or down would bring each latent, and the best of each neighbourhood move. ẑ stays as it is: made
again from the moved latents, in three ways, it saved no bits (``docs/training.md``).

**Blocks of fixed length** (``report2017-*``): latents cost the same wherever they are, so D alone falls. They move as
real numbers, by the method of conjugate gradients (Polak and Ribière 1969) with the curvature as preconditioner, each
block by itself, and are rounded in the end. An encoder of a few convolutions is far from the best latents for its
decoder.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from codec_zoo.contract import Signature
from codec_zoo.entropy_models import bits, gaussian_likelihood, scale_table
from codec_zoo.layered import LayeredAutoencoder, TransformCodec
from codec_zoo.layers import pad_to_multiple
from codec_zoo.models.report2017 import BlockModel

# Latents that share pixels would overshoot together. Of so many places in each direction, all channels, one moves,
# and with it only what gains nearly as much.
NEIGHBOURHOOD, NEARLY = 3, 0.7
# Pictures of random signs that the curvature is estimated from.
PROBES = 2


def signatures(model: keras.Model) -> dict[str, Signature]:
    """What is exported of a model: its own signatures, and, where its distortion is the squared error, ``search_k``.

    ``search_k`` of layer or step k: ``images`` (uint8 ``[N, H, W, 3]``), the latents of those below, ``y1`` … (int32
    ``[N, h, w, C]``) or ``latents1`` … (uint8), and ``rounds`` (int32 ``[N]``, of which the largest counts) → ``yk``
    and, with a hyperprior, ``zk``, or ``latentsk``: as ``encode`` gives them, but for the moves.
    """
    found = dict(model.signatures)
    if isinstance(model, LayeredAutoencoder) and model.distortion == "mse":
        found |= {f"search_{k}": _search_layer(model, k) for k in range(1, len(model.codecs) + 1)}
    if isinstance(model, BlockModel):
        found |= {f"search_{k}": _search_blocks(model, k) for k in range(1, model.steps + 1)}
    return found


def _search_layer(model: LayeredAutoencoder, k: int) -> Signature:
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
    curvature = 255.0**2 * 2 / 3 * _curvature(codec.synthesis, y, inside)

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


def _curvature(synthesis: Callable, latents, inside):
    """‖∂x̂/∂ŷ‖² of each latent: float32, the shape of ``latents``.

    The squares of ∂(x̂·v)/∂ŷ, for random signs v, have it as their mean. They vary much, so half of what counts is the
    mean over the picture, half that of the neighbours.
    """
    squares = tf.zeros_like(latents)
    shape = tf.concat([tf.shape(latents)[:1], tf.shape(inside)[1:3], [3]], 0)
    for probe in range(PROBES):
        signs = 2.0 * tf.cast(tf.random.stateless_uniform(shape, (probe, 0), 0, 2, tf.int32), tf.float32) - 1.0
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(latents)
            product = tf.reduce_sum(synthesis(latents) * signs * inside)
        squares += tf.square(tape.gradient(product, latents))
    squares /= PROBES
    return (tf.reduce_mean(squares, (1, 2), keepdims=True) + tf.nn.avg_pool2d(squares, 5, 1, "SAME")) / 2


def _search_blocks(model: BlockModel, k: int) -> Signature:
    def search(images, rounds, **latents):
        padded = tf.cast(pad_to_multiple(images, model.stride), tf.float32) / 255.0
        inside = _inside(tf.shape(images), tf.shape(padded))
        below = [model.from_integers(values) for values in latents.values()]
        start = model.analyse(padded, below)

        def synthesis(values):
            return tf.clip_by_value(model.synthesise([*below, values]), 0.0, 1.0)

        moved = _follow(synthesis, padded, inside, start, model.levels, tf.reduce_max(rounds))
        return {f"latents{k}": model.to_integers(moved)}

    latents = {f"latents{i}": ("uint8", (None, None, None, model.channels)) for i in range(1, k)}
    return Signature(search, {"images": ("uint8", (None, None, None, 3)), **latents, "rounds": ("int32", (None,))})


def _follow(synthesis: Callable, target, inside, start, levels: int, rounds):
    """``start``, or latents (0 … 1, rounded to levels) with a smaller error, for each picture; see the module."""
    scale = _curvature(synthesis, start, inside)
    scale += 1e-3 * tf.reduce_mean(scale, (1, 2, 3), keepdims=True)  # a latent may change nothing here

    def inner(a, b):
        return tf.reduce_sum(a * b, (1, 2, 3), keepdims=True)

    def squared_error(values):
        error = (synthesis(values) - target) * inside
        return inner(error, error)

    def follow(count, values, direction, gradient, size):
        before, size_before = gradient, size
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            decoded = synthesis(values)
            distortion = tf.reduce_sum(tf.square((decoded - target) * inside))
        gradient = tape.gradient(distortion, values)
        free = tf.where(gradient > 0, values > 0.0, values < 1.0)
        descent = tf.where(free, -gradient / scale, 0.0)
        size = -inner(descent, gradient)
        turn = -inner(descent, gradient - before)
        direction = tf.where(
            free, descent + tf.maximum(tf.math.divide_no_nan(turn, size_before), 0.0) * direction, 0.0
        )
        # How the picture changes along the way, by a probe of one level.
        probe = tf.math.divide_no_nan(1 / levels, tf.reduce_max(tf.abs(direction), (1, 2, 3), keepdims=True))
        change = (synthesis(values + probe * direction) - decoded) * inside
        slope = -inner(direction, gradient) / 2
        length = tf.math.divide_no_nan(slope * tf.square(probe), inner(change, change))
        return count + 1, tf.clip_by_value(values + length * direction, 0.0, 1.0), direction, gradient, size

    nothing = tf.zeros_like(start)
    first = (tf.constant(0), start, nothing, nothing, tf.zeros_like(start[:, :1, :1, :1]))
    found = tf.round(tf.while_loop(lambda count, *_: count < rounds, follow, first)[1] * levels) / levels
    return tf.where(squared_error(found) < squared_error(start), found, start)
