"""Pillow reads and writes ``.czoo`` files, once :func:`register` was called (``codec_zoo.register_pillow``).

import codec_zoo as cz
from PIL import Image

cz.register_pillow()
image = Image.open("photo.czoo")                        # the size, from the header: no model is loaded
image.save("small.czoo", model="jia2019-sae-mse-e2")    # the arguments of codec_zoo.compress
"""

import io
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

from codec_zoo.codecs import api, container
from codec_zoo.errors import CodecZooError

FORMAT = "CZOO"


class CzooImageFile(ImageFile.ImageFile):
    """A ``.czoo`` file. Its pixels are decoded when they are first used.

    ``info`` has ``model`` (the preset's name, or None), ``layers`` and ``missing_layers`` (numbers).
    """

    format = FORMAT
    format_description = "Codec Zoo"
    _coded: bytes | None = None

    def _open(self) -> None:
        """Read the header.

        Raises:
            UnidentifiedImageError: the file is damaged.
        """
        assert self.fp is not None
        data = self.fp.read()
        try:
            file = api.open(data)
        except CodecZooError as error:
            raise UnidentifiedImageError(f"cannot identify image file {self.filename!r}: {error}") from error
        self._coded = data
        self._size = file.width, file.height
        self._mode = "RGB" if file.channels == 3 else "L"
        self.info = {"model": file.model, "layers": len(file.layers), "missing_layers": file.missing_layers}

    def load(self) -> "Image.core.PixelAccess | None":
        """Decode the pixels.

        Raises:
            OSError: the file cannot be decoded, e.g. since its model is not here.
        """
        if self._coded is not None:
            try:
                pixels = api.decompress(self._coded)
            except CodecZooError as error:
                raise OSError(f"cannot decode image file {self.filename!r}: {error}") from error
            self._coded = None
            if self.fp and self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(pixels.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Compress an image with the arguments of ``Image.save``; see :func:`codec_zoo.compress`."""
    file.write(api.compress(image, **image.encoderinfo))


def register() -> None:
    """Add the format to Pillow's, for this process."""
    Image.register_open(FORMAT, CzooImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".czoo")
    Image.register_mime(FORMAT, "image/x-czoo")
