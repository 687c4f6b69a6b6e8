"""The one reader of image files, for training and for coding, with NumPy and Pillow alone.

```
file ─▶ open, check the header ─▶ samples, 8 bits ─▶ sRGB ─▶ background ─▶ upright ─▶ uint8 [H, W, 1 or 3]
```

Whatever the pixels lose or gain on the way is said in a note. ``docs/pictures.md`` lists what happens to each kind
of file; the table there is made from the test's files.
"""

import contextlib
import functools
import importlib
import io
import logging
import os
import re
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageColor, UnidentifiedImageError

from codec_zoo.codecs.icc import ADOBE_RGB, SRGB, WHITE_D65, matrix_profile
from codec_zoo.errors import ImageError, UsageError

MAX_PIXELS = 2**28  # larger images are refused when read or coded, and when a coded file claims them

# Endings by which folders are searched. The list is fixed: another Pillow must not find other training images.
SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc"),
    *(".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm"),
    *(".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
)
_RAW_NAME = re.compile(
    r".*\.(3fr|arw|cr2|cr3|crw|dcr|dng|erf|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)", re.I
)
_NO_PIXELS = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))  # of Pillow's formats: drawings and stubs
_PLUG_INS = {  # Pillow's name of a format: module and package that read it, and how to switch the module on
    "HEIF": ("pillow_heif", "pillow-heif", "register_heif_opener"),
    "JXL": ("pillow_jxl", "pillow-jxl-plugin", None),
}
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_DNG_VERSION = 258, 262, 284, 50706
_ORIENTATION = 274
_EXIF_IFD, _INTEROP_IFD = 0x8769, 0xA005
_COLOR_CHUNKS = {b"cHRM": 32, b"cICP": 4, b"eXIf": 8, b"gAMA": 4, b"iCCP": 1, b"sRGB": 1}  # and their least lengths
_DAMAGED = "damaged metadata passed over"
_PILLOW = threading.Lock()


def read_image(
    path: str | os.PathLike[str],
    notice: Callable[[str], None] = lambda text: None,
    data: bytes | None = None,
    background: str | tuple[int, int, int] | None = None,
) -> np.ndarray:
    """Read an image file: upright, sRGB, 8 bits a sample.

    Args:
        path: of any format that Pillow reads.
        notice: gets a line for each conversion that changes what the file says, and for metadata that are damaged.
        data: the file's bytes, where ``path`` only names it in messages.
        background: the colour behind transparent parts, as :func:`background_color` takes or gives it; the mean
            weighted with alpha is that of the sRGB values, as in browsers. None refuses such files.

    Returns:
        ``uint8 [H, W, 3]`` RGB, or ``uint8 [H, W, 1]`` for gray images.

    Raises:
        ImageError: not an image, damaged, too large, transparent, or of several frames.
        UsageError: no such background.
    """
    if isinstance(background, str):
        background = background_color(background)
    with _opened(path, data) as (image, notes, reopen):
        samples, alpha = _samples(image, notes, reopen)
        orientation = _orientation(image, notes)
        samples = _to_srgb(samples, image, notes)
        samples = _turn(_flatten(samples, alpha, background, path), orientation)
        upright = np.require(samples, np.uint8, ["C", "W"])
    for note in notes:
        notice(f"{path}: {note}")
    return upright


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """:func:`read_image` for training: always ``uint8 [H, W, 3]``, gray is repeated, notes are not said."""
    image = read_image(path)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def inspect_image(path: str | os.PathLike[str]) -> list[str]:
    """What :func:`read_image` would note, without the path, from the file's header alone: no pixel is decoded.

    Raises:
        ImageError: what the header says cannot be read: not an image, several frames, too large, …
    """
    with _opened(path, None) as (image, notes, _):
        if image.format != "PNG" or "exif" in image.info:  # a PNG's EXIF may stand behind its pixels
            _orientation(image, notes)
        _transform_of(image, _channels(image), notes)
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


# === Opening ===


def open_format(file: BinaryIO, name: str) -> Image.Image:
    """Open a file of one of Pillow's formats without the limit on pixels of ``Image.open``, which is the process's.

    Raises:
        Exception: what Pillow raises for a damaged file, of many kinds.
    """
    Image.init()
    file.seek(0)
    return Image.OPEN[name][0](file, "")


@contextlib.contextmanager
def _opened(
    path: str | os.PathLike[str], data: bytes | None
) -> Iterator[tuple[Image.Image, list[str], Callable[[], Image.Image]]]:
    """Yield the image with a checked header, the notes so far, and a function that opens the image once more."""
    try:
        with contextlib.ExitStack() as stack:
            file: BinaryIO = io.BytesIO(data) if data is not None else stack.enter_context(open(path, "rb"))
            if not file.seekable():
                file = io.BytesIO(file.read())
            notes: list[str] = []
            if _RAW_NAME.fullmatch(os.fspath(path)):
                raise ImageError(_raw_refusal(path))
            with _pillow_warnings(notes):
                image = stack.enter_context(_open(file, path, notes))
                _check_header(image, file, path, notes)

            def reopen() -> Image.Image:
                with _pillow_warnings(notes):
                    return _open(file, path, notes)

            yield image, notes, reopen
    except (ImageError, UsageError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder: name an image file.") from error
    except PermissionError as error:
        raise ImageError(f"{path} cannot be read: permission denied.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: {error}.") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: {error}") from error


def _open(file: BinaryIO, path: str | os.PathLike[str], notes: list[str]) -> Image.Image:
    """Find the format as ``Image.open`` does, but for drawings and stubs."""
    Image.init()
    file.seek(0)
    start = file.read(4096)
    wanted = _format_of_plug_in(start)
    if wanted:
        _load_plug_in(wanted, path)
    reason = "unknown format"
    for name in [wanted] if wanted else Image.ID:
        accept = Image.OPEN[name][1]
        accepted = accept(start[:16]) if accept else True
        if name in _NO_PIXELS or not accepted or isinstance(accepted, str):
            continue
        try:
            try:
                return open_format(file, name)
            except (SyntaxError, ValueError):
                if name != "PNG":
                    raise
                file.seek(0)
                image = open_format(io.BytesIO(_sound_png(file.read())), name)
                _add(notes, _DAMAGED)
                return image
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reason = f"{name}, {error}" if accept else reason
    if foreign := _foreign_kind(start):
        raise ImageError(f"{path} is {foreign}")
    raise UnidentifiedImageError(reason)


def _sound_png(data: bytes) -> bytes:
    """A PNG without the chunks that pixels do not need, but for those of colours whose checksum is right."""
    kept, place = [data[:8]], 8
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 12 + length
        sound = zlib.crc32(data[place + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        needed = not kind[0] & 32 or kind in (b"tRNS", b"acTL", b"fcTL", b"fdAT")
        if needed or (sound and length >= _COLOR_CHUNKS.get(kind, len(data))):
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _format_of_plug_in(start: bytes) -> str | None:
    """Pillow's name of the format, if Pillow needs a plug-in for it."""
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if start[4:8] == b"ftyp":
        brands = start[8 : max(16, min(int.from_bytes(start[:4], "big"), 256))]
        if not re.search(rb"avif|avis", brands) and re.search(rb"hei[cxms]|hev[cxms]|mif1|msf1", brands):
            return "HEIF"
    return None


def _load_plug_in(name: str, path: str | os.PathLike[str]) -> None:
    if name in Image.OPEN:
        return
    module, package, register = _PLUG_INS[name]
    try:
        plug_in = importlib.import_module(module)
    except ImportError as error:
        kind = {"HEIF": "HEIC", "JXL": "JPEG XL"}[name]
        raise ImageError(
            f"{path} is a {kind} picture, which Pillow reads with a plug-in: `pip install {package}`."
        ) from error
    if register:
        getattr(plug_in, register)()


def _foreign_kind(start: bytes) -> str | None:
    """What a file is that Pillow does not read, and what helps."""
    if re.match(rb"\s*(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE svg|svg)", start) and b"<svg" in start:
        return "an SVG drawing. Render it to PNG first."
    if start.startswith((b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6")):
        return "a PostScript or PDF document. Render it to PNG first."
    film = start[4:8] == b"ftyp" and start[8:11] not in (b"avi", b"mif", b"msf")
    if film or start.startswith((b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3")):
        return "a video. Extract a frame first."
    return None


def _raw_refusal(path: str | os.PathLike[str]) -> str:
    return f"{path} holds raw data of a camera's sensor. Develop it to TIFF, PNG or JPEG first."


@contextlib.contextmanager
def _pillow_warnings(notes: list[str]) -> Iterator[None]:
    """Turn Pillow's warnings, which are of metadata, into a note. The lock: Python's filters are the process's."""
    with _PILLOW:
        silent = logging.NullHandler()  # or what Pillow logs goes to stderr where a program has set up no logging
        logging.getLogger("PIL").addHandler(silent)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        finally:
            logging.getLogger("PIL").removeHandler(silent)
            for warning in caught:
                if f"{os.sep}PIL{os.sep}" in warning.filename or "heif" in warning.filename:
                    _add(notes, _DAMAGED)
                else:  # of another thread
                    warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _add(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _check_header(image: Image.Image, file: BinaryIO, path: str | os.PathLike[str], notes: list[str]) -> None:
    """Refuse what cannot be coded; note what follows from the header."""
    width, height = image.size
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ImageError(
            f"{path}: {width}×{height} pixels are out of range, it is damaged or too large. Sides are from 1 up, at "
            f"most {MAX_PIXELS // 2**20} megapixels (2^20)."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "HEIF"):
        raise ImageError(f"{path} holds {frames} frames. Codec Zoo codes still pictures: extract one.")
    if frames > 1:
        notes.append(f"the main picture of {frames} in the file")
    tags = getattr(image, "tag_v2", {})
    if _TIFF_DNG_VERSION in tags:
        raise ImageError(_raw_refusal(path))
    if tags:  # what Pillow would read of a TIFF, with its warnings, while it decodes the pixels
        with contextlib.suppress(Exception):
            exif = image.getexif()
            for tag in (_EXIF_IFD, _INTEROP_IFD):
                exif.get_ifd(tag)
    _find_colors(image, file)
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point samples. Convert it to 8 or 16 bits first.")
    if image.mode == "I" and image.format != "PPM":  # Pillow widens the 16 bits of a PGM file
        raise ImageError(f"{path} holds samples of 32 bits, or signed ones. Convert it to 8 or 16 bits first.")
    bits = _bits(image, file)
    if bits > 8 and tags.get(_TIFF_PLANAR) == 2 and _rawmode(image) in ("I;16", "R", "C"):
        raise ImageError(
            f"{path} holds its channels one after the other, with 16 bits. Save it with channels interleaved."
        )
    if bits > 8:
        upper = tags.get(_TIFF_PLANAR) == 2 or image.format in ("SGI", "JPEG2000") or "RGBa" in _rawmode(image)
        notes.append(
            f"{bits} bits a sample reduced to 8" + (", the upper ones" if upper and image.mode[0] != "I" else "")
        )


def _bits(image: Image.Image, file: BinaryIO) -> int:
    """Bits a sample in the file, or 8 where they are fewer."""
    if image.format == "TIFF":
        return max(8, *image.tag_v2.get(_TIFF_BITS, (1,)))  # type: ignore[attr-defined]
    if image.format == "PPM":
        arguments = image.tile[0].args  # type: ignore[attr-defined]
        return max(8, arguments[1].bit_length()) if isinstance(arguments, tuple) else 16 if image.mode == "I" else 8
    marks = {"JPEG2000": (b"\xff\x4f\xff\x51", 42), "AVIF": (b"pixi", 9), "HEIF": (b"pixi", 9)}
    if image.format in marks:
        # JPEG 2000: Ssiz of the first component; AVIF and HEIF: the first channel of the pixel information box.
        mark, offset = marks[image.format]
        start = _start(file)
        place = start.find(mark) + offset
        if mark in start and place < len(start):
            return max(8, (start[place] & 0x7F) + (image.format == "JPEG2000"))
    return 16 if ";16" in image.mode + _rawmode(image) else 8


def _start(file: BinaryIO) -> bytes:
    """Where a file's header is, and its profile: the first MiB."""
    place = file.tell()
    try:
        file.seek(0)
        return file.read(1 << 20)
    finally:
        file.seek(place)


def _rawmode(image: Image.Image) -> str:
    """How the file's samples lie, in Pillow's words."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


# === Samples ===


def _samples(
    image: Image.Image, notes: list[str], reopen: Callable[[], Image.Image]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode to ``uint8 [H, W, C]`` (gray, RGB or CMYK) and alpha ``uint8 [H, W]``, None where there is none."""
    rawmode, key = _rawmode(image), image.info.get("transparency")
    if image.mode.startswith("I"):
        wide = np.asarray(image)[..., None]
        if image.format != "TIFF":  # Pillow scales samples of any depth to 16 bits
            return _reduce(wide, 65535), _alpha_of_key(wide, key)
        tags = image.tag_v2  # type: ignore[attr-defined]
        reduced = _reduce(wide, 2 ** tags[_TIFF_BITS][0] - 1)
        white_is_zero = tags.get(_TIFF_PHOTOMETRIC) == 0  # which Pillow obeys up to 8 bits
        return 255 - reduced if white_is_zero else reduced, None
    if rawmode == "LA;16B":
        wide = _gray_and_alpha(image)
    elif re.fullmatch(r"(RGBA?|RGBX|CMYK);16[BLN]", rawmode):
        wide = _both_bytes(image, reopen())
    else:
        return _narrow_samples(image, rawmode, key, notes)
    reduced = _reduce(wide, 65535)
    if image.mode == "RGBA":
        return reduced[..., :-1], reduced[..., -1]
    return reduced, _alpha_of_key(wide, key)


def _reduce(wide: np.ndarray, maximum: int) -> np.ndarray:
    """Scale ``0 … maximum`` to ``0 … 255``, rounded to the nearest."""
    table = ((np.arange(maximum + 1) * 255 + maximum // 2) // maximum).astype(np.uint8)
    return table[np.minimum(wide, maximum)]


def _both_bytes(image: Image.Image, again: Image.Image) -> np.ndarray:
    """Samples of 16 bits, ``uint16 [H, W, C]``. Pillow keeps the upper bytes, or the lower if told another order."""
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    rawmode = _rawmode(image)
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


def _narrow_samples(
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


def _flatten(
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


# === Colours ===


def _channels(image: Image.Image) -> int:
    """How many channels of colour an image has that is not decoded yet."""
    gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I") or _rawmode(image) == "LA;16B"
    return 4 if image.mode == "CMYK" else 1 if gray else 3


def _to_srgb(samples: np.ndarray, image: Image.Image, notes: list[str]) -> np.ndarray:
    """Apply the colour profile: ``uint8 [H, W, 1, 3 or 4]`` → sRGB ``[H, W, 1 or 3]``."""
    channels = samples.shape[2]
    transform = _transform_of(image, channels, notes)
    if transform is None and channels != 4:
        return samples
    if channels == 1:
        return _gray_table(transform)[samples]
    height, width = samples.shape[:2]
    source = Image.frombytes("CMYK" if channels == 4 else "RGB", (width, height), samples.tobytes())
    return np.asarray(ImageCms.applyTransform(source, transform) if transform else source.convert("RGB"))


def _transform_of(image: Image.Image, channels: int, notes: list[str]) -> Any:
    """The transform of the image's colours to sRGB and the note of it; None where the colours stay."""
    naive = "converted from CMYK to RGB without a colour profile"
    profile, name = _profile_of(image, notes)
    if not profile:
        if channels == 4:
            _add(notes, naive)
        return None
    try:
        transform, described = _transform(profile, channels)
    except (ImageCms.PyCMSError, ImageError, ImportError, OSError, TypeError, ValueError) as error:
        reason = error if isinstance(error, ImageError | ImportError) else "it is damaged"
        _add(notes, f"its colour profile is passed over: {reason}")
        if channels == 4:
            _add(notes, naive)
        return None
    if transform is not None:
        _add(notes, f"colours converted to sRGB from {name or described}")
    return transform


def _profile_of(image: Image.Image, notes: list[str]) -> tuple[bytes | None, str | None]:
    """The image's ICC profile, or one made of what else the file says of colours; and its name if that is known."""
    if image.mode == "LAB":
        return None, None  # Pillow's conversion to RGB is one to sRGB
    if len(image.info.get("cicp") or ()) == 2:
        primaries, transfer = image.info["cicp"]
        if transfer in _HDR:
            _add(notes, f"its colours are {_HDR[transfer]}, of which sRGB holds a part: taken as sRGB, unconverted")
            return None, None
        if primaries in _CICP_PRIMARIES and transfer in _CICP_GAMMA:
            name, points, white = _CICP_PRIMARIES[primaries]
            return matrix_profile(points, white, _CICP_GAMMA[transfer]), f"{name} (cICP)"
    if "icc_profile" in image.info:
        if image.info["icc_profile"]:
            return image.info["icc_profile"], None
        _add(notes, "its colour profile is passed over: it is damaged")
        return None, None
    if image.format == "PNG" and "srgb" not in image.info:
        return _profile_of_gamma(image.info.get("gamma"), image.info.get("chromaticity"))
    if image.format != "PNG" and _is_adobe_rgb(image):
        return matrix_profile(ADOBE_RGB, WHITE_D65, 563 / 256), "Adobe RGB"
    return None, None


def _profile_of_gamma(gamma: float | None, chromaticity: tuple[float, ...] | None) -> tuple[bytes | None, str | None]:
    """Profile and name of a PNG's gAMA and cHRM; None where they say sRGB, or nothing that can be."""
    if gamma is not None and (gamma <= 0 or abs(gamma * 2.2 - 1) < 0.05):
        gamma = None  # 1/2.2 stands for sRGB's curve
    points, white = SRGB, WHITE_D65
    if chromaticity and min(chromaticity[1::2]) > 0:
        white, points = chromaticity[:2], (chromaticity[2:4], chromaticity[4:6], chromaticity[6:])
    if gamma is None and points is SRGB:
        return None, None
    parts = [f"gamma {gamma:.4g}"] if gamma is not None else []
    parts += ["primaries of the file"] if points is not SRGB else []
    return matrix_profile(points, white, None if gamma is None else 1 / gamma), " and ".join(parts)


# Of ITU-T H.273: colour primaries, and exponents of transfer characteristics (None: sRGB's curve).
_CICP_PRIMARIES: dict[int, tuple[str, Any, Any]] = {
    1: ("BT.709", SRGB, WHITE_D65),
    5: ("BT.601", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), WHITE_D65),
    6: ("BT.601", ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), WHITE_D65),
    9: ("BT.2020", ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)), WHITE_D65),
    12: ("Display P3", ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), WHITE_D65),
}
_CICP_GAMMA = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}


def _find_colors(image: Image.Image, file: BinaryIO) -> None:
    """Add what Pillow passes over to the image's ``info``: primaries and transfer, and the profile of JPEG 2000."""
    if image.format == "PNG":
        start, place = _start(file), 8
        while (kind := start[place + 4 : place + 8]) not in (b"", b"IDAT"):
            if kind == b"cICP":
                image.info["cicp"] = tuple(start[place + 8 : place + 10])
            place += 12 + int.from_bytes(start[place : place + 4], "big")
    elif image.format in ("AVIF", "HEIF") and not image.info.get("icc_profile"):
        box = re.search(rb"colrnclx(..)(..)", _start(file), re.S)
        image.info["cicp"] = tuple(int.from_bytes(value, "big") for value in box.groups()) if box else None
    elif image.format == "JPEG2000":
        box = re.search(rb"(....)colr[\2\3]..", _start(file), re.S)
        if box:
            length = int.from_bytes(box[1], "big")
            image.info["icc_profile"] = _start(file)[box.end() : box.start() + length]


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether a camera says so: an uncalibrated colour space in EXIF, with the interoperability index R03."""
    with contextlib.suppress(Exception), _pillow_warnings([]):  # damaged EXIF data are noted elsewhere
        exif = image.getexif()
        uncalibrated = exif.get_ifd(_EXIF_IFD).get(0xA001) == 0xFFFF
        return uncalibrated and exif.get_ifd(_INTEROP_IFD).get(1) == "R03"
    return False


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, channels: int) -> tuple[Any, str]:
    """LittleCMS's transform of RGB or CMYK bytes to sRGB, or None if it changes nothing; and the profile's name.

    Relative colorimetric with black point compensation. Gray images with a profile of RGB go through RGB.

    Raises:
        ImageError: a profile for another kind of picture.
        ImageCms.PyCMSError, OSError: it is damaged.
        ImportError: this Pillow has no LittleCMS.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    allowed = {1: ("GRAY", "RGB"), 3: ("RGB",), 4: ("CMYK",)}[channels]
    if space not in allowed:
        raise ImageError(f"it is for {space} pictures")
    mode = {"GRAY": "L"}.get(space, space)
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    described = re.sub(r"\s+", " ", source.profile.profile_description or "").strip()
    name = f'the profile "{described[:60]}"' if described.isprintable() and described else "its colour profile"
    return (None if _changes_nothing(transform, mode) else transform), name


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a profile is sRGB: over the cube of colours and all grays, no value moves by more than 2 of 255."""
    if mode == "CMYK":
        return False
    grays = np.arange(256, dtype=np.uint8)
    if mode == "L":
        probe = np.repeat(grays[None, :, None], 3, axis=2)
        source = Image.fromarray(grays[None])
    else:
        cube = np.stack(np.meshgrid(*[grays[::15]] * 3), axis=-1).reshape(1, -1, 3)
        probe = np.concatenate([cube, np.repeat(grays[None, :, None], 3, axis=2)], axis=1)
        source = Image.fromarray(probe)
    moved = np.asarray(ImageCms.applyTransform(source, transform)).astype(int) - probe
    return bool(np.abs(moved).max() <= 2)


def _gray_table(transform: Any) -> np.ndarray:
    """What a transform makes of the 256 grays: their green."""
    grays = np.arange(256, dtype=np.uint8)[None]
    source = Image.fromarray(grays)
    if transform.input_mode == "RGB":
        source = source.convert("RGB")
    return np.asarray(ImageCms.applyTransform(source, transform))[0, :, 1]


# === Orientation ===


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """EXIF orientation, 1 … 8; 1 where there is none, or where the data are damaged."""
    try:
        with _pillow_warnings(notes):
            if isinstance(block := image.info.get("exif"), bytes):
                Image.Exif().load(block)  # what Pillow met already, it passes over in silence
            value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds
        _add(notes, _DAMAGED)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror ``[H, W, C]`` so that it is upright."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
