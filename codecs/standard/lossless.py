"""Standard lossless codecs through Pillow and imagecodecs; gray images stay gray.

The lossless JPEG of 1992 is missing: the decoder that imagecodecs has for it crashes on damaged files.
"""

import struct
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from codec_zoo.codecs.standard.base import Codec, check_declared_size, check_rgb
from codec_zoo.codecs.standard.pillow_formats import PillowCodec, save
from codec_zoo.errors import BitstreamError

END_OF_IMAGE = b"\xff\xd9"


class LosslessPillowCodec(PillowCodec):
    """A lossless format of Pillow's."""

    takes_gray = True

    def __init__(self) -> None:
        pass

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, self.max_side, self.format, (1, 3))
        return save(
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), self.format, self.save_arguments()
        )

    def convert(self, image: Image.Image) -> np.ndarray:
        """Gray images come back as such."""
        return np.asarray(image)[..., None] if image.mode == "L" else super().convert(image)


class PNG(LosslessPillowCodec):
    """PNG, at zlib's highest effort."""

    name = "png"
    format = "PNG"

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {"optimize": True}


class LosslessJPEG2000(LosslessPillowCodec):
    """JPEG 2000, 5/3 wavelet and reversible colour transform; a bare codestream."""

    name = "jpeg2000-lossless"
    format = "JPEG2000"

    def save_arguments(self) -> dict[str, Any]:
        """See the class."""
        return {"irreversible": False, "mct": 1, "no_jp2": True}


class JPEGLS(Codec):
    """JPEG-LS (ISO/IEC 14495-1) by CharLS; R, G, B stand one below the other. The first byte is their number."""

    name = "jpeg-ls"
    takes_gray = True

    @property
    def library(self) -> str:
        """See ``Codec.library``."""
        return imagecodecs.jpegls_version()

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, 65535 // 3, "JPEG-LS", (1, 3))
        planes = np.concatenate(list(np.moveaxis(image, -1, 0)))
        return bytes([image.shape[2]]) + bytes(imagecodecs.jpegls_encode(planes))

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``: from the frame header."""
        start = data.find(b"\xff\xf7")
        if data[:1] not in (b"\1", b"\3") or data[1:3] != b"\xff\xd8" or not 0 < start <= len(data) - 9:
            raise BitstreamError("this is not a JPEG-LS file, or its header is cut.")
        height, width = struct.unpack(">HH", data[start + 5 : start + 9])
        return width, height // data[0]

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        width, height = self.declared_size(data)
        check_declared_size(width, height)
        if not data.endswith(END_OF_IMAGE):  # CharLS takes seconds to find out
            raise BitstreamError("the JPEG-LS file is cut.")
        try:
            planes = imagecodecs.jpegls_decode(data[1:])
        except Exception as error:  # imagecodecs raises many kinds
            raise BitstreamError(f"the JPEG-LS file is cut or damaged: {error}") from error
        if planes.shape != (height * data[0], width) or planes.dtype != np.uint8:
            raise BitstreamError("the JPEG-LS file does not hold what its header says.")
        return np.moveaxis(planes.reshape(data[0], height, width), 0, -1)
