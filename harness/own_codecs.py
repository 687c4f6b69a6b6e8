"""Codecs and results of one's own, beside ours.

``codec_zoo.measure`` gives rows of any object that turns images into bytes and back. ``read_results`` reads rows that
other programs wrote, for the tables and figures of ``codec-zoo evaluate``.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec_zoo.codecs.image_reader import read_image, read_pillow_image
from codec_zoo.codecs.images import as_rgb
from codec_zoo.codecs.processes import progress
from codec_zoo.codecs.specs import curve_specs, name_of, open_codec, split_spec
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import UsageError, needing_packages
from codec_zoo.files import write_atomic
from codec_zoo.harness import perceptual
from codec_zoo.harness.evaluation import METRICS, Coder, code_and_compare, describe, find_pictures
from codec_zoo.harness.rows import Row, describe_opened, dump_row, libraries, read_rows
from codec_zoo.notices import notice

if TYPE_CHECKING:
    from PIL import Image

    Picture = str | os.PathLike[str] | Image.Image | np.ndarray


@needing_packages
def measure(
    codec: "Coder | str",
    images: "str | os.PathLike[str] | Iterable[Picture]" = "kodak",
    *,
    name: str | None = None,
    quality: float | None = None,
    output: str | os.PathLike[str] | None = None,
    lpips: bool = False,
) -> list[Row]:
    """Measure a codec on images: each is encoded, decoded again and compared. A first pass is not timed.

    Args:
        codec: any object with ``encode(image) -> bytes`` and ``decode(data) -> image``, where images are
            ``uint8 [H, W, 3]`` RGB; or a codec of ``codec_zoo.load``; or a codec's name, such as ``"jpeg:75"``.
        images: ``"kodak"`` (24 images that come with the package), a folder, or a series of paths, Pillow images and
            arrays.
        name: of the codec in tables and curves; None: its attribute ``name``, or the name of its class.
        quality: of the codec, which tells the points of its curve apart; None: its attribute ``quality``, if it has
            one.
        output: a file of JSON lines. The rows of this codec at this quality are replaced in it, others stay.
        lpips: measure LPIPS too, with the package ``lpips`` (``codec-zoo[lpips]``).

    Returns:
        A row for each image, as ``codec-zoo evaluate`` writes them: ``bytes``, ``bpp``, ``psnr``, ``psnr_y``,
        ``ssim``, ``ms_ssim``, ``encode_s``, ``decode_s``, and what was measured (``docs/evaluation.md``).

    Raises:
        UsageError: there are no images, the codec lacks a method, or its methods return another type or shape.
        ImageError: an image cannot be read.
        MissingPackageError: ``lpips`` is not installed.
        CodecZooError: the weights that LPIPS needs are missing or damaged.
    """
    if lpips:
        perceptual.network()  # an error shows before the work starts
    what: list[tuple[Row, Coder]]
    if isinstance(codec, str):
        given = [(full, open_codec(full)) for full in curve_specs(codec)]
        if name is not None or quality is not None:
            raise UsageError(f"{codec!r} has its name and its quality already: leave out `name` and `quality`.")
        what = [
            ({"spec": full, "codec": name_of(full), "quality": split_spec(full)[2]}, each) for full, each in given
        ]
    else:
        for method in ("encode", "decode"):
            if not callable(getattr(codec, method, None)):
                raise UsageError(
                    f"a codec has encode(image) and decode(data). {type(codec).__name__} has no {method}."
                )
        quality = getattr(codec, "quality", None) if quality is None else quality
        name = name or _name_of(codec)
        spec = name if quality is None else f"{name}:{quality:g}"
        what = [({"spec": spec, "codec": name, "quality": quality}, codec)]
    pictures = _pictures(images)
    machine = describe()
    rows = []
    with progress("measuring", len(what) * len(pictures)) as advance:
        for names, each in what:
            described = {**names, **_describe(each)}
            warm = False
            for label, digest, pixels in map(_read, pictures):
                picture = pixels if getattr(each, "takes_gray", False) else as_rgb(pixels)
                if not warm:
                    each.decode(each.encode(picture))
                    warm = True
                rows.append(
                    {
                        **described,
                        "image": label,
                        **code_and_compare(each, picture, lpips),
                        "image_sha256": digest,
                        **machine,
                    }
                )
                advance()
    if output is not None:
        path, specs = Path(output), {row["spec"] for row in rows}
        kept = [row for row in read_rows(path) if row["spec"] not in specs]
        write_atomic(path, b"".join(dump_row(row) for row in [*kept, *rows]))
    return rows


def _name_of(codec: Any) -> str:
    """The name of a codec that has no other."""
    model = getattr(codec, "model", None)
    if isinstance(codec, Codec) and model is not None:
        return model.preset
    name = getattr(codec, "name", None)
    return name if isinstance(name, str) and name else type(codec).__name__


def _describe(codec: Any) -> Row:
    """The fields of a row that tell a codec from its earlier versions."""
    if isinstance(codec, Codec):
        return {**describe_opened(codec), "libraries": libraries(codec)}
    return {"weights_sha256": None, "codec_version": getattr(codec, "version", 1), "options": {}, "libraries": []}


def _pictures(images: Any) -> list[Any]:
    """The images one by one: paths, Pillow images, arrays; numbered, so that those without a name have one."""
    if isinstance(images, (str, os.PathLike)):
        path = Path(images)
        found: list[Any] = [path] if path.is_file() else list(find_pictures(os.fspath(images)))
    elif hasattr(images, "__array__") or not isinstance(images, Iterable):
        raise UsageError("images are 'kodak', a folder, or a list of paths, Pillow images and arrays.")
    else:
        found = list(images)
    if not found:
        raise UsageError("there are no images to measure the codec on.")
    return list(enumerate(found, 1))


def _read(numbered: tuple[int, Any]) -> tuple[str, str, np.ndarray]:
    """Name, SHA-256 and pixels (``uint8 [H, W, 1 or 3]``) of an image."""
    number, image = numbered
    label = f"image-{number}"
    if isinstance(image, (str, os.PathLike)):
        pixels = read_image(image, notice)
        return Path(image).name, hashlib.sha256(Path(image).read_bytes()).hexdigest(), pixels
    if hasattr(image, "getbands"):
        label = Path(getattr(image, "filename", "") or label).name
        pixels = read_pillow_image(image, label, notice)
    else:
        pixels = np.asarray(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
            raise UsageError(
                f"an image is uint8 [H, W, 3] or [H, W]. Received: {pixels.dtype} {list(np.shape(image))} ({label})"
            )
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
    return label, digest.hexdigest(), pixels


# === Results of other programs ===


def read_results(path: Path, pictures: Mapping[str, str], measured: Iterable[str] = ()) -> list[Row]:
    """Results of one's own as rows.

    A line of the file is a JSON object with ``codec``, ``bpp``, and ``psnr`` or ``ms_ssim`` (0 … 1), and more fields
    of a row if need be. A line that names an image, by ``image_sha256`` or by ``image`` (its file name), is of that
    image. Its ``quality`` tells the points of a curve apart. A line that names no image is a mean, a point.

    Args:
        path: JSON lines.
        pictures: SHA-256 → file name, of the images that our codecs are measured on. Lines of others are left out.
        measured: names of our curves, which results of one's own may not have.

    Raises:
        UsageError: the file cannot be read, a line lacks a field, or a codec has no result of an image.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a file of results ({error}).") from error
    hashes = {name: digest for digest, file in pictures.items() for name in (file, Path(file).stem)}
    rows = [_result(line, f"{path}, line {i}", i, hashes) for i, line in enumerate(lines, 1) if line.strip()]
    if taken := sorted({row["codec"] for row in rows} & set(measured)):
        raise UsageError(f"{path} has results of {', '.join(taken)}, measured here too. Give them another name.")
    rows = [row for row in rows if row["image_sha256"] is None or row["image_sha256"] in pictures]
    for spec in dict.fromkeys(row["spec"] for row in rows):
        found = {row["image_sha256"] for row in rows if row["spec"] == spec}
        if found != {None} and (missing := [pictures[digest] for digest in pictures if digest not in found]):
            raise UsageError(
                f"{path} has no result of {spec} on {missing[0]}"
                + (f" and {len(missing) - 1} more images" if len(missing) > 1 else "")
                + ": means would be of other images than those of the other codecs."
            )
    if not rows:
        raise UsageError(f"{path} has no result of the images that are measured.")
    return rows


def _result(line: str, where: str, number: int, hashes: Mapping[str, str]) -> Row:
    """A line as a row."""
    try:
        given = json.loads(line)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not isinstance(given.get("codec"), str) or not given["codec"]:
        raise UsageError(f'{where}: a result is a JSON object with "codec", "bpp" and "psnr" or "ms_ssim".')
    row = {**dict.fromkeys((*METRICS, "quality", "weights_sha256", "encode_s", "decode_s")), **given}
    if "psnr" in given and given["psnr"] is None:
        row["psnr"] = math.inf  # a lossless image: JSON has no infinity
    for key in ("bpp", *METRICS, "quality", "encode_s", "decode_s"):
        value = row.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value != value):
            raise UsageError(f"{where}: {key} is a number. Received: {value!r}")
    if not row.get("bpp") or row["bpp"] < 0:
        raise UsageError(f"{where}: bpp is bits a pixel, above 0. Received: {row.get('bpp')!r}")
    if row["psnr"] is None and row["ms_ssim"] is None:
        raise UsageError(f"{where}: it has neither psnr nor ms_ssim.")
    if row["ms_ssim"] is not None and not 0 <= row["ms_ssim"] <= 1:
        raise UsageError(f"{where}: ms_ssim is 0 … 1, not in dB. Received: {row['ms_ssim']}")
    row["image_sha256"] = row.get("image_sha256") or hashes.get(str(row.get("image")), row.get("image"))
    if not row.get("spec"):
        if row["quality"] is not None:
            row["spec"] = f"{row['codec']}:{row['quality']:g}"
        else:
            row["spec"] = row["codec"] if row["image_sha256"] else f"{row['codec']} ({number})"
    return row
