"""The rate–distortion plane with a training run in it, as a picture; needs Matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from codec_zoo.harness.published import published_curves

# Metric → its axis, and published curves.
_PLANES = {
    "psnr": ("PSNR, dB", ("jpeg", "bpg444", "balle2018", "minnen2018", "vtm")),
    "ms_ssim": ("MS-SSIM, dB", ("jpeg", "bpg444", "balle2018-ms-ssim", "minnen2018-ms-ssim", "vtm")),
}
_LINES = ("-", "--", "-.", ":", (0, (1, 3)))


def draw(curve: Sequence[Mapping[str, float]]) -> np.ndarray:
    """A run's way through the rate–distortion plane, over published curves of Kodak.

    Args:
        curve: the held-out curve so far, first point first: ``step``, ``bpp``, ``psnr`` and perhaps ``ms_ssim``; of a
            model of variable rate also ``bpp_q`` and ``psnr_q`` for each quality q.

    Returns:
        ``uint8 [h, w, 3]``.
    """
    metrics = [metric for metric in _PLANES if metric in curve[-1]]
    figure = Figure(figsize=(5.4 * len(metrics), 4.4), dpi=100, layout="tight")
    canvas = FigureCanvasAgg(figure)
    for axis, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        label, names = _PLANES[metric]
        for line, known in zip(_LINES, published_curves("kodak", metric, names), strict=True):
            axis.plot(*np.transpose(known.points), color="0.5", linestyle=line, linewidth=1, label=known.name)
        way = [_points(point, metric) for point in curve]
        for points in way[:-1]:
            axis.plot(*np.transpose(points), color="#8db5e2", marker=".", linewidth=0.8)
        if all(len(points) == 1 for points in way):
            axis.plot(*np.transpose([points[0] for points in way]), color="#8db5e2", linewidth=0.8)
        axis.plot(*np.transpose(way[-1]), color="#c2410c", marker="o", label=f"this run, step {curve[-1]['step']:,}")
        rates, values = np.transpose(way[-1])
        lowest = min(values.min() - 1, 24 if metric == "psnr" else 8)
        axis.set(xlim=(0, max(1.0, 1.2 * rates.max())), ylim=(lowest, max(values.max() + 1, lowest + 14)))
        axis.set(xlabel="bits a pixel", ylabel=label)
        axis.set_title("this run: held-out pictures; published: Kodak", fontsize="medium")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="lower right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _points(point: Mapping[str, float], metric: str) -> list[tuple[float, float]]:
    """Bits a pixel and a metric, at each rate of the model, low rate first; MS-SSIM in dB."""
    suffixes = [name.removeprefix("bpp") for name in point if name.startswith("bpp_")]
    pairs = [(point[f"bpp{q}"], point[f"{metric}{q}"]) for q in suffixes if f"{metric}{q}" in point]
    pairs = sorted(pairs) or [(point["bpp"], point[metric])]
    if metric == "psnr":
        return [(bpp, min(value, 100.0)) for bpp, value in pairs]  # equal images have infinitely many dB
    return [(bpp, float(-10 * np.log10(max(1 - value, 1e-10)))) for bpp, value in pairs]
