"""How the files of a model are coded: an ordered list of layers and of the entries in them.

A model declares its :class:`Stream`; the card of its export carries it; ``codec_zoo.codecs.learned`` reads and writes
files by it. ``docs/bitstream.md`` has the bytes. Pure Python: nothing here needs Keras.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

# Kinds of layers that a container has, as ``codec_zoo.codecs.container.LayerKind`` numbers them.
KINDS = ("base", "residual", "latent", "picture", "representation", "weights", "filtered")
# As many layers as a container holds.
MAX_LAYERS = 15
# The largest stride, channels and strengths: what no model comes near, and what no card can exhaust memory with.
MAX_STRIDE, MAX_CHANNELS, MAX_STRENGTHS = 4096, 65536, 255
# Fine-tuning solves as many equations.
MAX_CHANGES = 4096
# The quantisation steps that files can have (:class:`Step`), and the qualities that stand for them.
FINEST, COARSEST = -128, 127
QUALITIES = range(COARSEST - FINEST + 1)
# Inputs of signatures that are no values of a file, or belong to no one latent.
_OTHER_INPUTS = ("images", "size", "rounds", "step")
# Options of codecs that are no choices.
_OTHER_OPTIONS = (
    *("model", "quality", "layers", "target_bpp", "target_psnr"),
    *("search", "tune", "tile", "overlap", "mapping", "filter"),
)


def check(holds: bool, field: str, words: str) -> None:
    """Raise ``ValueError`` unless a field is sound."""
    if not holds:
        raise ValueError(f"{field} {words}")


def _check_counts(record: Any, **most: int) -> None:
    """Raise ``ValueError`` unless these fields are from 1 to so many."""
    for field, limit in most.items():
        check(0 < getattr(record, field) <= limit, field, f"is 1 … {limit}")


def _check_names(record: Any, *fields: str) -> None:
    """Raise ``ValueError`` unless these fields are not empty."""
    for field in fields:
        check(bool(getattr(record, field)), field, "is empty")


def _check_input(record: Any) -> None:
    """Raise ``ValueError`` unless ``name`` may be that of an input of signatures."""
    _check_names(record, "name")
    check(record.name not in _OTHER_INPUTS, "name", "is that of another input")


# --- coders -----------------------------------------------------------------------------------------------------


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
        _check_names(self, "signature", "inputs")


@dataclasses.dataclass(frozen=True)
class StepRows:
    """The rows of a table that has all channels of a latent once for each group of quantisation steps.

    Attributes:
        share: as many neighbouring k share their rows; a divisor of 256.
    """

    share: int

    def __post_init__(self) -> None:
        _check_counts(self, share=len(QUALITIES))
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
        _check_names(self, "table")


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
        _check_names(self, "codec")
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
        _check_names(self, "codec")
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
        _check_names(self, "name")
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
        _check_names(self, "option", "alternatives")
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


# --- entries ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Latent:
    """An output of ``encode``, and an input of ``decode``.

    Attributes:
        name: of both.
        coder: of its values.
        stride: a value stands for so many pixels of the padded image, in both directions.
        channels: of it.
    """

    name: str
    coder: Coder | Choice
    stride: int
    channels: int

    def __post_init__(self) -> None:
        _check_input(self)
        _check_counts(self, stride=MAX_STRIDE, channels=MAX_CHANNELS)


@dataclasses.dataclass(frozen=True)
class Residual:
    """The image less the image of the lower layers, mapped to 8 bits (option ``mapping``), through an image codec.

    Attributes:
        coder: :class:`ImageCodec` of RGB, or a choice of such.
    """

    coder: ImageCodec | Choice

    def __post_init__(self) -> None:
        coders = (alternative.coder for alternative in alternatives_of(self.coder))
        check(all(isinstance(coder, ImageCodec) and not coder.ycbcr for coder in coders), "coder", "codes RGB images")


@dataclasses.dataclass(frozen=True)
class Strengths:
    """How strong the changes of a filter are: signed bytes, which the encoder finds by least squares (option
    ``filter``). The layer's latent is a decoded image, YCbCr or RGB; zeros leave the filter out.

    Attributes:
        name: of an input of ``decode``, float32 ``[N, count]``.
        signature: from the decoded latent to its output of the same name, ``uint8 [N, H, W, planes · count]``: for
            each plane the changes that the strengths multiply, in steps of 1/``steps`` of a gray level around 128.
        count: of changes.
        unit: strengths are multiples of 1/``unit``.
        steps: of a gray level.
        full: so many changes, the first ones, are the filter at full strength; the others correct it.
        planes: that change: 1, the luma of a YCbCr latent, or all 3.
    """

    name: str
    signature: str
    count: int
    unit: int
    steps: int
    full: int = 1
    planes: int = 1

    def __post_init__(self) -> None:
        _check_input(self)
        _check_names(self, "signature")
        _check_counts(self, count=MAX_STRENGTHS, unit=127, steps=128, full=self.count)
        check(self.planes in (1, 3), "planes", "are 1 or 3")


@dataclasses.dataclass(frozen=True)
class Quality:
    """The quality of the layer's image codec, a byte, which a filter behind the codec takes.

    Attributes:
        name: of an input of ``decode`` and of the strengths' signature, float32 ``[N, 1]``.
    """

    name: str

    def __post_init__(self) -> None:
        _check_input(self)


@dataclasses.dataclass(frozen=True)
class Step:
    """The quantisation step of the model's latents, which is its dial (option ``quality``): one signed byte k.

    The signatures that depend on it have an input ``step``, int32 ``[N]``: k of each image. The model says which step
    k stands for. A larger k is coarser. The quality of k is :data:`COARSEST` − k, 0 … 255.

    Attributes:
        qualities: of the model's rate–distortion curve, low rate first.
    """

    qualities: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_names(self, "qualities")
        check(all(quality in QUALITIES for quality in self.qualities), "qualities", f"are 0 … {QUALITIES[-1]}")


@dataclasses.dataclass(frozen=True)
class WeightChange:
    """What fine-tuning to the image adds to weights of the decoder (option ``tune``).

    Attributes:
        name: of an input of the layer's ``decode``, float32 ``[count]``.
        count: of weights.
    """

    name: str
    count: int

    def __post_init__(self) -> None:
        _check_input(self)
        _check_counts(self, count=MAX_CHANGES)


Entry = Latent | Residual | Quality | Strengths | Step | WeightChange


# --- layers and the stream --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class StreamLayer:
    """One layer of the files.

    Attributes:
        kind: one of :data:`KINDS`.
        entries: in the order of decoding.
        decode: signature of the image from the values decoded up to here; None: a residual, which is added to the
            image of the lower layers.
        refine: signature that refines the latents of this layer, or None.
        checked: it begins with a CRC-32 over tables and decoded integers.
    """

    kind: str
    entries: tuple[Entry, ...]
    decode: str | None = None
    refine: str | None = None
    checked: bool = False

    def __post_init__(self) -> None:
        check(self.kind in KINDS, "kind", f"is none of {', '.join(KINDS)}")
        _check_names(self, "entries")
        residual = any(isinstance(entry, Residual) for entry in self.entries)
        check(residual == (self.decode is None), "decode", "is there, unless the layer is a residual")
        check(not residual or len(self.entries) == 1, "entries", "of a residual layer are one")
        check(not self.tuned or len(self.entries) == 1, "entries", "of a layer with changes of weights are one")
        strengths = sum(isinstance(entry, Strengths) for entry in self.entries)
        check(
            not strengths or (strengths == 1 and [latent.channels for latent in self.latents] == [3]),
            "strengths",
            "are of a layer with one latent of 3 channels",
        )
        qualities = sum(isinstance(entry, Quality) for entry in self.entries)
        dials = sum(bool(image_codecs_of(latent.coder)) for latent in self.latents)
        check(not qualities or (qualities == 1 and dials == 1), "quality", "is of a layer with an image codec")

    @property
    def latents(self) -> tuple[Latent, ...]:
        """The latents among its entries."""
        return tuple(entry for entry in self.entries if isinstance(entry, Latent))

    @property
    def tuned(self) -> bool:
        """Whether it holds changes of weights: such a layer is written where it gains."""
        return any(isinstance(entry, WeightChange) for entry in self.entries)


@dataclasses.dataclass(frozen=True)
class Stream:
    """The files of a model.

    Attributes:
        layers: base first.
        stride: sides of images are padded to multiples of it.
        block: side of the blocks that the image goes through the model in (option ``overlap``), pixels; None: whole.
    """

    layers: tuple[StreamLayer, ...]
    stride: int
    block: int | None = None

    def __post_init__(self) -> None:
        check(1 <= len(self.layers) <= MAX_LAYERS, "layers", f"are 1 … {MAX_LAYERS}")
        _check_counts(self, stride=MAX_STRIDE)
        check(self.block is None or 0 < self.block <= 510, "block", "is 1 … 510")
        check(self.layers[0].decode is not None and not self.layers[0].tuned, "layers[0]", "shows an image alone")
        self._check_entries()
        self._check_choices()
        dials = [entry for entry, _ in self.coded if image_codecs_of(entry.coder)]
        check(len(dials) <= 1, "layers", "have one lossy image codec at most")
        steps = [layer for layer in self.layers for entry in layer.entries if isinstance(entry, Step)]
        check(
            not steps or (steps == [self.layers[0]] and not dials and self.block is None),
            "layers",
            "have one step at most: in the first layer, without blocks and without a lossy image codec",
        )

    def _check_entries(self) -> None:
        names: set[str] = set()
        known: set[str] = set()
        for entry in (entry for layer in self.layers for entry in layer.entries):
            if isinstance(entry, Residual | Step):
                continue
            check(entry.name not in names, entry.name, "is there twice")
            names.add(entry.name)
            check(not isinstance(entry, Strengths) or not self.block, "block", "cannot be where there are strengths")
            if isinstance(entry, Latent):
                self._check_latent(entry, known)
                known.add(entry.name)
        tuned = any(layer.tuned for layer in self.layers)
        behind = len(self.layers) == 2 and self.layers[1].tuned and len(self.latents) == 1
        check(
            not tuned or (behind and self.block is not None),
            "layers",
            "are wrong: changes of weights are the last layer behind one of blocks with one latent",
        )

    def _check_latent(self, latent: Latent, known: set[str]) -> None:
        """``known``: values that are decoded before it."""
        side = self.block or self.stride
        for alternative in alternatives_of(latent.coder):
            stride = alternative.stride or latent.stride
            check(side % stride == 0, latent.name, f"has a stride that does not divide {side}")
            rows = alternative.coder.rows if isinstance(alternative.coder, RangeCoder) else None
            check(not rows or self.block is None, latent.name, "has rows, which blocks cannot have")
            check(not rows or set(rows.inputs) <= known, latent.name, "has rows of values not decoded before")
            stepped = isinstance(rows, StepRows)
            check(not stepped or self.step is not None, latent.name, "has rows of steps, and files have no step")

    def _check_choices(self) -> None:
        names: dict[str, list[str]] = {}
        for entry, _ in self.coded:
            if isinstance(entry.coder, Choice):
                choice, found = entry.coder, [alternative.name for alternative in entry.coder.alternatives]
                same = names.setdefault(choice.option, found) == found
                check(same, "layers", f"have wrong choices: the alternatives of {choice.option} are other ones twice")
        for latent in self.latents:
            own = any(one.signatures or one.stride for one in alternatives_of(latent.coder))
            check(
                not own or len(self.latents) == 1,
                latent.name,
                "has signatures or a stride of its own, which takes a stream of one latent",
            )

    @property
    def latents(self) -> tuple[Latent, ...]:
        """All latents, in the order of decoding."""
        return tuple(latent for layer in self.layers for latent in layer.latents)

    @property
    def coded(self) -> Iterator[tuple[Latent | Residual, StreamLayer]]:
        """The entries that have a coder, and their layers."""
        for layer in self.layers:
            for entry in layer.entries:
                if isinstance(entry, Latent | Residual):
                    yield entry, layer

    @property
    def count(self) -> int:
        """How many layers ``--layers`` counts: those of fine-tuning aside."""
        return sum(not layer.tuned for layer in self.layers)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What alternatives add to the names of ``encode`` and ``decode``; an empty word where one adds nothing."""
        found = (one.signatures for latent in self.latents for one in alternatives_of(latent.coder))
        return tuple(dict.fromkeys(found))

    @property
    def choices(self) -> dict[str, Choice]:
        """The choices by their options."""
        coders = (entry.coder for entry, _ in self.coded)
        return {coder.option: coder for coder in coders if isinstance(coder, Choice)}

    @property
    def step(self) -> Step | None:
        """The quantisation step, of a model of variable rate."""
        return next((entry for entry in self.layers[0].entries if isinstance(entry, Step)), None)

    @property
    def dial(self) -> Latent | Residual | Step | None:
        """The entry that the quality is for: the one that a lossy image codec codes, or the quantisation step."""
        return next((entry for entry, _ in self.coded if image_codecs_of(entry.coder)), self.step)


def alternatives_of(coder: Coder | Choice) -> tuple[Alternative, ...]:
    """The coders of a choice, or the one coder as if it were a choice."""
    return coder.alternatives if isinstance(coder, Choice) else (Alternative("only", coder),)


def image_codecs_of(coder: Coder | Choice) -> list[ImageCodec]:
    """The lossy image codecs among the alternatives of a coder."""
    coders = (alternative.coder for alternative in alternatives_of(coder))
    return [inner for inner in coders if isinstance(inner, ImageCodec)]


# The changes of a luma filter, the unit of their strengths, and their steps in a gray level.
FILTER_CHANGES, FILTER_UNIT, FILTER_STEPS = 4, 64, 8
# The numbers of codecs in a picture layer.
_PICTURE_CODECS = ("svac", "svac-half", "svac-quarter", "svac-eighth", "jpeg-420", "bpg-ycbcr420", "bpg-ycbcr444")
PICTURE_CODECS = {name: number for number, name in enumerate(_PICTURE_CODECS, 1)}
# The same of a filter of RGB, and its codec.
RGB_CHANGES, RGB_STEPS, RGB_CODEC = 3, 4, "bpg-ycbcr444-10bit"


def picture_layer(codec: str, quality: float | None = None) -> StreamLayer:
    """The layer of a luma filter behind a codec (Hu 2018). It decodes without any model, too.

    Args:
        codec: by default.
        quality: of that codec, by default.
    """
    alternatives = tuple(
        Alternative(name, ImageCodec(name, quality if name == codec else None, ycbcr=True), number)
        for name, number in PICTURE_CODECS.items()
    )
    return StreamLayer(
        "picture",
        (
            Strengths("strengths", "changes", FILTER_CHANGES, FILTER_UNIT, FILTER_STEPS),
            Latent("ycbcr", Choice("codec", codec, alternatives), stride=1, channels=3),
        ),
        decode="decode",
    )


def filtered_layer(quality: float | None = None) -> StreamLayer:
    """The layer of a filter of RGB behind BPG 4:4:4, of any quality. It decodes without any model, too.

    Args:
        quality: of BPG, by default.
    """
    return StreamLayer(
        "filtered",
        (
            Quality("quality"),
            Strengths("strengths", "changes", RGB_CHANGES, FILTER_UNIT, RGB_STEPS, full=RGB_CHANGES, planes=3),
            Latent("rgb", ImageCodec(RGB_CODEC, quality), stride=1, channels=3),
        ),
        decode="decode",
    )
