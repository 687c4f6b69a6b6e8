"""Standard lossy codecs through Pillow and imagecodecs, at the settings that give the best RGB PSNR."""

import io
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from codec_zoo.color import ycbcr_to_rgb
from codec_zoo.errors import BitstreamError, CodecZooError
from codec_zoo.harness.codecs.base import Codec, YCbCrCodec, check_declared_size, check_rgb, checked_quality
from codec_zoo.image_reader import open_format


def save(image: Image.Image, file_format: str, options: Mapping[str, Any]) -> bytes:
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


class PillowCodec(Codec):
    """A codec whose file Pillow writes and reads; a subclass names the format and its options."""

    format: ClassVar[str]
    max_side: ClassVar[int] = 65535
    # The least and the greatest quality, and whether it is a whole number.
    takes: ClassVar[tuple[float, float, bool]] = (1, 100, True)
    quality: float

    def __init__(self, quality: float):
        self.quality = checked_quality(quality, "the quality", *self.takes)

    def options(self) -> dict[str, Any]:
        """Arguments of ``Image.save``."""
        raise NotImplementedError

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, self.max_side, self.format)
        return save(Image.fromarray(image), self.format, self.options())

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

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "subsampling": "4:4:4", "optimize": True, "progressive": True}


class JPEG420(JPEG, YCbCrCodec):
    """JPEG 4:2:0, baseline, with optimised Huffman tables: what cameras write. Gray pictures give gray files.

    Quality: libjpeg's, 1 … 100.
    """

    name = "jpeg-420"
    takes_gray = True

    def options(self) -> dict[str, Any]:
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
        return save(image, self.format, self.options())

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``; a gray file gives luma alone, ``[H, W, 1]``."""
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
    what pictures have there: the square root of the mean of min(q, 60)² / 12.
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

    def options(self) -> dict[str, Any]:
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

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "method": 6}


class AVIF(PillowCodec):
    """AVIF 4:4:4, tuned for PSNR. Quality: Pillow's, 0 … 100."""

    name = "avif"
    format = "AVIF"
    qualities = (20, 35, 50, 62, 74, 84)
    takes = (0, 100, True)

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {
            "quality": self.quality,
            "subsampling": "4:4:4",
            "speed": 4,
            "advanced": {"tune": "psnr"},
            "max_threads": 1,
        }
