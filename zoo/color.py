"""RGB, YCbCr (BT.601, full range, as in JPEG; 16-bit fixed point) and YCoCg-R (lossless) of 8-bit images.

Integers throughout, so that every machine gives the same pixels. The functions of YCbCr take NumPy arrays and tensors
of any Keras backend.
"""

from collections.abc import Callable, Sequence

import numpy as np

from codec_zoo.arrays import Array

BITS = 16
# Pixels of an array that are converted at once.
PART = 2**18


def fixed(value: float) -> int:
    """``value`` in units of 2^−16."""
    return round(value * (1 << BITS))


# Weights of R, G and B in Y, Cb and Cr. The weights of Y sum to one exactly.
TO_Y = (fixed(0.299), fixed(0.587), (1 << BITS) - fixed(0.299) - fixed(0.587))
TO_CB = (-fixed(0.168735892), -fixed(0.331264108), fixed(0.5))
TO_CR = (fixed(0.5), -fixed(0.418687589), -fixed(0.081312411))
# Weights of Cr in R, of Cb and Cr in G, and of Cb in B.
CR_TO_R, CB_TO_G, CR_TO_G, CB_TO_B = fixed(1.402), -fixed(0.344136286), -fixed(0.714136286), fixed(1.772)


def rgb_to_ycbcr(rgb: Array) -> Array:
    """``uint8 [..., 3]`` RGB → ``uint8 [..., 3]`` Y, Cb, Cr."""
    return _in_parts(_rgb_to_ycbcr, rgb) if isinstance(rgb, np.ndarray) else _rgb_to_ycbcr(rgb)


def _rgb_to_ycbcr(rgb: Array) -> Array:
    red, green, blue = _channels(rgb)
    return _stack(
        [
            _divide(red * weights[0] + green * weights[1] + blue * weights[2]) + offset
            for weights, offset in ((TO_Y, 0), (TO_CB, 128), (TO_CR, 128))
        ]
    )


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """``uint8 [..., 3]`` Y, Cb, Cr → ``uint8 [..., 3]`` RGB."""
    return _in_parts(_ycbcr_to_rgb, ycbcr) if isinstance(ycbcr, np.ndarray) else _ycbcr_to_rgb(ycbcr)


def _ycbcr_to_rgb(ycbcr: Array) -> Array:
    y, cb, cr = _channels(ycbcr)
    cb, cr = cb - 128, cr - 128
    return _stack([y + _divide(CR_TO_R * cr), y + _divide(CB_TO_G * cb + CR_TO_G * cr), y + _divide(CB_TO_B * cb)])


def _in_parts(convert: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """``convert`` of an array of pixels, some at a time: whole, its int32 channels would take ten times the bytes."""
    pixels = image.reshape(-1, 3)
    result = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), PART):
        result[start : start + PART] = convert(pixels[start : start + PART])
    return result.reshape(image.shape)


def _channels(image: Array) -> tuple[Array, Array, Array]:
    """The three channels, int32."""
    if isinstance(image, np.ndarray):
        values = image.astype(np.int32)
    else:
        from keras import ops

        values = ops.cast(image, "int32")
    return values[..., 0], values[..., 1], values[..., 2]


def _divide(value: Array) -> Array:
    """From units of 2^−16 to integers above −256, rounded to the nearest.

    The dividend is never negative: ONNX Runtime would round its quotient to zero.
    """
    return (value + (256 << BITS) + (1 << (BITS - 1))) // (1 << BITS) - 256


def _stack(channels: Sequence[Array]) -> Array:
    """Three int32 channels, clipped → ``uint8 [..., 3]``."""
    if isinstance(channels[0], np.ndarray):
        return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    from keras import ops

    return ops.cast(ops.clip(ops.stack(channels, axis=-1), 0, 255), "uint8")


def rgb_to_ycocg(image: np.ndarray) -> np.ndarray:
    """The lossless transform YCoCg-R (Malvar & Sullivan 2003).

    Args:
        image: ``uint8 [H, W, 3]``, RGB.

    Returns:
        int16 ``[H, W, 3]``: Y in 0 … 255, Co and Cg in −255 … 255.
    """
    red, green, blue = (image[..., i].astype(np.int16) for i in range(3))
    orange = red - blue
    half = blue + (orange >> 1)
    green = green - half
    return np.stack([half + (green >> 1), orange, green], axis=-1)


def ycocg_to_rgb(planes: np.ndarray) -> np.ndarray:
    """Inverse of :func:`rgb_to_ycocg`; int16 ``[..., 3]``, in 0 … 255 for planes that it made."""
    luma, orange, green = (planes[..., i] for i in range(3))
    half = luma - (green >> 1)
    blue = half - (orange >> 1)
    return np.stack([blue + orange, green + half, blue], axis=-1)
