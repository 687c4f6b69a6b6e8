"""Rate–distortion curves that others published, for charts (``published.csv``; docs/report.md names the sources)."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codec_zoo.errors import UsageError, did_you_mean
from codec_zoo.harness.results import Curve

_FILE = Path(__file__).with_name("published.csv")
_METRICS = {"psnr": "psnr_rgb_db", "ms_ssim": "ms_ssim_rgb"}
# Short name → method in the file, and the codec as readers know it, in the order of charts' legends.
_CURVES = {
    "toderici2017": ("toderici-2017-cvpr", "Toderici 2017"),
    "theis2017": ("theis-2017-iclr", "Theis 2017"),
    "balle2017": ("balle-2017-iclr-opt-mse", "Ballé 2017 (MSE)"),
    "balle2017-ms-ssim": ("balle-2017-iclr-opt-msssim", "Ballé 2017 (MS-SSIM)"),
    "balle2018": ("balle-2018-iclr-opt-mse", "Ballé 2018 (MSE)"),
    "balle2018-ms-ssim": ("balle-2018-iclr-opt-msssim", "Ballé 2018 (MS-SSIM)"),
    "hyperprior-vbr": ("bmshj2018-hyperprior-vbr-ans", "Hyperprior, variable rate (MSE)"),
    "mean-scale": ("minnen-2018-neurips-no-context", "Mean–scale hyperprior (MSE)"),
    "mean-scale-vbr": ("mbt2018-mean-vbr-ans", "Mean–scale hyperprior, variable rate (MSE)"),
    "minnen2018": ("minnen-2018-neurips-opt-mse", "Minnen 2018 (MSE)"),
    "minnen2018-ms-ssim": ("minnen-2018-neurips-opt-msssim", "Minnen 2018 (MS-SSIM)"),
    "minnen2020": ("minnen-2020-icip", "Minnen 2020 (MSE)"),
    "cheng2020": ("compressai-cheng2020-attn_mse_cpu", "Cheng 2020 (MSE)"),
    "cheng2020-anchor": ("compressai-cheng2020-anchor_mse_cpu", "Cheng 2020 without attention (MSE)"),
    "elic": ("paper-elic2022_mse", "ELIC 2022 (MSE)"),
    "jpeg": ("jpeg420", "JPEG 4:2:0"),
    "jpeg2000": ("j2k-kdu5", "JPEG 2000 (Kakadu)"),
    "webp": ("webp", "WebP"),
    "bpg420": ("bpg420", "BPG 4:2:0"),
    "bpg444": ("bpg444", "BPG 4:4:4"),
    "hevc": ("hm", "HEVC (HM)"),
    "av1": ("av1", "AV1"),
    "vtm": ("vtm", "VVC (VTM)"),
}

# The curves that a report page draws before the reader asks for others: three stages of the field.
_SHOWN = ("balle2018", "minnen2018", "vtm")


def list_published() -> list[str]:
    """The short names of the curves."""
    return list(_CURVES)


def published_curves(pictures: str, metric: str, names: Sequence[str] | None = None) -> list[Curve]:
    """Mean curves over a set of images.

    Args:
        pictures: the set, ``"kodak"``.
        metric: ``"psnr"``, of RGB, or ``"ms_ssim"``, of RGB; both are given in dB (−10·log10(1 − MS-SSIM)).
        names: short names, of :func:`list_published`; None for all, of which three are ``shown``. A curve that has no
            points of the metric is left out.

    Raises:
        UsageError: no curves on these images, of this metric, or of this name.
    """
    for name in names or ():
        if name not in _CURVES:
            raise UsageError(
                f"there is no published curve {name!r}.{did_you_mean(name, _CURVES)} Curves: {', '.join(_CURVES)}."
            )
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sources: dict[str, str] = {}
    with open(_FILE, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["pictures"] == pictures and row["metric"] == _METRICS.get(metric):
                value = float(row["value"])
                value = value if metric == "psnr" else float(-10 * np.log10(1 - value))
                points[row["method"]].append((float(row["bpp"]), value))
                sources[row["method"]] = row["source"]
    if not points:
        raise UsageError(
            f"published curves are of 'kodak', by {', '.join(_METRICS)}. Received: {pictures!r}, {metric!r}"
        )
    wanted = [(*_CURVES[name], names is not None or name in _SHOWN) for name in (_CURVES if names is None else names)]
    return [
        Curve(title, sorted(points[method]), sources[method], shown)
        for method, title, shown in wanted
        if method in points
    ]
