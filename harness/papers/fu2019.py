"""Fu et al. 2019: the hybrid layered codec on Kodak (§3; Fig. 5, 6 and 8) and on Tecnick (Fig. 7)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codec_zoo.codecs import images
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.export.runtime import open_model
from codec_zoo.files import write_atomic
from codec_zoo.harness import figures
from codec_zoo.harness.evaluation import Row, bd_rate, curve
from codec_zoo.harness.papers.bench import (
    Bench,
    by_codec,
    delta,
    gains_table,
    is_above,
    measured_curves,
    patches_seen,
    points_table,
    trained,
    trained_alike,
    training_table,
)
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Chart, Section, Table, Verdict

PRESET = "fu2019-hybrid-s16-prelu"
STEM = "fu2019-hybrid-s"
ABLATIONS = [f"{STEM}{side}-{kind}" for side in (8, 16, 32) for kind in ("prelu", "relu")]
# What Fig. 8's variants are measured against.
ABLATED = "fu2019-hybrid-s16-relu"
QPS = (40, 34, 28, 22)
STANDARD = ("jpeg", "jpeg2000", "webp")
RGB, YCBCR = "bpg-rgb444", "bpg-ycbcr444"
PAPER = "40 epochs of 81,650 patches, batch 20"
NOTES = """The paper codes the base layer and the residual in RGB 4:4:4. The claims are judged with both in RGB.

x265 has no prediction between colour components. It needs about twice as many bits in RGB 4:4:4 as in YCbCr 4:4:4.
"BPG in RGB 4:4:4" therefore depends on the HEVC encoder. The encoder here is x265.

The preset `fu2019-hybrid-s16-prelu` codes the residual in YCbCr by default. With that change it needs far fewer
bits than BPG in RGB 4:4:4, and more bits than BPG in YCbCr 4:4:4: with our training, the learned base layer costs
more bits than it saves.

The paper's Fig. 1, 9 and 10 count bits for each pixel and channel. Here bits are counted for each pixel.
"""


def reproduce(bench: Bench) -> Section:
    """Measure; also writes ``residuals.png``, ``layers.png`` and the files in it."""
    codecs = [
        PRESET,
        *(f"{PRESET},mapping={mapping}" for mapping in ("minmax", "shift")),
        _in_rgb(PRESET),
    ]
    curves = [f"{codec}:{qp}" for codec in (*codecs, YCBCR, RGB) for qp in QPS]
    rows = bench.measure([f"{PRESET},layers=1", *curves, *STANDARD], "kodak")
    points = by_codec(rows)
    compared = {name: group for name, group in points.items() if len(group) > 1}
    variants = trained(ABLATIONS)
    ways = [codec for name in variants for codec in (name, _in_rgb(name))]
    wanted = [*(f"{name},layers=1" for name in variants), *(f"{codec}:{qp}" for codec in ways for qp in QPS)]
    ablation = by_codec(bench.measure(wanted, "kodak"))
    in_rgb = {name: ablation[_in_rgb(name)] for name in variants}

    kodak = bench.find("kodak")
    model = open_model(PRESET)
    version = model.card["weights_sha256"]
    counts = np.array(bench.kept("residuals", version, lambda: residual_counts(kodak).tolist()))
    figures.residual_histogram({f"{len(kodak)} Kodak pictures": counts}, bench.folder / "residuals.png")
    show_layers(kodak[22], bench.folder)
    tables = [
        gains_table(
            "Fig. 6 in numbers: BD-rate on Kodak",
            "BD-rate by Akima interpolation, over the range that both curves have. A negative number means smaller "
            "files. MS-SSIM is in dB.",
            compared,
            (RGB, YCBCR),
        ),
        _residual_table(counts),
        points_table(
            "Measured points on Kodak",
            f"The numbers are means over {points[PRESET][0]['pictures']} pictures. bpp is 8 · bytes of the file / "
            "pixels. PSNR and MS-SSIM are of RGB. Each picture was coded by one thread.",
            rows,
        ),
    ]
    charts = _charts("Fig. 6", "kodak", compared)
    tecnick = bench.measure([f"{codec}:{qp}" for codec in (*codecs[:3], YCBCR, RGB) for qp in QPS], "tecnick")
    if tecnick:
        charts += _charts("Fig. 7", "tecnick", by_codec(tecnick))
    if ABLATED in variants and len(variants) > 1:
        charts += _charts("Fig. 8", "ablation", in_rgb)
        tables.insert(1, _ablation_table(variants, ablation))
    return Section(
        paper="fu2019",
        title="Fu et al. 2019: Improved hybrid layered image compression",
        verdicts=[*_verdicts(points, counts), *_ablation_verdicts(in_rgb)],
        tables=tables,
        charts=charts,
        rows=[*rows, *tecnick],
        shown=[
            f"{PRESET},layers=1",
            f"{PRESET}:40",
            f"{PRESET}:34",
            f"{YCBCR}:40",
            f"{YCBCR}:34",
            f"{RGB}:40",
            "jpeg:10",
            "webp:5",
        ],
        further=_further(points),
        notes=NOTES,
        training=training_table(variants, PAPER),
        pictures={"kodak": "the 24 pictures of Kodak"},
    )


def _in_rgb(preset: str) -> str:
    """The paper's way: the residual in RGB too."""
    return f"{preset},residual_codec={RGB}"


def _charts(figure: str, name: str, points: Mapping[str, Sequence[Row]]) -> list[Chart]:
    charts = []
    for metric, label in (("psnr", "PSNR (RGB), dB"), ("ms_ssim", "MS-SSIM, dB")):
        curves = measured_curves(points, metric)
        if name == "kodak":
            curves += published_curves(name, metric)
        title = f"{figure}: {label.split(',')[0]} on {'Tecnick' if name == 'tecnick' else 'Kodak'}"
        charts.append(Chart(f"{name}-{metric.replace('_', '-')}", title, label, curves))
    return charts


def _verdicts(points: Mapping[str, Sequence[Row]], counts: np.ndarray) -> list[Verdict]:
    psnr = {name: curve(group, "psnr") for name, group in points.items()}
    in_rgb = psnr[_in_rgb(PRESET)]
    rate = bd_rate(psnr[RGB], in_rgb)
    beaten = [name for name in STANDARD if is_above(in_rgb, psnr[name])]
    beaten_in_ycbcr = [name for name in STANDARD if is_above(psnr[PRESET], psnr[name])]
    clip, minmax, shift = (
        bd_rate(psnr[RGB], psnr[name]) for name in (PRESET, f"{PRESET},mapping=minmax", f"{PRESET},mapping=shift")
    )
    inside = counts[255 - 120 : 255 + 121].sum() / counts.sum()
    return [
        Verdict(
            "The codec is better than BPG in RGB 4:4:4 at every rate (Fig. 6)",
            "better at all rates",
            f"BD-rate {rate:+.1f} %",
            "reproduced" if is_above(in_rgb, psnr[RGB]) else "ordering holds" if rate < 0 else "not reached",
            main=True,
        ),
        Verdict(
            "The codec is better than JPEG, JPEG 2000 and WebP at every rate (Fig. 6)",
            "better at all rates",
            f"with the residual in RGB better than {', '.join(beaten) or 'none of them'}; with the residual in YCbCr "
            f"better than {', '.join(beaten_in_ycbcr) or 'none of them'}",
            "reproduced"
            if len(beaten) == len(STANDARD)
            else "ordering holds"
            if len(beaten_in_ycbcr) == len(STANDARD)
            else "not reached",
            main=True,
        ),
        Verdict(
            "Clipping the residual is about as good as min–max mapping, and both are better than shifting (§3.1)",
            "almost the same; shifting is worse at high rates",
            f"BD-rate against {RGB}, residual in YCbCr: {clip:+.1f}, {minmax:+.1f}, {shift:+.1f} %",
            "reproduced" if abs(clip - minmax) < 2 and shift > max(clip, minmax) else "not reached",
        ),
        Verdict(
            "The codec is more than 1 dB better than DSSLIC (§3.1)", "> 1 dB", "DSSLIC was not run", "not measured"
        ),
        Verdict(
            "Most residuals lie between −120 and 120 (Fig. 5)",
            "most",
            f"{inside:.3%}",
            "reproduced" if inside > 0.5 else "not reached",
        ),
    ]


def _further(points: Mapping[str, Sequence[Row]]) -> list[tuple[str, str]]:
    psnr = {name: curve(group, "psnr") for name, group in points.items()}
    return [
        (
            f"BD-rate against {name}, with the base layer in RGB and the residual in YCbCr",
            f"{bd_rate(psnr[name], psnr[PRESET]):+.1f} %",
        )
        for name in (RGB, YCBCR)
    ]


def _ablation_table(variants: Sequence[str], points: Mapping[str, Sequence[Row]]) -> Table:
    """Fig. 8: the base layer of each variant, and its curves against those of :data:`ABLATED`."""
    lines = []
    for name in variants:
        (base,) = points[f"{name},layers=1"]
        gains = [
            delta(curve(points[anchor], metric), curve(points[codec], metric))
            for anchor, codec in ((_in_rgb(ABLATED), _in_rgb(name)), (ABLATED, name))
            for metric in ("psnr", "ms_ssim")
        ]
        numbers = f"{base['bpp']:.4f}", f"{base['psnr']:.2f}", f"{base['ms_ssim']:.4f}"
        lines.append((name, *numbers, *gains))
    return Table(
        "Fig. 8 in numbers: size of the compact image and activation",
        "The base layer alone on Kodak, and BD-rates of the curve with the residual: in RGB 4:4:4, as in the paper, "
        "and in YCbCr. Akima interpolation, over the range that both curves have.",
        (
            "codec",
            "base, bpp",
            "base, PSNR, dB",
            "base, MS-SSIM",
            f"PSNR, against {ABLATED}",
            "MS-SSIM, against it",
            "PSNR, in YCbCr",
            "MS-SSIM, in YCbCr",
        ),
        lines,
    )


def _ablation_verdicts(points: Mapping[str, Sequence[Row]]) -> list[Verdict]:
    """Fig. 8, in RGB, of variants trained alike, or of which the one that should be worse is ahead all the same.

    All the same: with less training, or with the same in another precision (a GPU's and a CPU's differ).
    """
    psnr = {name: curve(group, "psnr") for name, group in points.items()}

    def verdict(claim: str, paper: str, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """That the second of each pair is the worse one."""
        rates, ours = {}, []
        for better, worse in pairs:
            if not {better, worse} <= set(psnr):
                continue
            alike = trained_alike((better, worse))
            same_recipe = trained_alike((better, worse), in_one_precision=False)
            if not same_recipe and patches_seen(worse) >= patches_seen(better):
                continue
            rate = bd_rate(psnr[better], psnr[worse])
            if alike or rate < 0:
                rates[better, worse] = rate
                how = "" if alike else " in another precision" if same_recipe else " with less training"
                ours.append(f"{worse.removeprefix(STEM)} {rate:+.1f} % against {better.removeprefix(STEM)}{how}")
        if not rates:
            return []
        return [Verdict(claim, paper, "; ".join(ours), "reproduced" if min(rates.values()) > 0 else "not reached")]

    def sizes(side: int) -> list[tuple[str, str]]:
        return [(f"{STEM}16-{kind}", f"{STEM}{side}-{kind}") for kind in ("prelu", "relu")]

    kinds = [(f"{STEM}{side}-prelu", f"{STEM}{side}-relu") for side in (8, 16, 32)]
    return [
        *verdict("Stride 16 needs fewer bits than stride 8 (Fig. 8)", "stride 16 is best", sizes(8)),
        *verdict("Stride 16 needs fewer bits than stride 32 (Fig. 8)", "stride 16 is best", sizes(32)),
        *verdict("PReLU needs fewer bits than ReLU (Fig. 8)", "slightly fewer at stride 16", kinds),
    ]


def residual_counts(paths: Sequence[Path]) -> np.ndarray:
    """How often each residual −255 … 255 of the coarse reconstruction occurs: ``int64 [511]``."""
    codec = LearnedCodec(open_model(PRESET), layers=1)
    counts = np.zeros(511, np.int64)
    for path in paths:
        image = images.as_rgb(images.read_image(path))
        residual = image.astype(np.int16) - codec.decode(codec.encode(image))
        counts += np.bincount(residual.ravel() + 255, minlength=511)
    return counts


def _residual_table(counts: np.ndarray) -> Table:
    within = [
        (str(most), f"{counts[255 - most : 256 + most].sum() / counts.sum():.2%}") for most in (10, 30, 60, 120)
    ]
    return Table(
        "Fig. 5: residuals of the base layer on Kodak",
        "The share of RGB samples whose residual has at most this absolute value. `residuals.png` beside the rows "
        "shows the histogram.",
        ("at most", "share"),
        within,
    )


def show_layers(picture: Path, folder: Path) -> None:
    """Code an image at several rates; write ``files/`` and all of them side by side, ``layers.png``."""
    model = open_model(PRESET)
    original = images.read_image(picture)
    shown = [original]
    for quality in (None, 40, 32, 24):
        codec = LearnedCodec(model, **({"quality": quality} if quality else {"layers": 1}))
        data = codec.encode(original)
        decoded = codec.decode(data)
        name = f"{picture.stem}-{'base' if quality is None else f'q{quality}'}"
        write_atomic(folder / "files" / f"{name}.czoo", data)
        images.write_image(folder / "files" / f"{name}.png", decoded)
        shown.append(decoded)
    images.write_image(folder / "layers.png", np.concatenate([image[:, 256:512] for image in shown], axis=1))
