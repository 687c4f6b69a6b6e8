"""Jia et al. 2019: the scalable auto-encoder on Kodak (§IV; Table III, Fig. 3 and 4), and its baselines of Ballé."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from codec_zoo.errors import UsageError
from codec_zoo.harness.evaluation import Row, bd_rate, curve
from codec_zoo.harness.papers.balle2018 import REFINED
from codec_zoo.harness.papers.bench import (
    Bench,
    Points,
    at_rate,
    by_codec,
    delta,
    named,
    points_table,
    trained,
    training_table,
)
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict

LAYERS = ("base", "e1", "e2", "e3", "e4")
# Rate as published, PSNR (dB) and MS-SSIM of the authors' own decoded images, means over 24 Kodak images, layer
# by layer: computed from the supplement of the paper, https://github.com/chuanminj/MIPR2019.
AUTHORS = {
    "mse": (
        (0.033654, 25.593912, 0.881211),
        (0.102088, 27.40625, 0.931292),
        (0.258538, 30.190679, 0.965655),
        (0.535328, 32.820021, 0.980566),
        (1.006706, 34.713042, 0.987536),
    ),
    "ms-ssim": (
        (0.03257, 24.270267, 0.90485),
        (0.213985, 26.764158, 0.971718),
        (0.593131, 27.541821, 0.988959),
        (1.085845, 27.505192, 0.990074),
    ),
}
# The supplement and the paper call these rates bits a pixel. They are bits a sample: times 3 · 768 · 512 / 8 each of
# the supplement's 216 numbers is a whole number of bytes, and what a layer adds is even but for one image: the
# range coder of TensorFlow Compression wrote words of 16 bits then, the last without its second byte where that is
# zero. Times 768 · 512 / 8, 78 are whole (``tests/harness/test_papers.py``).
SAMPLES = 3
SUPPLEMENT = "the paper's supplement"
# Table III: BD-rate (%) and BD-PSNR (dB) of the scalable auto-encoder against …
TABLE_3 = {"balle2017": (-65.2, 3.38), "balle2018": (-0.6, 0.021)}
PUBLISHED = {"balle2017": "Ballé 2017 (MSE)", "balle2018": "Ballé 2018 (MSE)"}
# Our baselines, by the distortion that they are trained for. Those for squared error are measured with refined
# latents, too.
BASELINES = {
    "mse": {"balle2017": ["balle2017-factorized-mse-vbr"], "balle2018": ["balle2018-hyperprior-mse-vbr"]},
    "ms-ssim": {"balle2018": ["balle2018-hyperprior-ms-ssim-vbr"]},
}
BPG, QPS = ("bpg-rgb444", "bpg-ycbcr444"), (40, 34, 28, 22)
# Encoders: option in a codec's specification → name in tables. The papers' encoders only round.
ENCODERS = {"": "", ",search=10": ", refined latents"}
PAPER = "1,000 epochs of 5,500 patches of 256×256 a layer"
NOTES = """Rates: the authors' rates are bits a sample, which the paper compares with bits a pixel. The table of the
authors' decoded pictures has the evidence. Counted alike, our files are smaller than the authors' files at equal
PSNR. Table III of the paper rests on the published rates. With rates in bits a pixel, the scalable auto-encoder is
worse than Ballé 2018: the authors' and ours.

Refined latents are our addition. The encoder of the paper only rounds latents. `codec-zoo compress --search 10`
changes latents where that lowers the rate–distortion cost; decoder and weights stay the same.

Exactness: the index of the probability table of each latent is computed in exact integers, so that a file decodes
on every machine (`tests/codecs/test_learned_layered.py`).
"""


def reproduce(bench: Bench) -> Section:
    """Measure all prefixes of the deepest stack that is trained, and the baselines that are, with each encoder."""
    presets, perceptual = (trained([f"jia2019-sae-{track}-{layer}" for layer in LAYERS]) for track in AUTHORS)
    specs = {encoder: [cut + encoder for cut in _cuts(presets)] for encoder in ENCODERS}
    learners = trained(itertools.chain(*(presets for found in BASELINES.values() for presets in found.values())))
    learned = [*itertools.chain(*specs.values()), *learners, *REFINED, *_cuts(perceptual)]
    rows = bench.measure([*learned, *(f"{codec}:{qp}" for codec in BPG for qp in QPS)], "kodak")
    points = by_codec(rows)
    ours = {encoder: [points[spec][0] for spec in found] for encoder, found in specs.items()}
    by_ms_ssim = dict(zip(perceptual, (points[spec][0] for spec in _cuts(perceptual)), strict=True))
    baselines = {encoder: _baselines(BASELINES["mse"], encoder, points) for encoder in ENCODERS}
    others = _baselines(BASELINES["ms-ssim"], "", points)

    charts = []
    for metric, column, title in (("psnr", 1, "Fig. 3: PSNR (RGB), dB"), ("ms_ssim", 2, "Fig. 4: MS-SSIM, dB")):
        curves = []
        for encoder, called in ENCODERS.items():
            curves.append(Curve(f"scalable auto-encoder (ours{called})", curve(ours[encoder], metric)))
            for name, found in baselines[encoder].items():
                curves.append(Curve(f"{name} (ours{called})", curve(found, metric)))
        if by_ms_ssim:
            curves.append(Curve("scalable auto-encoder for ms-ssim (ours)", curve(by_ms_ssim.values(), metric)))
        for name, found in others.items():
            curves.append(Curve(f"{name} for ms-ssim (ours)", curve(found, metric)))
        curves += [Curve(name, curve(points[name], metric)) for name in BPG]
        curves += [
            Curve(
                f"scalable auto-encoder for {track}, the authors{unit}", _authors(track, column, samples), SUPPLEMENT
            )
            for track in AUTHORS
            for unit, samples in (("", SAMPLES), (", as published in bits a sample", 1))
        ]
        curves += published_curves("kodak", metric)
        label = title.split(": ")[1]
        charts.append(Chart(f"kodak-{metric.replace('_', '-')}", f"{title}, on Kodak", label, curves))

    return Section(
        paper="jia2019",
        title="Jia et al. 2019: Layered image compression using scalable auto-encoder",
        verdicts=[*_verdicts(ours[""]), *_ms_ssim_verdicts(by_ms_ssim)],
        tables=[
            _models_table(ours, baselines),
            _table_3(ours, baselines),
            _layers_table(ours),
            *([_ms_ssim_table(by_ms_ssim, others)] if by_ms_ssim else []),
            points_table("Measured points on Kodak", "Each picture was coded by one thread.", rows),
        ],
        charts=charts,
        rows=rows,
        shown=[*learned, *(f"{BPG[0]}:{qp}" for qp in QPS[:2])],
        further=_further(ours, by_ms_ssim),
        notes=NOTES,
        training=training_table([*presets, *perceptual, *learners], PAPER),
        pictures={"kodak": "the 24 pictures of Kodak"},
    )


def _cuts(presets: Sequence[str]) -> list[str]:
    """Specifications of the deepest stack's file, cut behind each layer; none of no stack."""
    return [*(f"{presets[-1]},layers={count}" for count in range(1, len(presets))), *presets[-1:]]


def _baselines(
    wanted: Mapping[str, Sequence[str]], encoder: str, points: Mapping[str, Sequence[Row]]
) -> dict[str, list[Row]]:
    """The measured points of each baseline that has some; ``wanted``: its presets."""
    found = {
        name: [point for preset in presets for point in points.get(preset + encoder, ())]
        for name, presets in wanted.items()
    }
    return {name: rows for name, rows in found.items() if rows}


def _authors(track: str, column: int, samples: int = SAMPLES) -> Points:
    """The authors' curve: column 1 PSNR, column 2 MS-SSIM in dB, over bits a pixel (``samples=1``: as published)."""
    names = {1: "psnr", 2: "ms_ssim"}
    return curve([{"bpp": samples * p[0], names[column]: p[column]} for p in AUTHORS[track]], names[column])


def _published(name: str, metric: str = "psnr") -> Points:
    """A published curve on Kodak."""
    return list(next(c.points for c in published_curves("kodak", metric) if c.name == name))


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _models_table(ours: Mapping[str, Sequence[Row]], baselines: Mapping[str, Mapping[str, Sequence[Row]]]) -> Table:
    """Every trained model beside the published quality at its rate."""
    rows = []

    def add(name: str, point: Row, theirs: Points) -> None:
        at = at_rate(theirs, point["bpp"])
        rows.append(
            (
                name,
                f"{point['bpp']:.4f}",
                f"{point['psnr']:.2f}",
                f"{point['ms_ssim']:.4f}",
                _cell(at, ".2f"),
                _cell(None if at is None else point["psnr"] - at, "+.2f"),
            )
        )

    for encoder, called in ENCODERS.items():
        for layer, point in zip(LAYERS, ours[encoder], strict=False):
            add(f"jia2019-sae-mse-{layer}{called}", point, _authors("mse", 1))
        for name, found in baselines[encoder].items():
            for point in found:
                add(named(point).replace(encoder, "") + called, point, _published(PUBLISHED[name]))
    header = ("model", "bpp", "PSNR, dB", "MS-SSIM", "published PSNR at this rate", "difference, dB")
    note = (
        "The numbers are means over the 24 pictures of Kodak and over whole files. The layers of the scalable "
        "auto-encoder are one file, cut after each layer. Refined latents: the encoder changes latents in ten rounds "
        "(`--search 10`); decoder and weights stay the same. Published PSNR: of the authors' decoded pictures (Jia, "
        "rates in bits a pixel), or of the authors' results (Ballé), interpolated linearly over the logarithm "
        "of the rate."
    )
    return Table("Models on Kodak", note, header, rows)


def _layers_table(ours: Mapping[str, Sequence[Row]]) -> Table:
    rows = []
    for i, (layer, (rate, psnr, ms_ssim)) in enumerate(zip(LAYERS, AUTHORS["mse"], strict=True)):
        row = [
            f"base … {layer}" if i else "base",
            f"{rate:.4f}",
            f"{SAMPLES * rate:.4f}",
            f"{psnr:.2f}",
            f"{ms_ssim:.4f}",
        ]
        for points in ours.values():
            at = at_rate(curve(points, "psnr"), SAMPLES * rate)
            row += [_cell(at, ".2f"), _cell(None if at is None else at - psnr, "+.2f")]
        rows.append(row)
    anchor = _published(PUBLISHED["balle2018"])
    published, pixel = (delta(anchor, _authors("mse", 1, samples)) for samples in (1, SAMPLES))
    note = (
        "The authors published their decoded pictures of Kodak and a rate for each. The table has the means for the "
        "models trained for squared error. The authors call the rates bits a pixel. The rates are bits a sample, a "
        "third of that: multiplied by 3 · 768 · 512 / 8, all 216 rates are whole numbers of bytes; multiplied by "
        "768 · 512 / 8, only 78 are. Taken as bits a pixel, the rates give "
        f"{published} against Ballé 2018, close to Table III ({TABLE_3['balle2018'][0]:+.1f} %). Converted to bits a "
        f"pixel, they give {pixel}. Our PSNR is at the converted rate, interpolated linearly over the logarithm "
        "of the rate."
    )
    header = ["layers", "published: bits a sample", "bpp", "PSNR, dB", "MS-SSIM"]
    for called in ENCODERS.values():
        header += [f"ours there{called}", "difference, dB"]
    return Table("The authors' decoded pictures, layer by layer (Fig. 3)", note, header, rows)


def _table_3(ours: Mapping[str, Sequence[Row]], baselines: Mapping[str, Mapping[str, Sequence[Row]]]) -> Table:
    rows = [
        row
        for encoder, called in ENCODERS.items()
        for row in _table_3_rows(curve(ours[encoder], "psnr"), baselines[encoder], called)
    ]
    return Table(
        "Table III: the scalable auto-encoder against other codecs",
        "Bjøntegaard deltas by Akima interpolation, over the range that both curves have. A cell is empty where the "
        "curves have no common range. Refined latents: of our auto-encoder and of our baselines.",
        ("anchor", "BD-rate", "BD-PSNR, dB", "the paper: BD-rate", "BD-PSNR, dB"),
        rows,
    )


def _table_3_rows(
    own: Points, baselines: Mapping[str, Sequence[Row]], called: str
) -> list[tuple[str, str, str, str, str]]:
    """Of one encoder, which is ``called`` so; ``baselines``: their measured points."""
    rows = []
    for name, (theirs_rate, theirs_psnr) in TABLE_3.items():
        anchors = {"published": _published(PUBLISHED[name])}
        if len(baselines.get(name, ())) > 2:
            anchors["ours"] = curve(baselines[name], "psnr")
        for whose, anchor in anchors.items():
            theirs = ("", "")
            if whose == "published" and not called:
                theirs = (f"{theirs_rate:+.1f} %", f"{theirs_psnr:+.2f}")
            rows.append((f"{name}, {whose}{called}", delta(anchor, own), delta(anchor, own, "psnr"), *theirs))
    for unit, samples in (("", SAMPLES), (", as published", 1)):
        anchor = _authors("mse", 1, samples)
        name = f"the authors' decoded pictures{unit}{called}"
        rows.append((name, delta(anchor, own), delta(anchor, own, "psnr"), "", ""))
    return rows


def _ms_ssim_anchors() -> dict[str, Points]:
    """What Fig. 4 compares with: MS-SSIM in dB over bits a pixel."""
    return {
        "the authors' decoded pictures": _authors("ms-ssim", 2),
        "BPG 4:4:4, published": _published("BPG 4:4:4", "ms_ssim"),
        "Ballé 2018 for MS-SSIM, published": _published("Ballé 2018 (MS-SSIM)", "ms_ssim"),
    }


def _ms_ssim_gains(points: Iterable[Row], anchor: Points) -> list[float | None]:
    """dB of MS-SSIM above an anchor at each point's rate; None outside of its rates."""
    return [None if (at := at_rate(anchor, rate)) is None else value - at for rate, value in curve(points, "ms_ssim")]


def _ms_ssim_table(layers: Mapping[str, Row], baselines: Mapping[str, Sequence[Row]]) -> Table:
    """Of the presets that were trained for MS-SSIM."""
    anchors = _ms_ssim_anchors()
    points = {**layers, **{named(point): point for found in baselines.values() for point in found}}
    rows = [
        (
            name,
            f"{point['bpp']:.4f}",
            f"{point['psnr']:.2f}",
            f"{point['ms_ssim']:.4f}",
            *(_cell(gain, "+.2f") for anchor in anchors.values() for gain in _ms_ssim_gains([point], anchor)),
        )
        for name, point in points.items()
    ]
    header = ("model", "bpp", "PSNR, dB", "MS-SSIM", *(f"dB above {name}" for name in anchors))
    note = (
        "The models are trained for MS-SSIM. The numbers are means over the 24 pictures of Kodak; the layers of the "
        "auto-encoder are one file, cut after each layer. MS-SSIM in dB is −10·log10(1 − MS-SSIM). The anchors are "
        "interpolated linearly over the logarithm of the rate, at our rate."
    )
    return Table("Models for MS-SSIM (Fig. 4)", note, header, rows)


def _ms_ssim_verdicts(points: Mapping[str, Row]) -> list[Verdict]:
    """Of the presets that were trained for MS-SSIM; none without them."""
    claims = {
        "BPG 4:4:4, published": "much better at all rates",
        "Ballé 2018 for MS-SSIM, published": "similar or better at all rates",
    }
    found = []
    for name, claim in claims.items():
        if shared := _gains_by_layer(points, _ms_ssim_anchors()[name]):
            found.append(
                Verdict(
                    f"MS-SSIM is higher than that of {name.removesuffix(', published')} at equal rates (Fig. 4)",
                    claim,
                    _gains_said(shared),
                    "reproduced" if min(shared.values()) > 0 else "not reached",
                )
            )
    return found


def _gains_by_layer(points: Mapping[str, Row], anchor: Points) -> dict[str, float]:
    gains = dict(zip(LAYERS, _ms_ssim_gains(points.values(), anchor), strict=False))
    return {layer: gain for layer, gain in gains.items() if gain is not None}


def _gains_said(gains: Mapping[str, float]) -> str:
    return ", ".join(f"{layer} {gain:+.2f} dB" for layer, gain in gains.items())


def _verdicts(ours: Sequence[Row]) -> list[Verdict]:
    """Of the files as the paper's encoder makes them, which only rounds."""
    own = curve(ours, "psnr")
    found = []
    for name, (theirs_rate, _) in TABLE_3.items():
        anchor = _published(PUBLISHED[name])
        rate = _rate(anchor, own)
        found.append(
            Verdict(
                f"The file needs fewer bits than {_cited(name)} at equal PSNR (Table III)",
                f"BD-rate {theirs_rate:+.1f} %; {delta(anchor, _authors('mse', 1))} with the rates in bits a pixel",
                f"BD-rate {rate:+.1f} %" if rate is not None else "no common rate",
                _outcome(rate, theirs_rate),
                main=name == "balle2018",
            )
        )
    rising = own == sorted(own, key=lambda p: p[1])
    found.append(
        Verdict(
            "One file holds five layers, and each layer raises the quality (§III)",
            "five layers",
            f"{len(ours)} layers: {' → '.join(f'{psnr:.2f}' for _, psnr in own)} dB",
            "not reached" if not rising else "reproduced" if len(ours) == 5 else "ordering holds",
            main=True,
        )
    )
    return found


def _further(ours: Mapping[str, Sequence[Row]], by_ms_ssim: Mapping[str, Row]) -> list[tuple[str, str]]:
    found = []
    for encoder, called in ENCODERS.items():
        own = curve(ours[encoder], "psnr")
        if encoder:
            for name in TABLE_3:
                found.append(
                    (f"BD-rate against {_cited(name)}, published{called}", delta(_published(PUBLISHED[name]), own))
                )
        for unit, samples in (("bits a pixel", SAMPLES), ("bits a sample, taken for bits a pixel", 1)):
            anchor = _authors("mse", 1, samples)
            if rate := delta(anchor, own):
                numbers = f"BD-rate {rate}, {delta(anchor, own, 'psnr')} dB"
                found.append((f"Against the authors' decoded pictures, their rates in {unit}{called}", numbers))
    name = next(iter(_ms_ssim_anchors()))
    if shared := _gains_by_layer(by_ms_ssim, _ms_ssim_anchors()[name]):
        found.append((f"MS-SSIM above {name}", _gains_said(shared)))
    return found


def _cited(name: str) -> str:
    return PUBLISHED[name].removesuffix(" (MSE)")


def _rate(anchor: Points, test: Points) -> float | None:
    try:
        return bd_rate(anchor, test)
    except UsageError:
        return None


def _outcome(ours: float | None, theirs: float) -> str:
    if ours is None:
        return "not reached"
    return "reproduced" if ours <= theirs + 1 else "ordering holds" if ours < 0 else "not reached"
