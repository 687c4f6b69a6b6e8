"""The one interface of all codecs: standard ones, and those made of an exported model and codec steps."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from codec_zoo.codecs.image_formats import MAX_PIXELS
from codec_zoo.errors import BitstreamError, ImageError


def check_rgb(image: np.ndarray, max_side: int, name: str, channels: tuple[int, ...] = (3,)) -> None:
    """Raise ``ImageError`` unless ``image`` is ``uint8 [H, W, 3]`` of a size that the format takes.

    Args:
        image: the image.
        max_side: of the format.
        name: of the format.
        channels: ``(1, 3)`` where it may be gray.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in channels or not image.size:
        wanted = " or ".join(map(str, channels))
        raise ImageError(f"a picture must be uint8 [H, W, {wanted}]. Received: {image.dtype} {list(image.shape)}")
    if max(image.shape[:2]) > max_side or image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(
            f"{image.shape[1]}×{image.shape[0]} pixels are too many for {name} (sides up to {max_side}). "
            "Cut the picture up."
        )


def checked_quality(quality: float, name: str, low: float, high: float, whole: bool = True) -> float:
    """``quality``, an ``int`` where it is to be whole.

    Args:
        quality: as given.
        name: of it, for the message.
        low: the least that the codec takes.
        high: the most.
        whole: whether it takes whole numbers only.

    Raises:
        ValueError: it is another.
    """
    if not low <= quality <= high or (whole and quality != int(quality)):
        kind = "whole number" if whole else "number"
        raise ValueError(f"{name} must be a {kind}, {low:g} … {high:g}. Received: {quality:g}")
    return int(quality) if whole else quality


def check_declared_size(width: int, height: int) -> None:
    """Raise ``BitstreamError`` if a file's header claims a size that must not be allocated."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise BitstreamError(f"the file claims {width}×{height} pixels: it is damaged, or too large.")


class Codec:
    """Turns an image into the bytes of a complete file and back.

    An image is ``uint8 [H, W, 3]`` RGB, any size from 1×1 up; what a library cannot take (small or odd
    sides) the codec pads, and crops again.

    Attributes:
        name: name in tables and on the command line, e.g. ``"bpg-ycbcr444"``.
        quality: the rate parameter in the codec's own unit, or None for a lossless codec.
        qualities: the rates at which the codec is drawn in rate–distortion curves, low rate first.
        steps: all whole qualities, low rate first, of a codec that models can have inside.
        takes_gray: whether ``uint8 [H, W, 1]`` is coded as such and comes back as such.
        version: bump it when the same picture and options give other bytes, or a file decodes to another picture:
            rows of earlier versions are then measured again.
    """

    name: str
    version: ClassVar[int] = 1
    qualities: ClassVar[tuple[float, ...]] = ()
    quality: float | None = None
    steps: ClassVar[Sequence[int]] = ()
    takes_gray: ClassVar[bool] = False

    @property
    def library(self) -> str | None:
        """The library that codes, with its version, e.g. ``"libjxl 0.11.2"``; None where that is this package."""
        return None

    @property
    def parts(self) -> "Sequence[Codec]":
        """The codecs inside this one: their changes are changes of its files."""
        return ()

    @property
    def options(self) -> dict[str, str | int | float]:
        """The constructor's arguments as they were resolved, defaults included; those that are None are left out.

        A codec keeps each argument in an attribute of its name. A codec inside another goes by its name.
        """
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters if name != "model"}
        return {name: plain(value) for name, value in values.items() if value is not None}

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

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """Width and height that a file claims, read without decoding it.

        Raises:
            BitstreamError: foreign or damaged data.
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


def plain(value: Any) -> str | int | float:
    """An option for JSON: a codec's name, and whole numbers without a point."""
    if isinstance(value, Codec):
        return value.name
    return int(value) if isinstance(value, float) and value.is_integer() else value


class YCbCrCodec(Codec):
    """A codec that also takes images in YCbCr, so that a filter on luma can stand behind it.

    Images are ``uint8 [H, W, 3]`` as in ``codec_zoo.color``, chroma at full size; the codec halves it.
    """

    def encode_ycbcr(self, picture: np.ndarray) -> bytes:
        """Code a YCbCr image; otherwise as :meth:`Codec.encode`."""
        raise NotImplementedError

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """Decode to YCbCr; otherwise as :meth:`Codec.decode`."""
        raise NotImplementedError
