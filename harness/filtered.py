"""Files of a codec whose decoded luma a model mends (Hu 2018, §2).

    picture ─▶ model.encode ─▶ YCbCr ─▶ codec ─▶ picture layer
    picture ◀─ model.decode ◀─ YCbCr ◀─ codec ◀─┘

Payload of the layer: the codec's number (1 byte, plus 128 where the filter would do harm and is left out) and its
file. The model is optional: without it the codec's own picture can be shown (:func:`decode_plain`).
"""

import numpy as np

from codec_zoo import color
from codec_zoo.errors import BitstreamError, ModelError, UsageError
from codec_zoo.harness import tiling
from codec_zoo.harness.bitstream import Bitstream, Layer, LayerKind
from codec_zoo.harness.codecs import get_ycbcr_codec
from codec_zoo.harness.exported import ExportedModel
from codec_zoo.harness.images import as_rgb, to_gray
from codec_zoo.harness.model_codec import ModelCodec

# Added to the number of a codec whose picture stays as it is.
UNFILTERED = 128
# The number is in the file; with it goes a quality that decoders do not look at.
CODECS = {1: "svac", 2: "svac-half", 3: "svac-quarter", 4: "svac-eighth", 5: "jpeg-420", 6: "bpg-ycbcr420"}


class FilteredCodec(ModelCodec):
    """Files with one picture layer, from an exported model.

    Args:
        model: of kind ``filter``.
        quality: of the codec; by default the one that the filter was trained for.
        codec: one of :data:`CODECS`; by default the one that the filter was trained for.
        filter: ``"auto"`` leaves it out of files whose luma it makes worse, ``"on"`` never does; ``"off"`` decodes
            without the model.

    Raises:
        UsageError: an argument is none of these.
    """

    name = "filter"

    def __init__(
        self, model: ExportedModel, quality: float | None = None, codec: str | None = None, filter: str = "auto"
    ):
        known = model.card["pipeline"]
        codec = codec or known["codec"]
        if codec not in CODECS.values():
            raise UsageError(f"the codec must be one of {', '.join(CODECS.values())}. Received: {codec!r}")
        if filter not in ("auto", "on", "off"):
            raise UsageError(f"the filter is auto, on or off. Received: {filter!r}")
        self.model = model
        self.quality = known["quality"] if quality is None else quality
        self.number = next(number for number, name in CODECS.items() if name == codec)
        self.step = get_ycbcr_codec(f"{codec}:{self.quality}")
        self.filter = filter

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""

        def convert(tile: np.ndarray) -> np.ndarray:
            return self.model.run("encode", images=tile[None])["ycbcr"][0]

        ycbcr = tiling.run_in_tiles(convert, as_rgb(image), reach=0)
        file = self.step.encode_ycbcr(ycbcr)
        number = self.number
        if self.filter == "auto":
            decoded = self.step.decode_ycbcr(file)
            errors = [_luma_error(image, shown) for shown in (color.ycbcr_to_rgb(decoded), self._mend(decoded))]
            number += UNFILTERED if errors[1] > errors[0] else 0
        return self.to_file(image, [Layer(LayerKind.PICTURE, bytes([number]) + file)])

    def _mend(self, ycbcr: np.ndarray) -> np.ndarray:
        """What the filter makes of a decoded picture: ``uint8 [H, W, 3]``, RGB."""

        def mend(tile: np.ndarray) -> np.ndarray:
            return self.model.run("decode", ycbcr=tile[None])["images"][0]

        return tiling.run_in_tiles(mend, ycbcr, self.model.card["pipeline"]["reach"])

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the one layer.

        Raises:
            BitstreamError: it is damaged, or contradicts the header.
        """
        if self.filter == "off":
            return decode_plain(stream)
        ycbcr = _decode_ycbcr(stream)
        plain = stream.layers[0].payload[0] & UNFILTERED
        image = color.ycbcr_to_rgb(ycbcr) if plain else self._mend(ycbcr)
        return image if stream.channels == 3 else to_gray(image)


def decode_plain(stream: Bitstream) -> np.ndarray:
    """The codec's own picture, without any model.

    Raises:
        ModelError: a file of layers that only a model decodes.
        BitstreamError: the layer is damaged, or contradicts the header.
    """
    if any(layer.kind != LayerKind.PICTURE for layer in stream.layers):
        raise ModelError("only the model that coded this file can decode it: --model DIR.")
    image = color.ycbcr_to_rgb(_decode_ycbcr(stream))
    return image if stream.channels == 3 else to_gray(image)


def _luma_error(image: np.ndarray, shown: np.ndarray) -> float:
    """Mean squared error of luma."""
    difference = color.rgb_to_ycbcr(as_rgb(image))[..., 0].astype(np.float64) - color.rgb_to_ycbcr(shown)[..., 0]
    return float(np.mean(np.square(difference)))


def _decode_ycbcr(stream: Bitstream) -> np.ndarray:
    """The codec's picture: YCbCr, ``uint8 [H, W, 3]``."""
    if len(stream.layers) != 1 or stream.layers[0].kind != LayerKind.PICTURE:
        raise BitstreamError("the file's layers are not those of a filter behind a codec.")
    number, data = stream.layers[0].payload[:1], stream.layers[0].payload[1:]
    name = CODECS.get(number[0] & ~UNFILTERED) if number else None
    if name is None:
        raise BitstreamError("the picture layer is damaged: no such codec.")
    codec = get_ycbcr_codec(f"{name}:30")
    if codec.declared_size(data) != (stream.width, stream.height):
        raise BitstreamError("the picture layer has another size than the file's header says.")
    return codec.decode_ycbcr(data)
