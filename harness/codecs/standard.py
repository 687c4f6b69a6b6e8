"""Standard lossy codecs through Pillow and imagecodecs, at the settings that give the best RGB PSNR."""

import io
import warnings
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from codec_zoo.errors import BitstreamError
from codec_zoo.harness.codecs.base import Codec, YCbCrCodec, check_declared_size, check_rgb


class PillowCodec(Codec):
    """A codec whose file Pillow writes and reads; a subclass names the format and its options."""

    format: ClassVar[str]
    max_side: ClassVar[int] = 65535
    quality: float

    def __init__(self, quality: float):
        self.quality = quality

    def options(self) -> dict[str, Any]:
        """Arguments of ``Image.save``."""
        raise NotImplementedError

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, self.max_side, self.format)
        file = io.BytesIO()
        Image.fromarray(image).save(file, self.format, **self.options())
        return file.getvalue()

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        with self._open(data) as image:
            return image.size

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        with self._open(data) as image:
            check_declared_size(*image.size)
            try:
                return np.asarray(image.convert("RGB"))
            except Exception as error:  # Pillow's decoders raise many kinds
                raise BitstreamError(f"the {self.format} file is cut or damaged: {error}") from error

    def _open(self, data: bytes) -> Image.Image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Image.open(io.BytesIO(data), formats=[self.format])
        except Exception as error:
            raise BitstreamError(f"this is not a whole {self.format} file: {error}") from error


class JPEG(PillowCodec):
    """JPEG 4:4:4, progressive, with optimised Huffman tables. Quality: libjpeg's, 1 … 100."""

    name = "jpeg"
    format = "JPEG"
    qualities = (10, 20, 35, 55, 75, 87)

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": int(self.quality), "subsampling": "4:4:4", "optimize": True, "progressive": True}


class JPEG420(JPEG, YCbCrCodec):
    """JPEG 4:2:0, baseline, with optimised Huffman tables: what cameras write. Quality: libjpeg's, 1 … 100."""

    name = "jpeg-420"
    format = "JPEG"

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": int(self.quality), "subsampling": "4:2:0", "optimize": True}

    def encode_ycbcr(self, picture: np.ndarray) -> bytes:
        """See ``YCbCrCodec.encode_ycbcr``."""
        check_rgb(picture, self.max_side, self.format)
        file = io.BytesIO()
        Image.fromarray(picture, "YCbCr").save(file, self.format, **self.options())
        return file.getvalue()

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``."""
        with self._open(data) as image:
            check_declared_size(*image.size)
            try:
                image.draft("YCbCr", None)
                return np.asarray(image.convert("YCbCr"))
            except Exception as error:  # Pillow's decoders raise many kinds
                raise BitstreamError(f"the {self.format} file is cut or damaged: {error}") from error


class JPEG2000(PillowCodec):
    """JPEG 2000, 9/7 wavelet and colour transform. Quality: PSNR that the encoder aims at, dB."""

    name = "jpeg2000"
    format = "JPEG2000"
    qualities = (27, 29, 31, 33, 36, 39)

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
    qualities = (5, 20, 40, 65, 80, 92)

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"quality": self.quality, "method": 6}


class AVIF(PillowCodec):
    """AVIF 4:4:4, tuned for PSNR. Quality: Pillow's, 0 … 100."""

    name = "avif"
    format = "AVIF"
    qualities = (20, 35, 50, 62, 74, 84)

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {
            "quality": int(self.quality),
            "subsampling": "4:4:4",
            "speed": 4,
            "advanced": {"tune": "psnr"},
            "max_threads": 1,
        }
