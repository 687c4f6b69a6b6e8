"""Images as arrays for the codecs, and their files; reading is :mod:`codec_zoo.codecs.image_reader`."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.codecs.container import check_size
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.errors import ImageError
from codec_zoo.files import write_atomic

__all__ = ["as_rgb", "read_image", "to_gray", "write_image"]

OUTPUT_FORMATS = {
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}


def as_rgb(image: np.ndarray) -> np.ndarray:
    """``uint8 [H, W, 1 or 3]`` → ``[H, W, 3]``.

    Raises:
        ImageError: not such an array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ImageError(
            f"a picture must be uint8 [H, W, 3] or [H, W, 1]. Received: {image.dtype} {list(image.shape)}"
        )
    check_size(image.shape[1], image.shape[0], ImageError)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def to_gray(image: np.ndarray) -> np.ndarray:
    """``uint8 [H, W, 3]`` that was coded from gray → ``[H, W, 1]``, the rounded mean of the channels."""
    return ((image.sum(axis=2, keepdims=True, dtype=np.uint16) + 1) // 3).astype(np.uint8)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write ``uint8 [H, W, 1 or 3]`` losslessly, whole or not at all; the name's ending gives the format.

    Raises:
        ImageError: see :func:`encode_image`.
        CodecZooError: the file cannot be written.
    """
    write_atomic(path, encode_image(image, Path(path).suffix))


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of a file without loss.

    Args:
        image: ``uint8 [H, W, 1 or 3]``.
        suffix: of the file's name, as in :data:`OUTPUT_FORMATS`.

    Raises:
        ImageError: the suffix is not of a lossless format, or of one for gray images and this is RGB, or for RGB
            and it is gray.
    """
    kind = OUTPUT_FORMATS.get(suffix.lower())
    if kind is None:
        raise ImageError(f"decoded pictures are written as {', '.join(OUTPUT_FORMATS)}. Received: {suffix!r}")
    if suffix.lower() == (".pgm" if image.shape[2] == 3 else ".ppm"):
        fit, shown = (".ppm", "RGB") if image.shape[2] == 3 else (".pgm", "gray")
        raise ImageError(f"a {shown} picture is not a {suffix} file. Name it {fit} or .pnm.")
    data = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(data, kind)
    return data.getvalue()
