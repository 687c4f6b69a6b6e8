"""The README's two pictures: a photograph at equal bytes, and curves on Kodak.

    python experiments/readme_figures.py                 # both, into docs/images

``comparison.png`` shows a piece of a Kodak picture: the original, and files of JPEG, AVIF and the default model of
equal bytes, coded and decoded here as ``codec-zoo demo`` does. ``kodak.svg`` and ``kodak.png`` draw the committed
rows below ``docs`` and published curves. No number is typed: run it again after new rows, weights or a new default
model. It takes half a minute on two idle cores.
"""

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import Akima1DInterpolator

from codec_zoo.errors import CodecZooError
from codec_zoo.files import atomic_path, write_atomic
from codec_zoo.harness import evaluation
from codec_zoo.harness.equal_bytes import OURS, equal_bytes, models, title_of
from codec_zoo.harness.figures import COLORS
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.results import Curve
from codec_zoo.harness.rows import latest_rows, read_rows, row_key
from codec_zoo.presets import DEFAULT_PRESET

# The picture, a piece of it (left, top, width, height), and the most bits a pixel of the default model's file.
PICTURE, PIECE, TARGET_BPP = "kodim15", (372, 64, 200, 150), 0.25
SHOWN = ("jpeg-420", "avif")
ENLARGED = 2
# Standard codecs of the chart, of which those are drawn that have rows, and published curves.
STANDARD = {
    "bpg-ycbcr444": "BPG 4:4:4",
    "avif": "AVIF 4:4:4",
    "jxl": "JPEG XL",
    "webp": "WebP",
    "jpeg2000": "JPEG 2000",
    "jpeg": "JPEG",
}
PUBLISHED = ("vtm", "elic", "cheng2020", "minnen2018", "mean-scale", "balle2018")
PUBLISHED_COLORS = ("#444444", "#8527d8", "#b5176b", "#0b7285", "#8a6100", "#15803d")
# Bits a pixel of the chart.
SPAN = (0.1, 1.0)


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--results", type=Path, default=Path("docs"), help="folder with rows (*.jsonl)")
    parser.add_argument("--only", choices=("comparison", "kodak"))
    arguments = parser.parse_args()
    if arguments.only != "kodak":
        write_atomic(arguments.output / "comparison.png", comparison())
    if arguments.only != "comparison":
        draw(measured_curves(arguments.results), arguments.output)


# === A photograph at equal bytes ===


def comparison() -> bytes:
    """The picture as PNG: four pieces, two in a line, each with bytes and PSNR of the whole picture's file."""
    (path,) = (path for path in evaluation.find_pictures("kodak") if path.stem == PICTURE)
    with tempfile.TemporaryDirectory() as folder:
        coded = equal_bytes([], {path: PICTURE}, Path(folder), TARGET_BPP, workers=1)[path]
        titles = {OURS: f"{OURS}, {DEFAULT_PRESET}"}
        chosen = [one for one in coded if one.spec in SHOWN] + coded[:1]
        panels = [("Original", "", _piece(path))]
        for one in chosen:
            row = one.row
            numbers = f"{row['bytes']:,} bytes, {row['psnr']:.2f} dB"
            panels.append((titles.get(one.title, one.title), numbers, _piece(one.decoded)))
        with Image.open(path) as original:
            size = f"{original.width}×{original.height}"
    columns, margin, title_size, text_size = 2, 12, 27, 25
    width, height = panels[0][2].size
    cell = width + margin, height + title_size + text_size + 3 * margin
    lines = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * cell[0] + margin, lines * cell[1] + 3 * margin), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (title, numbers, piece) in enumerate(panels):
        left, top = margin + i % columns * cell[0], margin + i // columns * cell[1]
        sheet.paste(piece, (left, top))
        pen.text((left, top + height + 6), title, "#111111", _font(title_size, title, width))
        pen.text((left, top + height + title_size + 12), numbers, "#444444", _font(text_size, numbers, width))
    note = f"A piece of {PICTURE}, enlarged {ENLARGED}×. Bytes and PSNR are of the whole picture, {size}."
    pen.text((margin, sheet.height - 3 * margin), note, "#444444", _font(20, note, sheet.width - 2 * margin))
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


def _piece(path: Path) -> Image.Image:
    left, top, width, height = PIECE
    with Image.open(path) as image:
        piece = image.convert("RGB").crop((left, top, left + width, top + height))
    return piece.resize((ENLARGED * width, ENLARGED * height), Image.Resampling.NEAREST)


def _font(size: int, text: str, width: int) -> ImageFont.FreeTypeFont:
    """A font of at most that size in which the text fits."""
    file = font_manager.findfont("DejaVu Sans")  # which comes with matplotlib
    fonts = (ImageFont.truetype(file, fitting) for fitting in range(size, 8, -1))
    return next(font for font in fonts if font.getlength(text) <= width)


# === Curves on Kodak ===


def measured_curves(results: Path) -> list[Curve]:
    """Means over all of Kodak's pictures, of the default model, the hyperpriors and the standard codecs.

    Raises:
        CodecZooError: there are no such rows of the default model.
    """
    pictures = {path.name for path in evaluation.find_pictures("kodak")}
    rows = {}
    for path in sorted(results.rglob("*.jsonl")):
        for row in latest_rows(read_rows(path)):
            if row["image"] in pictures:
                rows[row_key(row)] = row
    curves: dict[str, list[evaluation.Row]] = {}
    wanted = {name: title_of(name) for name in models()} | STANDARD
    for point in evaluation.summarize(rows.values()):
        if point["codec"] in wanted and point["pictures"] == len(pictures):
            curves.setdefault(wanted[point["codec"]], []).append(point)
    if DEFAULT_PRESET not in curves:
        raise CodecZooError(
            f"there are no rows of {DEFAULT_PRESET} on all of Kodak in {results}. "
            f"Measure: `codec-zoo evaluate {DEFAULT_PRESET} -o {results}/kodak.jsonl`."
        )
    order = [name for name in dict.fromkeys(wanted.values()) if name in curves]
    return [Curve(name, evaluation.curve(curves[name], "psnr")) for name in order]


def draw(curves: Sequence[Curve], folder: Path) -> None:
    """Write ``kodak.svg`` and ``kodak.png``: ours thick, standard codecs dashed, published curves thin."""
    learned = set(map(title_of, models()))
    groups: dict[str, list[Any]] = {"Codec Zoo": [], "Standard, measured here": [], "Published": []}
    with matplotlib.rc_context({"font.size": 12, "svg.hashsalt": "codec-zoo", "text.parse_math": False}):
        figure = Figure(figsize=(8, 7), layout="constrained")
        axis = figure.subplots()
        colors = iter(COLORS)
        for curve in curves:
            ours = curve.name in learned
            style: dict[str, Any] = {"color": next(colors), "zorder": 4 if ours else 3}
            axis.plot(*_smooth(curve), linewidth=2.8 if ours else 1.6, **style)
            axis.plot(*np.transpose(curve.points), linestyle="none", marker="o" if ours else ".", **style)
            line = Line2D(
                [], [], label=curve.name, linewidth=2.8 if ours else 1.6, marker="o" if ours else ".", **style
            )
            groups["Codec Zoo" if ours else "Standard, measured here"].append(line)
        for i, curve in enumerate(published_curves("kodak", "psnr", PUBLISHED)):
            (line,) = axis.plot(
                *_smooth(curve),
                label=curve.name.removesuffix(" (MSE)"),
                color=PUBLISHED_COLORS[i],
                linewidth=1.2,
                linestyle=("--", ":", "-.")[i % 3],
                zorder=2,
            )
            groups["Published"].append(line)
        shown = [value for curve in curves for rate, value in curve.points if SPAN[0] <= rate <= SPAN[1]]
        axis.set(xlim=SPAN, ylim=(min(shown) - 0.5, max(shown) + 1))
        axis.set(xlabel="bits per pixel", ylabel="PSNR (RGB), dB", title="Kodak, means of 24 pictures")
        axis.grid(alpha=0.3)
        # A column a group, each under its name.
        deepest = max(map(len, groups.values()))
        handles, labels = [], []
        for name, lines in groups.items():
            blanks = [Line2D([], [], linestyle="none")] * (1 + deepest - len(lines))
            handles += [*blanks[:1], *lines, *blanks[1:]]
            labels += [name, *(str(line.get_label()) for line in lines), *("" for _ in blanks[1:])]
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=len(groups), fontsize=10, columnspacing=1.2
        )
        for text in legend.get_texts():
            if text.get_text() in groups:
                text.set_fontweight("bold")
        for kind in ("svg", "png"):
            with atomic_path(folder / f"kodak.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {})


def _smooth(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """A curve between its points as BD-rates have it: Akima in the logarithm of the rate."""
    rates, values = np.transpose(curve.points)
    between = np.geomspace(rates[0], rates[-1], 200)
    return between, Akima1DInterpolator(np.log(rates), values)(np.log(between))


if __name__ == "__main__":
    main()
