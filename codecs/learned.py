"""Files of every learned model, as the stream in its card says (``codec_zoo.stream``).

    image ─▶ encode… ─▶ latents ─▶ coders of the stream ─▶ layers of a .czoo file
    image ◀─ decode… ◀─ latents ◀─ coders of the stream ◀─┘

The pixel predictor alone has a codec of its own.
"""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codec_zoo import color
from codec_zoo.codecs import coders, container, targets
from codec_zoo.codecs.blocks import Blocks
from codec_zoo.codecs.container import Bitstream
from codec_zoo.codecs.decoding import Decoding
from codec_zoo.codecs.encoding import Encoding, Setting, choose
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.learned_options import LearnedOptions, options_of
from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.payloads import Payload, kind_of, split
from codec_zoo.codecs.residual import Mapping as ResidualMapping
from codec_zoo.codecs.residual import add_residual
from codec_zoo.codecs.standard import codec_qualities, codec_steps, default_quality, make_codec
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.codecs.tiling import Tiles
from codec_zoo.errors import BitstreamError, ModelError, UsageError
from codec_zoo.export.runtime import ExportedModel
from codec_zoo.export.tables import Tables, hash_tables
from codec_zoo.filter_layers import filtered_layer, picture_layer
from codec_zoo.metrics import psnr
from codec_zoo.stream import Latent, Residual, Step, Stream, StreamLayer, Strengths
from codec_zoo.stream_coders import (
    COARSEST,
    QUALITIES,
    Coder,
    ImageCodec,
    LosslessImage,
    Rows,
    StepRows,
    image_codecs_of,
)

__all__ = ["LearnedCodec", "decode_plain", "options_of"]

Chosen = Sequence[tuple[str, str]]


class LearnedCodec(LearnedOptions, ModelCodec):
    """Files of an exported model.

    Args:
        model: with a stream.
        options: see :class:`LearnedOptions`; which of them a model takes: :func:`options_of` its stream.

    Raises:
        UsageError: an option that the model does not take, or not with this value.
    """

    name = "learned"
    version = 1

    def __init__(self, model: ExportedModel, **options: Any):
        super().__init__(model, **options)

    @property
    def qualities(self) -> tuple[float, ...]:  # type: ignore[override]
        """Of the rate–distortion curve, low rate first; none without a dial."""
        dial = self.dial
        if isinstance(dial, ImageCodec):
            return dial.qualities or codec_qualities(dial.codec)
        return () if dial is None else dial.qualities

    @property
    def parts(self) -> list[Codec]:
        """See ``Codec.parts``: the image codecs of the layers that are written."""
        entries = (entry for layer in self.stream.layers[: self.layers] for entry in layer.entries)
        coders = (choose(entry, self.chosen).coder for entry in entries if isinstance(entry, (Latent, Residual)))
        names = dict.fromkeys(coder.codec for coder in coders if isinstance(coder, (ImageCodec, LosslessImage)))
        return [make_codec(name, default_quality(name) if codec_qualities(name) else None) for name in names]

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""
        work = Encoding(self, as_rgb(image), gray=image.shape[2] == 1)
        setting = Setting(self.layers, tuple(self.chosen.items()), self.quality)
        if self.target_bpp is None and self.target_psnr is None:
            return self.to_file(image, work.layers(setting))
        counts = range(1, self.layers + 1)
        candidates = [[self._candidates(work, image, count, names) for names in self._names()] for count in counts]
        if self.target_psnr is not None:
            return targets.least_above(self.target_psnr, candidates)
        return targets.most_within((self.target_bpp or 0.0) * image.shape[0] * image.shape[1] / 8, candidates)

    def _names(self) -> list[dict[str, str]]:
        """Alternatives to try: all of a choice that is left to the encoder."""
        if self.open is None:
            return [self.chosen]
        return [{**self.chosen, self.open.option: alternative.name} for alternative in self.open.alternatives]

    def _candidates(
        self, work: Encoding, image: np.ndarray, count: int, names: Mapping[str, str]
    ) -> targets.Candidates:
        """The files of so many layers with these alternatives."""
        entry = self.stream.dial
        has_dial = entry is not None and any(entry in layer.entries for layer in self.stream.layers[:count])
        dial = self.dial_of(names) if has_dial else None
        qualities: Sequence[float | None] = [None]
        if dial:
            qualities = codec_steps(dial.codec) if isinstance(dial, ImageCodec) else QUALITIES

        def setting(quality: float | None) -> Setting:
            return Setting(count, tuple(names.items()), quality)

        def encode(quality: float | None) -> bytes:
            return self.to_file(image, work.layers(setting(quality)))

        def compare(quality: float | None) -> float:
            data = found.file(quality)
            reached = psnr(image, self.decode_layers(container.read(data), count))
            if self.progress:
                words = [f"{count} of {self.stream.count} layers"] if self.stream.count > 1 else []
                words += [f"{self.open.option} {names[self.open.option]}"] if self.open else []
                words += [f"{dial.codec if isinstance(dial, ImageCodec) else 'quality'} {quality}"] if dial else []
                bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
                self.progress(f"{', '.join(words)}: {bpp:.4f} bpp, {reached:.2f} dB")
            return reached

        def measure(quality: float | None) -> int:
            return len(found.file(quality)) if smooth else work.size(setting(quality))

        smooth = isinstance(dial, Step)
        found = targets.Candidates(qualities, encode, measure, compare, smooth)
        return found

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers.

        Raises:
            BitstreamError: the layers are not this model's, or contradict the header.
        """
        if self.filter == "off":
            return decode_plain(stream)
        kinds = [kind_of(layer) for layer in self.stream.layers]
        if [layer.kind for layer in stream.layers] != kinds[: len(stream.layers)]:
            wanted = ", then ".join(layer.kind for layer in self.stream.layers)
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}: {wanted}.")
        read = Decoding(self, stream)
        for number, (layer, part) in enumerate(zip(self.stream.layers, stream.layers[:count], strict=False), 1):
            read.add(number, layer, part)
        image = read.show()
        return image if stream.channels == 3 else to_gray(image)

    # --- what encoder and decoder share ---

    @functools.cached_property
    def tables_crc(self) -> int:
        """CRC-32 of the hash of all tables."""
        return zlib.crc32(hash_tables(self.model.tables))

    def step_of(self, quality: float | None) -> int:
        """k of the quantisation step of a quality; 0 where the stream has none."""
        return COARSEST - int(quality) if self.stream.step and quality is not None else 0

    def step_input(self, signature: str, step: int) -> dict[str, np.ndarray]:
        """The input ``step`` of a signature that has one."""
        inputs = self.model.card["signatures"].get(signature, {})
        return {"step": np.array([step], np.int32)} if "step" in inputs else {}

    def stride(self, chosen: Chosen) -> int:
        """Sides are padded to multiples of it."""
        found = (choose(latent, dict(chosen)).stride for latent in self.stream.latents)
        return next((stride for stride in found if stride), self.stream.stride)

    def suffix(self, chosen: Chosen) -> str:
        """What the alternatives chosen add to the names of ``encode`` and ``decode``."""
        return next(filter(None, (choose(latent, dict(chosen)).signatures for latent in self.stream.latents)), "")

    def runner(self, chosen: Chosen, overlap: int | None = None) -> Blocks | Tiles:
        """What runs the model on images of any size."""
        return self.blocks(overlap) if self.stream.block else self.tiles(chosen)

    def blocks(self, overlap: int | None = None) -> Blocks:
        """The same for a stream of blocks; ``overlap``: as a file has it."""
        return Blocks(self.model, self.stream.block or 0, self.overlap if overlap is None else overlap)

    def tiles(self, chosen: Chosen) -> Tiles:
        """The same for any other stream."""
        return Tiles(self.model, self.stride(chosen), self.tile)

    def place(
        self, latent: Latent, layer: StreamLayer, chosen: Chosen, height: int, width: int, overlap: int | None = None
    ) -> coders.Place:
        """Where a latent lies in an image."""
        stride = choose(latent, dict(chosen)).stride or latent.stride
        number = 1 + self.stream.layers.index(layer), layer.kind
        if self.stream.block:
            side, run = self.stream.block // stride, self.blocks(overlap)
            shape = run.count(height) * side, run.count(width) * side, latent.channels
            return coders.Place(height, width, shape, number, side)
        padded = self.stride(chosen)
        rows, columns = (-(-length // padded) * padded // stride for length in (height, width))
        return coders.Place(height, width, (rows, columns, latent.channels), number)

    def rows(
        self,
        rows: Rows | StepRows,
        known: Mapping[str, np.ndarray],
        chosen: Chosen,
        place: coders.Place,
        step: int = 0,
    ) -> Callable[[], np.ndarray]:
        """What gives the rows of tables for a latent's values, from latents that are known, and k of their step."""
        if isinstance(rows, StepRows):
            first = rows.row(step, place.shape[2])
            return lambda: coders.rows_of_channels(place.shape, first)
        height, width = place.height, place.width
        given = {name: known[name] for name in rows.inputs}
        further = self.step_input(rows.signature, step)

        def find() -> np.ndarray:
            run = self.tiles(chosen).run
            found = run(rows.signature, height, width, ("indexes",), given, **further)["indexes"]
            what = f"{self.model.where}: {rows.signature} gives indexes"
            return coders.check_output(found, place.shape, "int32", what)

        return find

    def tables(self, name: str) -> Tables:
        """Tables of the export.

        Raises:
            ModelError: it has none of that name.
        """
        if name not in self.model.tables:
            raise ModelError(f"{self.model.where} has no tables {name!r}. Export it again with this codec-zoo.")
        return self.model.tables[name]

    def show(
        self,
        layer: StreamLayer,
        values: Mapping[str, np.ndarray],
        strengths: bytes,
        chosen: Chosen,
        height: int,
        width: int,
        overlap: int | None = None,
        same: Mapping[str, np.ndarray] | None = None,
        step: int = 0,
    ) -> np.ndarray:
        """The image of latents by a layer's ``decode``: ``uint8 [H, W, 3]``.

        Args:
            layer: the highest.
            values: of the latents up to it.
            strengths: of a filter in the layer, a byte each.
            chosen: option and alternative.
            height: of the image.
            width: likewise.
            overlap: of blocks.
            same: further inputs of ``decode``.
            step: k of the latents' quantisation step.
        """
        further = dict(same or {})
        for entry in layer.entries:
            if isinstance(entry, Strengths):
                if not any(strengths):
                    (latent,) = layer.latents
                    return _plain(choose(latent, dict(chosen)).coder, values[latent.name])
                further[entry.name] = (np.frombuffer(strengths, np.int8) / np.float32(entry.unit))[None]
        signature = f"{layer.decode}{self.suffix(chosen)}"
        inputs = self.model.card["signatures"][signature]
        given = {name: value for name, value in values.items() if name in inputs}
        further |= self.step_input(signature, step)
        shown = self.runner(chosen, overlap).show(signature, given, height, width, **further)
        return coders.check_output(
            shown, (height, width, 3), "uint8", f"{self.model.where}: {signature} gives images"
        )

    def add(self, coarse: np.ndarray, layer: StreamLayer, payload: bytes) -> np.ndarray:
        """A coarse image and the residual in a layer's payload: ``uint8 [H, W, 3]``."""
        (data,) = split(self.stream, layer, payload).values
        mapping, file = ResidualMapping.from_bytes(data)
        (entry,) = layer.entries
        assert isinstance(entry, Residual)
        coder, *_ = image_codecs_of(entry.coder)
        if coder.codec.startswith("bpg"):
            # Not at the top: training and models without BPG need no PyAV.
            from codec_zoo.codecs.standard import bpg

            if bpg.demux(file).pixel_format != bpg.YUV444:
                raise BitstreamError(f"the {layer.kind} layer is not coded in 4:4:4: the file is damaged.")
        size = coarse.shape[1], coarse.shape[0]
        mapped = coders.decode_image(coder, file, size, False, layer.kind)
        return add_residual(coarse, mapping, mapped)


def decode_plain(file: Bitstream) -> np.ndarray:
    """The image of the codec under a filter, without any model.

    Raises:
        UsageError: a file of layers that only a model decodes.
        BitstreamError: the layer is damaged, or contradicts the header.
    """
    layers = {kind_of(layer): layer for layer in (picture_layer("svac"), filtered_layer())}
    if any(part.kind not in layers for part in file.layers):
        raise UsageError(
            "--no-filter is for files of bpg-filter and hu2018-filter-*. This file is of another model: leave it out."
        )
    if len(file.layers) != 1:
        raise BitstreamError("the file's layers are not those of a filter behind a codec.")
    layer = layers[file.layers[0].kind]
    parts: Payload = split(Stream((layer,), stride=1), layer, file.layers[0].payload)
    (latent,) = layer.latents
    coder = choose(latent, {option: chosen.name for option, chosen in parts.chosen.items()}).coder
    assert isinstance(coder, ImageCodec)
    decoded = coders.decode_image(coder, parts.values[0], (file.width, file.height), file.channels == 1, layer.kind)
    image = _plain(coder, decoded)
    return image if file.channels == 3 else to_gray(image)


def _plain(coder: Coder, decoded: np.ndarray) -> np.ndarray:
    """The image that an image codec under a filter gives: ``uint8 [H, W, 3]``, RGB."""
    return color.ycbcr_to_rgb(decoded) if isinstance(coder, ImageCodec) and coder.ycbcr else decoded
