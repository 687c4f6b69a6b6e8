"""JPEG XL, lossy and lossless, as bare codestreams (ISO/IEC 18181-1) through imagecodecs.

Lossless JPEG XL is the successor, by the same author, of FLIF, which no package index has any more; on compact
images it is the smaller of the two.
"""

from typing import ClassVar

import imagecodecs
import numpy as np

from codec_zoo.errors import BitstreamError
from codec_zoo.harness.codecs.base import Codec, check_declared_size, check_rgb, checked_quality

MAX_SIDE = 2**18
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


class JPEGXL(Codec):
    """JPEG XL, lossy. Quality: Butteraugli distance, 0.1 (finest) … 25."""

    name = "jxl"
    qualities: ClassVar[tuple[float, ...]] = (12, 7, 4.5, 2.8, 1.6, 0.9)

    def __init__(self, quality: float):
        self.quality = checked_quality(quality, "the distance", 0.1, 25, whole=False)

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "JPEG XL")
        return bytes(
            imagecodecs.jpegxl_encode(image, distance=self.quality, effort=7, usecontainer=False, numthreads=1)
        )

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``. Codestream header: ISO/IEC 18181-1, D.2 (SizeHeader)."""
        if data[:2] != b"\xff\x0a":
            raise BitstreamError(f"this is not a JPEG XL codestream: it starts with {data[:4].hex() or 'nothing'}.")
        # Fields are packed from the lowest bit up.
        bits = int.from_bytes(data[2:16].ljust(14, b"\0"), "little")

        def take(count: int) -> int:
            nonlocal bits
            value = bits & (1 << count) - 1
            bits >>= count
            return value

        def side(small: bool) -> int:
            return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

        small = bool(take(1))
        height = side(small)
        ratio = take(3)
        if not ratio:
            return side(small), height
        numerator, denominator = _RATIOS[ratio]
        return height * numerator // denominator, height

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        width, height = self.declared_size(data)
        check_declared_size(width, height)
        try:
            image = imagecodecs.jpegxl_decode(data, numthreads=1)
        except Exception as error:  # imagecodecs raises plain RuntimeError and ValueError
            raise BitstreamError(f"the JPEG XL file is cut or damaged: {error}") from error
        image = image[..., None] if image.ndim == 2 and self.takes_gray else image
        if image.dtype != np.uint8 or image.shape not in ((height, width, 3), (height, width, 1)):
            raise BitstreamError(
                f"the JPEG XL file holds {image.dtype} {list(image.shape)}, not 8-bit samples of the declared size."
            )
        return image


class LosslessJPEGXL(JPEGXL):
    """JPEG XL, lossless (modular mode): what comes back is what went in, to the last bit."""

    name = "jxl-lossless"
    qualities = ()
    takes_gray = True

    def __init__(self):
        self.quality = None

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "JPEG XL", (1, 3))
        given = image[..., 0] if image.shape[2] == 1 else image
        return bytes(imagecodecs.jpegxl_encode(given, lossless=True, effort=9, usecontainer=False, numthreads=1))
