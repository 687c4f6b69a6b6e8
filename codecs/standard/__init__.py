"""Codec steps: standard image codecs behind one interface (``codec_zoo.codecs.standard.base.Codec``).

``get_codec("jpeg:75")`` makes one; nothing is imported before its codec is asked for.
"""

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from codec_zoo.codecs.standard.base import Codec, YCbCrCodec
from codec_zoo.errors import UsageError, did_you_mean

# name → (module, class, fixed arguments)
_CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "avif": ("pillow_formats", "AVIF", {}),
    "bpg-rgb444": ("bpg", "BPG", {"domain": "rgb444"}),
    "bpg-rgb444-10bit": ("bpg", "BPG", {"domain": "rgb444", "bit_depth": 10}),
    "bpg-ycbcr420": ("bpg", "BPG", {"domain": "ycbcr420"}),
    "bpg-ycbcr444": ("bpg", "BPG", {"domain": "ycbcr444"}),
    "bpg-ycbcr444-10bit": ("bpg", "BPG", {"domain": "ycbcr444", "bit_depth": 10}),
    "flif": ("flif", "FLIF", {}),
    "hevc-ycbcr444": ("bpg", "RawHEVC", {}),
    "jpeg": ("pillow_formats", "JPEG", {}),
    "jpeg-420": ("pillow_formats", "JPEG420", {}),
    "jpeg-bm3d": ("pillow_formats", "JPEGWithBM3D", {}),
    "jpeg-ls": ("lossless", "JPEGLS", {}),
    "jpeg2000": ("pillow_formats", "JPEG2000", {}),
    "jpeg2000-lossless": ("lossless", "LosslessJPEG2000", {}),
    "jxl": ("jpegxl", "JPEGXL", {}),
    "jxl-lossless": ("jpegxl", "LosslessJPEGXL", {}),
    "png": ("lossless", "PNG", {}),
    "svac": ("svac", "SVAC", {}),
    "svac-half": ("svac", "SVAC", {"scale": 2}),
    "svac-quarter": ("svac", "SVAC", {"scale": 4}),
    "svac-eighth": ("svac", "SVAC", {"scale": 8}),
    "webp": ("pillow_formats", "WebP", {}),
}


def list_codecs() -> list[str]:
    """Names of the standard codecs."""
    return sorted(_CODECS)


def get_codec(spec: str) -> Codec:
    """The codec ``NAME:QUALITY``, or ``NAME`` for a lossless one.

    Raises:
        UsageError: no such codec, or not a quality of it.
        CodecZooError: the codec needs a program that is not installed.
    """
    name, colon, quality = spec.partition(":")
    try:
        return make_codec(name, float(quality) if colon else None)
    except ValueError as error:
        raise UsageError(f"{spec!r} is no codec with its quality: {error}.") from error


def make_codec(name: str, quality: float | None = None) -> Codec:
    """The codec ``name`` at a quality; None: of a lossless codec, or the codec's own default.

    Raises:
        ValueError: not a quality of this codec; the message gives the range.
        UsageError: no such codec.
        CodecZooError: the codec needs a program that is not installed.
    """
    cls, arguments = _class_of(name)
    if quality is None:
        if cls.qualities and inspect.signature(cls).parameters["quality"].default is inspect.Parameter.empty:
            raise ValueError(f"{name} needs a quality, e.g. {name}:{default_quality(name):g}")
        return cls(**arguments)
    if not cls.qualities:
        raise ValueError(f"{name} is lossless and takes no quality")
    return cls(quality=quality, **arguments)


def get_ycbcr_codec(spec: str) -> YCbCrCodec:
    """As :func:`get_codec`, for a codec that takes YCbCr images.

    Raises:
        UsageError: also for one that does not.
    """
    codec = get_codec(spec)
    if not isinstance(codec, YCbCrCodec):
        raise UsageError(f"{codec.name} takes no YCbCr pictures: choose e.g. bpg-ycbcr444 or jpeg-420.")
    return codec


def codec_qualities(name: str) -> tuple[float, ...]:
    """The qualities of a codec's rate–distortion curve, low rate first; none for a lossless codec."""
    return _class_of(name)[0].qualities


def codec_steps(name: str) -> Sequence[int]:
    """All whole qualities of a codec, low rate first; none for one that models cannot have inside."""
    return _class_of(name)[0].steps


def takes_ycbcr(name: str) -> bool:
    """Whether a codec takes YCbCr images."""
    return issubclass(_class_of(name)[0], YCbCrCodec)


def default_quality(name: str) -> float:
    """The middle of :func:`codec_qualities`."""
    known = codec_qualities(name)
    return known[len(known) // 2]


def _class_of(name: str) -> tuple[Any, dict[str, Any]]:
    """The class of a codec and its fixed arguments."""
    if name not in _CODECS:
        raise UsageError(
            f"there is no codec {name!r}.{did_you_mean(name, _CODECS)} Codecs: {', '.join(list_codecs())}."
        )
    module, attribute, arguments = _CODECS[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute), arguments
