"""Encoder-side refinement of latents: they move while D + λ·R of the image falls. The decoder stays as it is.

A model says which of its latents can be refined (``CompressionModel.refinements``).

**Transform codecs.** Rounding takes each latent by itself. But the bits that an integer costs, and what other latents
already do for the same pixels, can make the next one better (Yang, Bamler and Mandt 2020, "Improving inference for
neural image compression", §3; they follow gradients through ever harder rounding, here ŷ is an integer all along). In
each round

    ΔL = ± ∂D/∂ŷ + ½ ∂²D/∂ŷ² + λ · (bits of ŷ ± 1 − bits of ŷ)

is the gain or loss of a step up or down of each latent, and the best of each neighbourhood move. ẑ stays as it is.

**Latents of fixed length** (``report2017-*``) cost the same wherever they are, so D alone falls. They move as
real numbers, by the method of conjugate gradients (Polak and Ribière 1969) with the curvature as preconditioner, each
block by itself, and are rounded in the end. An encoder of a few convolutions is far from the best latents for its
decoder.
"""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from codec_zoo.contract import IMAGES, CompressionModel, Refinement, RefinementTask, Signature, TensorSpecs
from codec_zoo.layers.resampling import pad_to_multiple

# Latents that share pixels would overshoot together. Of so many places in each direction, all channels, one moves,
# and with it only what gains nearly as much.
NEIGHBOURHOOD, NEARLY = 3, 0.7
# Images of random signs that the curvature is estimated from.
PROBES = 2


def signatures(model: CompressionModel) -> dict[str, Signature]:
    """The exported functions of a model: its own signatures, and ``search_k`` for each of its refinements.

    ``search_k`` of the k-th layer: ``images`` (uint8 ``[N, H, W, 3]``), the latents of lower layers, such as ``y1``
    (int32 ``[N, h, w, C]``) or ``latents1`` (uint8), ``step`` (int32 ``[N]``) of a model that has one, and ``rounds``
    (int32 ``[N]``, of which the largest counts) → the layer's latents as ``encode`` names them, such as ``yk`` and
    ``zk``, or ``latentsk``.
    """
    own = model.signatures
    refined: dict[str, Signature] = {}
    for k, refinement in enumerate(model.refinements(), 1):
        outputs = {name: spec for name, spec in own["encode"].outputs.items() if re.fullmatch(rf"\D+{k}", name)}
        refined[f"search_{k}"] = _search(model, refinement, outputs)
    return {**own, **refined}


def _search(model: CompressionModel, refinement: Refinement, outputs: TensorSpecs) -> Signature:
    def search(images: Any, rounds: Any, **lower: Any) -> dict[str, Any]:
        padded = tf.cast(pad_to_multiple(images, model.stride), tf.float32)
        inside = _inside(tf.shape(images), tf.shape(padded))
        task = refinement.begin(padded, **lower)
        if task.rate:
            moved = _move(task, task.rate, inside, tf.reduce_max(rounds))
        else:
            moved = _descend(task, refinement.levels, inside, tf.reduce_max(rounds))
        return dict(task.coded(moved))

    return Signature(search, {"images": IMAGES, **refinement.lower, "rounds": ("int32", (None,))}, outputs)


def _inside(shape: Any, padded: Any) -> Any:
    """1 in the image, 0 in its padding: float32 ``[1, H, W, 1]``."""
    rows, columns = (tf.cast(tf.range(padded[axis]) < shape[axis], tf.float32) for axis in (1, 2))
    return rows[None, :, None, None] * columns[None, None, :, None]


def _move(task: RefinementTask, rate: Callable, inside: Any, rounds: Any) -> Any:
    """Integer latents: the best of the start and of ``rounds`` rounds of moves by one, for each image."""
    weight = tf.reshape(tf.convert_to_tensor(task.rate_weight, tf.float32), (-1, 1, 1, 1))
    curvature = 255.0**2 * 2 / 3 * _curvature(task.synthesis, task.start, inside)

    def search(count: Any, y: Any, best: Any, least: Any) -> tuple[Any, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y)
            error = 255.0 * (task.synthesis(y) - task.target) * inside
            distortion = tf.reduce_sum(tf.square(error), (1, 2, 3)) / 3
        slope, spent = tape.gradient(distortion, y), rate(y)
        loss = distortion + weight[:, 0, 0, 0] * tf.reduce_sum(spent, (1, 2, 3))
        best = tf.where((loss < least)[:, None, None, None], y, best)
        down, up = (s * slope + curvature / 2 + weight * (rate(y + s) - spent) for s in (-1.0, 1.0))
        gain = -tf.minimum(down, up)
        most = tf.nn.max_pool2d(tf.reduce_max(gain, -1, keepdims=True), NEIGHBOURHOOD, 1, "SAME")
        moves = (gain > 0) & (gain >= NEARLY * most)
        step = tf.where(moves, tf.where(up < down, 1.0, -1.0), 0.0)
        return count + 1, y + step, best, tf.minimum(loss, least)

    # One pass more than rounds, for the outcome of the last of them.
    start = (tf.constant(0), task.start, task.start, tf.fill(tf.shape(task.start)[:1], float("inf")))
    return tf.while_loop(lambda count, *_: count <= rounds, search, start)[2]


def _curvature(synthesis: Callable, latents: Any, inside: Any) -> Any:
    """‖∂x̂/∂ŷ‖² of each latent: float32, the shape of ``latents``.

    The squares of ∂(x̂·v)/∂ŷ, for random signs v, have it as their mean. They vary much, so half of the result is the
    mean over the image, half the mean of the neighbours.
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


def _descend(task: RefinementTask, levels: int, inside: Any, rounds: Any) -> Any:
    """Latents of fixed length, 0 … 1, rounded to levels: the start, or some with a smaller error, for each image."""
    start, target, synthesis = task.start, task.target, task.synthesis
    scale = _curvature(synthesis, start, inside)
    scale += 1e-3 * tf.reduce_mean(scale, (1, 2, 3), keepdims=True)  # a latent may change nothing here

    def inner(a: Any, b: Any) -> Any:
        return tf.reduce_sum(a * b, (1, 2, 3), keepdims=True)

    def squared_error(values: Any) -> Any:
        error = (synthesis(values) - target) * inside
        return inner(error, error)

    def follow(count: Any, values: Any, direction: Any, gradient: Any, size: Any) -> tuple[Any, ...]:
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
        # How the image changes along the way, by a probe of one level.
        probe = tf.math.divide_no_nan(1 / levels, tf.reduce_max(tf.abs(direction), (1, 2, 3), keepdims=True))
        change = (synthesis(values + probe * direction) - decoded) * inside
        slope = -inner(direction, gradient) / 2
        length = tf.math.divide_no_nan(slope * tf.square(probe), inner(change, change))
        return count + 1, tf.clip_by_value(values + length * direction, 0.0, 1.0), direction, gradient, size

    nothing = tf.zeros_like(start)
    first = (tf.constant(0), start, nothing, nothing, tf.zeros_like(start[:, :1, :1, :1]))
    found = tf.round(tf.while_loop(lambda count, *_: count < rounds, follow, first)[1] * levels) / levels
    return tf.where(squared_error(found) < squared_error(start), found, start)
