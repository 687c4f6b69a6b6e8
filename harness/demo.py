"""``codec-zoo demo``: a few photographs through the default model, learned models and standard codecs, in minutes.

```
photographs ─▶ originals/ ─▶ rows.jsonl: codecs at several rates ─▶ table, curves.svg and .png ─┐
                   └───────▶ files/: files of equal bytes, and the images they decode to ───────┴─▶ index.html
```

Every number is of a file that was decoded again. What is in the folder is not made again.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.image_reader import read_image, read_rgb
from codec_zoo.codecs.images import as_rgb, write_image
from codec_zoo.codecs.processes import in_processes
from codec_zoo.codecs.specs import open_codec, qualities_of
from codec_zoo.files import write_atomic
from codec_zoo.harness import evaluation
from codec_zoo.harness.embedding import PICTURE_BYTES, PNG, embed
from codec_zoo.harness.equal_bytes import (
    OURS,
    STANDARD,
    Coded,
    equal_bytes,
    layer_files,
    layered_model,
    models,
    standard_codecs,
    title_of,
)
from codec_zoo.harness.figures import draw_chart
from codec_zoo.harness.papers.bench import at_rate, delta
from codec_zoo.harness.report import ORIGINAL, chart_data, format_number, numbers_of, points_of, provenance, render
from codec_zoo.harness.results import Chart, Curve, Table
from codec_zoo.harness.rows import Row
from codec_zoo.notices import notice
from codec_zoo.presets import DEFAULT_PRESET

# Of Kodak's: fine structures, a face, thin lines, saturated colours.
PICTURES = ("kodim07", "kodim15", "kodim19", "kodim23")
PAGE = "index.html"
# Folder of the images as codecs get them.
ORIGINALS = "originals"
TITLE = "Codec Zoo: a demonstration"
# Of the page, by which it is known to be ours when it is written again.
MARK = f"<title>{TITLE}</title>"
# Bits a pixel of the table's columns.
RATES = (0.2, 0.3, 0.5)
# Larger photographs are made smaller, so that the demonstration ends soon.
MAX_PIXELS = 1024 * 1024
# Points of a model's curve that are on the chart: the highest rates take longest.
POINTS = slice(1, 5)
# The codec that the table compares with.
ANCHOR = "jpeg-420"


@dataclasses.dataclass(frozen=True)
class Demo:
    """What was measured.

    Attributes:
        page: ``index.html``.
        table: a line a codec, means over the images.
        equal_bytes: of each image files of equal bytes, a line a codec.
    """

    page: Path
    table: Table
    equal_bytes: Sequence[Table]


def sample_pictures() -> list[Path]:
    """The photographs of a demonstration without any of the user's."""
    return [path for path in evaluation.find_pictures("kodak") if path.stem in PICTURES]


def run(
    pictures: Sequence[tuple[Path, Path]],
    folder: Path,
    target_bpp: float,
    workers: int,
    background: tuple[int, int, int] | None = None,
) -> Demo:
    """Measure and write; see the module.

    Args:
        pictures: the user's files, and where in ``folder / "originals"`` they go.
        folder: for everything that is written.
        target_bpp: the most bits a pixel of the default model's files in the comparison of equal bytes.
        workers: processes, as far as memory allows.
        background: RGB behind transparent parts.

    Raises:
        CodecZooError: an image cannot be read or coded, or a file not be written.
    """
    originals = [_prepare(source, target, background) for source, target in pictures]
    labels = {path: path.relative_to(folder / ORIGINALS).with_suffix("").as_posix() for path in originals}
    learned, layered = models(), layered_model()
    given: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in learned]
    workers = memory_estimates.workers_for_pictures("evaluate", given, originals, workers)
    for _ in in_processes(
        _open, [(name,) for name in [*learned, *([layered] if layered else [])]], workers, "preparing models"
    ):
        pass
    specs = [spec for name in learned for spec in _specs(name)]
    specs += [f"{name}:{quality:g}" for name in standard_codecs() for quality in STANDARD[name].curve]
    rows = evaluation.evaluate(specs, originals, folder / "rows.jsonl", workers, whole=True)
    files = folder / "files"
    layers = layer_files(layered, originals[0], files / labels[originals[0]]) if layered else []
    versions = equal_bytes(rows, labels, files, target_bpp, workers, layers)
    points = _points(rows)
    curves = [Curve(name, evaluation.curve(group, "psnr")) for name, group in points.items()]
    table = _table(points, curves, len(originals))
    chart = Chart(
        "curves", "PSNR over bits per pixel", "PSNR (RGB), dB", curves, f"Means over {len(originals)} images."
    )
    draw_chart(chart, folder)
    page = folder / PAGE
    write_atomic(page, _page(rows, labels, versions, layers, table, chart, workers).encode())
    return Demo(page, table, [_equal_table(labels[path], found, "codec") for path, found in versions.items()])


# === Images and models ===


def _prepare(source: Path, target: Path, background: tuple[int, int, int] | None) -> Path:
    """Put an image into the folder: as it is if codecs take it so, otherwise as RGB of at most :data:`MAX_PIXELS`."""
    image = as_rgb(read_image(source, notice, background=background))
    if smaller := shrink(image, MAX_PIXELS):
        image, note = smaller
        notice(f"{source}: {note}")
    if not target.exists() or not np.array_equal(image, read_rgb(target)):
        write_image(target, image)
    return target


def shrink(image: np.ndarray, most: int) -> tuple[np.ndarray, str] | None:
    """``uint8 [H, W, 3]`` of more than ``most`` pixels made smaller, and a note; None if it is not larger."""
    pixels = image.shape[0] * image.shape[1]
    if pixels <= most:
        return None
    scale = (most / pixels) ** 0.5
    width, height = (max(1, int(scale * image.shape[axis])) for axis in (1, 0))
    smaller = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    return smaller, f"made smaller, {width}×{height}; `codec-zoo compress` takes it as it is"


def _specs(model: str) -> list[str]:
    """A model at the rates of the chart; one without a dial as it is."""
    qualities = qualities_of(model)
    return [f"{model}:{quality:g}" for quality in qualities[POINTS] if quality is not None] or [model]


def _open(spec: str) -> None:
    """Export a model on its first use."""
    open_codec(spec)


# === Tables and curves ===


def _points(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Means over images, by name."""
    points: dict[str, list[Row]] = {}
    for point in evaluation.summarize(rows):
        points.setdefault(title_of(point["codec"]), []).append(point)
    return points


def _table(points: Mapping[str, Sequence[Row]], curves: Sequence[Curve], count: int) -> Table:
    """The headline: qualities at a few rates, bytes at equal quality, seconds."""
    anchor = next(curve.points for curve in curves if curve.name == STANDARD[ANCHOR].title)
    lines = []
    for curve in curves:
        values = [at_rate(curve.points, rate) for rate in RATES]
        seconds = [np.mean([point[key] for point in points[curve.name]]) for key in ("encode_s", "decode_s")]
        lines.append(
            [
                curve.name,
                "" if curve.points is anchor else delta(anchor, curve.points),
                *("" if value is None else f"{value:.2f}" for value in values),
                *(f"{value:.2f}" for value in seconds),
            ]
        )
    header = ["codec", "bytes against JPEG", *(f"dB at {rate:g} bpp" for rate in RATES), "encode, s", "decode, s"]
    note = (
        f"Means over {count} images. Bytes against JPEG: at equal PSNR (BD-rate). dB: PSNR of RGB at a rate, between "
        "measured points linear in the logarithm of the rate. Seconds: of one image on one thread."
    )
    return Table("Results", note, header, lines)


def _saving(table: Table) -> str:
    """How many bytes the default model saves at equal PSNR, in words; empty where the curves do not tell."""
    change = next(line[1] for line in table.rows if line[0] == title_of(DEFAULT_PRESET))
    if not change:
        return ""
    per_cent = float(change.rstrip(" %"))
    return f"{abs(per_cent):.0f} % {'fewer' if per_cent < 0 else 'more'} bytes"


def _equal_table(label: str, versions: Sequence[Coded], of: str) -> Table:
    """Files of one image, a line each."""
    lines = []
    for coded in versions:
        row = coded.row
        lines.append((coded.title, f"{row['bytes']:,}", f"{row['bpp']:.3f}", format_number(row["psnr"], 2)))
    return Table(label, "", (of, "bytes", "bpp", "PSNR, dB"), lines)


# === The page ===


def _page(
    rows: Sequence[Row],
    labels: Mapping[Path, str],
    versions: Mapping[Path, Sequence[Coded]],
    layers: Sequence[Coded],
    table: Table,
    chart: Chart,
    workers: int,
) -> str:
    """``index.html``."""
    files = {("", path): path for path in labels}
    coded = [*(one for found in versions.values() for one in found), *layers]
    files |= {(one.title, one.picture): one.decoded for one in coded}
    embedded = embed(files, list(labels), PNG, PICTURE_BYTES, workers)

    def data(found: Sequence[Coded], identifiers: Mapping[tuple[str, Path], str]) -> dict[str, Any]:
        path = found[0].picture
        shown = [{"name": ORIGINAL, "numbers": "", "image": identifiers["", path]}]
        for one in found:
            numbers = numbers_of(one.row)
            tag = f"{one.title}: {one.row['bytes']:,} bytes, {format_number(one.row['psnr'], 2)} dB"
            shown.append({"name": one.title, "numbers": numbers, "tag": tag, "image": identifiers[one.title, path]})
        return {"versions": [{"picture": labels[path], **version} for version in shown]}

    def context(identifiers: Mapping[tuple[str, Path], str]) -> dict[str, Any]:
        return {
            "model": DEFAULT_PRESET,
            "ours": OURS,
            "jpeg": STANDARD[ANCHOR].title,
            "saving": _saving(table),
            "table": table,
            "chart": chart,
            "points": points_of(chart),
            "chart_data": {"charts": chart_data([chart])},
            "pictures_shown": [
                {
                    "label": labels[path],
                    "table": _equal_table(labels[path], found, "codec"),
                    "data": data(found, identifiers),
                }
                for path, found in versions.items()
                if ("", path) in identifiers
            ],
            "layers": {
                "model": layers[0].spec,
                "label": labels[layers[0].picture],
                "count": len(layers),
                "table": _equal_table("Layers", layers, "decoded from"),
                "data": data(layers, identifiers),
                "first": layers[0].title,
                "last": layers[-1].title,
            }
            if layers and ("", layers[0].picture) in identifiers
            else None,
            "provenance": provenance(rows),
        }

    return render("demo.html.j2", TITLE, embedded, context)
