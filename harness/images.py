"""Pictures from files: what is converted, what is refused, and why.

| input | what happens |
|---|---|
| 8-bit RGB, palette without transparency | coded as it is |
| gray (8-bit, 1-bit) | coded through the RGB model, decoded to gray again |
| EXIF orientation | applied: the decoded picture is upright and has no EXIF |
| 16-bit gray or RGB | reduced to 8 bits; said in a notice |
| CMYK, YCCK, Lab, HSV | converted to RGB by Pillow; said in a notice |
| alpha that is opaque everywhere | dropped |
| real transparency | refused: flatten it first |
| several frames | refused |
"""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from codec_zoo.errors import ImageError
from codec_zoo.files import write_atomic
from codec_zoo.harness.bitstream import check_size
from codec_zoo.harness.codecs.base import MAX_PIXELS

OUTPUT_FORMATS = {
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}


def read_image(
    path: str | Path, notice: Callable[[str], None] = lambda text: None, data: bytes | None = None
) -> np.ndarray:
    """Read a picture file.

    Args:
        path: of any format that Pillow reads.
        notice: gets a line for each conversion that loses something.
        data: the file's bytes, where ``path`` only names it in messages.

    Returns:
        ``uint8 [H, W, 3]`` RGB, or ``uint8 [H, W, 1]`` for gray pictures.

    Raises:
        ImageError: not a picture, damaged, too large, transparent, or of several frames.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures of half this size already; the limit is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path if data is None else io.BytesIO(data)) as image:
                check_size(*image.size, ImageError)
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise ImageError(f"{path} holds {frames} frames. Codec Zoo codes still pictures: extract one.")
                if image.mode == "RGB" and any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])):
                    notice(f"{path}: 16 bits a sample reduced to 8")  # Pillow keeps the upper 8
                image.load()
                return _to_array(ImageOps.exif_transpose(image), path, notice)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder: name a picture file.") from error
    except PermissionError as error:
        raise ImageError(f"{path} cannot be read: permission denied.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} claims more than {MAX_PIXELS:,} pixels: it is damaged, or too large.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: unknown format.") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: {error}") from error


def _to_array(image: Image.Image, path: str | Path, notice: Callable[[str], None]) -> np.ndarray:
    """Pillow image of any mode → ``uint8 [H, W, 1 or 3]``."""
    mode = image.mode
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            raise ImageError(
                f"{path} has transparent parts, which no model here codes. Flatten it onto a background first."
            )
        image = image.convert("L" if mode in ("LA", "La") else "RGB")
    elif mode.startswith("I"):
        # 16-bit gray arrives as I;16 or as I (32-bit); 65535 → 255.
        notice(f"{path}: 16 bits a sample reduced to 8")
        values = np.asarray(image, np.float64)
        return np.clip(np.rint(values / 257), 0, 255).astype(np.uint8)[..., None]
    elif mode == "F":
        raise ImageError(f"{path} holds floating-point samples. Convert it to 8-bit RGB first.")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "RGB"):
        if mode != "P":
            notice(f"{path}: converted from {mode} to RGB without colour management")
        image = image.convert("RGB")
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


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
        ImageError: the suffix is not of a lossless format, or of one for gray pictures and this is RGB, or for RGB
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


Image.MAX_IMAGE_PIXELS = MAX_PIXELS
