"""The one interface of all codecs: standard ones, and those made of an exported model and codec steps."""

from typing import ClassVar

import numpy as np


class Codec:
    """Turns a picture into the bytes of a complete file and back.

    A picture is ``uint8 [H, W, 3]`` RGB, any size from 1×1 up; what a library cannot take (small or odd
    sides) the codec pads, and crops again.

    Attributes:
        name: name in tables and on the command line, e.g. ``"bpg-ycbcr444"``.
        quality: the rate parameter in the codec's own unit, or None for a lossless codec.
        qualities: the rates at which the codec is drawn in rate–distortion curves, low rate first.
    """

    name: ClassVar[str]
    qualities: ClassVar[tuple[float, ...]] = ()
    quality: float | None = None

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``image``.

        Args:
            image: ``uint8 [H, W, 3]`` RGB.

        Returns:
            The bytes of a complete file; its length is what counts as rate.

        Raises:
            ImageError: not such an array, or larger than the format allows.
        """
        raise NotImplementedError

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a file.

        Returns:
            ``uint8 [H, W, 3]`` RGB of the size that was coded.

        Raises:
            BitstreamError: foreign, cut or damaged data.
        """
        raise NotImplementedError
