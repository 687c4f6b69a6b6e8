"""Standard lossless codecs through Pillow and imagecodecs; gray pictures stay gray."""

import struct
from collections.abc import Callable
from typing import Any, ClassVar

import imagecodecs
import numpy as np
from PIL import Image

from codec_zoo.errors import BitstreamError
from codec_zoo.harness.codecs.base import Codec, check_declared_size, check_rgb
from codec_zoo.harness.codecs.standard import PillowCodec, save


class LosslessPillowCodec(PillowCodec):
    """A lossless format of Pillow's."""

    takes_gray = True

    def __init__(self):
        pass

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, self.max_side, self.format, (1, 3))
        return save(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), self.format, self.options())

    def convert(self, image: Image.Image) -> np.ndarray:
        """Gray pictures come back as such."""
        return np.asarray(image)[..., None] if image.mode == "L" else super().convert(image)


class PNG(LosslessPillowCodec):
    """PNG, at zlib's highest effort."""

    name = "png"
    format = "PNG"

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"optimize": True}


class LosslessJPEG2000(LosslessPillowCodec):
    """JPEG 2000, 5/3 wavelet and reversible colour transform; a bare codestream."""

    name = "jpeg2000-lossless"
    format = "JPEG2000"

    def options(self) -> dict[str, Any]:
        """See the class."""
        return {"irreversible": False, "mct": 1, "no_jp2": True}


class PlanarJPEG(Codec):
    """Lossless formats of the JPEG family for gray pictures; R, G, B stand one below the other."""

    takes_gray = True
    marker: ClassVar[int]
    coders: ClassVar[tuple[Callable[..., Any], Callable[..., Any]]]

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``; the first byte is the number of channels."""
        check_rgb(image, 65535 // image.shape[-1], self.name, (1, 3))
        planes = np.concatenate(list(np.moveaxis(image, -1, 0)))
        return bytes([image.shape[2]]) + bytes(self.coders[0](planes))

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``: from the frame header."""
        start = data.find(bytes([0xFF, self.marker]))
        if data[:1] not in (b"\1", b"\3") or data[1:3] != b"\xff\xd8" or not 0 < start <= len(data) - 9:
            raise BitstreamError(f"this is not a {self.name} file, or its header is cut.")
        height, width = struct.unpack(">HH", data[start + 5 : start + 9])
        return width, height // data[0]

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        width, height = self.declared_size(data)
        check_declared_size(width, height)
        try:
            planes = self.coders[1](data[1:])
        except Exception as error:  # imagecodecs raises many kinds
            raise BitstreamError(f"the {self.name} file is cut or damaged: {error}") from error
        if planes.shape != (height * data[0], width) or planes.dtype != np.uint8:
            raise BitstreamError(f"the {self.name} file does not hold what its header says.")
        return np.moveaxis(planes.reshape(data[0], height, width), 0, -1)


class JPEGLS(PlanarJPEG):
    """JPEG-LS (ISO/IEC 14495-1)."""

    name = "jpeg-ls"
    marker = 0xF7
    coders = (imagecodecs.jpegls_encode, imagecodecs.jpegls_decode)


class LosslessJPEG(PlanarJPEG):
    """Lossless JPEG of 1992 (ISO/IEC 10918-1, process 14)."""

    name = "jpeg-lossless"
    marker = 0xC3
    coders = (imagecodecs.ljpeg_encode, imagecodecs.ljpeg_decode)
