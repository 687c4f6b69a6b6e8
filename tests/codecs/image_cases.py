"""One list of image files: it drives the tests of the reader, and the table in docs/pictures.md.

`python tests/codecs/image_cases.py` writes the table anew.
"""

import dataclasses
import io
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from image_bytes import (
    adobe_rgb_of_cameras,
    cmyk_profile,
    exif,
    gray_profile,
    png,
    save,
    smooth,
    tiff,
)
from PIL import Image

from codec_zoo.codecs.icc import ADOBE_RGB, SRGB, WHITE_D65, matrix_profile
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.errors import ImageError

DOCUMENT = Path(__file__).parents[2] / "docs/pictures.md"
BEGIN, END = "<!-- Written by tests/codecs/image_cases.py: -->\n", "<!-- End of what is written. -->\n"

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GRAY = RGB[..., :1]
WIDE = np.random.default_rng(1).integers(0, 65536, (6, 9, 4), np.uint16)
ALPHA = np.full((6, 9, 1), 255, np.uint8)
HALF = np.arange(54, dtype=np.uint8).reshape(6, 9, 1) * 4
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


@dataclasses.dataclass(frozen=True)
class Case:
    """A file, and what must come of it.

    Attributes:
        group: heading in the table.
        input: the file in words.
        name: of the file.
        make: gives its bytes.
        pixels: what the reader must return; None if it must refuse.
        tolerance: largest difference, in levels of 255.
        background: colour given, as with --background.
    """

    group: str
    input: str
    name: str
    make: Callable[[], bytes]
    pixels: np.ndarray | None
    tolerance: int = 0
    background: str | None = None


def nearest(wide, maximum=65535) -> np.ndarray:
    return np.rint(wide * (255.0 / maximum)).astype(np.uint8)


def on(color, background, alpha) -> np.ndarray:
    share = alpha / 255.0
    return np.rint(color * share + np.array(background) * (1 - share)).astype(np.uint8)


def to_srgb(image, primaries, decode) -> np.ndarray:
    """The oracle: CIE colour arithmetic in floating point, white D65 on both sides."""

    def matrix(points):
        xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
        white = np.array([WHITE_D65[0] / WHITE_D65[1], 1, (1 - sum(WHITE_D65)) / WHITE_D65[1]])
        return xyz * np.linalg.solve(xyz, white)

    light = decode(image / 255.0) @ (np.linalg.inv(matrix(SRGB)) @ matrix(primaries)).T
    light = light.clip(0, 1)
    return np.rint(255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)).astype(
        np.uint8
    )


def srgb_light(x) -> np.ndarray:
    return np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)


def jpeg2000_with(profile) -> bytes:
    """A JPEG 2000 file whose colour box holds a profile instead of a number."""
    data = save(RGB, "JPEG2000")()
    place = data.index(b"colr") - 4
    box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    header = data.index(b"jp2h") - 4
    length = int.from_bytes(data[header : header + 4], "big") + len(box) - 15
    return data[:header] + struct.pack(">I", length) + data[header + 4 : place] + box + data[place + 15 :]


def avif_of_p3() -> bytes:
    """An AVIF file that names the primaries of Display P3 by number."""
    data = save(smooth(), "AVIF", quality=100, subsampling="4:4:4")()
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]


def first_page(image, kind, **options) -> Callable[[], bytes]:
    return save(image, kind, save_all=True, append_images=[Image.fromarray(255 - RGB)], **options)


def decoded(make) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(make())).convert("RGB"))


P3_PROFILE = matrix_profile(P3, WHITE_D65, None, "Display P3")
ADOBE_PROFILE = matrix_profile(ADOBE_RGB, WHITE_D65, 563 / 256, "Adobe RGB (1998)")
SRGB_PROFILE = matrix_profile(SRGB, WHITE_D65, None, "sRGB")
PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=50)
GRAY_PALETTE = Image.fromarray(GRAY[..., 0]).convert("P")
OF_16 = GRAY // 17  # 16 grays
INKS = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
JPEG = save(smooth(), "JPEG", quality=95)
BROKEN = b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03\0"
CUT = exif(6)[:12] + b"\xff" * 9
ONE_LEVEL = np.concatenate([np.full((6, 9, 1), 30000, np.uint16), WIDE[..., :1]], axis=1)

SIMPLE, DEEP, ALPHAS, FRAMES, META, COLORS, OTHER = (
    "Plain pictures",
    "More than 8 bits a sample",
    "Transparency",
    "Several pictures in a file",
    "Metadata",
    "Colour",
    "Other files",
)

CASES = [
    Case(SIMPLE, "RGB, 8 bits", "a.png", save(RGB), RGB),
    Case(SIMPLE, "RGB in WebP", "a.webp", save(RGB, "WEBP", lossless=True), RGB),
    Case(SIMPLE, "gray, 8 bits", "a.png", save(RGB[..., 0]), GRAY),
    Case(SIMPLE, "gray, 4 bits", "a.png", png(OF_16, bits=4), OF_16 * 17),
    Case(SIMPLE, "black and white, 1 bit", "a.png", save(RGB[..., 0] > 127), np.where(GRAY > 127, 255, 0)),
    Case(SIMPLE, "palette", "a.png", save(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    Case(SIMPLE, "palette of grays alone", "a.gif", save(GRAY_PALETTE, "GIF"), GRAY),
    Case(SIMPLE, "JPEG", "a.jpg", JPEG, decoded(JPEG)),
    Case(SIMPLE, "gray PGM with 100 levels", "a.pgm", lambda: b"P5 2 1 99\n\0\x63", np.array([[[0], [255]]])),
    Case(DEEP, "gray, 16 bits", "a.png", png(WIDE[..., :1]), nearest(WIDE[..., :1])),
    Case(DEEP, "RGB, 16 bits", "a.png", png(WIDE[..., :3]), nearest(WIDE[..., :3])),
    Case(DEEP, "RGB, 16 bits, of 8-bit values", "a.png", png(RGB * np.uint16(257)), RGB),
    Case(DEEP, "RGB, 16 bits, TIFF", "a.tif", tiff(WIDE[..., :3], bits=16, photometric=2), nearest(WIDE[..., :3])),
    Case(DEEP, "gray, 16 bits, TIFF", "a.tif", tiff(WIDE[..., :1], bits=16, photometric=1), nearest(WIDE[..., :1])),
    Case(
        DEEP,
        "gray, 16 bits, TIFF in which white is 0",
        "a.tif",
        tiff(WIDE[..., :1], bits=16, photometric=0),
        255 - nearest(WIDE[..., :1]),
    ),
    Case(
        DEEP,
        "RGB, 16 bits, TIFF of separate planes",
        "a.tif",
        tiff(WIDE[..., :3], bits=16, photometric=2, extra=[(284, (3, [2]))]),
        None,
    ),
    Case(
        DEEP,
        "gray, 12 bits, TIFF",
        "a.tif",
        tiff(WIDE[:, :8, :1] >> 4, bits=12, photometric=1),
        nearest(WIDE[:, :8, :1] >> 4, 4095),
    ),
    Case(
        DEEP,
        "RGB PPM, 16 bits",
        "a.ppm",
        lambda: b"P6 9 6 65535\n" + WIDE[..., :3].astype(">u2").tobytes(),
        nearest(WIDE[..., :3]),
    ),
    Case(
        DEEP,
        "gray PGM, 16 bits",
        "a.pgm",
        lambda: b"P5 9 6 65535\n" + WIDE[..., :1].astype(">u2").tobytes(),
        nearest(WIDE[..., :1]),
    ),
    Case(
        DEEP,
        "RGB and opaque alpha, 16 bits",
        "a.png",
        png(np.concatenate([WIDE[..., :3], ALPHA * np.uint16(257)], axis=2)),
        nearest(WIDE[..., :3]),
    ),
    Case(
        DEEP,
        "gray and opaque alpha, 16 bits",
        "a.png",
        png(np.concatenate([WIDE[..., :1], ALPHA * np.uint16(257)], axis=2)),
        nearest(WIDE[..., :1]),
    ),
    Case(DEEP, "integers of 32 bits", "a.tif", tiff(WIDE[..., :1].astype(np.uint32), bits=32, photometric=1), None),
    Case(
        DEEP,
        "signed integers of 16 bits",
        "a.tif",
        tiff(WIDE[..., :1].view(np.int16), bits=16, photometric=1, sample_format=2),
        None,
    ),
    Case(DEEP, "floating point", "a.tif", save(RGB[..., 0].astype(np.float32), "TIFF"), None),
    Case(ALPHAS, "alpha, opaque everywhere", "a.png", save(np.dstack([RGB, ALPHA])), RGB),
    Case(ALPHAS, "alpha that shows", "a.png", save(np.dstack([RGB, HALF])), None),
    Case(
        ALPHAS,
        "alpha that shows, `--background white`",
        "a.png",
        save(np.dstack([RGB, HALF])),
        on(RGB, (255, 255, 255), HALF),
        background="white",
    ),
    Case(
        ALPHAS,
        "gray and alpha, `--background #808080`",
        "a.png",
        save(np.dstack([GRAY, HALF])),
        on(GRAY, (128,), HALF),
        background="#808080",
    ),
    Case(
        ALPHAS,
        "gray and alpha, `--background red`",
        "a.png",
        save(np.dstack([GRAY, HALF])),
        on(GRAY, (255, 0, 0), HALF),
        background="red",
    ),
    Case(
        ALPHAS,
        "RGB and alpha, 16 bits, `--background white`",
        "a.png",
        png(WIDE),
        on(nearest(WIDE[..., :3]), (255, 255, 255), nearest(WIDE[..., 3:])),
        background="white",
    ),
    Case(
        ALPHAS,
        "gray with a transparent level that no pixel has",
        "a.png",
        png(GRAY | 1, (b"tRNS", b"\0\0")),
        GRAY | 1,
    ),
    Case(
        ALPHAS, "gray with a transparent level", "a.png", png(GRAY, (b"tRNS", struct.pack(">H", GRAY[0, 0, 0]))), None
    ),
    Case(
        ALPHAS,
        "gray, 4 bits, with a transparent level",
        "a.png",
        png(OF_16, (b"tRNS", struct.pack(">H", OF_16[0, 0, 0])), bits=4),
        None,
    ),
    Case(
        ALPHAS,
        "gray, 16 bits, with a transparent level that no pixel has",
        "a.png",
        png(WIDE[..., :1] | 1, (b"tRNS", struct.pack(">H", 30000))),
        nearest(WIDE[..., :1] | 1),
    ),
    Case(ALPHAS, "gray, 16 bits, with a transparent level", "a.png", png(ONE_LEVEL, (b"tRNS", b"\x75\x30")), None),
    Case(
        ALPHAS,
        "RGB, 16 bits, with a transparent colour that differs from a pixel in the last bit",
        "a.png",
        png(WIDE[..., :3], (b"tRNS", struct.pack(">3H", *(WIDE[0, 0, :3] ^ 1)))),
        nearest(WIDE[..., :3]),
    ),
    Case(
        ALPHAS,
        "palette with a transparent entry that no pixel has",
        "a.png",
        save(PALETTE, transparency=255),
        np.asarray(PALETTE.convert("RGB")),
    ),
    Case(ALPHAS, "palette with a transparent entry", "a.gif", save(PALETTE, "GIF", transparency=3), None),
    Case(
        FRAMES,
        "photograph of a camera with previews (MPO)",
        "a.jpg",
        first_page(Image.fromarray(RGB), "MPO"),
        decoded(save(RGB, "JPEG")),
    ),
    Case(FRAMES, "animated GIF", "a.gif", first_page(Image.fromarray(RGB), "GIF"), None),
    Case(FRAMES, "animated PNG", "a.png", first_page(Image.fromarray(RGB), "PNG"), None),
    Case(FRAMES, "TIFF of two pages", "a.tif", first_page(Image.fromarray(RGB), "TIFF"), None),
    Case(
        META,
        "EXIF orientation 6",
        "a.jpg",
        save(smooth(), "JPEG", quality=95, exif=exif(6)),
        np.rot90(decoded(JPEG), -1),
    ),
    Case(META, "damaged EXIF data, JPEG", "a.jpg", save(smooth(), "JPEG", quality=95, exif=BROKEN), decoded(JPEG)),
    Case(META, "EXIF data that are cut, JPEG", "a.jpg", save(smooth(), "JPEG", quality=95, exif=CUT), decoded(JPEG)),
    Case(META, "damaged EXIF data, PNG", "a.png", png(RGB, (b"eXIf", BROKEN[6:])), RGB),
    Case(META, "a PNG text chunk with a wrong checksum", "a.png", png(RGB, (b"tEXt", b"a\0b", b"oops")), RGB),
    Case(META, "a cut PNG gAMA chunk", "a.png", png(RGB, (b"gAMA", b"\0")), RGB),
    Case(COLORS, "embedded sRGB profile", "a.png", save(RGB, icc_profile=SRGB_PROFILE), RGB),
    Case(COLORS, "Display P3", "a.png", save(RGB, icc_profile=P3_PROFILE), to_srgb(RGB, P3, srgb_light), 2),
    Case(
        COLORS,
        "Adobe RGB",
        "a.png",
        save(RGB, icc_profile=ADOBE_PROFILE),
        to_srgb(RGB, ADOBE_RGB, lambda x: x ** (563 / 256)),
        2,
    ),
    Case(
        COLORS,
        "camera's Adobe RGB without a profile (EXIF interoperability R03)",
        "a.webp",
        save(RGB, "WEBP", lossless=True, exif=adobe_rgb_of_cameras()),
        to_srgb(RGB, ADOBE_RGB, lambda x: x ** (563 / 256)),
        2,
    ),
    Case(
        COLORS,
        "Display P3, 16 bits",
        "a.png",
        png(RGB * np.uint16(257), (b"iCCP", b"p3\0\0" + zlib.compress(P3_PROFILE))),
        to_srgb(RGB, P3, srgb_light),
        2,
    ),
    Case(
        COLORS,
        "gray with a profile of gamma 1.8",
        "a.png",
        save(RGB[..., 0], icc_profile=gray_profile(1.8, "Gray Gamma 1.8")),
        to_srgb(np.repeat(GRAY, 3, 2), SRGB, lambda x: x**1.8)[..., :1],
        2,
    ),
    Case(COLORS, "gray with an RGB profile, sRGB", "a.png", save(RGB[..., 0], icc_profile=SRGB_PROFILE), GRAY),
    Case(
        COLORS,
        "a profile for another kind of picture",
        "a.png",
        save(RGB, icc_profile=gray_profile(1.8, "Gray")),
        RGB,
    ),
    Case(COLORS, "a damaged profile", "a.png", save(RGB, icc_profile=b"not a profile"), RGB),
    Case(COLORS, "PNG with gAMA 1/2.2", "a.png", png(RGB, (b"gAMA", struct.pack(">I", 45455))), RGB),
    Case(
        COLORS,
        "PNG with gAMA 1",
        "a.png",
        png(RGB, (b"gAMA", struct.pack(">I", 100000))),
        to_srgb(RGB, SRGB, lambda x: x),
        2,
    ),
    Case(
        COLORS,
        "PNG with cHRM of Display P3",
        "a.png",
        png(RGB, (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))),
        to_srgb(RGB, P3, srgb_light),
        2,
    ),
    Case(
        COLORS,
        "PNG with an sRGB chunk beside gAMA",
        "a.png",
        png(RGB, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))),
        RGB,
    ),
    Case(COLORS, "PNG with cICP of sRGB", "a.png", png(RGB, (b"cICP", bytes((1, 13, 0, 1)))), RGB),
    Case(
        COLORS,
        "PNG with cICP of Display P3",
        "a.png",
        png(RGB, (b"cICP", bytes((12, 13, 0, 1)))),
        to_srgb(RGB, P3, srgb_light),
        2,
    ),
    Case(COLORS, "PNG with cICP of HDR", "a.png", png(RGB, (b"cICP", bytes((9, 16, 0, 1)))), RGB),
    Case(
        COLORS,
        "CMYK",
        "a.tif",
        save(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
        np.asarray(Image.fromarray(RGB).convert("CMYK").convert("RGB")),
    ),
    Case(
        COLORS,
        "CMYK JPEG of Adobe",
        "a.jpg",
        save(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=95),
        smooth(),
        4,
    ),
    Case(
        COLORS,
        "CMYK with a profile",
        "a.tif",
        save(Image.frombytes("CMYK", (4, 1), INKS.tobytes()), "TIFF", icc_profile=cmyk_profile()),
        np.array([[[255], [145], [145], [0]]]).repeat(3, axis=2),  # CIE Lab (60, 0, 0) is sRGB 145
        1,
    ),
    Case(
        COLORS,
        "JPEG 2000 with Display P3",
        "a.jp2",
        lambda: jpeg2000_with(P3_PROFILE),
        to_srgb(RGB, P3, srgb_light),
        2,
    ),
    Case(COLORS, "AVIF that names Display P3", "a.avif", avif_of_p3, to_srgb(decoded(avif_of_p3), P3, srgb_light), 2),
    Case(
        COLORS,
        "CIE Lab",
        "a.tif",
        save(Image.fromarray(RGB).convert("LAB"), "TIFF"),
        np.asarray(Image.fromarray(RGB).convert("LAB").convert("RGB")),
    ),
    Case(OTHER, "JPEG 2000", "a.jp2", save(RGB, "JPEG2000"), RGB),
    Case(OTHER, "SVG", "a.svg", lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', None),
    Case(OTHER, "PDF", "a.pdf", lambda: b"%PDF-1.7\n", None),
    Case(OTHER, "camera raw", "a.dng", tiff(RGB, bits=8, photometric=2), None),
    Case(
        OTHER,
        "camera raw under another name",
        "a.tif",
        tiff(RGB, bits=8, photometric=2, extra=[(50706, (1, [1, 4, 0, 0]))]),
        None,
    ),
    Case(OTHER, "video", "a.mp4", lambda: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", None),
    Case(OTHER, "HEIC without the plug-in", "a.heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None),
    Case(OTHER, "JPEG XL without the plug-in", "a.jxl", lambda: b"\xff\x0a" + bytes(20), None),
    Case(OTHER, "text under a picture's name", "a.png", lambda: b"not a picture", None),
    Case(OTHER, "a PNG that was cut", "a.png", lambda: save(smooth())()[:300], None),
    Case(OTHER, "a claim of 20,000×20,000 pixels", "a.ppm", lambda: b"P6\n20000 20000\n255\n", None),
]


def outcome(case: Case, folder: Path) -> tuple[np.ndarray | None, list[str], str]:
    """Read a case's file: pixels, notes, and what happened in words."""
    path = folder / case.name
    path.write_bytes(case.make())
    notes: list[str] = []
    try:
        with mock.patch.dict(sys.modules, {"pillow_heif": None, "pillow_jxl": None}):
            pixels = read_image(path, notes.append, background=case.background)
    except ImageError as error:
        return None, notes, "refused: " + str(error).replace(str(path), "the file")
    kind = "gray" if pixels.shape[2] == 1 else "RGB"
    return pixels, notes, "; ".join([kind, *(note.removeprefix(f"{path}: ") for note in notes)])


def table() -> str:
    lines = ["| input | what happens |", "| --- | --- |"]
    group = ""
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case.group != group:
                group = case.group
                lines.append(f"| **{group}** | |")
            words = outcome(case, Path(folder))[2].replace("|", "\\|")
            lines.append(f"| {case.input} | {words} |")
    return "\n".join(lines) + "\n"


def document(text: str) -> str:
    """The page with the table made anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text()))
