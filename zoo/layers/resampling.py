"""Sides of images: padding to a multiple, bilinear interpolation to twice the sides."""

from fractions import Fraction
from typing import Any

from keras import ops

from codec_zoo.receptive_field import Window

# What an output sample of :func:`double` looks at: its own input sample and the nearer neighbour.
DOUBLE = Window(step=Fraction(1, 2), before=Fraction(1), after=Fraction(1, 2))


def sizes(images: Any) -> Any:
    """Height and width of each image of a batch ``[N, H, W, C]``: ``int32 [N, 2]``."""
    count, height, width = ops.shape(images)[:3]
    return ops.broadcast_to(ops.stack([ops.cast(height, "int32"), ops.cast(width, "int32")]), (count, 2))


def pad_to_multiple(images: Any, multiple: int) -> Any:
    """Repeat the last row and column until both sides are multiples of ``multiple``.

    Unlike symmetric padding, this works from 1×1 up. ``[N, H, W, C]`` in and out, any dtype.
    """
    for axis in (1, 2):
        side = ops.shape(images)[axis]
        padded = (side + multiple - 1) // multiple * multiple  # not -(-side // multiple): ONNX rounds to 0
        images = ops.take(images, ops.minimum(ops.arange(padded), side - 1), axis=axis)
    return images


def double(images: Any) -> Any:
    """Bilinear interpolation to twice the sides, samples at centres: float ``[N, H, W, C]`` → ``[N, 2H, 2W, C]``."""
    count, height, width = ops.shape(images)[:3]
    channels = images.shape[-1]
    before = ops.concatenate([images[:, :1], images[:, :-1]], axis=1)
    after = ops.concatenate([images[:, 1:], images[:, -1:]], axis=1)
    rows = ops.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=2)
    images = ops.reshape(rows, (count, 2 * height, width, channels))
    before = ops.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)
    after = ops.concatenate([images[:, :, 1:], images[:, :, -1:]], axis=2)
    columns = ops.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=3)
    return ops.reshape(columns, (count, 2 * height, 2 * width, channels))
