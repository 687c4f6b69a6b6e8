"""Files of images, made byte by byte: PNG and TIFF of any depth, ICC profiles, EXIF."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image


def save(image, kind="PNG", **options) -> Callable[[], bytes]:
    def make():
        file = io.BytesIO()
        (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
        return file.getvalue()

    return make


def png(samples, *chunks, bits=None, color=None) -> Callable[[], bytes]:
    """A PNG of uint8 or uint16 [H, W, C], with more chunks before the pixels; ``bits`` packs fewer bits."""

    def make():
        height, width, channels = samples.shape
        kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if color is None else color
        depth = bits or samples.dtype.itemsize * 8
        if depth < 8:
            planes = np.unpackbits(samples[..., 0][..., None].astype(np.uint8), axis=2)[..., -depth:]
            rows = np.packbits(planes.reshape(height, -1), axis=1)
        else:
            rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
        lines = b"".join(b"\0" + row.tobytes() for row in rows)
        head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
        parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, parts))

    return make


def chunk(part) -> bytes:
    kind, content, *crc = part
    right = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + (crc[0] if crc else right)


def tiff(samples, *, bits, photometric, sample_format=1, extra=()) -> Callable[[], bytes]:
    """An uncompressed little-endian TIFF of [H, W, C]."""

    def make():
        height, width, channels = samples.shape
        pixels = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
        if bits == 12:
            pairs = samples.reshape(height, -1, 2).astype(np.uint32)
            packed = pairs[..., 0] << 12 | pairs[..., 1]
            pixels = np.stack([packed >> 16, packed >> 8, packed], axis=-1).astype(np.uint8).tobytes()
        tags = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [bits] * channels),
            259: (3, [1]),
            262: (3, [photometric]),
        }
        tags |= {273: (4, [8]), 277: (3, [channels]), 278: (4, [height]), 279: (4, [len(pixels)])}
        tags |= {339: (3, [sample_format] * channels), **dict(extra)}
        start = 8 + len(pixels)
        values, entries = b"", b""
        after = start + 2 + 12 * len(tags) + 4
        for tag, (kind, numbers) in sorted(tags.items()):
            content = struct.pack(f"<{len(numbers)}{'_BsHI'[kind]}", *numbers)
            if len(content) > 4:
                content, values = struct.pack("<I", after + len(values)), values + content + bytes(len(content) % 2)
            entries += struct.pack("<HHI", tag, kind, len(numbers)) + content.ljust(4, b"\0")
        return (
            b"II*\0" + struct.pack("<I", start) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4) + values
        )

    return make


def exif(orientation) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def profile(kind, space, connection, name, tags) -> bytes:
    """An ICC profile, version 2."""
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, bytes(4), 0x02100000, kind, space, connection, bytes(12), b"acsp")
    return (head + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + table + body


def gray_profile(gamma, name) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return profile(b"mntr", b"GRAY", b"XYZ ", name, {b"kTRC": curve})


def cmyk_profile() -> bytes:
    """A printer whose black is black, and whose other inks all give CIE Lab (60, 0, 0)."""
    grid = [[round(255 * (0 if k else 0.6 if c + m + y else 1)), 128, 128] for c, m, y, k in np.ndindex(2, 2, 2, 2)]
    steps = bytes(range(256))
    table = struct.pack(">4s4sBBBB9i", b"mft1", b"", 4, 3, 2, 0, 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += 4 * steps + bytes(np.ravel(grid).astype(np.uint8)) + 3 * steps
    return profile(b"prtr", b"CMYK", b"Lab ", "Test press", {b"A2B0": table, b"A2B1": table})


def adobe_rgb_of_cameras() -> bytes:
    """EXIF data of a camera set to Adobe RGB: no profile, an uncalibrated colour space, and the index R03."""
    block = Image.Exif()
    block[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    return block.tobytes()


def smooth(shape=(48, 64)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]] / max(shape)
    return np.stack([200 * rows + 20, 180 * columns + 30, 90 + 80 * rows * columns], axis=-1).astype(np.uint8)
