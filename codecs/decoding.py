"""One file on its way to an image, layer by layer."""

from typing import TYPE_CHECKING

import numpy as np

from codec_zoo.codecs import coders
from codec_zoo.codecs.container import Bitstream, Layer
from codec_zoo.codecs.encoding import check_of, choose
from codec_zoo.codecs.fine_tuning import read_weights
from codec_zoo.codecs.payloads import split
from codec_zoo.errors import BitstreamError
from codec_zoo.stream import Latent, Quality, StreamLayer, WeightChange
from codec_zoo.stream_coders import ImageCodec, RangeCoder

if TYPE_CHECKING:
    from codec_zoo.codecs.learned import LearnedCodec


class Decoding:
    """A file that is decoded, layer by layer."""

    def __init__(self, codec: "LearnedCodec", file: Bitstream):
        self.codec, self.file = codec, file
        self.values: dict[str, np.ndarray] = {}
        self.chosen: dict[str, str] = {}
        self.overlap: int | None = None
        self.step = 0
        self.shown: tuple[StreamLayer, bytes] | None = None
        self.same: dict[str, np.ndarray] = {}
        self.residuals: list[tuple[StreamLayer, bytes]] = []

    def add(self, number: int, layer: StreamLayer, part: Layer) -> None:
        """The entries of the next layer."""
        codec = self.codec
        if layer.decode is None:
            self.residuals.append((layer, part.payload))
            return
        parts = split(codec.stream, layer, part.payload)
        self.chosen |= {option: alternative.name for option, alternative in parts.chosen.items()}
        if codec.stream.step in layer.entries:
            self.step = parts.step
        if layer.latents and codec.stream.block:
            if self.overlap not in (None, parts.overlap):
                raise BitstreamError("the layers' blocks overlap differently: the file is damaged.")
            self.overlap = parts.overlap
        data = iter(parts.values)
        for entry in layer.entries:
            if isinstance(entry, Latent):
                self.values[entry.name] = self._latent(entry, layer, next(data))
            elif isinstance(entry, WeightChange):
                self.same[entry.name] = read_weights(next(data), entry.count)
            elif isinstance(entry, Quality):
                self.same[entry.name] = np.array([[parts.quality[0]]], np.float32)
        if layer.checked:
            decoded = (self.values[latent.name] for latent in layer.latents)
            if check_of(codec.tables_crc, decoded) != parts.check:
                raise coders.other_numbers(number)
        self.shown, self.residuals = (layer, parts.strengths), []

    def _latent(self, latent: Latent, layer: StreamLayer, data: bytes) -> np.ndarray:
        codec, file, chosen = self.codec, self.file, self._all_chosen()
        coder = choose(latent, dict(chosen)).coder
        place = codec.place(latent, layer, chosen, file.height, file.width, self.overlap)
        if isinstance(coder, ImageCodec):
            size = place.shape[1], place.shape[0]
            return coders.decode_image(coder, data, size, file.channels == 1, layer.kind)
        rows = None
        if isinstance(coder, RangeCoder) and coder.rows:
            rows = codec.rows(coder.rows, self.values, chosen, place, self.step)
        return coders.decode(coder, data, place, codec.tables, rows)

    def _all_chosen(self) -> list[tuple[str, str]]:
        """Option and alternative: as the file says, or else the codec's own."""
        return list({**self.codec.chosen, **self.chosen}.items())

    def show(self) -> np.ndarray:
        """The image of the layers so far: ``uint8 [H, W, 3]``."""
        assert self.shown
        layer, strengths = self.shown
        chosen = self._all_chosen()
        sides = self.file.height, self.file.width
        image = self.codec.show(layer, self.values, strengths, chosen, *sides, self.overlap, self.same, self.step)
        for upper, payload in self.residuals:
            image = self.codec.add(image, upper, payload)
        return image
