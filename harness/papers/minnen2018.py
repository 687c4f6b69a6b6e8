"""Minnen et al. 2018: mean, scale and context on Kodak, one network at ten rates, against the published curves."""

from collections.abc import Mapping, Sequence

from codec_zoo.harness.evaluation import Row, bd_rate, curve
from codec_zoo.harness.papers.bench import (
    Bench,
    Points,
    at_rate,
    by_codec,
    delta,
    is_above,
    measured_curves,
    points_table,
    trained,
    training_table,
)
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart, Section, Table, Verdict
from codec_zoo.harness.rows import latest_rows, read_rows
from codec_zoo.presets import get_preset

PRESET, SEARCHED = "minnen2018-context-mse-vbr", "minnen2018-context-mse-vbr,search=10"
HYPERPRIOR = "balle2018-hyperprior-mse-vbr"
# Codecs that were measured for other papers: the folder of their rows → their names.
MEASURED = {"jia2019": (HYPERPRIOR, "bpg-ycbcr444"), "fu2019": ("avif", "jxl", "webp")}
# Names of the published curves.
JOINT, MEAN_SCALE, SCALE = "Minnen 2018 (MSE)", "Mean–scale hyperprior (MSE)", "Ballé 2018 (MSE)"
COMPARED = (
    *(SCALE, MEAN_SCALE, JOINT, "Minnen 2020 (MSE)", "Cheng 2020 (MSE)"),
    *("ELIC 2022 (MSE)", "BPG 4:4:4", "VVC (VTM)"),
)
PAPER = "a million steps or more of 8 patches"
NOTES = """The paper has a network for each rate. Here one network has all rates: its quality is the step Δ.

The context of the paper is autoregressive. Ours is over groups of channels, so that a decoder needs four steps.

Refined latents are our addition. The encoder of the paper only rounds latents.
"""


def reproduce(bench: Bench) -> Section:
    """Compare the trained model at ten rates with the published curves, and with codecs that people have."""
    trained([PRESET])
    qualities = get_preset(PRESET).stream.step.qualities
    specs = [f"{PRESET}:{quality}{end}" for end in ("", ",search=10") for quality in qualities]
    rows = bench.measure(specs, "kodak")
    points = by_codec(rows)
    kept = ((names, read_rows(bench.folder.with_name(folder) / "kodak.jsonl")) for folder, names in MEASURED.items())
    others = by_codec(row for names, found in kept for row in latest_rows(found) if row["codec"] in names)
    charts = []
    for metric, label in (("psnr", "PSNR (RGB), dB"), ("ms_ssim", "MS-SSIM, dB")):
        curves = [*measured_curves({**points, **others}, metric), *published_curves("kodak", metric)]
        charts.append(Chart(f"kodak-{metric.replace('_', '-')}", f"{label.split(',')[0]} on Kodak", label, curves))
    published = {c.name: list(c.points) for c in published_curves("kodak", "psnr") if c.name in COMPARED}
    return Section(
        paper="minnen2018",
        title="Minnen et al. 2018: Joint autoregressive and hierarchical priors",
        verdicts=_verdicts(curve(points[PRESET], "psnr"), curve(others[HYPERPRIOR], "psnr"), published),
        tables=[
            _rates(points[PRESET], {name: curve(group, "psnr") for name, group in others.items()}),
            _deltas(points, {**published, **{name: curve(group, "psnr") for name, group in others.items()}}),
            points_table("Measured points on Kodak", "Each picture was coded by one thread.", rows),
        ],
        charts=charts,
        rows=rows,
        shown=[f"{PRESET}:{qualities[i]}" for i in (1, 3, 6)],
        notes=NOTES,
        training=training_table([PRESET], PAPER),
        pictures={"kodak": "the 24 pictures of Kodak"},
    )


def _verdicts(own: Points, hyperprior: Points, published: Mapping[str, Points]) -> list[Verdict]:
    bpg = published["BPG 4:4:4"]
    return [
        Verdict(
            "Means and a context need fewer bits than the scale hyperprior at equal PSNR (§4)",
            f"BD-rate {delta(published[SCALE], published[JOINT])}",
            f"BD-rate {delta(hyperprior, own)}, both with one network for all rates",
            "reproduced"
            if is_above(own, hyperprior)
            else "ordering holds"
            if bd_rate(hyperprior, own) < 0
            else "not reached",
            main=True,
        ),
        Verdict(
            "The codec is better than BPG 4:4:4 at every rate (§4)",
            f"BD-rate {delta(bpg, published[JOINT])}",
            f"BD-rate {delta(bpg, own)}",
            "reproduced" if is_above(own, bpg) else "not reached",
        ),
        Verdict(
            "The PSNR on Kodak is that of the published curve",
            "the curve of the models for squared error",
            f"BD-rate {delta(published[JOINT], own)} against it",
            "reproduced" if is_above(own, published[JOINT]) else "not reached",
        ),
    ]


def _rates(points: Sequence[Row], others: Mapping[str, Points]) -> Table:
    """Each quality, and how far it is above other codecs at its rate."""
    lines = []
    for point in points:
        cells = [f"{point['quality']:g}", f"{point['bpp']:.4f}", f"{point['psnr']:.2f}", f"{point['ms_ssim']:.4f}"]
        for other in others.values():
            theirs = at_rate(other, point["bpp"])
            cells.append("" if theirs is None else f"{point['psnr'] - theirs:+.2f}")
        lines.append((*cells, f"{point['encode_s']:.2f}", f"{point['decode_s']:.2f}"))
    header = ("quality", "bpp", "PSNR, dB", "MS-SSIM", *(f"dB above {name}" for name in others))
    note = "PSNR of the other codecs is linear in the logarithm of the rate. Seconds are of one thread."
    return Table("Rates of one network on Kodak", note, (*header, "encode, s", "decode, s"), lines)


def _deltas(points: Mapping[str, Sequence[Row]], anchors: Mapping[str, Points]) -> Table:
    """BD-rates of PSNR, of rounded and of refined latents."""
    own = [curve(points[name], "psnr") for name in (PRESET, SEARCHED)]
    lines = [(name, *(delta(anchor, mine) for mine in own)) for name, anchor in anchors.items()]
    note = "The BD-rate on Kodak against each curve. A negative number means smaller files at equal PSNR."
    return Table("BD-rate", note, ("against", "rounded latents", "refined latents (search=10)"), lines)
