"""One image on its way into files: what several candidates for a target share is made once."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from codec_zoo import color
from codec_zoo.codecs import coders, residual, strengths
from codec_zoo.codecs.container import HEADER_BYTES, LAYER_HEADER_BYTES, Layer
from codec_zoo.codecs.fine_tuning import FineTuning
from codec_zoo.codecs.payloads import Payload, join, kind_of
from codec_zoo.codecs.residual import Mapping as ResidualMapping
from codec_zoo.stream import Latent, Quality, Residual, StreamLayer, Strengths, WeightChange
from codec_zoo.stream_coders import Alternative, Choice, ImageCodec, RangeCoder

if TYPE_CHECKING:
    from codec_zoo.codecs.learned import LearnedCodec

T = TypeVar("T")
# What a bit is worth in squared error of RGB, in squares of the quantiser's step: the slope of x265's curves.
PRICE = 0.3


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one candidate is coded with.

    Attributes:
        layers: how many are written.
        chosen: option and name of the alternative, of each choice.
        quality: of the dial; None: the coder's own, or there is no dial.
    """

    layers: int
    chosen: tuple[tuple[str, str], ...]
    quality: float | None

    def alternative(self, entry: Latent | Residual) -> Alternative:
        """The coder of an entry."""
        return choose(entry, dict(self.chosen))


def choose(entry: Latent | Residual, chosen: Mapping[str, str]) -> Alternative:
    """The coder of an entry, where options chose among several."""
    if isinstance(entry.coder, Choice):
        name = chosen[entry.coder.option]
        return next(alternative for alternative in entry.coder.alternatives if alternative.name == name)
    return Alternative("only", entry.coder)


class Encoding:
    """An image that a codec writes.

    Args:
        codec: with its options.
        image: ``uint8 [H, W, 3]``.
        gray: whether it is a gray one.
    """

    def __init__(self, codec: "LearnedCodec", image: np.ndarray, gray: bool):
        self.codec, self.stream, self.image, self.gray = codec, codec.stream, image, gray
        self.height, self.width = image.shape[:2]
        self._made: dict[Any, Any] = {}
        self._step = 0

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def layers(self, setting: Setting, draft: bool = False) -> list[Layer]:
        """The layers of a file; ``draft``: with zeros where bytes need a search but are always as many."""
        if self._step != (step := self.codec.step_of(setting.quality)):
            self._made.clear()  # all values depend on the step, and of many steps they would take much memory
            self._step = step
        made = [(layer, self._payload(layer, setting, draft)) for layer in self._written(setting)]
        return [Layer(kind_of(layer), payload) for layer, payload in made if payload is not None]

    def size(self, setting: Setting) -> int:
        """Bytes of a file."""
        layers = self.layers(setting, draft=True)
        return HEADER_BYTES + sum(LAYER_HEADER_BYTES + len(layer.payload) for layer in layers)

    def _written(self, setting: Setting) -> list[StreamLayer]:
        tuned = [layer for layer in self.stream.layers if layer.tuned and self.codec.tune]
        return [*[layer for layer in self.stream.layers if not layer.tuned][: setting.layers], *tuned]

    def _payload(self, layer: StreamLayer, setting: Setting, draft: bool) -> bytes | None:
        """The bytes of a layer; None of fine-tuning that gains nothing."""
        if any(isinstance(entry, Residual) for entry in layer.entries):
            return self._residual(layer, setting)
        if layer.tuned:
            return self._once(layer.kind, lambda: self._tuned(layer, setting))
        values = self._values(setting)
        chosen = {
            latent.coder.option: setting.alternative(latent)
            for latent in layer.latents
            if isinstance(latent.coder, Choice)
        }
        mended = b"".join(
            bytes(entry.count) if draft else self._strengths(entry, layer, setting).tobytes()
            for entry in layer.entries
            if isinstance(entry, Strengths)
        )
        check = b""
        if layer.checked:
            checked = (values[latent.name] for latent in layer.latents)
            check = check_of(self.codec.tables_crc, checked)
        data = [self._coded(latent, layer, setting) for latent in layer.latents]
        quality = bytes(int(value[0, 0]) for value in self._qualities(layer, setting).values())
        payload = Payload(check, chosen, mended, self.codec.overlap, data, self._step, quality)
        return join(self.stream, layer, payload)

    # --- latents ---

    def _values(self, setting: Setting) -> dict[str, np.ndarray]:
        """The latents of the layers that are written, before any image codec: ``[h, w, C]``."""
        if not self.codec.search:
            signature = f"encode{self.codec.suffix(setting.chosen)}"
            return self._once(signature, lambda: self._analyse(signature, self.stream.layers, setting, {}))
        values: dict[str, np.ndarray] = {}
        for layer in self._written(setting):
            if layer.refine:
                refine = functools.partial(self._analyse, layer.refine, [layer], setting, dict(values))
                values |= self._once(("refined", layer.refine), refine)
        return values

    def _analyse(
        self, signature: str, layers: Sequence[StreamLayer], setting: Setting, lower: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The latents of some layers, by a signature that may take those of lower ones."""
        names = [latent.name for layer in layers for latent in layer.latents]
        inputs = self.codec.model.card["signatures"][signature]
        given = {name: value for name, value in lower.items() if name in inputs}
        further = self.codec.step_input(signature, self._step)
        if self.codec.search:
            further["rounds"] = np.array([self.codec.search], np.int32)
        found = self.codec.runner(setting.chosen).analyse(signature, self.image, names, given, **further)
        for layer in layers:
            for latent in layer.latents:
                place = self.codec.place(latent, layer, setting.chosen, self.height, self.width)
                what = f"{self.codec.model.where}: {signature} gives {latent.name}"
                coders.check_values(found.get(latent.name), setting.alternative(latent).coder, place, what)
        return found

    def _coded(self, latent: Latent, layer: StreamLayer, setting: Setting) -> bytes:
        alternative = setting.alternative(latent)
        quality = setting.quality if isinstance(alternative.coder, ImageCodec) else None
        return self._once((latent.name, alternative.name, quality), lambda: self._code(latent, layer, setting))

    def _code(self, latent: Latent, layer: StreamLayer, setting: Setting) -> bytes:
        coder, values = setting.alternative(latent).coder, self._values(setting)[latent.name]
        if isinstance(coder, ImageCodec):
            return coders.encode_image(coder, values, coders.quality_of(coder, setting.quality), self.gray)
        place = self.codec.place(latent, layer, setting.chosen, self.height, self.width)
        rows = None
        if isinstance(coder, RangeCoder) and coder.rows:
            known = {name: self._decoded(name, setting) for name in coder.rows.inputs}
            rows = self.codec.rows(coder.rows, known, setting.chosen, place, self._step)
        return coders.encode(coder, values, place, self.codec.tables, rows)

    def _decoded(self, name: str, setting: Setting) -> np.ndarray:
        """A latent as decoders have it."""
        latents = ((latent, layer) for layer in self.stream.layers for latent in layer.latents)
        latent, layer = next(pair for pair in latents if pair[0].name == name)
        coder = setting.alternative(latent).coder
        if not isinstance(coder, ImageCodec):
            return self._values(setting)[name]
        place = self.codec.place(latent, layer, setting.chosen, self.height, self.width)
        data = self._coded(latent, layer, setting)
        return coders.decode_image(coder, data, (place.shape[1], place.shape[0]), self.gray, layer.kind)

    # --- what mends an image ---

    def _qualities(self, layer: StreamLayer, setting: Setting) -> dict[str, np.ndarray]:
        """The input that the quality of the layer's image codec is, float32 ``[1, 1]``, by its name, or none."""
        names = [entry.name for entry in layer.entries if isinstance(entry, Quality)]
        coders_of = (setting.alternative(latent).coder for latent in layer.latents)
        qualities = [coders.quality_of(one, setting.quality) for one in coders_of if isinstance(one, ImageCodec)]
        return {name: np.array([[quality]], np.float32) for name, quality in zip(names, qualities, strict=False)}

    def _strengths(self, entry: Strengths, layer: StreamLayer, setting: Setting) -> np.ndarray:
        """int8, one for each change of a filter."""
        if self.codec.filter != "auto":
            return strengths.full(entry)
        (latent,) = layer.latents
        decoded, same = self._decoded(latent.name, setting), self._qualities(layer, setting)
        height, width, wanted = self.height, self.width, (entry.signature,)
        run = self.codec.tiles(setting.chosen)
        changes = run.run(entry.signature, height, width, wanted, {latent.name: decoded}, None, **same)

        def show(found: bytes) -> np.ndarray:
            shown = self.codec.show(layer, {latent.name: decoded}, found, setting.chosen, height, width, same=same)
            return color.rgb_to_ycbcr(shown) if entry.planes == 1 else shown

        true = self._values(setting)[latent.name]
        return strengths.best(entry, changes[entry.signature], true, decoded, show)

    def _residual(self, layer: StreamLayer, setting: Setting) -> bytes:
        """The payload of what the lower layers leave over."""
        (entry,) = layer.entries
        assert isinstance(entry, Residual)
        alternative = setting.alternative(entry)
        coder = alternative.coder
        assert isinstance(coder, ImageCodec)
        quality = coders.quality_of(coder, setting.quality)
        coarse = self._coarse(layer, setting)
        numbers = {entry.coder.option: alternative} if isinstance(entry.coder, Choice) else {}

        def encode(name: str) -> bytes:
            bounds = residual.bounds_of(self.image, coarse) if name == "minmax" else (0, 0)
            mapping = ResidualMapping.choose(name, *bounds)
            mapped = residual.map_residual(mapping, self.image, coarse)
            data = mapping.to_bytes() + coders.encode_image(coder, mapped, quality, self.gray)
            return join(self.stream, layer, Payload(b"", numbers, b"", 0, [data]))

        def cost(payload: bytes) -> float:
            shown = self.codec.add(coarse, layer, payload)
            bits = 8 * len(payload)
            return residual.squared_error(self.image, shown) + PRICE * residual.step(quality) ** 2 * bits

        def best() -> bytes:
            if self.codec.mapping != "auto":
                return encode(self.codec.mapping)
            # The mean squared error of photographs is about as large as the step, from QP 22 to 40.
            if residual.beyond_clip(self.image, coarse) <= residual.step(quality):
                return encode("clip")
            return min(encode("clip"), encode("minmax"), key=cost)

        return self._once((layer.kind, alternative.name, quality), best)

    def _coarse(self, upper: StreamLayer, setting: Setting) -> np.ndarray:
        """The image of the layers lower than ``upper``: ``uint8 [H, W, 3]``."""
        lower = self.stream.layers[: self.stream.layers.index(upper)]

        def show() -> np.ndarray:
            values = {latent.name: self._decoded(latent.name, setting) for layer in lower for latent in layer.latents}
            return self.codec.show(lower[-1], values, b"", setting.chosen, self.height, self.width)

        return self._once(("coarse", setting.chosen), show)

    def _tuned(self, layer: StreamLayer, setting: Setting) -> bytes | None:
        (entry,) = layer.entries
        (latent,) = self.stream.latents
        assert isinstance(entry, WeightChange) and layer.decode
        tuning = FineTuning(self.codec.blocks(), layer.decode, (latent.name, entry.name), entry.count)
        return tuning.find(self._decoded(latent.name, setting), self.image)


def check_of(crc: int, latents: Any) -> bytes:
    """CRC-32 over tables (their ``crc``) and decoded integers, int32 ``[h, w, C]``, in the order of decoding."""
    for latent in latents:
        crc = zlib.crc32(np.ascontiguousarray(latent, "<i4").data, crc)
    return crc.to_bytes(4, "big")
