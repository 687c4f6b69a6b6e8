"""Standard lossy codecs through Pillow and imagecodecs, at the settings that give the best RGB PSNR."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image, features

from codec_zoo.codecs.image_formats import open_format
from codec_zoo.codecs.standard.base import Codec, YCbCrCodec, check_declared_size, check_rgb, checked_quality
from codec_zoo.color import ycbcr_to_rgb
from codec_zoo.errors import BitstreamError, CodecZooError

# Markers of JPEG: what the files here are made of.
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_APP0, _DQT, _DHT, _SOS = 0xE0, 0xDB, 0xC4, 0xDA
_BASELINE, _PROGRESSIVE = 0xC0, 0xC2
# libjpeg's own script for progressive files; each scan goes over the whole image.
MAX_SCANS = 10
# A block of 8×8 samples takes a baseline file at least two codewords, for its DC value and its end.
MAX_PIXELS_PER_BYTE = 256
# Where a scan is cut, the decoder goes on with these bits, of which any code has words.
_FILLER = b"\x35\xa9\x5c" * 16


def save(image: Image.Image, file_format: str, options: Mapping[str, Any]) -> bytes:
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


# Of each format, and the name that Pillow has for it.
_LIBRARIES = {
    "AVIF": ("libavif", "avif"),
    "JPEG": ("libjpeg-turbo", "libjpeg_turbo"),
    "JPEG2000": ("OpenJPEG", "jpg_2000"),
    "PNG": ("zlib", "zlib"),
    "WEBP": ("libwebp", "webp"),
}


class PillowCodec(Codec):
    """A codec whose file Pillow writes and reads; a subclass names the format and its options."""

    format: ClassVar[str]
    max_side: ClassVar[int] = 65535
    # The least and the greatest quality, and whether it is a whole number.
    takes: ClassVar[tuple[float, float, bool]] = (1, 100, True)
    quality: float

    def __init__(self, quality: float):
        self.quality = checked_quality(quality, "the quality", *self.takes)

    def save_arguments(self) -> dict[str, Any]:
        """Arguments of ``Image.save``."""
        raise NotImplementedError

    @property
    def library(self) -> str:
        """See ``Codec.library``."""
        name, feature = _LIBRARIES[self.format]
        return f"{name} {features.version(feature)}"

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, self.max_side, self.format)
        return save(Image.fromarray(image), self.format, self.save_arguments())

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        with self._open(data) as image:
            return image.size

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        with self._open(data) as image:
            check_declared_size(*image.size)
            try:
                return self.convert(image)
            except Exception as error:  # Pillow's decoders raise many kinds
                raise BitstreamError(f"the {self.format} file is cut or damaged: {error}") from error

    def convert(self, image: Image.Image) -> np.ndarray:
        """The pixels of a decoded file."""
        return np.asarray(image.convert("RGB"))

    def _open(self, data: bytes) -> Image.Image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return open_format(io.BytesIO(data), self.format)
        except Exception as error:
            raise BitstreamError(f"this is not a whole {self.format} file: {error}") from error


class JPEG(PillowCodec):
    """JPEG 4:4:4, progressive, with optimised Huffman tables. Quality: libjpeg's, 1 … 100."""

    name = "jpeg"
    format = "JPEG"
    qualities = (10, 20, 35, 55, 75, 87)
    steps = range(1, 101)
    frame: ClassVar[int] = _PROGRESSIVE
    luma_sampling: ClassVar[int] = 0x11

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "subsampling": "4:4:4", "optimize": True, "progressive": True}

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        return self.decode_whole(data, super().decode)

    def decode_whole(self, data: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
        """What ``decode`` makes of a file of this codec.

        libjpeg takes a scan that is cut for a whole one. So the file is decoded twice, the second time with other
        bytes behind its last scan, on which a whole image does not depend.

        Raises:
            BitstreamError: foreign, cut or damaged data.
        """
        check_jpeg(data, self.frame, self.luma_sampling)
        image = decode(data)
        if not np.array_equal(image, decode(data[:-2] + _FILLER + data[-2:])):
            raise BitstreamError("the JPEG file is cut: not all of its blocks are there.")
        return image


def check_jpeg(data: bytes, frame: int, luma_sampling: int) -> None:
    """Look through a JPEG file's segments (ITU-T T.81, annex B).

    libjpeg takes whatever the format allows: any number of scans, other colour spaces, a second image.

    Args:
        data: the file.
        frame: the marker of its one frame, baseline or progressive.
        luma_sampling: of luma, one digit each way; chroma is 1×1.

    Raises:
        BitstreamError: it has segments that this program's encoder does not write, or ends early or late.
    """
    position, scans, pixels = 2, 0, 0
    if data[:2] != _SOI:
        raise BitstreamError("this is not a JPEG file.")
    while data[position : position + 2] != _EOI:
        head, marker = data[position : position + 1], int.from_bytes(data[position + 1 : position + 2], "big")
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if head != b"\xff" or len(body) != length - 2:
            raise BitstreamError("the JPEG file is cut or damaged: its segments do not lie one behind the other.")
        if marker not in (_APP0, _DQT, _DHT, _SOS, frame) or (marker == frame and pixels):
            raise BitstreamError(f"the JPEG file has a segment that no file of this program has (FF{marker:02X}).")
        position += 2 + length
        if marker == frame:
            luma, chroma = bytes([1, luma_sampling, 0]), b"\x02\x11\x01\x03\x11\x01"
            known = b"\x01" + luma, b"\x03" + luma + chroma
            if body[:1] != b"\x08" or body[5:] not in known:
                raise BitstreamError("the JPEG file has other components than this codec's luma and chroma.")
            pixels = int.from_bytes(body[1:3], "big") * int.from_bytes(body[3:5], "big")
        elif marker == _SOS:
            scans += 1
            position = _end_of_scan(data, position)
            if scans > (1 if frame == _BASELINE else MAX_SCANS):
                raise BitstreamError("the JPEG file has too many scans.")
    if position + 2 != len(data):
        raise BitstreamError(f"{len(data) - position - 2} bytes follow the JPEG picture.")
    if not pixels or (frame == _BASELINE and pixels > MAX_PIXELS_PER_BYTE * len(data)):
        raise BitstreamError(f"the JPEG file claims {pixels} pixels in {len(data)} bytes, which cannot be.")


def _end_of_scan(data: bytes, position: int) -> int:
    """Where the next marker is; within a scan FF stands before 00."""
    while (position := data.find(b"\xff", position)) >= 0 and data[position + 1 : position + 2] == b"\x00":
        position += 2
    return len(data) if position < 0 else position


class JPEG420(JPEG, YCbCrCodec):
    """JPEG 4:2:0, baseline, with optimised Huffman tables: what cameras write. Gray images give gray files.

    Quality: libjpeg's, 1 … 100.
    """

    name = "jpeg-420"
    takes_gray = True
    frame = _BASELINE
    luma_sampling = 0x22

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "subsampling": "4:2:0", "optimize": True}

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        return self.encode_ycbcr(image) if image.ndim == 3 and image.shape[2] == 1 else super().encode(image)

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        with self._open(data) as image:
            gray = image.mode == "L"
        return self.decode_ycbcr(data) if gray else super().decode(data)

    def encode_ycbcr(self, picture: np.ndarray) -> bytes:
        """See ``YCbCrCodec.encode_ycbcr``; luma alone, ``[H, W, 1]``, gives a gray file."""
        check_rgb(picture, self.max_side, self.format, (1, 3))
        gray = picture.shape[2] == 1
        image = Image.fromarray(picture[..., 0]) if gray else Image.fromarray(picture, "YCbCr")
        return save(image, self.format, self.save_arguments())

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``; a gray file gives luma alone, ``[H, W, 1]``."""
        return self.decode_whole(data, self._to_ycbcr)

    def _to_ycbcr(self, data: bytes) -> np.ndarray:
        with self._open(data) as image:
            check_declared_size(*image.size)
            try:
                if image.mode == "L":
                    return np.asarray(image)[..., None]
                image.draft("YCbCr", None)
                return np.asarray(image.convert("YCbCr"))
            except Exception as error:  # Pillow's decoders raise many kinds
                raise BitstreamError(f"the {self.format} file is cut or damaged: {error}") from error


class JPEGWithBM3D(JPEG420):
    """JPEG, and BM3D on the decoded luma: a classic way to mend it. Quality: libjpeg's, 1 … 100.

    Needs the package ``bm3d``, which is free for research only and therefore not among the requirements. The noise
    level is that of uniform quantisation in the six lowest AC frequencies of the file's own luma table, limited to
    what images have there: the square root of the mean of min(q, 60)² / 12.
    """

    name = "jpeg-bm3d"
    qualities = (2, 3, 5, 10, 20, 30)

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``."""
        try:
            import bm3d
        except ModuleNotFoundError as error:
            raise CodecZooError("jpeg-bm3d needs the package bm3d (research only): `pip install bm3d`.") from error
        picture = super().decode_ycbcr(data)
        with self._open(data) as image:
            steps = np.minimum(np.array(image.quantization[0][1:7], np.float64), 60)  # type: ignore[attr-defined]
        luma = bm3d.bm3d(picture[..., 0].astype(np.float64), sigma_psd=float(np.sqrt(np.mean(steps**2) / 12)))
        mended = np.clip(np.rint(luma), 0, 255).astype(np.uint8)[..., None]
        return np.concatenate([mended, picture[..., 1:]], axis=-1)

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        picture = self.decode_ycbcr(data)
        return picture if picture.shape[2] == 1 else ycbcr_to_rgb(picture)


class JPEG2000(PillowCodec):
    """JPEG 2000, 9/7 wavelet and colour transform. Quality: PSNR that the encoder aims at, 1 … 100 dB."""

    name = "jpeg2000"
    format = "JPEG2000"
    qualities = (27, 29, 31, 33, 36, 39)
    takes = (1, 100, False)

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {
            "quality_mode": "dB",
            "quality_layers": [self.quality],
            "irreversible": True,
            "mct": 1,
            "no_jp2": True,
        }


class WebP(PillowCodec):
    """WebP, lossy (4:2:0 by its nature). Quality: libwebp's, 0 … 100."""

    name = "webp"
    format = "WEBP"
    max_side = 16383
    takes = (0, 100, False)
    qualities = (5, 20, 40, 65, 80, 92)

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "method": 6}


class AVIF(PillowCodec):
    """AVIF 4:4:4, tuned for PSNR. Quality: Pillow's, 0 … 100."""

    name = "avif"
    format = "AVIF"
    qualities = (20, 35, 50, 62, 74, 84)
    takes = (0, 100, True)

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {
            "quality": self.quality,
            "subsampling": "4:4:4",
            "speed": 4,
            "advanced": {"tune": "psnr"},
            "max_threads": 1,
        }
