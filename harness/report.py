"""One page of all reproductions: ``report.html``, a single file that needs no network.

The page holds verdicts, tables, charts, numbers of each image, and the images themselves: each is really coded to
bytes and decoded, kept losslessly in ``pictures/`` beside the page, and put into the page in the best of the forms of
:data:`FORMS` in which all of them fit. What that form costs stands in the page. The same inputs give the same bytes.
"""

import base64
import dataclasses
import functools
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from codec_zoo.codecs.processes import in_processes
from codec_zoo.files import atomic_path, write_atomic
from codec_zoo.harness.evaluation import Row, summarize
from codec_zoo.harness.results import LEGEND, VERDICTS, Chart, Curve, Section, Table, further_table, verdict_table
from codec_zoo.harness.rows import describe_codec
from codec_zoo.metrics import psnr

# Bytes of all images: a third more in base64; with plotly.js (5 MB) and the rows the page stays under 60 MB.
PICTURE_BYTES = 39_000_000
# Of the page, by which it is known to be ours when it is written again.
MARK = "<title>Codec Zoo: papers reproduced</title>"
ASSETS = Path(__file__).with_name("report_assets")


@dataclasses.dataclass(frozen=True)
class Form:
    """How images are put into the page.

    Attributes:
        name: as the page says it.
        mime: type of the data.
        options: of Pillow's ``save``.
    """

    name: str
    mime: str
    options: Mapping[str, Any]


# Best first. AVIF is saved by one thread, so that it has the same bytes everywhere.
_AVIF = {"format": "AVIF", "subsampling": "4:4:4", "speed": 8, "max_threads": 1}
FORMS = (
    Form("lossless WebP", "image/webp", {"format": "WEBP", "lossless": True, "method": 2}),
    Form("AVIF 4:4:4 of quality 90", "image/avif", {**_AVIF, "quality": 90}),
    Form("AVIF 4:4:4 of quality 80", "image/avif", {**_AVIF, "quality": 80}),
)


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
        picture_bytes: how much all images may take in the page, before base64. If even the last of :data:`FORMS`
            needs more, the last images are left out, and the page says which.

    Returns:
        The page.

    Raises:
        CodecZooError: a codec cannot be made, an image not be coded, or a file not be written.
    """
    shown = _code_pictures(sections, pictures, folder / "pictures", workers)
    embedded = _embed(shown, picture_bytes, workers)
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


@dataclasses.dataclass(frozen=True)
class _Embedded:
    """Images as they are put into the page.

    Attributes:
        form: all have.
        data: spec and image → base64.
        psnr: of each against the lossless file, dB.
        left_out: images that are not in the page.
    """

    form: Form
    data: Mapping[tuple[str, Path], str]
    psnr: Sequence[float]
    left_out: Sequence[Path]


def _code_pictures(sections: Sequence[Section], pictures: Sequence[Path], folder: Path, workers: int) -> _Shown:
    """Code and decode the images that are not in ``folder`` yet."""
    specs = list(dict.fromkeys(spec for section in sections for spec in section.shown))
    codecs = {spec: describe_codec(spec) for spec in specs}  # a mistake shows before the work starts
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
    files = {}
    for spec in ("", *specs) if specs else ():
        for path in pictures:
            key = hashlib.sha256(json.dumps([spec, codecs.get(spec), hashes[path]]).encode()).hexdigest()
            files[spec, path] = folder / f"{_slug(spec or 'original')}-{_slug(path.stem)}-{key[:16]}.webp"
    tasks = [(spec, path, file) for (spec, path), file in files.items() if not file.exists()]
    for _ in in_processes(_code_picture, tasks, workers, "coding pictures"):
        pass
    return _Shown(pictures, hashes, {spec: codec["weights_sha256"] for spec, codec in codecs.items()}, files)


def _code_picture(spec: str, picture: Path, file: Path) -> None:
    """Write the image as ``spec`` codes and decodes it; the image itself if ``spec`` is empty."""
    from codec_zoo.codecs.images import as_rgb, read_image
    from codec_zoo.codecs.specs import open_codec

    image = read_image(picture)
    if spec:
        codec = open_codec(spec)
        image = codec.decode(codec.encode(image if codec.takes_gray else as_rgb(image)))
    with atomic_path(file) as temporary:
        Image.fromarray(as_rgb(image)).save(temporary, **FORMS[0].options)


def _embed(shown: _Shown, limit: int, workers: int) -> _Embedded:
    """All images in the best form in which they fit, as many as fit of the last form."""
    form, made = FORMS[0], dict(shown.files)
    for form in FORMS:
        made = _convert(shown.files, form, limit if form is not FORMS[-1] else None, workers)
        if len(made) == len(shown.files) and sum(map(_size, made.values())) <= limit:
            break
    kept, left = [], limit
    for path in shown.pictures if made else ():
        left -= sum(_size(file) for (_, picture), file in made.items() if picture == path)
        if left < 0:
            break
        kept.append(path)
    data, losses = {}, []
    for (spec, path), file in made.items():
        if path in kept:
            data[spec, path], loss = _read(file)
            losses.append(loss)
    return _Embedded(form, data, losses, [path for path in shown.pictures if made and path not in kept])


def _convert(
    files: Mapping[tuple[str, Path], Path], form: Form, limit: int | None, workers: int
) -> dict[tuple[str, Path], Path]:
    """Files of the form beside the lossless ones; fewer than ``files`` once they exceed ``limit`` bytes."""
    if form is FORMS[0]:
        return dict(files)
    made = {key: file.with_suffix(f".{_slug(form.name)}.json") for key, file in files.items()}
    tasks = [(file, made[key], form) for key, file in files.items() if not made[key].exists()]
    total = sum(_size(file) for file in made.values() if file.exists())
    if limit is None or total <= limit:
        for (_, target, _), _ in in_processes(_convert_picture, tasks, workers, f"storing as {form.name}"):
            total += _size(target)
            if limit is not None and total > limit:
                break
    return {key: file for key, file in made.items() if file.exists()}


def _convert_picture(file: Path, target: Path, form: Form) -> None:
    """Write base64 of the image in the form, and its PSNR, as JSON."""
    with Image.open(file) as lossless:
        image = lossless.convert("RGB")
    data = io.BytesIO()
    image.save(data, **form.options)
    with Image.open(data) as stored:
        loss = psnr(np.asarray(image), np.asarray(stored.convert("RGB")))
    record = {"data": base64.b64encode(data.getvalue()).decode(), "psnr": loss}
    write_atomic(target, json.dumps(record).encode())


def _size(file: Path) -> int:
    """Bytes of the image in a file that :func:`_convert` names; of base64 a little too many."""
    return file.stat().st_size if file.suffix == ".webp" else file.stat().st_size * 3 // 4


def _read(file: Path) -> tuple[str, float]:
    """Base64 and PSNR, dB."""
    if file.suffix == ".webp":
        return base64.b64encode(file.read_bytes()).decode(), np.inf
    record = json.loads(file.read_bytes())
    return record["data"], record["psnr"]


# === The page ===


def _page(sections: Sequence[Section], shown: _Shown, embedded: _Embedded) -> str:
    """The page as HTML."""
    from plotly.offline import get_plotlyjs  # half a second that the processes that code images are spared

    scripts = [get_plotlyjs(), (ASSETS / "report.js").read_text(encoding="utf-8")]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": _markdown, "inline": _markdown_inline, "slug": _slug}
    identifiers = {key: f"picture-{i}" for i, key in enumerate(embedded.data)}
    context = {
        "sections": [_section(section, shown, identifiers) for section in sections],
        "counts": Table(
            "All verdicts",
            "",
            ("paper", *VERDICTS),
            [[s.title, *(str([v.verdict for v in s.verdicts].count(name)) for name in VERDICTS)] for s in sections],
        ),
        "verdicts": VERDICTS,
        "legend": LEGEND,
        "style": Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
        "scripts": [Markup(script) for script in scripts],
        "hashes": hashes,
        "form": embedded.form,
        "loss": _loss(embedded.psnr),
        "pictures": [(identifiers[key], Markup(data)) for key, data in embedded.data.items()],
        "left_out": [path.name for path in embedded.left_out],
    }
    return environment.get_template("report.html.j2").render(context)


def _section(section: Section, shown: _Shown, identifiers: Mapping[tuple[str, Path], str]) -> dict[str, Any]:
    """What the template needs of a section; ``data`` is for the script."""
    measured = {(row["spec"], row.get("image_sha256"), row.get("weights_sha256")): row for row in section.rows}
    viewer = [
        {
            "spec": spec,
            "picture": path.name,
            "original": identifiers["", path],
            "decoded": identifiers[spec, path],
            "numbers": _numbers(measured.get((spec, shown.hashes[path], shown.weights[spec]))),
        }
        for spec in section.shown
        for path in shown.pictures
        if (spec, path) in identifiers
    ]
    charts = [
        {"quality": chart.quality, "curves": [_curve(curve) for curve in chart.curves]} for chart in section.charts
    ]
    return {
        "id": f"paper-{_slug(section.paper)}",
        "section": section,
        "verdicts": verdict_table(section.verdicts),
        "tables": [
            *([further_table(section.further)] if section.further else []),
            *section.tables,
            *([section.training] if section.training else []),
        ],
        "points": [_points(chart) for chart in section.charts],
        "seconds": _seconds(section.rows),
        "provenance": _provenance(section.rows),
        "weights": _weights(section.rows),
        "codecs": list(dict.fromkeys(row["codec"] for row in section.rows)),
        "row_header": [name for name, _, _ in _COLUMNS],
        "shown": list(dict.fromkeys(entry["spec"] for entry in viewer)),
        "shown_pictures": list(dict.fromkeys(entry["picture"] for entry in viewer)),
        "data": {"charts": charts, "rows": _cells(section.rows), "viewer": viewer},
    }


def _curve(curve: Curve) -> dict[str, Any]:
    """A curve for the script; of lossless codecs, whose PSNR is infinite, there is nothing to draw."""
    points = [(float(rate), float(quality)) for rate, quality in curve.points if np.isfinite(quality)]
    return {"name": curve.name, "source": curve.source, "x": [p[0] for p in points], "y": [p[1] for p in points]}


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
    return [[_format(row.get(key), decimals) for _, key, decimals in _COLUMNS] for row in rows]


def _format(value: Any, decimals: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if decimals is None:
        return f"{value:g}"
    return f"{value:.{decimals}f}" if np.isfinite(value) else "∞"


def _numbers(row: Row | None) -> str:
    """The line beside the slider."""
    if row is None:
        return "There is no measured row of this picture."
    parts = [f"{row['bpp']:.4f} bpp ({row['bytes']:,} bytes)", f"PSNR {_format(row['psnr'], 2)} dB"]
    similarity = row.get("ms_ssim")
    if similarity is not None:
        decibel = -10 * np.log10(1 - similarity) if similarity < 1 else np.inf
        parts.append(f"MS-SSIM {similarity:.4f} ({_format(decibel, 2)} dB)")
    return " · ".join(parts)


def _loss(values: Sequence[float]) -> str:
    """What storing images in the page cost; ``""`` if nothing."""
    lossy = [value for value in values if np.isfinite(value)]
    if not lossy:
        return ""
    return f"mean PSNR {np.mean(lossy):.1f} dB, worst {min(lossy):.1f} dB"


def _points(chart: Chart) -> Table:
    """The chart in numbers."""
    return Table(
        f"Points of: {chart.title}",
        "",
        ("codec", "bits per pixel", chart.quality, "source"),
        [
            [curve.name, _format(rate, 4), _format(quality, 3), curve.source or "measured here"]
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
            [p["spec"], str(p["pictures"]), _format(p["encode_s"], 3), _format(p["decode_s"], 3)]
            for p in summarize(rows)
        ],
    )


def _provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The table of what was measured, on which hosts, with which versions."""
    pictures = len({row.get("image_sha256", row["image"]) for row in rows})
    found = [("pictures", str(pictures)), ("rows", f"{len(rows):,}")]
    for key, name in (("device", "machine"), ("commit", "commit"), ("python", "Python")):
        found.append((name, ", ".join(sorted({str(row[key]) for row in rows if row.get(key)}))))
    return found


def _weights(rows: Sequence[Row]) -> Table:
    used = sorted({(row["codec"], row["weights_sha256"]) for row in rows if row.get("weights_sha256")})
    return Table("Weights", "", ("codec", "SHA-256 of the weights"), used)


def _slug(text: str) -> str:
    """Letters and digits of a text, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def _markdown(text: str) -> Markup:
    """Markdown as safe HTML: HTML in it is shown as text, and images are not loaded."""
    return Markup(_renderer().render(text))


def _markdown_inline(text: str) -> Markup:
    """As :func:`_markdown`, of a line, without the paragraph around it."""
    return Markup(_renderer().renderInline(text))


@functools.cache
def _renderer() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
