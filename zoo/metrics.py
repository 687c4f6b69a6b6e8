"""Distortion measures on any Keras backend, and what a model shows of itself while it trains."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from keras import ops

# Wang, Simoncelli, Bovik 2003, "Multiscale structural similarity for image quality assessment", §4.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_K1, _K2 = 0.01, 0.03


@dataclasses.dataclass(frozen=True)
class Probe:
    """One held-out picture through a model in training.

    Attributes:
        reconstruction: ``uint8 [H, W, 3]``.
        bpp: bits a pixel of what was really coded.
        latents: name → integer values, for histograms.
    """

    reconstruction: np.ndarray
    bpp: float
    latents: Mapping[str, np.ndarray]


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio of two pictures of one shape, in dB; ``inf`` where they are equal."""
    error = float(np.mean(np.square(np.asarray(a, np.float64) - np.asarray(b, np.float64))))
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def _gaussian_window(size: int = 11, sigma: float = 1.5) -> np.ndarray:
    """A normalised ``[size, size]`` Gaussian."""
    x = np.arange(size) - (size - 1) / 2
    g = np.exp(-np.square(x) / (2 * sigma**2))
    window = np.outer(g, g)
    return window / window.sum()


def ms_ssim(a, b, peak: float = 255.0):
    """Multi-scale structural similarity (Wang 2003): five scales, 11×11 Gaussian window, σ 1.5.

    Equal to ``tf.image.ssim_multiscale`` on its defaults, in ``keras.ops``, so that it can also be a loss.

    Args:
        a: float or uint8 ``[N, H, W, C]`` in 0 … ``peak``; both sides at least 176.
        b: the same shape.
        peak: the largest value a pixel can have.

    Returns:
        float32 ``[N]`` in 0 … 1, the mean over channels.

    Raises:
        ValueError: a side is too short for five scales.
    """
    if min(a.shape[1:3]) < 176:
        raise ValueError(f"MS-SSIM needs sides of 176 pixels or more. Received: {a.shape[1]}×{a.shape[2]}")
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    channels = a.shape[-1]
    window = np.repeat(_gaussian_window()[:, :, None, None], channels, axis=2).astype("float32")
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2

    def smooth(x):
        return ops.depthwise_conv(x, window, padding="valid")

    product = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            height, width = a.shape[1], a.shape[2]
            odd = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
            a, b = (ops.average_pool(ops.pad(x, odd, "symmetric"), 2, 2, "valid") for x in (a, b))
        mean_a, mean_b = smooth(a), smooth(b)
        luminance = (2 * mean_a * mean_b + c1) / (ops.square(mean_a) + ops.square(mean_b) + c1)
        variances = smooth(ops.square(a) + ops.square(b)) - ops.square(mean_a) - ops.square(mean_b)
        covariance = smooth(a * b) - mean_a * mean_b
        contrast = (2 * covariance + c2) / (variances + c2)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        term = ops.mean(luminance * contrast if last else contrast, axis=(1, 2))
        product = product * ops.maximum(term, 0.0) ** weight
    return ops.mean(product, axis=-1)
