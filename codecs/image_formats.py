"""Opening image files: which format it is, whether its header is sound, and whether it can be coded."""

import contextlib
import importlib
import io
import logging
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

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
TIFF_BITS, TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_DNG_VERSION = 258, 262, 284, 50706
EXIF_IFD, INTEROP_IFD = 0x8769, 0xA005
_COLOR_CHUNKS = {b"cHRM": 32, b"cICP": 4, b"eXIf": 8, b"gAMA": 4, b"iCCP": 1, b"sRGB": 1}  # and their least lengths
DAMAGED = "damaged metadata passed over"
_WARNINGS_LOCK = threading.Lock()


def open_format(file: BinaryIO, name: str) -> Image.Image:
    """Open a file of one of Pillow's formats without the limit on pixels of ``Image.open``, which is the process's.

    Raises:
        Exception: what Pillow raises for a damaged file, of many kinds.
    """
    Image.init()
    file.seek(0)
    return Image.OPEN[name][0](file, "")


@contextlib.contextmanager
def open_image(
    path: str | os.PathLike[str], data: bytes | None
) -> Iterator[tuple[Image.Image, list[str], Callable[[], Image.Image]]]:
    """Yield the image with a checked header, the notes so far, and a function that opens the image once more."""
    with image_errors(path), contextlib.ExitStack() as stack:
        file: BinaryIO = io.BytesIO(data) if data is not None else stack.enter_context(open(path, "rb"))
        if not file.seekable():
            file = io.BytesIO(file.read())
        if not file.read(1):
            raise ImageError(f"{path} is empty. Fetch the file again.")
        file.seek(0)
        notes: list[str] = []
        if _RAW_NAME.fullmatch(os.fspath(path)):
            raise ImageError(_raw_refusal(path))
        with pillow_warnings(notes):
            image = stack.enter_context(_open_any(file, path, notes))
            _check_header(image, file, path, notes)

        def reopen() -> Image.Image:
            with pillow_warnings(notes):
                return _open_any(file, path, notes)

        yield image, notes, reopen


def check_decoded(image: Image.Image, path: str | os.PathLike[str]) -> list[str]:
    """Refuse a decoded image that cannot be coded; the notes of what follows from its header."""
    notes: list[str] = []
    _check_header(image, io.BytesIO(), path, notes)
    return notes


def undecoded_file(image: Image.Image) -> bytes | None:
    """The file of an image that Pillow opened and has not decoded; None of any other image."""
    file = getattr(image, "fp", None)
    if getattr(image, "_im", image) is not None or file is None or image.format is None or image.tell():
        return None
    try:
        place = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(place)
        with open_format(io.BytesIO(data), image.format) as again:
            same = (again.size, again.mode) == (image.size, image.mode)  # unless a draft was asked for
    except Exception:  # of a closed file; Pillow raises many kinds
        return None
    return data if same else None


@contextlib.contextmanager
def image_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make one error of the many kinds that reading an image raises."""
    try:
        yield
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
        cause = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: {cause}.") from error


def add_note(notes: list[str], note: str) -> None:
    """Add a note unless it is there already."""
    if note not in notes:
        notes.append(note)


def raw_mode(image: Image.Image) -> str:
    """Pillow's name of the layout of the file's samples: ``"RGB;16B"``."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


@contextlib.contextmanager
def pillow_warnings(notes: list[str]) -> Iterator[None]:
    """Turn Pillow's warnings, which concern metadata, into a note.

    Python's warning filters belong to the whole process, hence the lock.
    """
    with _WARNINGS_LOCK:
        silent = logging.NullHandler()  # without it, Python prints log records of programs that set up no logging
        logging.getLogger("PIL").addHandler(silent)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        finally:
            logging.getLogger("PIL").removeHandler(silent)
            for warning in caught:
                if f"{os.sep}PIL{os.sep}" in warning.filename or "heif" in warning.filename:
                    add_note(notes, DAMAGED)
                else:  # of another thread
                    warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _open_any(file: BinaryIO, path: str | os.PathLike[str], notes: list[str]) -> Image.Image:
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
                add_note(notes, DAMAGED)
                return image
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reason = f"{name}, {error}" if accept else reason
    if foreign := _foreign_kind(start):
        raise ImageError(f"{path} is {foreign}")
    raise UnidentifiedImageError(reason)


def _sound_png(data: bytes) -> bytes:
    """A PNG with the chunks that its pixels need, and the colour chunks with a right checksum."""
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
    """Name the kind of a file that Pillow does not read, with a remedy; None if it is not known."""
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


def _check_header(image: Image.Image, file: BinaryIO, path: str | os.PathLike[str], notes: list[str]) -> None:
    """Refuse an image that cannot be coded. Note the conversions that follow from the header."""
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
    if tags:  # read the EXIF data now: their warnings would come while the pixels are decoded
        with contextlib.suppress(Exception):
            exif = image.getexif()
            for tag in (EXIF_IFD, INTEROP_IFD):
                exif.get_ifd(tag)
    _complete_colors(image, file)
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point samples. Convert it to 8 or 16 bits first.")
    if image.mode == "I" and image.format != "PPM":  # Pillow widens the 16 bits of a PGM file
        raise ImageError(f"{path} holds samples of 32 bits, or signed ones. Convert it to 8 or 16 bits first.")
    bits = _bits(image, file)
    if bits > 8 and tags.get(_TIFF_PLANAR) == 2 and raw_mode(image) in ("I;16", "R", "C"):
        raise ImageError(
            f"{path} holds its channels one after the other, with 16 bits. Save it with channels interleaved."
        )
    if bits > 8:
        upper = tags.get(_TIFF_PLANAR) == 2 or image.format in ("SGI", "JPEG2000") or "RGBa" in raw_mode(image)
        notes.append(
            f"{bits} bits a sample reduced to 8" + (", the upper ones" if upper and image.mode[0] != "I" else "")
        )


def _bits(image: Image.Image, file: BinaryIO) -> int:
    """Bits a sample in the file, or 8 where they are fewer."""
    if image.format == "TIFF":
        return max(8, *image.tag_v2.get(TIFF_BITS, (1,)))  # type: ignore[attr-defined]
    if image.format == "PPM" and image.tile:  # type: ignore[attr-defined]
        arguments = image.tile[0].args  # type: ignore[attr-defined]
        return max(8, arguments[1].bit_length()) if isinstance(arguments, tuple) else 16 if image.mode == "I" else 8
    marks = {"JPEG2000": (b"\xff\x4f\xff\x51", 42), "AVIF": (b"pixi", 9), "HEIF": (b"pixi", 9)}
    if image.format in marks:
        # JPEG 2000: Ssiz of the first component; AVIF and HEIF: the first channel of the pixel information box.
        mark, offset = marks[image.format]
        start = _first_mebibyte(file)
        place = start.find(mark) + offset
        if mark in start and place < len(start):
            return max(8, (start[place] & 0x7F) + (image.format == "JPEG2000"))
    return 16 if ";16" in image.mode + raw_mode(image) else 8


def _first_mebibyte(file: BinaryIO) -> bytes:
    """The first MiB of a file, with its header and its colour profile."""
    place = file.tell()
    try:
        file.seek(0)
        return file.read(1 << 20)
    finally:
        file.seek(place)


def _complete_colors(image: Image.Image, file: BinaryIO) -> None:
    """Add to the image's ``info`` the colour data that Pillow skips: primaries, transfer, JPEG 2000's profile."""
    if image.format == "PNG":
        start, place = _first_mebibyte(file), 8
        while (kind := start[place + 4 : place + 8]) not in (b"", b"IDAT"):
            if kind == b"cICP":
                image.info["cicp"] = tuple(start[place + 8 : place + 10])
            place += 12 + int.from_bytes(start[place : place + 4], "big")
    elif image.format in ("AVIF", "HEIF") and not image.info.get("icc_profile"):
        if box := re.search(rb"colrnclx(..)(..)", _first_mebibyte(file), re.S):
            image.info["cicp"] = tuple(int.from_bytes(value, "big") for value in box.groups())
    elif image.format == "JPEG2000":
        box = re.search(rb"(....)colr[\2\3]..", _first_mebibyte(file), re.S)
        if box:
            length = int.from_bytes(box[1], "big")
            image.info["icc_profile"] = _first_mebibyte(file)[box.end() : box.start() + length]
