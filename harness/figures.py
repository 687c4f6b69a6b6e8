"""Figures drawn from measured rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from codec_zoo.codecs.specs import curve_of
from codec_zoo.files import atomic_path
from codec_zoo.harness.evaluation import Row, curve
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart

# Colours of measured curves. Published curves are gray.
COLORS = ("#0a58b0", "#c2410c", "#15803d", "#8527d8", "#b4141b", "#0b7285", "#8a6100", "#b5176b")
LINES = ("-", "--", "-.", ":")


def rate_distortion(points: Sequence[Row], path: Path, published: Sequence[str] = ()) -> None:
    """Draw mean PSNR and MS-SSIM over bits per pixel, a curve a codec (Fu 2019, Fig. 6).

    The files of a layered model that are cut behind its layers are the points of one curve.

    Args:
        points: from ``codec_zoo.harness.evaluation.summarize``.
        path: ``.png``, ``.svg`` or ``.pdf``.
        published: short names of curves on Kodak (``codec_zoo.harness.published``), drawn thin and gray, in the part
            of the plane where something was measured.

    Raises:
        UsageError: there is no published curve of a name.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for point in points:
        groups[curve_of(point["codec"])].append(point)
    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(1, 2)
    styles: dict[str, int] = {}  # of published curves, in both axes alike: some have one metric only
    for axis, metric, label in zip(axes, ("psnr", "ms_ssim"), ("PSNR (RGB), dB", "MS-SSIM, dB"), strict=True):
        for name, group in groups.items():
            learned = any(point["weights_sha256"] for point in group)
            style = {"linewidth": 2.2, "marker": "o"} if learned else {"linewidth": 1, "marker": "."}
            pairs = curve(group, metric)
            axis.plot([bpp for bpp, _ in pairs], [value for _, value in pairs], label=name, **style)
        limits = axis.get_xlim(), axis.get_ylim()
        for known in published_curves("kodak", metric, published) if published else ():
            number = styles.setdefault(known.name, len(styles))
            axis.plot(*np.transpose(known.points), label=f"{known.name} (published)", **_published_style(number))
        if published:
            axis.set(xlim=limits[0], ylim=limits[1])
        axis.set(xlabel="bits per pixel", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    _save(figure, path)


def _published_style(i: int) -> dict[str, Any]:
    """How the published curve number ``i`` is drawn."""
    return {"color": f"{0.45 + 0.3 * (i % 2)}", "linestyle": LINES[i // 2 % 4], "linewidth": 1, "zorder": 1}


def draw_chart(chart: Chart, folder: Path) -> list[Path]:
    """Draw a chart as ``NAME.svg`` and ``NAME.png``: measured curves thick, published ones thin behind them.

    The same chart gives the same bytes.

    Args:
        chart: its ``name`` names the files.
        folder: made if need be.

    Returns:
        The two files.

    Raises:
        CodecZooError: they cannot be written.
    """
    published = [curve for curve in chart.curves if curve.source and curve.points]
    measured = [curve for curve in chart.curves if not curve.source and curve.points]
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(12, 6.5), layout="constrained")
        axis = figure.subplots()
        for i, curve in enumerate(published):
            axis.plot(*np.transpose(curve.points), label=f"{curve.name} (published)", **_published_style(i))
        for i, curve in enumerate(measured):
            axis.plot(
                *np.transpose(curve.points),
                label=curve.name,
                color=COLORS[i % 8],
                marker="osD^vPX*"[(i + i // 8) % 8],
                linestyle=LINES[i // 8 % 4],
                linewidth=2.4,
                zorder=3,
            )
        axis.set(xlabel="bits per pixel", ylabel=chart.quality, title=chart.title)
        axis.grid(alpha=0.3)
        handles, labels = axis.get_legend_handles_labels()
        order = [*range(len(published), len(handles)), *range(len(published))]
        shown = [handles[i] for i in order], [labels[i] for i in order]
        figure.legend(*shown, loc="outside right upper", fontsize="small")
        paths = [folder / f"{chart.name}.{kind}" for kind in ("svg", "png")]
        for path in paths:
            _save(figure, path)
    return paths


def residual_histogram(counts: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw how often each residual value −255 … 255 occurs (Fu 2019, Fig. 5).

    Args:
        counts: name of an image or set → ``int [511]``, from −255 up.
        path: ``.png``, ``.svg`` or ``.pdf``.
    """
    figure = Figure(figsize=(14, 5), layout="constrained")
    axes = figure.subplots(1, 2)
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


def held_out_curve(points: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw how PSNR, and the loss where it is known, of held-out images went with the steps of a run.

    Args:
        points: of a run's record, ``curve``: ``step``, ``psnr`` (dB) and perhaps ``loss``.
        path: ``.png``, ``.svg`` or ``.pdf``.
    """
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    steps = [point["step"] for point in points]
    axis.plot(steps, [point["psnr"] for point in points], color=COLORS[0], marker="o", markersize=4)
    axis.set(xlabel="steps", ylim=_padded([point["psnr"] for point in points]))
    axis.set_ylabel("held-out PSNR, dB", color=COLORS[0])
    axis.grid(alpha=0.3)
    if all("loss" in point for point in points):
        twin = axis.twinx()
        losses = [point["loss"] for point in points]
        twin.plot(steps, losses, color=COLORS[1], marker="s", markersize=3, linestyle="--")
        twin.set(ylim=_padded(losses))
        twin.set_ylabel("held-out loss", color=COLORS[1])
    _save(figure, path)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis, with room around the values."""
    room = 0.08 * (max(values) - min(values)) or 0.5
    return min(values) - room, max(values) + room


def _save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, without the date."""
    kind = path.suffix.lstrip(".") or "png"
    with atomic_path(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "codec-zoo"}):
        figure.savefig(temporary, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else {})
