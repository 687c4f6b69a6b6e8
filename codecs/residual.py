"""The residual image of the hybrid layered codec, mapped to 8 bits for a standard codec (Fu 2019, §2.3).

r = x − x', −255 … 255  ──map──▶  0 … 255  ──codec──▶  0 … 255  ──unmap──▶  r'

The mapping ``auto`` (beyond the paper) is ``clip``, unless clipping spoils the image more than the quantiser does:
hard edges, as of text. Then the residual is coded with ``clip`` and with ``minmax``, and the better is kept.
"""

import dataclasses
import struct
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from codec_zoo.errors import BitstreamError

# Values that are worked on at once.
_PART = 2**18
# The bound of the mapping "clip" (§2.3).
CLIPPED = 120


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A linear map of residuals ``low … high`` to 0 … 255; what lies beyond is clipped.

    ``shift`` (Eq. 3) is the case −255 … 255; ``minmax`` (Eq. 4) takes the picture's own bounds, which
    travel in the stream; ``clip`` is Eq. 4 with −120 … 120.
    """

    SHIFT: ClassVar[int] = 0
    MINMAX: ClassVar[int] = 1
    CLIP: ClassVar[int] = 2

    kind: int
    low: int
    high: int

    @classmethod
    def choose(cls, name: str, low: int, high: int) -> "Mapping":
        """The mapping ``name`` (see ``MAPPINGS``) for residuals that reach from ``low`` to ``high``."""
        if name == "shift":
            return cls(cls.SHIFT, -255, 255)
        if name == "clip":
            return cls(cls.CLIP, -CLIPPED, CLIPPED)
        if name == "minmax":
            return cls(cls.MINMAX, low, max(high, low + 1))
        raise ValueError(f"the mapping must be one of {', '.join(MAPPINGS)}. Received: {name!r}")

    def apply(self, residual: np.ndarray) -> np.ndarray:
        """Eq. 4: residuals ``int16``, −255 … 255 → ``uint8`` of the same shape."""
        clipped = np.clip(np.arange(-255, 256), self.low, self.high).astype(np.float64)
        table = np.rint((clipped - self.low) / (self.high - self.low) * 255).astype(np.uint8)
        return table.take(residual + 255)

    def invert(self, mapped: np.ndarray) -> np.ndarray:
        """``uint8`` → residuals ``int16`` of the same shape."""
        values = np.arange(256) / 255.0 * (self.high - self.low) + self.low
        return np.rint(values).astype(np.int16).take(mapped)

    def to_bytes(self) -> bytes:
        """The mapping in the stream: its kind, and for ``minmax`` its bounds (5 bytes)."""
        bounds = struct.pack(">hh", self.low, self.high) if self.kind == self.MINMAX else b""
        return bytes([self.kind]) + bounds

    @classmethod
    def from_bytes(cls, data: bytes) -> "tuple[Mapping, bytes]":
        """Parse :meth:`to_bytes`; returns the mapping and the bytes after it.

        Raises:
            BitstreamError: not a mapping.
        """
        kind = data[0] if data else None
        if kind == cls.SHIFT:
            return cls(kind, -255, 255), data[1:]
        if kind == cls.CLIP:
            return cls(kind, -CLIPPED, CLIPPED), data[1:]
        if kind == cls.MINMAX and len(data) >= 5:
            low, high = struct.unpack(">hh", data[1:5])
            if -255 <= low < high <= 256:
                return cls(kind, low, high), data[5:]
        raise BitstreamError("the residual layer names no valid mapping: the file is damaged.")


MAPPINGS = ("shift", "minmax", "clip")


def strips(image: np.ndarray, coarse: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The residual ``image − coarse`` of ``uint8 [H, W, 3]``, int16, in strips: whole, it would take much memory."""
    rows = max(1, _PART // image[0].size)
    for top in range(0, len(image), rows):
        part = slice(top, top + rows)
        yield part, np.subtract(image[part], coarse[part], dtype=np.int16)


def bounds_of(image: np.ndarray, coarse: np.ndarray) -> tuple[int, int]:
    """The least and the greatest residual."""
    found = [(int(residual.min()), int(residual.max())) for _, residual in strips(image, coarse)]
    return min(low for low, _ in found), max(high for _, high in found)


def map_residual(mapping: Mapping, image: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """The residual, mapped: ``uint8 [H, W, 3]``."""
    mapped = np.empty(image.shape, np.uint8)
    for part, residual in strips(image, coarse):
        mapped[part] = mapping.apply(residual)
    return mapped


def add_residual(coarse: np.ndarray, mapping: Mapping, mapped: np.ndarray) -> np.ndarray:
    """The image of a coarse one and a mapped residual: ``uint8 [H, W, 3]``."""
    image = np.empty(coarse.shape, np.uint8)
    rows = max(1, _PART // coarse[0].size)
    for top in range(0, len(coarse), rows):
        part = slice(top, top + rows)
        image[part] = np.clip(coarse[part] + mapping.invert(mapped[part]), 0, 255)
    return image


def squared_error(image: np.ndarray, shown: np.ndarray) -> int:
    """Of two images ``uint8 [H, W, 3]``, all samples together."""
    return sum(int(np.square(part.astype(np.int32)).sum(dtype=np.int64)) for _, part in strips(image, shown))


def beyond_clip(image: np.ndarray, coarse: np.ndarray) -> float:
    """Mean squared error, a sample, that the mapping ``clip`` does by clipping."""
    total = 0
    for _, residual in strips(image, coarse):
        beyond = np.maximum(np.abs(residual) - CLIPPED, 0)  # at most 135, whose square fits into int16
        total += int(np.square(beyond).sum(dtype=np.int64))
    return total / image.size


def step(quality: float) -> float:
    """HEVC's quantiser step at a QP."""
    return 2 ** ((quality - 4) / 6)
