"""The one reader of image files, for training and for coding, with NumPy and Pillow alone.

```
file ─▶ open, check the header ─▶ samples of 8 bits ─▶ sRGB ──────────▶ background ─▶ upright ─▶ uint8 [H, W, 1 or 3]
        image_formats.py          image_samples.py     color_profiles.py
```

A note tells each change of the pixels. ``docs/pictures.md`` lists the changes for each kind of file.
"""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageColor

from codec_zoo.codecs.color_profiles import find_transform, to_srgb
from codec_zoo.codecs.image_formats import (
    DAMAGED,
    add_note,
    check_decoded,
    image_errors,
    open_image,
    pillow_warnings,
    undecoded_file,
)
from codec_zoo.codecs.image_samples import count_channels, flatten, read_samples
from codec_zoo.errors import UsageError

_ORIENTATION_TAG = 274


def read_image(
    path: str | os.PathLike[str],
    notice: Callable[[str], None] = lambda text: None,
    data: bytes | None = None,
    background: str | tuple[int, int, int] | None = None,
) -> np.ndarray:
    """Read an image file: upright, sRGB, 8 bits a sample.

    Args:
        path: of any format that Pillow reads.
        notice: gets a line for each conversion of the pixels, and one for damaged metadata.
        data: the file's bytes, where ``path`` only names it in messages.
        background: the colour behind transparent parts: RGB, or a text for :func:`background_color`. sRGB values are
            mixed, weighted with alpha, as in browsers. None refuses files with transparent parts.

    Returns:
        ``uint8 [H, W, 3]`` RGB, or ``uint8 [H, W, 1]`` for gray images.

    Raises:
        ImageError: not an image, damaged, too large, transparent, or of several frames.
        UsageError: no such background.
    """
    if isinstance(background, str):
        background = background_color(background)
    with open_image(path, data) as (image, notes, reopen):
        upright = _read_pixels(image, notes, reopen, background, path)
    for note in notes:
        notice(f"{path}: {note}")
    return upright


def read_pillow_image(
    image: Image.Image,
    name: str,
    notice: Callable[[str], None] = lambda text: None,
    background: str | tuple[int, int, int] | None = None,
) -> np.ndarray:
    """:func:`read_image` of a Pillow image, by the same rules.

    An image that Pillow opened and has not decoded yet is read from its file. Of a decoded image the pixels are as
    Pillow decoded them: of colours of 16 bits it keeps the upper 8, and a colour space that the file names in another
    way than by an ICC profile or in a PNG's gAMA and cHRM chunks is lost.

    Args:
        image: of any mode.
        name: of the image in messages.
        notice: see :func:`read_image`.
        background: see :func:`read_image`.

    Returns:
        ``uint8 [H, W, 3]`` RGB, or ``uint8 [H, W, 1]`` for gray images.

    Raises:
        ImageError: damaged, too large, transparent, or of several frames.
        UsageError: no such background.
    """
    with image_errors(name):
        data = undecoded_file(image)
        if data is not None:
            return read_image(name, notice, data, background)
        if isinstance(background, str):
            background = background_color(background)
        image.load()
        notes = check_decoded(image, name)
        upright = _read_pixels(image, notes, image.copy, background, name)
    for note in notes:
        notice(f"{name}: {note}")
    return upright


def _read_pixels(
    image: Image.Image,
    notes: list[str],
    reopen: Callable[[], Image.Image],
    background: tuple[int, int, int] | None,
    path: str | os.PathLike[str],
) -> np.ndarray:
    """``uint8 [H, W, 1 or 3]`` of an image with a checked header: upright, sRGB."""
    samples, alpha = read_samples(image, notes, reopen)
    orientation = _read_orientation(image, notes)
    samples = to_srgb(samples, image, notes)
    samples = _turn_upright(flatten(samples, alpha, background, path), orientation)
    return np.require(samples, np.uint8, ["C", "W"])


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """:func:`read_image` for training: always ``uint8 [H, W, 3]``, gray is repeated, notes are not said."""
    image = read_image(path)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def inspect_image(path: str | os.PathLike[str]) -> list[str]:
    """The notes of :func:`read_image`, without the path, from the file's header alone. No pixel is decoded.

    Raises:
        ImageError: by its header the file cannot be read: not an image, several frames, too large, …
    """
    with open_image(path, None) as (image, notes, _):
        if image.format != "PNG" or "exif" in image.info:  # a PNG's EXIF may stand behind its pixels
            _read_orientation(image, notes)
        find_transform(image, count_channels(image), notes)
        return notes


def background_color(text: str) -> tuple[int, int, int]:
    """RGB of a colour's name or hexadecimal number: "white", "#fff", "#ffffff", "rgb(255, 255, 255)", "hsl(…)".

    Raises:
        UsageError: no such colour, or one that is transparent itself.
    """
    try:
        color = ImageColor.getrgb(text)
    except ValueError as error:
        raise UsageError(f"no such colour: {text!r}. Give a name (white) or a number (#ffffff).") from error
    if len(color) != 3:
        raise UsageError(f"a background is opaque. Received: {text!r}. Leave out its alpha.")
    return color


def _read_orientation(image: Image.Image, notes: list[str]) -> int:
    """EXIF orientation, 1 … 8; 1 where there is none, or where the data are damaged."""
    try:
        with pillow_warnings(notes):
            if isinstance(block := image.info.get("exif"), bytes):
                Image.Exif().load(block)  # parsed again: Pillow warns of damage only the first time
            value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # Pillow raises many kinds
        add_note(notes, DAMAGED)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror ``[H, W, C]`` so that it is upright."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
