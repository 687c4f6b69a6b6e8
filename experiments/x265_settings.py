"""What settings of x265 bring to BPG 4:4:4 and to ``bpg-filter`` behind it: BD-rates on 8 pictures of Kodak.

    python experiments/x265_settings.py [SETTING …]

A setting is written as x265 takes it, several joined by ``:``, e.g. ``cbqpoffs=2:crqpoffs=2``. ``lambda=1.15`` stands
for ``lambda-file``: the Lagrange multipliers of x265, times a factor. x265 keeps them until the script ends, so they
come last. Without any setting, the script tries its own list. Each picture is coded at five QPs. The published
network of ``bpg-filter`` runs on the decoded pictures, with three gains by least squares. Negative is better than the
settings of ``codecs/standard/hevc.py``. A minute a setting.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from bpg_filter_side_information import coded, quality

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard import hevc
from codec_zoo.harness.evaluation import bd_rate
from codec_zoo.models.bpg_filter import BPGFilter

KODAK = Path(__file__).parents[1] / "datasets/kodak"
PICTURES, QUALITIES = (1, 4, 7, 13, 15, 19, 22, 23), (40, 36, 32, 28, 24)
SETTINGS = (
    *("cbqpoffs=1", "cbqpoffs=-1", "crqpoffs=1", "crqpoffs=-1", "cbqpoffs=2:crqpoffs=2", "cbqpoffs=-2:crqpoffs=-2"),
    *("sao=0", "deblock=-2,-2", "deblock=2,2"),
    *("rdoq-level=1", "tu-intra-depth=4", "strong-intra-smoothing=0", "rdpenalty=2", "limit-tu=0", "rd=6"),
    *("lambda=0.7", "lambda=0.85", "lambda=1", "lambda=1.15"),
)


def curves(model: BPGFilter, setting: str) -> list[list[tuple[float, float]]]:
    """Mean bits a pixel and mean PSNR at each QP, of BPG and of the filter behind it."""
    added = dict(pair.split("=") for pair in setting.split(":") if pair)
    run, points = hevc._run_x265, ([], [])
    hevc._run_x265 = lambda frames, pixel_format, own: run(frames, pixel_format, {**own, **added})
    with tempfile.TemporaryDirectory() as scratch:
        if factor := added.pop("lambda", None):
            added["lambda-file"] = f"{scratch}/multipliers.txt"
            write_multipliers(float(factor), added["lambda-file"])
        try:
            for qp in QUALITIES:
                found = np.array([measure(model, number, qp) for number in PICTURES]).mean(0)
                for i in (0, 1):
                    points[i].append((float(found[0]), float(found[1 + i])))
        finally:
            hevc._run_x265 = run
    return list(points)


def write_multipliers(factor: float, path: str) -> None:
    """Write x265's Lagrange multipliers of pictures of 10 bits, times a factor: roots first, one for each QP."""
    multipliers = factor * 16 * 0.038 * np.exp(0.234 * np.arange(70))
    np.savetxt(path, np.concatenate([np.sqrt(multipliers), multipliers]), "%.6f")


def measure(model: BPGFilter, number: int, qp: int) -> tuple[float, float, float]:
    """Bits a pixel, PSNR of BPG and PSNR behind the filter, dB."""
    image = read_image(KODAK / f"kodim{number:02}.png")
    size, missing, left, _ = coded(model, image, qp)
    return 8 * size / image[..., 0].size, quality(missing), quality(left)


def main() -> None:
    """Print a line for each setting."""
    model = weights.create("bpg-filter")
    anchors = curves(model, "")
    print("setting | BPG | filter behind it")
    for setting in sys.argv[1:] or SETTINGS:
        rates = [bd_rate(anchor, points) for anchor, points in zip(anchors, curves(model, setting), strict=True)]
        print(setting, *(f"{rate:+.2f} %" for rate in rates), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
