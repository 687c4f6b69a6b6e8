"""Distortion measures on any Keras backend, and what a model shows of itself while it trains."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from codec_zoo.arrays import Array
from codec_zoo.errors import UsageError

# Wang, Simoncelli, Bovik 2003, "Multiscale structural similarity for image quality assessment", §4.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SIDE = 176  # the least that leaves its smallest scale a window
_K1, _K2 = 0.01, 0.03
_WINDOW = [math.exp(-(x**2) / (2 * 1.5**2)) for x in range(-5, 6)]
_WINDOW = [tap / sum(_WINDOW) for tap in _WINDOW]


@dataclasses.dataclass(frozen=True)
class EvaluatedImage:
    """One held-out image through a model in training.

    Attributes:
        original: the image that the model should give: ``uint8 [H, W, 1 or 3]``.
        reconstruction: the same shape.
        bpp: bits a pixel: of a real file, or the cross-entropy of rounded latents, as the model says; None
            where the model does not decide it.
        loss: the training loss of what a decoder will show; the best weights have the lowest.
        latents: name → integer values, for histograms.
        scores: further numbers of the held-out curve by name, such as the loss at each of several rates.
        bpp_of_latents: name of a latent → its part of the cross-entropy, bits a pixel; empty where ``bpp`` is not of
            latents.
    """

    original: np.ndarray
    reconstruction: np.ndarray
    bpp: float | None
    loss: float
    latents: Mapping[str, np.ndarray]
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    bpp_of_latents: Mapping[str, float] = dataclasses.field(default_factory=dict)


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio of two images of one shape, in dB; ``inf`` where they are equal."""
    # Row by row: a large image in float64 would take more memory than its coding.
    error = sum(float(np.sum(np.square(x.astype(np.float64) - y))) for x, y in zip(a, b, strict=True)) / np.size(a)
    return psnr_of_error(error, peak)


def psnr_of_error(error: float, peak: float = 255.0) -> float:
    """PSNR of a mean squared error, in dB; ``inf`` of 0."""
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def ms_ssim(a: Array, b: Array, peak: float = 255.0) -> Array:
    """Multi-scale structural similarity (Wang 2003): five scales, 11×11 Gaussian window, σ 1.5.

    Equal to ``tf.image.ssim_multiscale`` on its defaults; of tensors it can also be a loss.

    Args:
        a: array or tensor, float or uint8 ``[N, H, W, C]`` in 0 … ``peak``; both sides at least
            :data:`MS_SSIM_SIDE`.
        b: the same shape.
        peak: the largest value a pixel can have.

    Returns:
        float32 ``[N]`` in 0 … 1, the mean over channels.

    Raises:
        UsageError: a side is too short for five scales.
    """
    if min(a.shape[1:3]) < MS_SSIM_SIDE:
        raise UsageError(
            f"MS-SSIM needs pictures and patches with sides of {MS_SSIM_SIDE} pixels or more. Received: "
            f"{a.shape[1]}×{a.shape[2]}."
        )
    xp, a, b = _as_floats(a, b)
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    product = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            a, b = (_halve(_to_even(x, xp)) for x in (a, b))
        luminance, contrast = _similarities(a, b, c1, c2)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        term = xp.mean(luminance * contrast if last else contrast, axis=(1, 2))
        # Twice, since where a power of 0 is not taken its gradient still is: infinity, times 0.
        product = product * xp.where(term > 0, xp.where(term > 0, term, 1.0) ** weight, 0.0)
    return xp.mean(product, axis=-1)


def ssim(a: Array, b: Array, peak: float = 255.0) -> Array:
    """Structural similarity (Wang 2004): 11×11 Gaussian window, σ 1.5, where it fits.

    Args:
        a: array or tensor, float or uint8 ``[N, H, W, C]`` in 0 … ``peak``; both sides at least 11.
        b: the same shape.
        peak: the largest value a pixel can have.

    Returns:
        float32 ``[N]``, at most 1, the mean over channels and places. With ``peak`` 1 the constants are Zhao 2018's.

    Raises:
        UsageError: a side is shorter than the window.
    """
    if min(a.shape[1:3]) < len(_WINDOW):
        raise UsageError(
            f"SSIM needs pictures and patches with sides of {len(_WINDOW)} pixels or more. Received: "
            f"{a.shape[1]}×{a.shape[2]}."
        )
    xp, a, b = _as_floats(a, b)
    luminance, contrast = _similarities(a, b, (_K1 * peak) ** 2, (_K2 * peak) ** 2)
    return xp.mean(luminance * contrast, axis=(1, 2, 3))


def _as_floats(a: Array, b: Array) -> tuple[Any, Array, Array]:
    """NumPy or ``keras.ops``, and two float32 arrays of its kind.

    Images are measured in NumPy: several times faster than by a backend on the CPU, and without Keras.
    """
    if isinstance(a, np.ndarray):
        return np, a.astype(np.float32), b.astype(np.float32)
    from keras import ops

    return ops, ops.cast(a, "float32"), ops.cast(b, "float32")


def _similarities(a: Array, b: Array, c1: float, c2: float) -> tuple[Array, Array]:
    """Similarity of means, and of contrast and structure together: ``[N, H − 10, W − 10, C]`` each."""
    mean_a, mean_b = _smooth(a), _smooth(b)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    variances = _smooth(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    covariance = _smooth(a * b) - mean_a * mean_b
    return luminance, (2 * covariance + c2) / (variances + c2)


def _smooth(x: Array) -> Array:
    """``[N, H, W, C]`` through the Gaussian window, where it fits: ``[N, H − 10, W − 10, C]``."""
    size = len(_WINDOW)
    if not isinstance(x, np.ndarray):
        import keras

        if keras.backend.backend() == "tensorflow":
            # Gradients of the sums of slices below take ten times as long there, on a CPU. Elsewhere convolutions may
            # be in TF32 on a GPU: too coarse for variances, which are differences of means of squares.
            window = np.tile(np.array(_WINDOW, np.float32)[:, None, None, None], (1, 1, x.shape[-1], 1))
            x = keras.ops.depthwise_conv(x, window, data_format="channels_last")
            return keras.ops.depthwise_conv(x, window.transpose(1, 0, 2, 3), data_format="channels_last")
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    x = sum(tap * x[:, i : i + height] for i, tap in enumerate(_WINDOW))
    return sum(tap * x[:, :, i : i + width] for i, tap in enumerate(_WINDOW))


def _to_even(x: Array, xp: Any) -> Array:
    """``[N, H, W, C]`` with its last row and column once more where their number is odd."""
    if x.shape[1] % 2:
        x = xp.concatenate([x, x[:, -1:]], axis=1)
    return xp.concatenate([x, x[:, :, -1:]], axis=2) if x.shape[2] % 2 else x


def _halve(x: Array) -> Array:
    """Means of 2×2 pixels."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
