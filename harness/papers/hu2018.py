"""Hu et al. 2018: the luma filter behind its codec (§5), and the codec's multi-scale mode (§2.2)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from codec_zoo.harness.evaluation import Row, bd_rate, curve, summarize
from codec_zoo.harness.papers.bench import Bench, budget, by_codec, measured_curves, points_table, trained
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
SETS = {"kodak": "24 Kodak pictures", "clic": "CLIC's validation pictures"}


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
        return f"RGB {self.rgb:.3f} dB, luma {self.luma:.3f} dB, {self.gaining} of {self.pictures} gain"


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
        "PSNR of luma, dB. Four bytes of each file say how strong the filter and its corrections are best; the "
        "codec's part of the file is the same. The last column is the paper's way, the filter at full strength "
        "without corrections, and the pictures that gain so.",
        (
            "filter, pictures",
            "bpp",
            "codec",
            "filtered",
            "gain",
            "least",
            "pictures that gain",
            "RGB gain",
            "gain at full strength",
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
        "BD-rate, Akima, five QPs: negative would be better. The paper gives no number.",
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
        "Seconds, one thread; the filter's share over the codec's own.",
        ("filter", "codec", "with filter", "filter ÷ codec"),
        lines,
    )


def _verdicts(rows: Mapping[str, Sequence[Row]], filters: Sequence[str]) -> list[Verdict]:
    found = []
    for pictures, those in rows.items():
        for name in filters:
            chosen, full = (_Gains.of(those, name, switch) for switch in SWITCHES[:2])
            if not chosen.pictures:
                continue
            of_paper = name == next(iter(FILTERS))
            as_in_paper = full.gaining == full.pictures and (full.rgb >= PAPER_GAIN or not of_paper)
            verdict = "ordering holds" if chosen.gaining == chosen.pictures else "not reached"
            found.append(
                Verdict(
                    f"{name}: every picture gains, {SETS[pictures]} ({'§5' if of_paper else 'beyond the paper'})",
                    "about 0.2 dB of RGB, all gain" if of_paper else "",
                    f"at full strength {full}; at the chosen one {chosen}",
                    "reproduced" if as_in_paper else verdict,
                    budget([name], PAPER),
                )
            )
    return found


def _mode_verdict(points: Mapping[str, Sequence[Row]]) -> Verdict:
    rates = {mode: bd_rate(curve(points["svac"], "psnr_y"), curve(points[mode], "psnr_y")) for mode in MODES[1:]}
    return Verdict(
        "multi-scale residual coding (§2.2), against intra",
        "no number",
        "; ".join(f"{mode} {rate:+.1f} %" for mode, rate in rates.items()),
        "reproduced" if min(rates.values()) < 0 else "not reached",
    )
