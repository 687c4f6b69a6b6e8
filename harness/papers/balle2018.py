"""Ballé et al. 2018: the scale hyperprior on Kodak, against the published curves."""

import dataclasses
from collections.abc import Mapping, Sequence

from codec_zoo.harness.evaluation import Row, curve
from codec_zoo.harness.papers.bench import (
    Bench,
    at_rate,
    by_codec,
    delta,
    is_above,
    named,
    points_table,
    trained,
    training_table,
)
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict

PRESETS = [f"balle2018-hyperprior-mse-{point}" for point in (3, 4)]
VARIABLE = "balle2018-hyperprior-mse-vbr"
# Encoders: option in a codec's specification → name in tables. The paper's encoder only rounds.
ENCODERS = {"": "", ",search=10": ", refined latents"}
BPG, QPS = "bpg-ycbcr444", (40, 34, 28, 22)
OWN, FACTORIZED = "Ballé 2018 (MSE)", "Ballé 2017 (MSE)"
# A difference below this, dB, is no difference between trainings.
LEVEL = 0.1
PAPER = "about a million steps of 8 patches"
NOTES = """The rows are those of the baselines of Jia et al. 2019 (`docs/jia2019/kodak.jsonl`).

Refined latents are our addition. The encoder of the paper only rounds latents. `codec-zoo compress --search 10`
changes latents where that lowers the rate–distortion cost; decoder and weights stay the same.
"""


def reproduce(bench: Bench) -> Section:
    """Compare the trained hyperpriors with the published curves, with each encoder."""
    presets = trained(PRESETS)
    specs = [preset + encoder for encoder in ENCODERS for preset in presets]
    rows_of = dataclasses.replace(bench, folder=bench.folder.with_name("jia2019"))
    rows = rows_of.measure([*specs, *trained([VARIABLE]), *(f"{BPG}:{qp}" for qp in QPS)], "kodak")
    points = by_codec(rows)
    ours = {encoder: [points[preset + encoder][0] for preset in presets] for encoder in ENCODERS}
    variable = points.get(VARIABLE, [])
    charts = []
    for metric, label in (("psnr", "PSNR (RGB), dB"), ("ms_ssim", "MS-SSIM, dB")):
        curves = [
            Curve(f"hyperprior (ours{ENCODERS[encoder]})", curve(group, metric)) for encoder, group in ours.items()
        ]
        if variable:
            curves.append(Curve("hyperprior, variable rate (ours)", curve(variable, metric)))
        curves += [Curve(BPG, curve(points[BPG], metric)), *published_curves("kodak", metric)]
        charts.append(Chart(f"kodak-{metric.replace('_', '-')}", f"{label.split(',')[0]} on Kodak", label, curves))
    return Section(
        paper="balle2018",
        title="Ballé et al. 2018: Variational image compression with a scale hyperprior",
        verdicts=_verdicts(ours[""], variable),
        tables=[
            _table(ours, variable),
            points_table("Measured points on Kodak", "Each picture was coded by one thread.", rows),
        ],
        charts=charts,
        rows=rows,
        shown=specs,
        further=_further(ours[",search=10"], variable, points[BPG]),
        notes=NOTES,
        training=training_table([*presets, VARIABLE], PAPER),
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


def _verdicts(points: Sequence[Row], variable: Sequence[Row]) -> list[Verdict]:
    own, differences = curve(points, "psnr"), _differences(points)
    return [
        Verdict(
            f"The PSNR on Kodak is that of the published curve, within {LEVEL} dB",
            "the curve of the models for squared error",
            f"{_said(differences)} against the curve, at our {len(own)} rates",
            "reproduced"
            if min(differences) > -LEVEL
            else "ordering holds"
            if max(differences) > -LEVEL
            else "not reached",
            main=True,
        ),
        Verdict(
            "The hyperprior is better than the factorized prior of Ballé 2017 (published curve)",
            f"BD-rate {delta(_published(FACTORIZED), _published(OWN))}",
            f"BD-rate {delta(_published(FACTORIZED), curve(variable, 'psnr'))} with variable rate",
            "reproduced" if is_above(own, _published(FACTORIZED)) else "not reached",
        ),
    ]


def _further(refined: Sequence[Row], variable: Sequence[Row], bpg: Sequence[Row]) -> list[tuple[str, str]]:
    anchor = curve(bpg, "psnr")
    found = [
        ("PSNR against the published curve, refined latents", _said(_differences(refined))),
        (f"BD-rate against {BPG}, refined latents", delta(anchor, curve(refined, "psnr"))),
    ]
    if variable:
        found += [
            ("PSNR against the published curve, variable rate", _said(_differences(variable))),
            (f"BD-rate against {BPG}, variable rate", delta(anchor, curve(variable, "psnr"))),
        ]
    return found


def _table(ours: Mapping[str, Sequence[Row]], variable: Sequence[Row]) -> Table:
    lines = []
    for encoder, called, points in (
        *((encoder, called, ours[encoder]) for encoder, called in ENCODERS.items()),
        ("", "", variable),
    ):
        for point in points:
            theirs = at_rate(_published(OWN), point["bpp"])
            lines.append(
                (
                    named(point).removesuffix(encoder) + called,
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
        "interpolated linearly over the logarithm of the rate. Seconds are of one thread."
    )
    header = ("model", "bpp", "PSNR, dB", "MS-SSIM", "published PSNR", "difference, dB", "encode, s", "decode, s")
    return Table("Models on Kodak", note, header, lines)
