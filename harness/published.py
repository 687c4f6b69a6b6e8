"""Rate–distortion curves that others published, for charts (``published.csv``; docs/report.md names the sources)."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from codec_zoo.errors import UsageError
from codec_zoo.harness.results import Curve

_FILE = Path(__file__).with_name("published.csv")
_METRICS = {"psnr": "psnr_rgb_db", "ms_ssim": "ms_ssim_rgb"}
# Method in the file → codec as readers know it, in the order of charts' legends.
_NAMES = {
    "toderici-2017-cvpr": "Toderici 2017",
    "theis-2017-iclr": "Theis 2017",
    "balle-2017-iclr-opt-mse": "Ballé 2017 (MSE)",
    "balle-2017-iclr-opt-msssim": "Ballé 2017 (MS-SSIM)",
    "balle-2018-iclr-opt-mse": "Ballé 2018 (MSE)",
    "balle-2018-iclr-opt-msssim": "Ballé 2018 (MS-SSIM)",
    "minnen-2018-neurips-opt-mse": "Minnen 2018 (MSE)",
    "minnen-2018-neurips-opt-msssim": "Minnen 2018 (MS-SSIM)",
    "compressai-cheng2020-attn_mse_cpu": "Cheng 2020 (MSE)",
    "paper-elic2022_mse": "ELIC 2022 (MSE)",
    "jpeg420": "JPEG 4:2:0",
    "j2k-kdu5": "JPEG 2000 (Kakadu)",
    "webp": "WebP",
    "bpg420": "BPG 4:2:0",
    "bpg444": "BPG 4:4:4",
    "vtm": "VVC (VTM)",
}


def published_curves(pictures: str, metric: str) -> list[Curve]:
    """Mean curves over a set of images.

    Args:
        pictures: the set, ``"kodak"``.
        metric: ``"psnr"``, of RGB, or ``"ms_ssim"``, of RGB; both are given in dB (−10·log10(1 − MS-SSIM)).

    Raises:
        UsageError: no curves on these images, or of this metric.
    """
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
    return [Curve(_NAMES[method], sorted(points[method]), sources[method]) for method in _NAMES if method in points]
