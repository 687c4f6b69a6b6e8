"""Hu et al. 2018: the luma filter behind its codec (§5), and the codec's multi-scale mode (§2.2)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from codec_zoo.harness.evaluation import Row, bd_rate, curve, summarize
from codec_zoo.harness.papers.bench import Bench, by_codec, measured_curves, points_table, trained, training_table
from codec_zoo.harness.results import Chart, Section, Table, Verdict

# Filter and quality of the codec before it; the first is the paper's.
FILTERS = {
    "hu2018-filter-svac-q48": 48,
    "hu2018-filter-svac-q44": 44,
    "hu2018-filter-svac-q52": 52,
    "hu2018-filter-jpeg-q20": 20,
    "hu2018-filter-bpg-q36": 36,
    "hu2018-filter-bpg444-q34": 34,
}
# How strong: as the encoder chooses, the paper's filter, not at all.
SWITCHES = ("", ",filter=on", ",filter=off")
MODES = ("svac", "svac-half", "svac-quarter", "svac-eighth")
QPS = (56, 52, 48, 44, 40)
PAPER_GAIN = 0.2
PAPER = "not given"
SETS = {"kodak": "the 24 pictures of Kodak", "clic": "28 crops of pictures of CLIC's validation sets"}
NOTES = """The codec of the paper, SVAC2, is not public. `svac` is an HEVC intra codec on SVAC2's QP scale.

The paper reports the PSNR of RGB. The filter changes luma only, so its gain of luma is larger than its gain of RGB.

The paper applies the filter alike to all pictures. Our encoder chooses gains for each picture and stores them in
the file. A gain of zero is one of the choices, so no picture becomes worse.
"""


def reproduce(bench: Bench) -> Section:
    """Measure each trained filter at its strengths, and the codec's modes."""
    filters = trained(FILTERS)
    specs = [f"{name}{switch}:{FILTERS[name]}" for name in filters for switch in SWITCHES]
    rows = {name: bench.measure(specs, name) for name in SETS}
    modes = bench.measure([f"{mode}:{qp}" for mode in MODES for qp in QPS], "kodak")
    points = by_codec(modes)
    return Section(
        paper="hu2018",
        title="Hu et al. 2018: Combine traditional compression method with convolutional neural networks",
        verdicts=[*_verdicts(rows, filters), _mode_verdict(points)],
        notes=NOTES,
        training=training_table(filters, PAPER),
        pictures=SETS,
        tables=[
            _gain_table(rows, filters),
            _mode_table(points),
            _speed_table(rows["kodak"], filters),
            _picture_table(rows["kodak"]),
            points_table("The codec's modes on Kodak", "PSNR is of RGB.", modes),
        ],
        charts=[
            Chart(
                "modes-psnr-y", "§2.2: modes of the codec on Kodak", "PSNR-Y, dB", measured_curves(points, "psnr_y")
            )
        ],
        rows=[*rows["kodak"], *rows["clic"], *modes],
        shown=[f"{filters[0]}{switch}:{FILTERS[filters[0]]}" for switch in ("", ",filter=off")] + ["svac-half:48"],
    )


def gains(rows: Sequence[Row], name: str, switch: str = "", metric: str = "psnr_y") -> dict[str, float]:
    """Gain in PSNR of luma, or of RGB (``"psnr"``), dB, of each image by the filter, at one of :data:`SWITCHES`."""
    off, on = (
        {row["image"]: row[metric] for row in rows if row["codec"] == f"{name}{which}"}
        for which in (",filter=off", switch)
    )
    return {image: value - off[image] for image, value in on.items()}


class _Gains(NamedTuple):
    """Mean gains in PSNR, dB, and how many images gain in both."""

    rgb: float
    luma: float
    gaining: int
    pictures: int

    @classmethod
    def of(cls, rows: Sequence[Row], name: str, switch: str) -> "_Gains":
        rgb, luma = (list(gains(rows, name, switch, metric).values()) for metric in ("psnr", "psnr_y"))
        gaining = sum(min(pair) > 0 for pair in zip(rgb, luma, strict=True))
        return cls(float(np.mean(rgb)), float(np.mean(luma)), gaining, len(rgb)) if rgb else cls(0.0, 0.0, 0, 0)

    def __str__(self) -> str:
        return (
            f"{self.rgb:.3f} dB of RGB, {self.luma:.3f} dB of luma, {self.gaining} of {self.pictures} pictures gain"
        )


def _gain_table(rows: Mapping[str, Sequence[Row]], filters: Sequence[str]) -> Table:
    lines = [("the paper: SVAC2 qp 48, CLIC 2018", "0.15", "", "30.48 (RGB)", "", "> 0", "all", "about 0.2", "")]
    for pictures, those in rows.items():
        means = {point["spec"]: point for point in summarize(those)}
        for name in filters:
            spec = f"{name}:{FILTERS[name]}"
            if spec not in means:
                continue
            on, off = means[spec], means[f"{name},filter=off:{FILTERS[name]}"]
            found, full = (list(gains(those, name, switch).values()) for switch in SWITCHES[:2])
            lines.append(
                (
                    f"{name}, {on['pictures']} of {pictures}",
                    f"{on['bpp']:.4f}",
                    f"{off['psnr_y']:.2f}",
                    f"{on['psnr_y']:.2f}",
                    f"{np.mean(found):.3f}",
                    f"{min(found):.3f}",
                    f"{sum(gain > 0 for gain in found)}",
                    f"{on['psnr'] - off['psnr']:.3f}",
                    f"{np.mean(full):.3f} ({sum(gain > 0 for gain in full)})",
                )
            )
    return Table(
        "§5: gain of the filter",
        "PSNR of luma, dB. Each file stores four signed bytes: the gain of the filter's residual, and the gains of "
        "three extra residual outputs. The encoder chooses the gains by least squares. The codec's part of the file "
        "is the same with and without the filter. The last column is the paper's filter: gain 1 and no extra "
        "outputs; in brackets, the number of pictures that gain.",
        (
            "filter, pictures",
            "bpp",
            "codec",
            "filtered",
            "gain",
            "least",
            "pictures that gain",
            "RGB gain",
            "gain of the paper's filter",
        ),
        lines,
    )


def _picture_table(rows: Sequence[Row]) -> Table:
    name = next(iter(FILTERS))
    lines = [(image, f"{gain:.3f}") for image, gain in gains(rows, name).items()]
    return Table("§5: gain of each picture, dB", f"{name} on Kodak.", ("picture", "gain"), lines)


def _mode_table(points: Mapping[str, Sequence[Row]]) -> Table:
    rows = []
    for mode in MODES[1:]:
        rates = [
            bd_rate(curve(points["svac"], metric), curve(points[mode], metric)) for metric in ("psnr_y", "ms_ssim")
        ]
        rows.append((mode, *(f"{rate:+.1f} %" for rate in rates)))
    return Table(
        "§2.2: multi-scale residual coding against intra on Kodak",
        "BD-rate by Akima interpolation over five QPs. A positive number means larger files. The paper gives no "
        "number.",
        ("mode", "PSNR-Y", "MS-SSIM"),
        rows,
    )


def _speed_table(rows: Sequence[Row], filters: Sequence[str]) -> Table:
    means = {point["spec"]: point for point in summarize(rows)}
    lines = []
    for name in filters:
        on, off = (means[f"{name}{switch}:{FILTERS[name]}"]["decode_s"] for switch in ("", ",filter=off"))
        lines.append((name, f"{off:.3f}", f"{on:.3f}", f"{(on - off) / off:.0f}"))
    return Table(
        "Time to decode a Kodak picture",
        "Seconds of one thread. The last column is the filter's time divided by the codec's time.",
        ("filter", "codec", "with filter", "filter ÷ codec"),
        lines,
    )


def _verdicts(rows: Mapping[str, Sequence[Row]], filters: Sequence[str]) -> list[Verdict]:
    """Of the paper's own case: its filter, behind its codec at its quality, on its pictures."""
    name = next(iter(FILTERS))
    chosen, full = (_Gains.of(rows.get("clic", ()), name, switch) for switch in SWITCHES[:2])
    if name not in filters or not chosen.pictures:
        return []
    everywhere = full.gaining == full.pictures
    partly = "ordering holds" if full.rgb > 0 else "not reached"
    return [
        Verdict(
            f"The filter improves every picture of CLIC at QP {FILTERS[name]} (§5)",
            f"about {PAPER_GAIN} dB of RGB PSNR; all pictures gain",
            f"the paper's filter: {full}; with gains chosen by the encoder: {chosen}",
            "reproduced" if everywhere and full.rgb >= PAPER_GAIN else partly,
            main=True,
        )
    ]


def _mode_verdict(points: Mapping[str, Sequence[Row]]) -> Verdict:
    rates = {mode: bd_rate(curve(points["svac"], "psnr_y"), curve(points[mode], "psnr_y")) for mode in MODES[1:]}
    return Verdict(
        "Multi-scale residual coding needs fewer bits than intra coding (§2.2)",
        "no number",
        "BD-rate: " + "; ".join(f"{mode} {rate:+.1f} %" for mode, rate in rates.items()),
        "reproduced" if min(rates.values()) < 0 else "not reached",
        main=True,
    )
