"""Figures drawn from measured rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from codec_zoo.files import atomic_path
from codec_zoo.harness.evaluation import Row


def rate_distortion(points: Sequence[Row], path: Path) -> None:
    """Draw mean PSNR and MS-SSIM over bits per pixel, a curve a codec (Fu 2019, Fig. 6).

    Args:
        points: from ``codec_zoo.harness.evaluation.summarize``.
        path: ``.png`` or ``.svg``.
    """
    curves: dict[str, list[Row]] = defaultdict(list)
    for point in points:
        curves[point["codec"]].append(point)
    figure, axes = plt.subplots(1, 2, figsize=(15, 7), layout="constrained")
    for axis, metric, label in zip(axes, ("psnr", "ms_ssim"), ("PSNR (RGB), dB", "MS-SSIM, dB"), strict=True):
        for name, curve in curves.items():
            curve = sorted((p for p in curve if p[metric] is not None), key=lambda p: p["bpp"])
            values = np.array([p[metric] for p in curve])
            if metric == "ms_ssim":
                values = -10 * np.log10(1 - values)
            learned = any(p["weights_sha256"] for p in curve)
            style = {"linewidth": 2.2, "marker": "o"} if learned else {"linewidth": 1, "marker": "."}
            axis.plot([p["bpp"] for p in curve], values, label=name, **style)
        axis.set(xlabel="bits per pixel", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    _save(figure, path)


def residual_histogram(counts: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw how often each residual value −255 … 255 occurs (Fu 2019, Fig. 5).

    Args:
        counts: name of a picture or set → ``int [511]``, from −255 up.
        path: ``.png`` or ``.svg``.
    """
    figure, axes = plt.subplots(1, 2, figsize=(14, 5), layout="constrained")
    for name, values in counts.items():
        share = values / values.sum()
        for axis in axes:
            axis.plot(np.arange(-255, 256), share, label=name)
    axes[0].set(ylabel="share of residual values", xlim=(-120, 120))
    axes[1].set(yscale="log", xlim=(-255, 255))
    for axis in axes:
        axis.set(xlabel="residual value")
        axis.axvline(-120, color="gray", linewidth=0.8, linestyle="--")
        axis.axvline(120, color="gray", linewidth=0.8, linestyle="--")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    _save(figure, path)


def _save(figure, path: Path) -> None:
    """Write a figure whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=110)
    plt.close(figure)
