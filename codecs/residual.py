"""The residual image of the hybrid layered codec, mapped to 8 bits for a standard codec (Fu 2019, §2.3).

r = x − x', −255 … 255  ──map──▶  0 … 255  ──codec──▶  0 … 255  ──unmap──▶  r'
"""

import dataclasses
import struct
from typing import ClassVar

import numpy as np

from codec_zoo.errors import BitstreamError

# Values that are looked up at once.
_PART = 2**20
# The bound of the mapping "clip" (§2.3).
CLIPPED = 120


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A linear mapping of residuals ``low … high`` to 0 … 255; residuals beyond are clipped.

    ``shift`` (Eq. 3) is the case −255 … 255; ``minmax`` (Eq. 4) takes the image's own bounds, which
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
        clipped = np.clip(np.arange(-255, 256), self.low, self.high).astype(np.float64)
        return _look_up(np.rint((clipped - self.low) / (self.high - self.low) * 255).astype(np.uint8), residual, 255)

    def invert(self, mapped: np.ndarray) -> np.ndarray:
        """``uint8`` → residuals ``int16`` of the same shape."""
        values = np.arange(256) / 255.0 * (self.high - self.low) + self.low
        return _look_up(np.rint(values).astype(np.int16), mapped)

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


def _look_up(table: np.ndarray, values: np.ndarray, offset: int = 0) -> np.ndarray:
    """``table[values + offset]``, in parts: NumPy looks up by int64, of which a whole picture would take much."""
    flat = values.reshape(-1)
    result = np.empty(flat.shape, table.dtype)
    for start in range(0, len(flat), _PART):
        result[start : start + _PART] = table[flat[start : start + _PART] + offset]
    return result.reshape(values.shape)


MAPPINGS = ("shift", "minmax", "clip")


def beyond_clip(residual: np.ndarray) -> float:
    """Mean squared error, per sample, that the mapping ``clip`` does by clipping ``int16 [H, W, 3]``."""
    beyond = np.maximum(np.abs(residual) - CLIPPED, 0)  # at most 135, whose square fits into int16
    return float(np.square(beyond).mean(dtype=np.float64))
