"""Pictures as arrays for the codecs, and their files; reading is :mod:`codec_zoo.image_reader`."""

from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.errors import ImageError
from codec_zoo.files import atomic_path
from codec_zoo.harness.bitstream import check_size
from codec_zoo.image_reader import read_image

__all__ = ["as_rgb", "read_image", "to_gray", "write_image"]

_OUTPUT_FORMATS = {
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PPM",
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
    return np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write ``uint8 [H, W, 1 or 3]`` losslessly, whole or not at all; the name's ending gives the format.

    Raises:
        ImageError: the ending is not that of a lossless format.
        CodecZooError: the file cannot be written.
    """
    path = Path(path)
    kind = _OUTPUT_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"cannot write {path.name}: decoded pictures are written as {', '.join(_OUTPUT_FORMATS)}.")
    with atomic_path(path) as temporary:
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(temporary, kind)
