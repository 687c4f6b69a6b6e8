"""Images inside a page: files of decoded images as base64, in the best of several forms in which all of them fit."""

import base64
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codec_zoo.codecs.processes import in_processes
from codec_zoo.files import write_atomic
from codec_zoo.metrics import psnr

# Bytes of all images: a third more in base64; with plotly.js (5 MB) and the rows a page stays under 60 MB.
PICTURE_BYTES = 39_000_000


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


# Lossless files that are put into the page as they are.
WEBP = Form("lossless WebP", "image/webp", {"format": "WEBP", "lossless": True, "method": 2})
PNG = Form("PNG", "image/png", {"format": "PNG"})
# Best first. AVIF is saved by one thread, so that it has the same bytes everywhere.
_AVIF = {"format": "AVIF", "subsampling": "4:4:4", "speed": 8, "max_threads": 1}
SMALLER = (
    Form("AVIF 4:4:4 of quality 90", "image/avif", {**_AVIF, "quality": 90}),
    Form("AVIF 4:4:4 of quality 80", "image/avif", {**_AVIF, "quality": 80}),
)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Images as they are put into the page.

    Attributes:
        form: all have.
        data: name of a version (``""`` for the original) and image → base64.
        psnr: of each against the lossless file, dB.
        left_out: images that are not in the page.
    """

    form: Form
    data: Mapping[tuple[str, Path], str]
    psnr: Sequence[float]
    left_out: Sequence[Path]

    @property
    def loss(self) -> str:
        """What the form cost, in words; ``""`` if nothing."""
        lossy = [value for value in self.psnr if np.isfinite(value)]
        return f"mean PSNR {np.mean(lossy):.1f} dB, worst {min(lossy):.1f} dB" if lossy else ""


def embed(
    files: Mapping[tuple[str, Path], Path], pictures: Sequence[Path], lossless: Form, limit: int, workers: int
) -> Embedded:
    """All versions of the images in the best form in which they fit, as many images as fit of the last form.

    Args:
        files: name of a version and image → lossless file. Files of smaller forms are kept beside them.
        pictures: the images, in the order in which they are kept.
        lossless: the form of the files.
        limit: bytes of all, before base64.
        workers: processes that convert.
    """
    form, made = lossless, dict(files)
    for form in (lossless, *SMALLER):
        made = dict(files) if form is lossless else _convert(files, form, limit, workers)
        if len(made) == len(files) and sum(map(_size, made.values())) <= limit:
            break
    kept, left = [], limit
    for path in pictures if made else ():
        left -= sum(_size(file) for (_, picture), file in made.items() if picture == path)
        if left < 0:
            break
        kept.append(path)
    data, losses = {}, []
    for (name, path), file in made.items():
        if path in kept:
            data[name, path], loss = _read(file)
            losses.append(loss)
    return Embedded(form, data, losses, [path for path in pictures if made and path not in kept])


def _convert(
    files: Mapping[tuple[str, Path], Path], form: Form, limit: int, workers: int
) -> dict[tuple[str, Path], Path]:
    """Files of the form beside the lossless ones; fewer than ``files`` once they exceed ``limit`` bytes.

    Of the last form all are made: those that fit are kept.
    """
    stop = None if form is SMALLER[-1] else limit
    made = {key: file.with_suffix(f".{slug(form.name)}.json") for key, file in files.items()}
    tasks = [(file, made[key], form) for key, file in files.items() if not made[key].exists()]
    total = sum(_size(file) for file in made.values() if file.exists())
    if stop is None or total <= stop:
        for (_, target, _), _ in in_processes(_convert_picture, tasks, workers, f"storing as {form.name}"):
            total += _size(target)
            if stop is not None and total > stop:
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
    return file.stat().st_size * 3 // 4 if file.suffix == ".json" else file.stat().st_size


def _read(file: Path) -> tuple[str, float]:
    """Base64 and PSNR, dB."""
    if file.suffix != ".json":
        return base64.b64encode(file.read_bytes()).decode(), np.inf
    record = json.loads(file.read_bytes())
    return record["data"], record["psnr"]


def slug(text: str) -> str:
    """Letters and digits of a text, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]
