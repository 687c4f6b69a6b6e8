"""JPEG XL, lossy and lossless, as bare codestreams (ISO/IEC 18181-1) through imagecodecs.

Lossless JPEG XL is the successor, by the same author, of FLIF, which no package index has any more; on compact
images it is the smaller of the two.
"""

from typing import ClassVar

import imagecodecs
import numpy as np

from codec_zoo.codecs.standard.base import Codec, check_declared_size, check_rgb, checked_quality
from codec_zoo.errors import BitstreamError

MAX_SIDE = 2**18
# Frames that others may be put together from come before the image; this encoder writes one, of repeated letters.
MAX_FRAMES = 4
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
# Distributions of the format's U32: offset and number of bits of each of four choices.
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
_CROP = ((0, 8), (256, 11), (2304, 14), (18688, 30))
_SECTION = ((0, 10), (1024, 14), (17408, 22), (4211712, 30))
_REGULAR, _REFERENCE = 0, 2
_GRAY = 1
_LF_FRAME = 32  # a flag: the image's low frequencies are in a frame of their own


class _BitReader:
    """Reads the fields of a codestream, packed from the lowest bit up (ISO/IEC 18181-1, annex B)."""

    def __init__(self, data: bytes):
        self._data = data
        self.position = 0  # bits

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        end = self.position + count
        if end > 8 * len(self._data):
            raise BitstreamError("the JPEG XL file is cut or damaged: its headers go beyond its end.")
        first = self.position // 8
        window = int.from_bytes(self._data[first : -(-end // 8)], "little")
        value = window >> (self.position - 8 * first) & ((1 << count) - 1)
        self.position = end
        return value

    def u32(self, *choices: tuple[int, int]) -> int:
        """One of four distributions."""
        start, count = choices[self.u(2)]
        return start + self.u(count)

    def expect(self, value: int, count: int, feature: str) -> None:
        """A field of which only one value is read here."""
        if self.u(count) != value:
            raise BitstreamError(f"the JPEG XL file {feature}, which no file of this program does.")

    def align(self) -> None:
        """On to a whole byte."""
        self.u(-self.position % 8)


def _read_size(bits: _BitReader) -> tuple[int, int]:
    """Width and height: signature and SizeHeader (D.2)."""
    if bits.u(16) != 0x0AFF:
        raise BitstreamError("this is not a JPEG XL codestream: it starts with other bytes.")

    def side(small: int) -> int:
        return 8 * (bits.u(5) + 1) if small else bits.u32(*_SIDE)

    small = bits.u(1)
    height = side(small)
    ratio = bits.u(3)
    if not ratio:
        return side(small), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def check_codestream(data: bytes) -> bool:
    """Look through a codestream's headers.

    libjxl takes whatever the format allows, and stops at the image's end: it would turn an image, apply a profile,
    and give the first frame of an animation.

    Returns:
        Whether they say where the image ends. A permuted table of contents, as libjxl writes it for sides over 2048
        pixels, is not read here.

    Raises:
        BitstreamError: a feature that this program's encoder does not use, more frames than :data:`MAX_FRAMES`, a
            frame larger than the image, fewer bytes than declared, or more.
    """
    bits = _BitReader(data)
    width, height = _read_size(bits)
    xyb = _read_metadata(bits)
    for _ in range(MAX_FRAMES):
        bits.align()
        last, permuted = _read_frame(bits, width, height, xyb)
        if last and permuted:
            return False
        left = len(data) - bits.position // 8
        if permuted or left < 0 or (last and left):
            raise BitstreamError(
                f"the JPEG XL file is cut or damaged: {len(data)} bytes, {len(data) - left} declared in its frames."
            )
        if last:
            return True
    raise BitstreamError(f"the JPEG XL file has more than {MAX_FRAMES} frames.")


def _read_metadata(bits: _BitReader) -> int:
    """ImageMetadata (D.3): 8-bit gray or sRGB and nothing beside; returns whether samples are in XYB."""
    xyb = 1
    if not bits.u(1):
        bits.expect(0, 1, "has an orientation, a preview or an animation")
        bits.expect(0, 1, "has samples in floating point")
        if bits.u32((8, 0), (10, 0), (12, 0), (1, 6)) != 8:
            raise BitstreamError("the JPEG XL file has not 8 bits a sample.")
        bits.u(1)
        bits.expect(0, 2, "has extra channels")
        xyb = bits.u(1)
        if not bits.u(1):
            bits.expect(0, 1, "has an ICC profile")
            space = bits.u32(*_ENUM)
            white, primaries = bits.u32(*_ENUM), 1 if space == _GRAY else bits.u32(*_ENUM)
            bits.expect(0, 1, "has a gamma")
            if (white, primaries, bits.u32(*_ENUM)) != (1, 1, 13) or space > _GRAY:
                raise BitstreamError("the JPEG XL file is neither gray nor sRGB.")
            bits.u32(*_ENUM)
        bits.expect(0, 2, "has extensions")
    bits.expect(1, 1, "brings its own upsampling weights or colour matrix")
    return xyb


def _read_frame(bits: _BitReader, width: int, height: int, xyb: int) -> tuple[bool, bool]:
    """FrameHeader (F.2) and table of contents (F.3.3); goes on behind the frame's sections.

    Returns:
        Whether it is the image, and whether its table is permuted: then it is not read.
    """
    last, shift = True, 1
    if not bits.u(1):
        kind, modular = bits.u(2), bits.u(1)
        if kind not in (_REGULAR, _REFERENCE):
            raise BitstreamError("the JPEG XL file has frames of a kind that this program does not write.")
        last = kind == _REGULAR
        if _read_flags(bits) & _LF_FRAME:
            raise BitstreamError("the JPEG XL file keeps low frequencies in a frame of their own: not supported.")
        if not xyb:
            bits.expect(0, 1, "is a JPEG file packed anew")
        factor = 1 << bits.u(2)
        if factor > 1 and not xyb:
            raise BitstreamError("the JPEG XL file is to be scaled up, which no lossless file is.")
        width, height = -(-width // factor), -(-height // factor)
        shift = bits.u(2) if modular else 1
        if xyb and not modular:
            bits.u(6)
        if last:
            bits.expect(0, 2, "is progressive")
            bits.expect(0, 1, "has a frame that is a part of the picture")
            bits.expect(0, 2, "blends frames")
            bits.expect(1, 1, "has several pictures")
        else:
            if bits.u(1):
                across, down = bits.u32(*_CROP), bits.u32(*_CROP)
                if across > width or down > height:
                    raise BitstreamError("the JPEG XL file has a frame larger than its picture.")
                width, height = across, down
            bits.u(3)  # where it is kept, and whether before the colour transform
        bits.u(8 * bits.u32((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
        _skip_restoration(bits, modular)
        bits.expect(0, 2, "has extensions")
    side = 128 << shift
    groups = -(-width // side) * -(-height // side)
    sections = 1 if groups == 1 else 2 + -(-width // (8 * side)) * -(-height // (8 * side)) + groups
    if bits.u(1):
        return last, True
    bits.align()
    length = sum(bits.u32(*_SECTION) for _ in range(sections))
    bits.align()
    bits.position += 8 * length
    return last, False


def _read_flags(bits: _BitReader) -> int:
    """A U64, of which no flag needs the longest form."""
    choice = bits.u(2)
    if choice == 3:
        raise BitstreamError("the JPEG XL file has flags that are not known here.")
    return (0, 1, 17)[choice] + bits.u((0, 4, 8)[choice])


def _skip_restoration(bits: _BitReader, modular: int) -> None:
    """RestorationFilter (J.2), with its own strengths only."""
    if bits.u(1):
        return
    if bits.u(1):
        bits.expect(0, 1, "brings its own smoothing weights")
    if bits.u(2):
        bits.expect(0, 2 if modular else 3, "brings its own edge-preserving filter")
        if modular:
            bits.u(16)
    bits.expect(0, 2, "has extensions")


def _decode(data: bytes) -> np.ndarray:
    try:
        return imagecodecs.jpegxl_decode(data, numthreads=1)
    except Exception as error:  # imagecodecs raises plain RuntimeError and ValueError
        raise BitstreamError(f"the JPEG XL file is cut or damaged: {error}") from error


def _is_whole(data: bytes) -> bool:
    """Whether ``data`` holds a whole image: libjxl decodes none that is cut."""
    try:
        _decode(data)
    except BitstreamError:
        return False
    return True


class JPEGXL(Codec):
    """JPEG XL, lossy. Quality: Butteraugli distance, 0.1 (finest) … 25."""

    name = "jxl"
    qualities: ClassVar[tuple[float, ...]] = (12, 7, 4.5, 2.8, 1.6, 0.9)

    def __init__(self, quality: float):
        self.quality = checked_quality(quality, "the distance", 0.1, 25, whole=False)

    @property
    def library(self) -> str:
        """See ``Codec.library``."""
        return imagecodecs.jpegxl_version()

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "JPEG XL")
        return bytes(
            imagecodecs.jpegxl_encode(image, distance=self.quality, effort=7, usecontainer=False, numthreads=1)
        )

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        return _read_size(_BitReader(data))

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        width, height = self.declared_size(data)
        check_declared_size(width, height)
        known_end = check_codestream(data)
        image = _decode(data)
        if not known_end and _is_whole(data[:-1]):
            raise BitstreamError("more bytes follow the JPEG XL picture.")
        image = image[..., None] if image.ndim == 2 and self.takes_gray else image
        if image.dtype != np.uint8 or image.shape not in ((height, width, 3), (height, width, 1)):
            raise BitstreamError(
                f"the JPEG XL file holds {image.dtype} {list(image.shape)}, not 8-bit samples of the declared size."
            )
        return image


class LosslessJPEGXL(JPEGXL):
    """JPEG XL, lossless (modular mode)."""

    name = "jxl-lossless"
    qualities = ()
    takes_gray = True

    def __init__(self) -> None:
        self.quality = None

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "JPEG XL", (1, 3))
        given = image[..., 0] if image.shape[2] == 1 else image
        return bytes(imagecodecs.jpegxl_encode(given, lossless=True, effort=9, usecontainer=False, numthreads=1))
