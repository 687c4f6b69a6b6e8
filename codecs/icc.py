"""ICC profiles made of primaries, white point and gamma, for files that name these instead of holding a profile."""

import functools
import struct

import numpy as np

Chromaticity = tuple[float, ...]  # x, y of CIE 1931
WHITE_D65: Chromaticity = (0.3127, 0.3290)
SRGB: tuple[Chromaticity, ...] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_RGB: tuple[Chromaticity, ...] = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@functools.lru_cache(maxsize=16)
def matrix_profile(
    primaries: tuple[Chromaticity, ...], white: Chromaticity, gamma: float | None, name: str = "made of primaries"
) -> bytes:
    """An ICC profile, version 4, of a display with three primaries and one curve.

    Args:
        primaries: chromaticities of red, green and blue.
        white: of the white point.
        gamma: exponent of the curve from samples to light; None for sRGB's curve.
        name: the profile's description.
    """
    colorants = _colorants(primaries, white)
    curve = b"para" + bytes(4)
    if gamma is None:
        curve += struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve += struct.pack(">HH", 0, 0) + _fixed(gamma)
    text = name.encode("utf-16-be")
    tags = {
        b"desc": b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text,
        b"wtpt": b"XYZ " + bytes(4) + _fixed(*_WHITE_D50),
        **{kind: b"XYZ " + bytes(4) + _fixed(*colorants[:, i]) for i, kind in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for kind, value in tags.items():
        table += struct.pack(">4sII", kind, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(28) + _fixed(*_WHITE_D50)
    return head.ljust(128, b"\0") + table + body


def _colorants(primaries: tuple[Chromaticity, ...], white: Chromaticity) -> np.ndarray:
    """XYZ of full red, green and blue in the columns, adapted to D50 (Bradford)."""
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    source = np.array([white[0] / white[1], 1.0, (1 - white[0] - white[1]) / white[1]])
    xyz = xyz * np.linalg.solve(xyz, source)
    scale = (_BRADFORD @ _WHITE_D50) / (_BRADFORD @ source)
    return np.linalg.inv(_BRADFORD) @ (scale[:, None] * _BRADFORD) @ xyz


def _fixed(*values: float) -> bytes:
    """Numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))
