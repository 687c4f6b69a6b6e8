"""The options of a learned model's codec: which there are for a stream, and what each may be for a model."""

from collections.abc import Mapping
from typing import Any

from codec_zoo.codecs import coders, tiling
from codec_zoo.codecs.encoding import choose
from codec_zoo.codecs.model_codec import parse_layers
from codec_zoo.codecs.options import OPTIONS, flag
from codec_zoo.codecs.standard import make_codec
from codec_zoo.codecs.standard.base import plain
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.export.runtime import ExportedModel, LocalModel
from codec_zoo.stream import Residual, Step, Stream, StreamLayer, Strengths
from codec_zoo.stream_coders import COARSEST, QUALITIES, Choice, ImageCodec, alternatives_of, image_codecs_of


def options_of(stream: Stream) -> list[str]:
    """Names of the options that codecs with this stream take."""
    found = ["quality"] if stream.dial else []
    if not stream.dial or stream.count > 1:
        found.append("layers")
    found += ["target_bpp", "target_psnr"]
    if not stream.dial or stream.step:
        found.append("search")
    for layer in stream.layers:
        found += [option for option in _options_of_layer(layer) if option not in found]
    return [*found, *(["overlap", "tune"] if stream.block else ["tile"])]


def _options_of_layer(layer: StreamLayer) -> list[str]:
    """The options that say how a layer is coded."""
    found = []
    for entry in layer.entries:
        coder = getattr(entry, "coder", None)
        if coder is not None and image_codecs_of(coder):
            found.append("quality")
        if isinstance(entry, Step):
            found.append("quality")
        if isinstance(coder, Choice):
            found.append(coder.option)
        if isinstance(entry, Residual):
            found.append("mapping")
        if isinstance(entry, Strengths):
            found.append("filter")
    return found


def written(option: str) -> str:
    """An option as the command line has it."""
    return "-q" if option == "quality" else flag(option)


class LearnedOptions:
    """The options of a codec, checked.

    Args:
        model: exported.
        options: by name; None is as good as absent.

            - ``quality``: of the image codec inside, in its own unit; or of the quantisation step, 0 … 255.
            - ``layers``: how many are written; all by default.
            - ``target_bpp``: the best image within so many bits a pixel. ``target_psnr``: the smallest file of at
              least so many dB.
            - ``search``: rounds in which latents are refined (``codec_zoo.export.search``); 0 by default.
            - ``tile``: side of the tiles that large images go through the model in, pixels.
            - ``overlap``: of blocks, pixels; 0 by default.
            - ``tune``: ``"yes"`` or ``"no"``: fine-tune the decoder to the image; yes for models that can.
            - ``mapping``: of residuals to 8 bits, ``"auto"`` or one of ``MAPPINGS``.
            - ``filter``: ``"auto"``, the best strengths for each image; ``"on"``, full ones; ``"off"``: decode
              without the model.
            - the option of each choice in the stream.

    Attributes:
        chosen: option → name of the alternative, of each choice.
        open: the choice that is left to the encoder, or None.
        dial: what the quality is for, an image codec or the quantisation step, or None.
    """

    def __init__(self, model: ExportedModel, **options: Any):
        if model.stream is None:
            raise ModelError(f"{model.where} has a codec of its own.")
        self.model, self.stream = model, model.stream
        for entry, _ in self.stream.coded:
            for alternative in alternatives_of(entry.coder):
                coders.check_coder(alternative.coder, model.where)
        known = options_of(self.stream)
        if unknown := [written(option) for option in options if option not in known]:
            raise UsageError(
                f"{model.preset} takes no {', '.join(unknown)}. It takes {', '.join(map(written, known))}."
            )
        given = {option: value for option, value in options.items() if value is not None}
        self._check_dials(given)
        self.layers = parse_layers(given.get("layers", self.stream.count), self.stream.count, model.preset)
        self._check_idle(given)
        self.target_bpp, self.target_psnr = (
            OPTIONS[name].parse(given[name]) if name in given else None for name in ("target_bpp", "target_psnr")
        )
        self.chosen: dict[str, str] = {}
        self.open: Choice | None = None
        for option, choice in self.stream.choices.items():
            self._choose(choice, given.get(option, choice.default))
        self.dial = self._parse_dial(given.get("quality"))
        self.quality = self._parse_quality(given.get("quality"))
        self.mapping = self._one_of("mapping", given.get("mapping", "auto"), OPTIONS["mapping"].choices)
        self.filter = self._one_of("filter", given.get("filter", "auto"), OPTIONS["filter"].choices)
        self.search = self._parse_search(given.get("search", 0))
        self.overlap = self._parse_overlap(given.get("overlap", 0))
        self.tune = self._parse_tune(given.get("tune"))
        self.tile = self._parse_tile(given.get("tile"))

    @property
    def options(self) -> dict[str, Any]:
        """See ``Codec.options``."""
        values = {option: getattr(self, option, None) for option in options_of(self.stream)}
        left_open = {self.open.option: "auto"} if self.open else {}
        every = {**values, **self.chosen, **left_open}
        return {option: plain(value) for option, value in every.items() if value is not None}

    def _check_dials(self, given: dict[str, Any]) -> None:
        rates = [written(option) for option in ("layers", "quality", "target_bpp", "target_psnr") if option in given]
        asked = [written(option) for option in ("target_bpp", "target_psnr") if option in given]
        if asked and len(rates) > 1:
            raise UsageError(f"{' and '.join(rates)} both say how much to write: give one of them.")
        if asked and self.stream.count == 1 and not self.stream.dial:
            raise UsageError(
                f"{asked[0]} chooses how many layers to write, and {self.model.preset} has one. Choose a preset of "
                "variable rate, balle2018-hyperprior-mse-vbr, or one with layers, jia2019-sae-mse-e4."
            )

    def _check_idle(self, given: dict[str, Any]) -> None:
        """Options for layers that ``layers`` leaves out."""
        used = {option for layer in self.stream.layers[: self.layers] for option in _options_of_layer(layer)}
        for layer in self.stream.layers[self.layers : self.stream.count]:
            idle = [written(option) for option in _options_of_layer(layer) if option in given and option not in used]
            if idle:
                raise UsageError(
                    f"--layers {self.layers} leaves out the {layer.kind} layer, and with it {', '.join(idle)}: give "
                    "one or the other."
                )

    def _choose(self, choice: Choice, value: Any) -> None:
        names = [alternative.name for alternative in choice.alternatives]
        free = ["auto"] if choice.default == "auto" else []
        self.chosen[choice.option] = self._one_of(choice.option, value, (*free, *names))
        if value == "auto":
            self.chosen[choice.option], self.open = names[0], choice

    def _one_of(self, option: str, value: Any, known: tuple[str, ...]) -> str:
        if value not in known:
            raise UsageError(
                f"{written(option)} of {self.model.preset} is one of {', '.join(known)}. Received: {value!r}"
            )
        return value

    def dial_of(self, chosen: Mapping[str, str]) -> ImageCodec | Step | None:
        """What the quality is for with these alternatives."""
        entry = self.stream.dial
        if entry is None or isinstance(entry, Step):
            return entry
        return next(iter(image_codecs_of(choose(entry, chosen).coder)), None)

    def _parse_dial(self, quality: float | None) -> ImageCodec | Step | None:
        """What the quality is for; the quality is one of each image codec that it may be."""
        names = [{**self.chosen, self.open.option: one.name} for one in self.open.alternatives] if self.open else []
        dial: ImageCodec | Step | None = None
        for chosen in reversed([self.chosen, *names]):
            dial = self.dial_of(chosen)
            if isinstance(dial, ImageCodec):
                try:
                    make_codec(dial.codec, coders.quality_of(dial, quality))
                except ValueError as error:
                    raise UsageError(f"-q of {self.model.preset} is for {dial.codec}: {error}.") from error
        return dial

    def _parse_quality(self, quality: float | None) -> float | None:
        """The quality asked for, or that of the dial; None without a dial."""
        if self.dial is None:
            return None
        if isinstance(self.dial, ImageCodec):
            return coders.quality_of(self.dial, quality)
        found = COARSEST if quality is None else quality
        if found not in QUALITIES:
            raise UsageError(
                f"-q of {self.model.preset} is a whole number, 0 … {QUALITIES[-1]}. Received: {plain(quality)!r}"
            )
        return found

    def _parse_search(self, search: Any) -> int:
        if not str(search).isdecimal():
            raise UsageError(f"--search is a number of rounds, 0, 1, 2 …. Received: {search!r}")
        if int(search) and not all(layer.refine for layer in self.stream.layers if layer.latents):
            raise UsageError(
                f"--search lowers the squared error, and {self.model.preset} is trained for another measure: leave "
                "it out."
            )
        return int(search)

    def _parse_overlap(self, overlap: Any) -> int:
        side = self.stream.block or 0
        step = max(
            alternative.stride or latent.stride
            for latent in self.stream.latents
            for alternative in alternatives_of(latent.coder)
        )
        if not str(overlap).isdecimal() or int(overlap) not in range(0, side // 2 + 1, step):
            raise UsageError(f"--overlap of {self.model.preset} is 0, {step} … {side // 2}. Received: {overlap!r}")
        return int(overlap)

    def _parse_tune(self, tune: Any) -> bool:
        can = self.stream.layers[-1].tuned
        if tune not in (None, "yes", "no"):
            raise UsageError(f"--tune is yes or no. Received: {tune!r}")
        if tune == "yes" and not can:
            raise UsageError(f"--tune is for report2017-cnn-ae-ft: the decoder of {self.model.preset} is not tuned.")
        if can and tune != "no" and not isinstance(self.model, LocalModel):
            raise UsageError(
                f"{self.model.preset} learns each picture, for which a server would be asked a thousand times: "
                "choose --tune no."
            )
        return can and tune != "no"

    def _parse_tile(self, tile: Any) -> int:
        if tile is None:
            return tiling.default_tile(self.model, self.stream.stride)
        stride = self.stream.stride
        if not str(tile).isdecimal() or not int(tile) or int(tile) % stride:
            raise UsageError(f"a tile of {self.model.preset} is a multiple of {stride}. Received: {tile!r}")
        return int(tile)
