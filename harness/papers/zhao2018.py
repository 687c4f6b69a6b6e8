"""Zhao et al. 2018: JPEG between networks at two resolutions (§3.2, Fig. 2), beside Jiang et al. 2017."""

from collections.abc import Mapping, Sequence

from codec_zoo.codecs.standard import get_codec
from codec_zoo.errors import CodecZooError
from codec_zoo.harness.evaluation import Row, curve
from codec_zoo.harness.papers.bench import Bench, Points, at_rate, by_codec, delta, is_above, trained, training_table
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict

# §3.2: JPEG's qualities at low and at high resolution.
BRANCHES = {"low": (5, 10, 20), "high": (10, 20, 30, 40)}
MIXED, JIANG, COMCNN, DEBLOCKED = "zhao2018-mixed", "zhao2018-jiang", "jiang2017-comcnn", "jpeg-bm3d"
JPEG_QUALITIES = (2, 3, 5, 7, 10, 15, 20, 30, 40, 60)
BM3D_QUALITIES = (5, 10, 20)
SETS = {"set12": "Set12", "classic": "the classic pictures", "jiang": "six of Jiang's seven pictures"}
PAPER = "3,200 patches of 160×160; the number of steps is not given"
NOTES = """The comparison with JPEG is by PSNR. The tables also have SSIM.

Jiang's method has Zhao's networks here (`zhao2018-jiang`), so that the comparison is about the method and not about
the networks. Its loss does not limit the rate: in longer training its files grew more than its quality. The
published weights of `zhao2018-jiang` are therefore the early ones, which do best. Jiang's own networks are
`jiang2017-comcnn`. The paper does not compare with them.
"""
# Jiang 2017, Tables I and II: means over seven gray images, PSNR (dB) and SSIM.
JIANG_TABLES = {
    5: {"JPEG": (25.43, 0.7456), "ARCNN": (27.45, 0.8308), "ComCNN + RecCNN": (28.83, 0.8535)},
    10: {"JPEG": (28.17, 0.8206), "ARCNN": (30.16, 0.8828), "ComCNN + RecCNN": (30.59, 0.8895)},
}


def reproduce(bench: Bench) -> Section:
    """Measure JPEG, BM3D behind it where its package is installed, Jiang's networks and Zhao's, each as trained."""
    specs = [f"jpeg-420:{quality}" for quality in JPEG_QUALITIES]
    for name in trained((MIXED, JIANG)):
        specs += [f"{name},resolution={key}:{quality}" for key, found in BRANCHES.items() for quality in found]
    specs += [f"{name}:{quality}" for name in trained((COMCNN,)) for quality in BRANCHES["low"]]
    tables: list[Table] = []
    charts: list[Chart] = []
    verdicts: list[Verdict] = []
    further: list[tuple[str, str]] = []
    every: list[Row] = []
    for name, words in SETS.items():
        # Half a minute an image.
        deblocked = (
            [f"{DEBLOCKED}:{quality}" for quality in BM3D_QUALITIES] if name == "classic" and _has_bm3d() else []
        )
        rows = bench.measure([*specs, *deblocked], name)
        if not rows:
            tables.append(Table(words, f"Not measured: needs `--picture-set {name}=DIR`.", (), ()))
            continue
        points = _merge(by_codec(rows))
        tables.append(_table(words, points))
        for metric, label in (("psnr", "PSNR, dB"), ("ssim", "SSIM")):
            curves = [Curve(key, curve(group, metric)) for key, group in points.items()]
            curves.append(Curve(f"{MIXED}, the better of both", upper_envelope(points, MIXED, metric)))
            charts.append(Chart(f"{name}-{metric}", f"Fig. 2: {label.split(',')[0]} on {words}", label, curves))
        verdicts += _verdicts(words, points, main=name == "set12")
        further += _further(words, points)
        if name == "jiang":
            tables.append(_jiang_table(points))
        every += rows
    return Section(
        paper="zhao2018",
        title="Zhao et al. 2018: Mixed-resolution image representation and compression",
        verdicts=verdicts,
        tables=tables,
        charts=charts,
        rows=every,
        shown=[f"{MIXED},resolution=low:10", f"{MIXED},resolution=high:20", "jpeg-420:5", "jpeg-420:10"],
        further=further,
        notes=NOTES,
        training=training_table((MIXED, JIANG, COMCNN), PAPER),
        pictures=SETS,
    )


def _has_bm3d() -> bool:
    try:
        get_codec("jpeg-bm3d:10")
    except CodecZooError:
        return False
    return True


def _merge(points: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The codecs by the names that tables show."""
    return {name.replace(",resolution=", ", ").replace("-420", ""): list(group) for name, group in points.items()}


def upper_envelope(points: Mapping[str, Sequence[Row]], name: str, metric: str) -> Points:
    """The points of both resolutions that no point with fewer bits equals: the result of a choice by rate."""
    both = sorted(pair for key in BRANCHES for pair in curve(points.get(f"{name}, {key}", ()), metric))
    best: Points = []
    for bpp, value in both:
        if not best or value > best[-1][1]:
            best.append((bpp, value))
    return best


def _table(words: str, points: Mapping[str, Sequence[Row]]) -> Table:
    """Points, and how far above JPEG at the same rate each lies."""
    jpeg = {metric: curve(points["jpeg"], metric) for metric in ("psnr", "ssim")}
    rows = []
    for name, group in points.items():
        for point in sorted(group, key=lambda p: p["bpp"]):
            above = ["", ""]
            for i, (metric, form) in enumerate((("psnr", "+.2f"), ("ssim", "+.4f"))):
                base = at_rate(jpeg[metric], point["bpp"])
                if name != "jpeg" and base is not None:
                    above[i] = f"{point[metric] - base:{form}}"
            rows.append(
                (
                    name,
                    f"{point['quality']:g}",
                    f"{point['bpp']:.4f}",
                    f"{point['psnr']:.2f}",
                    f"{point['ssim']:.4f}",
                    *above,
                )
            )
    note = (
        f"The numbers are means over {points['jpeg'][0]['pictures']} gray pictures and over whole files. The last "
        "two columns are differences to JPEG at equal rate, interpolated linearly over the logarithm of the rate. A "
        "cell is empty below JPEG's lowest rate."
    )
    header = ("codec", "JPEG quality", "bpp", "PSNR, dB", "SSIM", "PSNR above JPEG", "SSIM above JPEG")
    return Table(f"Fig. 2 in numbers: {words}", note, header, rows)


def _jiang_table(points: Mapping[str, Sequence[Row]]) -> Table:
    rows = []
    for quality, found in JIANG_TABLES.items():
        rows += [(f"{name}, published", str(quality), f"{p:.2f}", f"{s:.4f}", "") for name, (p, s) in found.items()]
        for name, group in points.items():
            rows += [
                (name, str(quality), f"{p['psnr']:.2f}", f"{p['ssim']:.4f}", f"{p['bpp']:.4f}")
                for p in group
                if p["quality"] == quality
            ]
    return Table(
        "Jiang 2017, Tables I and II: at equal quality of JPEG",
        "Published numbers are means over seven gray pictures. Our numbers are means over six of these pictures; the "
        "seventh could not be identified. The rows have equal JPEG quality, not equal rate: networks at half the "
        "resolution spend fewer bits.",
        ("codec", "JPEG quality", "PSNR, dB", "SSIM", "bpp"),
        rows,
    )


def _verdicts(words: str, points: Mapping[str, Sequence[Row]], main: bool = False) -> list[Verdict]:
    """Of one set of images, which ``words`` name; ``main``: whether it stands for all in the summary."""
    psnr = {name: curve(group, "psnr") for name, group in points.items()}
    mixed = upper_envelope(points, MIXED, "psnr")
    both = [pair for key in BRANCHES for pair in psnr[f"{MIXED}, {key}"]]
    found = [
        Verdict(
            f"The codec is better than JPEG at every rate, {words} (Fig. 2)",
            "better at all rates",
            f"BD-rate {delta(psnr['jpeg'], mixed)}, BD-PSNR {delta(psnr['jpeg'], mixed, 'psnr')} dB",
            "reproduced" if is_above(both, psnr["jpeg"]) else "not reached",
            main=main,
        ),
        Verdict(
            f"Low resolution is better at low rates, high resolution at high rates, {words} (abstract)",
            "yes",
            f"high resolution is better from {_switch(points):.2f} bpp",
            "reproduced" if 0 < _switch(points) < float("inf") else "not reached",
        ),
    ]
    if DEBLOCKED in points:
        over = {
            metric: [
                value - base
                for bpp, base in curve(points[DEBLOCKED], metric)
                if (value := at_rate(upper_envelope(points, MIXED, metric), bpp)) is not None
            ]
            for metric in ("psnr", "ssim")
        }
        found.append(
            Verdict(
                f"The codec is better than JPEG with BM3D as a filter, {words} (Fig. 2)",
                "better at all rates, in PSNR and SSIM",
                ", ".join(f"{gain:+.2f}" for gain in over["psnr"])
                + " dB and "
                + ", ".join(f"{gain:+.4f}" for gain in over["ssim"])
                + " at its rates",
                "reproduced" if min(over["psnr"] + over["ssim"]) > 0 else "not reached",
            )
        )
    if f"{JIANG}, low" in points:
        jiang = upper_envelope(points, JIANG, "psnr")
        over_jiang, over_jpeg = delta(jiang, mixed, "psnr"), delta(psnr["jpeg"], jiang, "psnr")
        holds = over_jiang.startswith("+") and over_jpeg.startswith("+")
        found.append(
            Verdict(
                f"The codec is better than Jiang's method, and that is better than JPEG, {words} (Fig. 2)",
                "at all rates",
                f"BD-PSNR {over_jiang} dB against Jiang's method with the same networks, which has {over_jpeg} dB "
                "against JPEG",
                "reproduced" if holds and is_above(mixed, jiang) else "ordering holds" if holds else "not reached",
                main=main,
            )
        )
    return found


def _further(words: str, points: Mapping[str, Sequence[Row]]) -> list[tuple[str, str]]:
    if COMCNN not in points:
        return []
    own = curve(points[COMCNN], "psnr")
    pairs = [(value, at_rate(own, bpp)) for bpp, value in curve(points[f"{MIXED}, low"], "psnr")]
    gains = [value - base for value, base in pairs if base is not None]
    name = f"PSNR of the low resolution above Jiang's own networks (ComCNN and RecCNN) at equal rates, {words}"
    return [(name, ", ".join(f"{gain:+.2f}" for gain in gains) + " dB" if gains else "no common rate")]


def _switch(points: Mapping[str, Sequence[Row]]) -> float:
    """The rate of the first point of the envelope that has high resolution; 0 or infinite without a change."""
    high = set(curve(points[f"{MIXED}, high"], "psnr"))
    mixed = upper_envelope(points, MIXED, "psnr")
    if mixed[0] in high:
        return 0.0
    return next((pair[0] for pair in mixed if pair in high), float("inf"))
