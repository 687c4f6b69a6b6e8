"""One page of all reproductions: ``report.html``, a single file that needs no network.

The page holds verdicts, tables, charts, numbers of each image, and the images themselves: each is really coded to
bytes and decoded, kept losslessly in ``pictures/`` beside the page, and put into the page in the best form in which
all of them fit (``codec_zoo.harness.embedding``). What that form costs stands in the page. The same inputs give the
same bytes.
"""

import base64
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from codec_zoo.codecs.processes import in_processes
from codec_zoo.codecs.specs import curve_of, name_of, open_codec
from codec_zoo.files import atomic_path, write_atomic
from codec_zoo.harness.embedding import PICTURE_BYTES, WEBP, Embedded, embed, slug
from codec_zoo.harness.evaluation import Row, is_finite, summarize
from codec_zoo.harness.results import LEGEND, VERDICTS, Chart, Curve, Section, Table, further_table, verdict_table
from codec_zoo.harness.rows import describe_codec

TITLE = "Codec Zoo: papers reproduced"
# Of the page, by which it is known to be ours when it is written again.
MARK = f"<title>{TITLE}</title>"
# The version of an image that no codec has touched.
ORIGINAL = "original"
ASSETS = Path(__file__).with_name("report_assets")


def write_report(
    sections: Sequence[Section],
    pictures: Sequence[Path],
    folder: Path,
    workers: int = 1,
    picture_bytes: int = PICTURE_BYTES,
) -> Path:
    """Write ``report.html``; what an earlier run left in ``pictures/`` is not made again.

    Args:
        sections: papers, in the order of the page.
        pictures: files; each is coded by each spec in the sections' ``shown``.
        folder: for the page and ``pictures/``.
        workers: processes that code images.
        picture_bytes: how much all images may take in the page, before base64. If even the smallest
            form needs more, the last images are left out, and the page says which.

    Returns:
        The page.

    Raises:
        CodecZooError: a codec cannot be made, an image not be coded, or a file not be written.
    """
    shown = _code_pictures(sections, pictures, folder / "pictures", workers)
    embedded = embed(shown.files, shown.pictures, WEBP, picture_bytes, workers)
    path = folder / "report.html"
    write_atomic(path, _page(sections, shown, embedded).encode())
    return path


# === Images ===


@dataclasses.dataclass(frozen=True)
class _Shown:
    """Images and their decoded versions, as lossless files.

    Attributes:
        pictures: the originals.
        hashes: SHA-256 of each.
        weights: of each spec; None for standard codecs.
        files: spec (``""`` for the original) and image → file.
    """

    pictures: Sequence[Path]
    hashes: Mapping[Path, str]
    weights: Mapping[str, str | None]
    files: Mapping[tuple[str, Path], Path]


def _code_pictures(sections: Sequence[Section], pictures: Sequence[Path], folder: Path, workers: int) -> _Shown:
    """Code and decode the images that are not in ``folder`` yet."""
    specs = list(dict.fromkeys(spec for section in sections for spec in section.shown))
    codecs = {spec: describe_codec(spec) for spec in specs}  # a mistake shows before the work starts
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
    files = {}
    for spec in ("", *specs) if specs else ():
        for path in pictures:
            key = hashlib.sha256(json.dumps([spec, codecs.get(spec), hashes[path]]).encode()).hexdigest()
            files[spec, path] = folder / f"{slug(spec or 'original')}-{slug(path.stem)}-{key[:16]}.webp"
    tasks = [(spec, path, file) for (spec, path), file in files.items() if not file.exists()]
    for _ in in_processes(_code_picture, tasks, workers, "coding pictures"):
        pass
    return _Shown(pictures, hashes, {spec: codec["weights_sha256"] for spec, codec in codecs.items()}, files)


def _code_picture(spec: str, picture: Path, file: Path) -> None:
    """Write the image as ``spec`` codes and decodes it; the image itself if ``spec`` is empty."""
    from codec_zoo.codecs.images import as_rgb, read_image

    image = read_image(picture)
    if spec:
        codec = open_codec(spec)
        image = codec.decode(codec.encode(image if codec.takes_gray else as_rgb(image)))
    with atomic_path(file) as temporary:
        Image.fromarray(as_rgb(image)).save(temporary, **WEBP.options)


# === The page ===


def _page(sections: Sequence[Section], shown: _Shown, embedded: Embedded) -> str:
    """The page as HTML."""
    return render(
        "report.html.j2",
        TITLE,
        embedded,
        lambda ids: {
            "sections": [_section(section, shown, ids) for section in sections],
            "counts": Table(
                "All verdicts",
                "",
                ("paper", *VERDICTS),
                [
                    [s.title, *(str([v.verdict for v in s.verdicts].count(name)) for name in VERDICTS)]
                    for s in sections
                ],
            ),
            "legend": LEGEND,
        },
    )


def render(
    template: str,
    title: str,
    embedded: Embedded,
    context: Callable[[Mapping[tuple[str, Path], str]], Mapping[str, Any]],
) -> str:
    """A page as HTML, with style, scripts and images in it.

    Args:
        template: of :data:`ASSETS`, one that extends ``page.html.j2``.
        title: of the page.
        embedded: the images.
        context: gets the identifier of each image's data in the page; gives what the template needs beside them.
    """
    from plotly.offline import get_plotlyjs  # half a second that the processes that code images are spared

    scripts = [get_plotlyjs(), (ASSETS / "report.js").read_text(encoding="utf-8")]
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": _markdown, "inline": _markdown_inline, "slug": slug}
    identifiers = {key: f"picture-{i}" for i, key in enumerate(embedded.data)}
    shared = {
        "title": title,
        "verdicts": VERDICTS,
        "style": Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
        "scripts": [Markup(script) for script in scripts],
        "hashes": [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts],
        "form": embedded.form,
        "loss": embedded.loss,
        "pictures": [(identifiers[key], Markup(data)) for key, data in embedded.data.items()],
        "left_out": [path.name for path in embedded.left_out],
    }
    return environment.get_template(template).render({**shared, **context(identifiers)})


def _section(section: Section, shown: _Shown, identifiers: Mapping[tuple[str, Path], str]) -> dict[str, Any]:
    """What the template needs of a section; ``data`` is for the script."""
    measured = {(row["spec"], row.get("image_sha256"), row.get("weights_sha256")): row for row in section.rows}
    versions = []
    for spec in ("", *section.shown) if section.shown else ():
        for path in shown.pictures:
            if (spec, path) not in identifiers:
                continue
            row = measured.get((spec, shown.hashes[path], shown.weights[spec])) if spec else None
            versions.append(
                {
                    "picture": path.name,
                    "name": spec or ORIGINAL,
                    "image": identifiers[spec, path],
                    "numbers": numbers_of(row) if spec else path.name,
                    **_place(spec, row),
                }
            )
    return {
        "id": f"paper-{slug(section.paper)}",
        "section": section,
        "verdicts": verdict_table(section.verdicts),
        "tables": [
            *([further_table(section.further)] if section.further else []),
            *section.tables,
            *([section.training] if section.training else []),
        ],
        "points": [points_of(chart) for chart in section.charts],
        "seconds": _seconds(section.rows),
        "provenance": provenance(section.rows),
        "weights": _weights(section.rows),
        "codecs": list(dict.fromkeys(row["codec"] for row in section.rows)),
        "row_header": [name for name, _, _ in _COLUMNS],
        "opening": opening(section) if versions else None,
        "labels": _labels(section),
        "data": {"charts": chart_data(section.charts), "rows": _cells(section.rows), "versions": versions},
    }


def opening(section: Section) -> str:
    """The spec of ``section.shown`` that the page shows first: the best model at a middle rate.

    The middle rate is the median of the mean rates of the shown models. The best model is the one of the highest mean
    PSNR among the models within a quarter of that rate. Where no model is shown, standard codecs take their place.
    """
    points = [p for p in summarize(section.rows) if p["spec"] in section.shown and is_finite(p["psnr"])]
    points = [p for p in points if p["weights_sha256"]] or points
    if not points:
        return section.shown[0]
    middle = sorted(p["bpp"] for p in points)[len(points) // 2]
    near = [p for p in points if middle / 1.25 <= p["bpp"] <= 1.25 * middle]
    return max(near, key=lambda p: p["psnr"])["spec"]


def _place(spec: str, row: Row | None) -> dict[str, Any]:
    """What the script needs to find another codec's version of the nearest rate, and to compare the two."""
    if row is None:
        return {}
    return {
        "curve": curve_of(name_of(spec)),
        "bpp": row["bpp"],
        "psnr": row["psnr"] if is_finite(row["psnr"]) else None,
    }


def _labels(section: Section) -> dict[str, str]:
    """Specs with their mean rates, for the lists of versions."""
    return {p["spec"]: f"{p['spec']} · {p['bpp']:.2f} bpp" for p in summarize(section.rows)}


def chart_data(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """Charts for the script."""
    return [{"quality": chart.quality, "curves": [_curve(curve) for curve in chart.curves]} for chart in charts]


def _curve(curve: Curve) -> dict[str, Any]:
    """A curve for the script; of lossless codecs, whose PSNR is infinite, there is nothing to draw."""
    points = [(float(rate), float(quality)) for rate, quality in curve.points if np.isfinite(quality)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return {"name": curve.name, "source": curve.source, "shown": curve.shown, "x": xs, "y": ys}


# Heading, key, decimals (None: as it is).
_COLUMNS: tuple[tuple[str, str, int | None], ...] = (
    ("codec", "codec", None),
    ("quality", "quality", None),
    ("picture", "image", None),
    ("bytes", "bytes", 0),
    ("bpp", "bpp", 4),
    ("PSNR, dB", "psnr", 2),
    ("PSNR-Y, dB", "psnr_y", 2),
    ("SSIM", "ssim", 4),
    ("MS-SSIM", "ms_ssim", 4),
    ("encode, s", "encode_s", 3),
    ("decode, s", "decode_s", 3),
)


def _cells(rows: Iterable[Row]) -> list[list[str]]:
    return [[format_number(row.get(key), decimals) for _, key, decimals in _COLUMNS] for row in rows]


def format_number(value: Any, decimals: int | None) -> str:
    """A cell: a number with so many decimals, or as it is; a text; or nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if decimals is None:
        return f"{value:g}"
    return f"{value:.{decimals}f}" if np.isfinite(value) else "∞"


def numbers_of(row: Row | None) -> str:
    """The line beside the slider."""
    if row is None:
        return "There is no measured row of this picture."
    parts = [f"{row['bpp']:.4f} bpp ({row['bytes']:,} bytes)", f"PSNR {format_number(row['psnr'], 2)} dB"]
    similarity = row.get("ms_ssim")
    if similarity is not None:
        decibel = -10 * np.log10(1 - similarity) if similarity < 1 else np.inf
        parts.append(f"MS-SSIM {similarity:.4f} ({format_number(decibel, 2)} dB)")
    return " · ".join(parts)


def points_of(chart: Chart) -> Table:
    """The chart in numbers."""
    return Table(
        f"Points of: {chart.title}",
        "",
        ("codec", "bits per pixel", chart.quality, "source"),
        [
            [curve.name, format_number(rate, 4), format_number(quality, 3), curve.source or "measured here"]
            for curve in chart.curves
            for rate, quality in curve.points
        ],
    )


def _seconds(rows: Sequence[Row]) -> Table:
    return Table(
        "Seconds",
        "Means of one picture, after a first pass that is not timed.",
        ("codec", "pictures", "encode, s", "decode, s"),
        [
            [p["spec"], str(p["pictures"]), format_number(p["encode_s"], 3), format_number(p["decode_s"], 3)]
            for p in summarize(rows)
        ],
    )


def provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The table of what was measured, on which hosts, with which versions."""
    pictures = len({row.get("image_sha256", row["image"]) for row in rows})
    found = [("pictures", str(pictures)), ("rows", f"{len(rows):,}")]
    for key, name in (("device", "machine"), ("commit", "commit"), ("python", "Python")):
        found.append((name, ", ".join(sorted({str(row[key]) for row in rows if row.get(key)}))))
    return found


def _weights(rows: Sequence[Row]) -> Table:
    used = sorted({(row["codec"], row["weights_sha256"]) for row in rows if row.get("weights_sha256")})
    return Table("Weights", "", ("codec", "SHA-256 of the weights"), used)


def _markdown(text: str) -> Markup:
    """Markdown as safe HTML: HTML in it is shown as text, and images are not loaded."""
    return Markup(_renderer().render(text))


def _markdown_inline(text: str) -> Markup:
    """As :func:`_markdown`, of a line, without the paragraph around it."""
    return Markup(_renderer().renderInline(text))


@functools.cache
def _renderer() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
