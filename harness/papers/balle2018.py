"""Ballé et al. 2018: the scale hyperprior on Kodak, against the published curves."""

import dataclasses
from collections.abc import Sequence

from codec_zoo.harness.evaluation import Row, bd_rate, curve
from codec_zoo.harness.papers.bench import (
    Bench,
    at_rate,
    by_codec,
    delta,
    is_above,
    named,
    points_table,
    training_table,
)
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict

VARIABLE = "balle2018-hyperprior-mse-vbr"
FIXED = [f"balle2018-hyperprior-mse-{point}" for point in (3, 4)]
# The encoder that refines latents, an option in a codec's specification. The paper's encoder only rounds.
SEARCH = ",search=10"
# A refined file takes twenty seconds: four rates of the ten.
REFINED = [f"{VARIABLE}{SEARCH}:{quality}" for quality in (46, 84, 122, 160)]
BPG, QPS = "bpg-ycbcr444", (44, 40, 36, 32, 28, 24, 22)
OWN, FACTORIZED = "Ballé 2018 (MSE)", "Ballé 2017 (MSE)"
# A difference below this, dB, is no difference between trainings.
LEVEL = 0.1
PAPER = "about a million steps of 8 patches"
NOTES = """The rows are those of the baselines of Jia et al. 2019 (`docs/jia2019/kodak.jsonl`). The rows of BPG are
those of our filter (`docs/bpg-filter/kodak.jsonl`).

Refined latents are our addition. The encoder of the paper only rounds latents. `codec-zoo compress --search 10`
changes latents where that lowers the rate–distortion cost; decoder and weights stay the same.
"""


def reproduce(bench: Bench) -> Section:
    """Compare the trained hyperpriors with the published curves, with each encoder."""
    presets = [VARIABLE, *FIXED]
    specs = [*FIXED, *(preset + SEARCH for preset in FIXED), VARIABLE, *REFINED]
    jia, own = (dataclasses.replace(bench, folder=bench.folder.with_name(name)) for name in ("jia2019", "bpg-filter"))
    rows = jia.measure(specs, "kodak")
    bpg = own.measure([f"{BPG}:{qp}" for qp in QPS], "kodak")
    points = by_codec(rows + bpg)
    rounded, refined = points[VARIABLE], points[VARIABLE + SEARCH]
    fixed, fixed_refined = ([points[preset + encoder][0] for preset in FIXED] for encoder in ("", SEARCH))
    charts = []
    for metric, label in (("psnr", "PSNR (RGB), dB"), ("ms_ssim", "MS-SSIM, dB")):
        curves = [
            Curve("hyperprior, variable rate (ours)", curve(rounded, metric)),
            Curve("hyperprior, variable rate (ours, refined latents)", curve(refined, metric)),
            Curve("hyperprior (ours)", curve(fixed, metric)),
            Curve(BPG, curve(points[BPG], metric)),
            *published_curves("kodak", metric),
        ]
        charts.append(Chart(f"kodak-{metric.replace('_', '-')}", f"{label.split(',')[0]} on Kodak", label, curves))
    return Section(
        paper="balle2018",
        title="Ballé et al. 2018: Variational image compression with a scale hyperprior",
        verdicts=_verdicts(fixed, rounded),
        tables=[
            _table([*fixed, *fixed_refined, *rounded, *refined]),
            points_table("Measured points on Kodak", "Each picture was coded by one thread.", rows),
        ],
        charts=charts,
        rows=rows + bpg,
        shown=specs,
        further=_further(rounded, refined, fixed_refined, points[BPG]),
        notes=NOTES,
        training=training_table(presets, PAPER),
        pictures={"kodak": "the 24 pictures of Kodak"},
    )


def _published(name: str) -> list[tuple[float, float]]:
    return list(next(c.points for c in published_curves("kodak", "psnr") if c.name == name))


def _differences(points: Sequence[Row]) -> list[float]:
    """dB above the published curve at the rate of each point."""
    found = []
    for bpp, psnr in curve(points, "psnr"):
        if (theirs := at_rate(_published(OWN), bpp)) is not None:
            found.append(psnr - theirs)
    return found


def _said(differences: Sequence[float]) -> str:
    return ", ".join(f"{difference:+.2f}" for difference in differences) + " dB"


def _verdicts(fixed: Sequence[Row], rounded: Sequence[Row]) -> list[Verdict]:
    own, differences, factorized = curve(rounded, "psnr"), _differences(fixed), _published(FACTORIZED)
    return [
        Verdict(
            f"The PSNR on Kodak is that of the published curve, within {LEVEL} dB",
            "the curve of the models for squared error",
            f"{_said(differences)} against the curve, at our {len(differences)} rates",
            "reproduced"
            if min(differences) > -LEVEL
            else "ordering holds"
            if max(differences) > -LEVEL
            else "not reached",
            main=True,
        ),
        Verdict(
            "The hyperprior is better than the factorized prior of Ballé 2017 (published curve)",
            f"BD-rate {delta(factorized, _published(OWN))}",
            f"BD-rate {delta(factorized, own)} with variable rate",
            "reproduced"
            if is_above(own, factorized)
            else "ordering holds"
            if bd_rate(factorized, own) < 0
            else "not reached",
        ),
    ]


def _further(
    rounded: Sequence[Row], refined: Sequence[Row], fixed_refined: Sequence[Row], bpg: Sequence[Row]
) -> list[tuple[str, str]]:
    anchor = curve(bpg, "psnr")
    found = [("PSNR against the published curve, refined latents", _said(_differences(fixed_refined)))]
    for called, points in (("variable rate", rounded), ("variable rate, refined latents", refined)):
        found += [
            (f"PSNR against the published curve, {called}", _said(_differences(points))),
            (f"BD-rate against {BPG}, {called}", delta(anchor, curve(points, "psnr"))),
        ]
    return found


def _table(points: Sequence[Row]) -> Table:
    lines = []
    for point in points:
        theirs = at_rate(_published(OWN), point["bpp"])
        lines.append(
            (
                named(point).replace(SEARCH, "") + (", refined latents" if SEARCH in point["codec"] else ""),
                f"{point['bpp']:.4f}",
                f"{point['psnr']:.2f}",
                f"{point['ms_ssim']:.4f}",
                "" if theirs is None else f"{theirs:.2f}",
                "" if theirs is None else f"{point['psnr'] - theirs:+.2f}",
                f"{point['encode_s']:.2f}",
                f"{point['decode_s']:.2f}",
            )
        )
    note = (
        "The numbers are means over the 24 pictures of Kodak and over whole files. The published PSNR is "
        "interpolated linearly over the logarithm of the rate. Seconds are of one thread. Rows can be of different "
        "machines: their field `device` names it."
    )
    header = ("model", "bpp", "PSNR, dB", "MS-SSIM", "published PSNR", "difference, dB", "encode, s", "decode, s")
    return Table("Models on Kodak", note, header, lines)
