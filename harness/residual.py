"""The residual image of the hybrid layered codec, mapped to 8 bits for a standard codec (Fu 2019, §2.3).

r = x − x', −255 … 255  ──map──▶  0 … 255  ──codec──▶  0 … 255  ──unmap──▶  r'
"""

import dataclasses
import struct
from typing import ClassVar

import numpy as np

from codec_zoo.errors import BitstreamError

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
    def choose(cls, name: str, residual: np.ndarray) -> "Mapping":
        """The mapping ``name`` (see ``MAPPINGS``) for a residual image ``int16 [H, W, 3]``."""
        if name == "shift":
            return cls(cls.SHIFT, -255, 255)
        if name == "clip":
            return cls(cls.CLIP, -CLIPPED, CLIPPED)
        if name == "minmax":
            low, high = int(residual.min()), int(residual.max())
            return cls(cls.MINMAX, low, max(high, low + 1))
        raise ValueError(f"the mapping must be one of {', '.join(MAPPINGS)}. Received: {name!r}")

    def apply(self, residual: np.ndarray) -> np.ndarray:
        """Eq. 4: residuals ``int16``, −255 … 255 → ``uint8`` of the same shape."""
        clipped = np.clip(residual, self.low, self.high).astype(np.float64)
        return np.rint((clipped - self.low) / (self.high - self.low) * 255).astype(np.uint8)

    def invert(self, mapped: np.ndarray) -> np.ndarray:
        """``uint8`` → residuals ``int16`` of the same shape."""
        return np.rint(mapped / 255.0 * (self.high - self.low) + self.low).astype(np.int16)

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


def beyond_clip(residual: np.ndarray) -> float:
    """Mean squared error, per sample, that the mapping ``clip`` does by clipping ``int16 [H, W, 3]``."""
    return float(np.mean(np.square(np.maximum(np.abs(residual) - CLIPPED, 0).astype(np.float64))))
