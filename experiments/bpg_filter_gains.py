r"""What ``bpg-filter`` gains over BPG: ``docs/results/bpg-filter.md``, from the rows in ``docs/bpg-filter``.

    codec-zoo evaluate $(python experiments/bpg_filter_gains.py --specs kodak) -o docs/bpg-filter/kodak.jsonl
    codec-zoo evaluate $(python experiments/bpg_filter_gains.py --specs clic) --pictures DIR \
        -o docs/bpg-filter/clic.jsonl
    python experiments/bpg_filter_gains.py

DIR has the crops of CLIC's photographs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codec_zoo import weights
from codec_zoo.datasets.coded_pairs import CROP
from codec_zoo.files import write_atomic
from codec_zoo.harness.evaluation import Row, bd_rate, curve, summarize
from codec_zoo.harness.results import Table
from codec_zoo.harness.rows import latest_rows, read_rows
from codec_zoo.models.bpg_filter import QUALITIES

DOCS = Path(__file__).parents[1] / "docs"
QPS = (44, 40, 36, 32, 28, 24, 22)
FILTER, OWN, EIGHT_BITS = "bpg-filter", "bpg-ycbcr444-10bit", "bpg-ycbcr444"
# Set → its name, and the codecs that are measured on it.
SETS = {
    "kodak": ("the 24 pictures of Kodak", (FILTER, OWN, EIGHT_BITS)),
    "clic": ("28 crops of pictures of CLIC's validation sets", (FILTER, OWN)),
}
HEADER = ("QP", "BPG, bpp", "BPG, dB", "filter, bpp", "filter, dB", "gain, dB", "least gain", "pictures that gain")
MEASURES = (("bpp", 4), ("psnr", 2))

INTRODUCTION = """# The filter behind BPG 4:4:4: `bpg-filter`

`bpg-filter` is a model of this zoo. It is a CNN that improves pictures which BPG has coded.
`zoo/models/bpg_filter.py` describes the network and names the papers that it builds on.

One network serves all QPs. A file holds the BPG file of the picture, its QP, and three gains: one each for Y, Cb and
Cr. The encoder finds the gains by least squares. A gain of zero is one of the choices, so no picture becomes worse
than its BPG file.

## Training

```
codec-zoo train bpg-filter --data photos --precision mixed_bfloat16
codec-zoo train bpg-filter --data photos --precision mixed_bfloat16 --resume --steps {steps}
```

The weights had {steps:,} steps of {batch} patches of {patch}×{patch} pixels, in {minutes:.0f} minutes.
The machine was {device}, of which the run had one thread. The second command ended the run earlier than the recipe
does. The folder held links to the pictures of two folders: {data}. Each gave one crop of
{crop}×{crop} pixels, which BPG coded at a random QP from {low} to {high}. The weights are a moving average over the
steps.

The aim was a BD-rate of −10 % against BPG's own files. The tables show that the filter does not reach it after this
training.
"""


def specs(name: str) -> list[str]:
    """The codecs of a set's rows."""
    return [f"{codec}:{qp}" for qp in QPS for codec in SETS[name][1]]


def table(name: str) -> Table:
    """Gains on a set at each QP, and what they are in bits."""
    rows: Sequence[Row] = latest_rows(read_rows(DOCS / "bpg-filter" / f"{name}.jsonl"))
    title, codecs = SETS[name]
    points = {point["spec"]: point for point in summarize(rows)}
    psnr = {spec: {row["image"]: row["psnr"] for row in rows if row["spec"] == spec} for spec in points}
    lines = []
    for qp in QPS:
        plain, filtered = points[f"{OWN}:{qp}"], points[f"{FILTER}:{qp}"]
        gains = [value - psnr[f"{OWN}:{qp}"][image] for image, value in psnr[f"{FILTER}:{qp}"].items()]
        cells = [f"{point[key]:.{digits}f}" for point in (plain, filtered) for key, digits in MEASURES]
        gaining = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
        lines.append([f"{qp}", *cells, f"{np.mean(gains):.3f}", f"{min(gains):.3f}", gaining])
    curves = {codec: [points[f"{codec}:{qp}"] for qp in QPS] for codec in codecs}
    deltas = [
        f"{bd_rate(curve(curves[codec], metric), curve(curves[FILTER], metric)):+.1f} % {words} against `{codec}`"
        for codec in codecs[1:]
        for metric, words in (("psnr", "by PSNR"), ("ms_ssim", "by MS-SSIM"))
    ]
    note = (
        f"Means over the pictures; PSNR of RGB. BPG is `{OWN}`, whose files the filter's files hold. The filter's "
        f"files are {overhead(rows)} bytes larger. BD-rate of the filter: {'; '.join(deltas)}."
    )
    return Table(title[0].upper() + title[1:], note, HEADER, lines)


def overhead(rows: Sequence[Row]) -> int:
    """Bytes that a file of the filter has more than its BPG file: the same for all."""
    sizes = {(row["spec"], row["image"]): row["bytes"] for row in rows}
    (more,) = {sizes[f"{FILTER}:{qp}", image] - sizes[f"{OWN}:{qp}", image] for qp in QPS for _, image in sizes}
    return more


def introduction() -> str:
    """What the model is, and how the published weights were made."""
    record = weights.index()[FILTER]
    recipe = record["recipe"]
    return INTRODUCTION.format(
        steps=recipe["steps"],
        batch=recipe["batch_size"],
        patch=recipe["patch_size"],
        minutes=record["seconds"] / 60,
        device=record["device"],
        data=record["data"],
        crop=CROP,
        low=QUALITIES[0],
        high=QUALITIES[1],
    )


def main() -> None:
    """Write the page, or print the codecs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", choices=SETS, help="print the codecs that are measured on a set")
    asked = parser.parse_args().specs
    if asked:
        print(" ".join(specs(asked)))
        return
    tables = "\n".join(table(name).markdown().replace("###", "##", 1) for name in SETS)
    write_atomic(DOCS / "results" / "bpg-filter.md", f"{introduction()}\n{tables}".encode())


if __name__ == "__main__":
    main()
