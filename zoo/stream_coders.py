"""How the values of one latent are coded: the coders that a stream may name, and a choice of several.

``codec_zoo.codecs.coders`` does the coding. Pure Python: nothing here needs Keras.
"""

import dataclasses
from typing import Any

# The largest stride that a card may have.
MAX_STRIDE = 4096
# The quantisation steps that files can have (:class:`codec_zoo.stream.Step`), and the qualities that stand for them.
FINEST, COARSEST = -128, 127
QUALITIES = range(COARSEST - FINEST + 1)
# Options of codecs that are no choices.
_OTHER_OPTIONS = (
    *("model", "quality", "layers", "target_bpp", "target_psnr"),
    *("search", "tune", "tile", "overlap", "mapping", "filter"),
)


def check(holds: bool, field: str, words: str) -> None:
    """Raise ``ValueError`` unless a field is sound."""
    if not holds:
        raise ValueError(f"{field} {words}")


def check_counts(record: Any, **most: int) -> None:
    """Raise ``ValueError`` unless these fields are from 1 to so many."""
    for field, limit in most.items():
        check(0 < getattr(record, field) <= limit, field, f"is 1 … {limit}")


def check_names(record: Any, *fields: str) -> None:
    """Raise ``ValueError`` unless these fields are not empty."""
    for field in fields:
        check(bool(getattr(record, field)), field, "is empty")


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a table that values are coded under, from values that were decoded before.

    What chooses rows must compute in exact integers: every machine has to choose alike.

    Attributes:
        signature: of the model; its output ``indexes`` is int32 ``[N, h, w, C]``, the shape of the latent.
        inputs: names of the latents that it takes.
    """

    signature: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names(self, "signature", "inputs")


@dataclasses.dataclass(frozen=True)
class StepRows:
    """The rows of a table that has all channels of a latent once for each group of quantisation steps.

    Attributes:
        share: as many neighbouring k share their rows; a divisor of 256.
    """

    share: int

    def __post_init__(self) -> None:
        check_counts(self, share=len(QUALITIES))
        check(len(QUALITIES) % self.share == 0, "share", f"divides {len(QUALITIES)}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """None: it needs no latents that were decoded before."""
        return ()

    @property
    def middles(self) -> tuple[float, ...]:
        """The middle k of each group, finest first."""
        return tuple(FINEST + start + (self.share - 1) / 2 for start in range(0, len(QUALITIES), self.share))

    def row(self, step: int, channels: int) -> int:
        """The row of the first of so many channels at k."""
        return (step - FINEST) // self.share * channels


@dataclasses.dataclass(frozen=True)
class RangeCoder:
    """Integers, range-coded under the export's integer tables.

    Attributes:
        table: name of the tables.
        rows: None: the row of each value is its channel.
    """

    table: str
    rows: Rows | StepRows | None = None

    def __post_init__(self) -> None:
        check_names(self, "table")


@dataclasses.dataclass(frozen=True)
class LosslessImage:
    """``uint8 [h, w, C]`` as a file of a lossless image codec: RGB or gray; other channels one below the other.

    Attributes:
        codec: name of a standard codec.
        bits: that a value has at most.
    """

    codec: str
    bits: int = 8

    def __post_init__(self) -> None:
        check_names(self, "codec")
        check(1 <= self.bits <= 8, "bits", "are 1 … 8")


@dataclasses.dataclass(frozen=True)
class ImageCodec:
    """``uint8 [h, w, 3]`` as a file of a lossy image codec. Its quality is the dial of the model.

    Attributes:
        codec: name of a standard codec.
        quality: by default; None: the middle of the codec's curve.
        qualities: of the model's rate–distortion curve, low rate first; none: the codec's own.
        ycbcr: the image is YCbCr (``codec_zoo.color``), not RGB.
        gray: of gray images luma alone is coded.
    """

    codec: str
    quality: float | None = None
    qualities: tuple[float, ...] = ()
    ycbcr: bool = False
    gray: bool = False

    def __post_init__(self) -> None:
        check_names(self, "codec")
        check(self.ycbcr or not self.gray, "gray", "needs ycbcr")


@dataclasses.dataclass(frozen=True)
class FixedBits:
    """Integers from 0 up, each in the same number of bits.

    Attributes:
        bits: of a value, 1 … 8.
    """

    bits: int

    def __post_init__(self) -> None:
        check(1 <= self.bits <= 8, "bits", "are 1 … 8")


@dataclasses.dataclass(frozen=True)
class Raw:
    """Numbers as they are, big-endian.

    Attributes:
        dtype: ``uint8``, ``int8``, ``int16``, ``int32`` or ``float32``.
    """

    dtype: str

    def __post_init__(self) -> None:
        check(self.dtype in ("uint8", "int8", "int16", "int32", "float32"), "dtype", "is not one that files have")


Coder = RangeCoder | LosslessImage | ImageCodec | FixedBits | Raw


@dataclasses.dataclass(frozen=True)
class Alternative:
    """One of the coders of a :class:`Choice`.

    Attributes:
        name: value of the option.
        coder: of the latent.
        number: its byte in the file; None: the coded data says it itself.
        signatures: suffix of the model's ``encode`` and ``decode``.
        stride: of the latent, and what sides are padded to multiples of; None: those of the latent and the stream.
    """

    name: str
    coder: Coder
    number: int | None = None
    signatures: str = ""
    stride: int | None = None

    def __post_init__(self) -> None:
        check_names(self, "name")
        check(self.name != "auto", "name", "is taken: auto leaves the choice to the encoder")
        check(self.number is None or 0 <= self.number <= 255, "number", "is 0 … 255")
        check(self.stride is None or 0 < self.stride <= MAX_STRIDE, "stride", f"is 1 … {MAX_STRIDE}")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several coders, by an option.

    Attributes:
        option: its name, as in Python.
        default: name of an alternative, or ``"auto"``: the better for a target, without a target the first.
        alternatives: all with numbers, or none.
    """

    option: str
    default: str
    alternatives: tuple[Alternative, ...]

    def __post_init__(self) -> None:
        check_names(self, "option", "alternatives")
        check(self.option not in _OTHER_OPTIONS, "option", "is that of another option")
        names = [alternative.name for alternative in self.alternatives]
        numbers = [alternative.number for alternative in self.alternatives if alternative.number is not None]
        check(len(set(names)) == len(names), "alternatives", "have names of their own")
        check(len(numbers) in (0, len(names)), "alternatives", "all have a number, or none")
        check(len(set(numbers)) == len(numbers), "alternatives", "have numbers of their own")
        check(self.default in (*names, "auto"), "default", "is no alternative")

    @property
    def numbered(self) -> bool:
        """Whether files have a byte for it."""
        return self.alternatives[0].number is not None


def alternatives_of(coder: Coder | Choice) -> tuple[Alternative, ...]:
    """The coders of a choice, or the one coder as if it were a choice."""
    return coder.alternatives if isinstance(coder, Choice) else (Alternative("only", coder),)


def image_codecs_of(coder: Coder | Choice) -> list[ImageCodec]:
    """The lossy image codecs among the alternatives of a coder."""
    coders = (alternative.coder for alternative in alternatives_of(coder))
    return [inner for inner in coders if isinstance(inner, ImageCodec)]
