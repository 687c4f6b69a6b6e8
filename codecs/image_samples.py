"""From an opened image to samples of 8 bits: wider samples are reduced, palettes looked up, alpha taken apart."""

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from codec_zoo.codecs.image_formats import TIFF_BITS, TIFF_PHOTOMETRIC, raw_mode
from codec_zoo.errors import ImageError


def read_samples(
    image: Image.Image, notes: list[str], reopen: Callable[[], Image.Image]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode to ``uint8 [H, W, C]`` (gray, RGB or CMYK) and alpha ``uint8 [H, W]``, None where there is none."""
    rawmode, key = raw_mode(image), image.info.get("transparency")
    if image.mode.startswith("I"):
        wide = np.asarray(image)[..., None]
        if image.format != "TIFF":  # Pillow scales samples of any depth to 16 bits
            return _reduce(wide, 65535), _alpha_of_key(wide, key)
        tags = image.tag_v2  # type: ignore[attr-defined]
        reduced = _reduce(wide, 2 ** tags[TIFF_BITS][0] - 1)
        white_is_zero = tags.get(TIFF_PHOTOMETRIC) == 0  # which Pillow obeys up to 8 bits
        return 255 - reduced if white_is_zero else reduced, None
    if rawmode == "LA;16B":
        wide = _gray_and_alpha(image)
    elif re.fullmatch(r"(RGBA?|RGBX|CMYK);16[BLN]", rawmode):
        wide = _both_bytes(image, reopen())
    else:
        return _samples_of_8_bits(image, rawmode, key, notes)
    reduced = _reduce(wide, 65535)
    if image.mode == "RGBA":
        return reduced[..., :-1], reduced[..., -1]
    return reduced, _alpha_of_key(wide, key)


def count_channels(image: Image.Image) -> int:
    """How many channels of colour an image has that is not decoded yet."""
    gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I") or raw_mode(image) == "LA;16B"
    return 4 if image.mode == "CMYK" else 1 if gray else 3


def flatten(
    samples: np.ndarray, alpha: np.ndarray | None, background: tuple[int, int, int] | None, path: Any
) -> np.ndarray:
    """Put ``uint8 [H, W, 1 or 3]`` on a background; gray stays gray on gray."""
    if alpha is None or alpha.min() == 255:
        return samples
    if background is None:
        raise ImageError(
            f"{path} has transparent parts, which no model here codes. Flatten it; `compress` and `evaluate` do that "
            "with `--background white`, or another colour."
        )
    if samples.shape[2] == 1 and len(set(background)) > 1:
        samples = np.repeat(samples, 3, axis=2)
    flat = np.empty_like(samples)
    weight = alpha.astype(np.uint16)
    for channel in range(samples.shape[2]):  # at most 255² + 127 fits into 16 bits
        mixed = samples[..., channel] * weight + background[channel] * (255 - weight)
        flat[..., channel] = (mixed + 127) // 255
    return flat


def _reduce(wide: np.ndarray, maximum: int) -> np.ndarray:
    """Scale ``0 … maximum`` to ``0 … 255``, rounded to the nearest."""
    table = ((np.arange(maximum + 1) * 255 + maximum // 2) // maximum).astype(np.uint8)
    return table[np.minimum(wide, maximum)]


def _both_bytes(image: Image.Image, again: Image.Image) -> np.ndarray:
    """Samples of 16 bits, ``uint16 [H, W, C]``. Pillow keeps the upper bytes, or the lower if told another order."""
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    rawmode = raw_mode(image)
    with again:
        _set_rawmode(again, rawmode[:-1] + other[rawmode[-1]])
        return np.asarray(image).astype(np.uint16) << 8 | np.asarray(again)


def _gray_and_alpha(image: Image.Image) -> np.ndarray:
    """Gray and alpha of 16 bits, ``uint16 [H, W, 2]``: Pillow gives their four bytes as RGBA."""
    _set_rawmode(image, "RGBA")
    values = np.asarray(image).astype(np.uint16)
    return values[..., ::2] << 8 | values[..., 1::2]


def _set_rawmode(image: Image.Image, rawmode: str) -> None:
    tiles = image.tile  # type: ignore[attr-defined]
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:])) for tile in tiles
    ]


def _samples_of_8_bits(
    image: Image.Image, rawmode: str, key: Any, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples of 8 bits and fewer."""
    image.load()
    mode = image.mode
    if mode in ("1", "L", "RGB"):
        few = re.fullmatch(r"L;([24])", rawmode)
        if few and isinstance(key, int):
            key *= 255 // (2 ** int(few[1]) - 1)  # Pillow scales the samples, and not the key
        samples = np.asarray(image.convert("L") if mode == "1" else image)
        samples = samples[..., None] if samples.ndim == 2 else samples
        return samples, _alpha_of_key(samples, key)
    if mode in ("LA", "La", "RGBA", "RGBa", "PA", "P"):
        opaque = mode == "P" and key is None and image.palette.mode != "RGBA"  # type: ignore[union-attr]
        image = image.convert("RGB" if opaque else "LA" if mode in ("LA", "La") else "RGBA")
        samples = np.asarray(image)
        colors, alpha = (samples, None) if opaque else (samples[..., :-1], samples[..., -1])
        gray = mode in ("P", "PA") and np.array_equal(colors[..., 0], colors[..., 1])
        if gray and np.array_equal(colors[..., 1], colors[..., 2]):
            colors = colors[..., :1]
        return colors, alpha
    if mode == "CMYK":
        return np.asarray(image), None
    notes.append(f"converted from {mode} to RGB")
    return np.asarray(image.convert("RGB")), None


def _alpha_of_key(samples: np.ndarray, key: Any) -> np.ndarray | None:
    """Alpha of samples of which one colour is transparent."""
    if key is None:
        return None
    return np.where((samples == np.atleast_1d(key)).all(axis=-1), 0, 255).astype(np.uint8)
