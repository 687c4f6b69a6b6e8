"""Targets of rate and of PSNR, asked and got: python experiments/targets.py ROWS.

Each of Kodak's 24 pictures is coded at five targets. ROWS gets a JSON line for each file; the same command goes on
after a stop. In the end it prints a summary. A file hits a target of rate if it has 98 to 100 % of the bits asked
for. It hits a target of PSNR if the next coarser quality misses the target, and costs 2 % less at most.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from codec_zoo.codecs import container
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.export.runtime import open_model
from codec_zoo.harness.evaluation import describe, find_pictures
from codec_zoo.metrics import psnr
from codec_zoo.stream_coders import COARSEST

TARGETS = (
    ("target_bpp", 0.15),
    ("target_bpp", 0.3),
    ("target_bpp", 0.6),
    ("target_psnr", 30.0),
    ("target_psnr", 33.0),
)


def measure(model: Any, image: np.ndarray, target: str, asked: float) -> dict[str, Any]:
    """Code one image at a target, decode it, and code it at the next coarser quality."""
    pixels = image.shape[0] * image.shape[1]
    started = time.perf_counter()
    data = LearnedCodec(model, **{target: asked}).encode(image)
    seconds = time.perf_counter() - started
    step = int.from_bytes(container.read(data).layers[0].payload[4:5], "big", signed=True)
    quality = COARSEST - step
    row = {"quality": quality, "bpp": 8 * len(data) / pixels, "psnr": psnr(image, LearnedCodec(model).decode(data))}
    if target == "target_psnr" and quality:
        coarser = LearnedCodec(model, quality=quality - 1).encode(image)
        row |= {
            "coarser_bpp": 8 * len(coarser) / pixels,
            "coarser_psnr": psnr(image, LearnedCodec(model).decode(coarser)),
        }
    return {**row, "seconds": seconds}


def hits(row: dict[str, Any]) -> bool:
    """Whether the file is the one that was asked for; see the module."""
    if row["target"] == "target_bpp":
        return 0.98 * row["asked"] <= row["bpp"] <= row["asked"]
    fits = row["coarser_psnr"] < row["asked"] <= row["psnr"]
    return fits and row["coarser_bpp"] >= 0.98 * row["bpp"]


def summary(rows: list[dict[str, Any]]) -> None:
    """A line for each target."""
    for target, asked in TARGETS:
        group = [row for row in rows if (row["target"], row["asked"]) == (target, asked)]
        if not group:
            continue
        got = np.array([row["bpp" if target == "target_bpp" else "psnr"] for row in group])
        missed = [f"{row['image']} ({row['bpp']:.4f} bpp, {row['psnr']:.2f} dB)" for row in group if not hits(row)]
        print(
            f"{target} {asked:g}: {len(group) - len(missed)} of {len(group)} hit; got {got.min():.4f} … "
            f"{got.max():.4f}, mean {got.mean():.4f}; {np.median([row['seconds'] for row in group]):.1f} s (median)"
            + (f"; not: {', '.join(missed)}" if missed else "")
        )


def main() -> None:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="the JSON lines to write, or to go on with")
    parser.add_argument("--model", default="balle2018-hyperprior-mse-vbr", help="a preset of variable rate")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    done = {(row["image"], row["target"], row["asked"]) for row in rows}
    model, machine = open_model(options.model), describe()
    for path in find_pictures("kodak"):
        image = read_image(path)
        for target, asked in TARGETS:
            if (path.name, target, asked) in done:
                continue
            named = {"model": options.model, "weights_sha256": model.card["weights_sha256"], "image": path.name}
            found = measure(model, image, target, asked)
            rows.append({**named, "target": target, "asked": asked, **found, **machine})
            with options.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    summary(rows)


if __name__ == "__main__":
    main()
