"""FLIF (Sneyers & Wuille 2016) through the ``flif`` executable, where the PATH has one."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.codecs.standard.base import Codec, check_declared_size, check_rgb
from codec_zoo.errors import BitstreamError, CodecZooError

TIMEOUT_S = 120


def available() -> bool:
    """Whether a ``flif`` executable is on the PATH."""
    return shutil.which("flif") is not None


class FLIF(Codec):
    """FLIF, lossless, at its highest effort.

    Raises:
        CodecZooError: there is no ``flif`` executable.
    """

    name = "flif"

    def __init__(self) -> None:
        if not available():
            raise CodecZooError("there is no flif executable on the PATH. Install FLIF, or use jxl-lossless.")

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, 2**20, "FLIF")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.flif"
            Image.fromarray(image).save(source)
            self._run("-e", "-E100", source, target)
            return target.read_bytes()

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``: two numbers in groups of 7 bits, less 1, after six bytes."""
        if data[:4] != b"FLIF":
            raise BitstreamError(f"this is not a FLIF file: it starts with {data[:4].hex() or 'nothing'}.")
        sizes, value = [], 0
        for byte in data[6:16]:
            value = value << 7 | byte & 127
            if byte < 128:
                sizes.append(value + 1)
                value = 0
            if len(sizes) == 2:
                return sizes[0], sizes[1]
        raise BitstreamError("the FLIF file is cut inside its header.")

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        check_declared_size(*self.declared_size(data))
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.flif", Path(folder) / "out.png"
            source.write_bytes(data)
            self._run("-d", source, target)
            with Image.open(target) as image:
                return np.asarray(image.convert("RGB"))

    def _run(self, *arguments: str | Path) -> None:
        try:
            subprocess.run(["flif", *map(str, arguments)], check=True, capture_output=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise BitstreamError(
                f"flif failed: {error}. The file is damaged, or flif is broken.",
                "Fetch the file again, or install FLIF anew.",
            ) from error
