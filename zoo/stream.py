"""How the files of a model are coded: an ordered list of layers and of the entries in them.

A model declares its :class:`Stream`; the card of its export carries it; ``codec_zoo.codecs.learned`` reads and writes
files by it. ``docs/bitstream.md`` has the bytes. Pure Python: nothing here needs Keras.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from codec_zoo.stream_coders import (
    MAX_STRIDE,
    QUALITIES,
    Choice,
    Coder,
    ImageCodec,
    RangeCoder,
    StepRows,
    alternatives_of,
    check,
    check_counts,
    check_names,
    image_codecs_of,
)

# Kinds of layers that a stream can have: all of ``codec_zoo.codecs.container.LayerKind`` but ``plane``.
KINDS = ("base", "residual", "latent", "picture", "representation", "weights", "filtered")
# As many layers as a container holds.
MAX_LAYERS = 15
# The most channels and strengths: more than any model has, and too few to exhaust memory.
MAX_CHANNELS, MAX_STRENGTHS = 65536, 255
# Fine-tuning solves as many equations.
MAX_CHANGES = 4096
# Inputs of signatures that are no values of a file, or belong to no one latent.
_OTHER_INPUTS = ("images", "size", "rounds", "step")


def _check_input(record: Any) -> None:
    """Raise ``ValueError`` unless ``name`` may be that of an input of signatures."""
    check_names(record, "name")
    check(record.name not in _OTHER_INPUTS, "name", "is that of another input")


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
        check_counts(self, stride=MAX_STRIDE, channels=MAX_CHANNELS)


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
        check_names(self, "signature")
        check_counts(self, count=MAX_STRENGTHS, unit=127, steps=128, full=self.count)
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
        check_names(self, "qualities")
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
        check_counts(self, count=MAX_CHANGES)


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
        check_names(self, "entries")
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
        check_counts(self, stride=MAX_STRIDE)
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
