"""A reconstruction beside its original, with its scores, as a picture."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Sides of the part of an image that is shown, in pixels; smaller images are enlarged.
LARGEST, LEAST = 448, 256
_GAP, _BAND, _FONT = 8, 60, 44


def side_by_side(original: np.ndarray, reconstruction: np.ndarray, scores: Mapping[str, float]) -> np.ndarray:
    """The middle of an image and of its reconstruction, pixel by pixel, under a line of text.

    Args:
        original: ``uint8 [H, W, 1 or 3]``.
        reconstruction: the same shape.
        scores: ``psnr``, dB, and perhaps ``bpp``, of the whole image; they are written above the reconstruction.

    Returns:
        ``uint8 [h, w, 3]``.
    """
    rate = f"{scores['bpp']:.3f} bpp, " if "bpp" in scores else ""
    left, right = (_middle(values) for values in (original, reconstruction))
    page = Image.new("RGB", (left.width + _GAP + right.width, _BAND + left.height), "white")
    draw = ImageDraw.Draw(page)
    for picture, start, text in (
        (left, 0, "original"),
        (right, left.width + _GAP, f"{rate}{scores['psnr']:.2f} dB"),
    ):
        page.paste(picture, (start, _BAND))
        size = _FONT
        while size > 8 and draw.textlength(text, font=ImageFont.load_default(size)) > picture.width:
            size -= 1
        draw.text((start + 2, _BAND // 2), text, "black", ImageFont.load_default(size), anchor="lm")
    return np.asarray(page)


def _middle(values: np.ndarray) -> Image.Image:
    """At most :data:`LARGEST` pixels of each side, enlarged by a whole number to :data:`LEAST`."""
    height, width = (min(side, LARGEST) for side in values.shape[:2])
    top, left = ((whole - part) // 2 for whole, part in zip(values.shape, (height, width), strict=False))
    part = np.broadcast_to(values[top : top + height, left : left + width], (height, width, 3))
    scale = -(-LEAST // max(height, width))
    return Image.fromarray(np.ascontiguousarray(part)).resize(
        (width * scale, height * scale), Image.Resampling.NEAREST
    )
