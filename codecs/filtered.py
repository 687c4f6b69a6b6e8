"""Files of a codec whose decoded luma a model mends (Hu 2018, §2).

    picture ─▶ model.encode ─▶ YCbCr ─▶ codec ─▶ picture layer
    picture ◀─ model.decode ◀─ YCbCr ◀─ codec ◀─┘

Payload of the layer: the codec's number (1 byte), the strengths of the filter's changes (a signed byte each, in units
of 1/:data:`FULL`; zeros where it is left out), and the codec's file. The model is optional:
without it the codec's own picture can be shown (:func:`decode_plain`).
"""

from typing import cast

import numpy as np

from codec_zoo import color
from codec_zoo.codecs import tiling
from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.model_codec import ModelCodec, inner_codec
from codec_zoo.codecs.standard import default_quality, get_ycbcr_codec
from codec_zoo.codecs.standard.base import YCbCrCodec
from codec_zoo.errors import BitstreamError, ModelError, UsageError
from codec_zoo.export.runtime import ExportedModel

# A file's strengths are multiples of 1/FULL, as the model's are (codec_zoo.models.hu2018, which needs Keras).
FULL = 64
# With these the filter is the paper's.
PAPER = np.array([FULL, 0, 0, 0], np.int8)
# Side of a tile, pixels. The filter looks at few pixels around a place and keeps 700 bytes for each: smaller tiles
# than other models' cost no time, and a quarter of the memory.
TILE = 512
# The number is in the file; with it goes a quality that decoders do not look at.
CODECS = {
    1: "svac",
    2: "svac-half",
    3: "svac-quarter",
    4: "svac-eighth",
    5: "jpeg-420",
    6: "bpg-ycbcr420",
    7: "bpg-ycbcr444",
}


class FilteredCodec(ModelCodec):
    """Files with one picture layer, from an exported model.

    Args:
        model: of kind ``filter``.
        quality: of the codec; by default the one that the filter was trained for, or for another codec the middle
            of its curve (``default_quality``).
        codec: one of :data:`CODECS`; by default the one that the filter was trained for.
        filter: with ``"auto"`` each file says which strengths are best for its luma, with ``"on"`` files have those
            of the paper's filter; ``"off"`` decodes without the model.

    Raises:
        UsageError: an argument is none of these.
    """

    name = "filter"

    def __init__(
        self, model: ExportedModel, quality: float | None = None, codec: str | None = None, filter: str = "auto"
    ):
        known = model.pipeline
        codec = codec or known["codec"]
        if codec not in CODECS.values():
            raise UsageError(f"--codec is one of {', '.join(CODECS.values())}. Received: {codec!r}")
        if filter not in ("auto", "on", "off"):
            raise UsageError(f"the filter is auto, on or off. Received: {filter!r}")
        self.model = model
        own = known["quality"] if codec == known["codec"] else default_quality(codec)
        self.quality = own if quality is None else quality
        self.number = next(number for number, name in CODECS.items() if name == codec)
        self.step = cast(YCbCrCodec, inner_codec(model, codec, self.quality))
        self.filter = filter

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""

        def convert(tile: np.ndarray) -> np.ndarray:
            return self.model.run("encode", images=tile[None])["ycbcr"][0]

        ycbcr = tiling.run_in_tiles(convert, as_rgb(image), reach=0, tile=TILE)
        file = self.step.encode_ycbcr(ycbcr)
        strengths = PAPER if self.filter != "auto" else self._best(ycbcr[..., 0], self.step.decode_ycbcr(file))
        return self.to_file(image, [Layer(LayerKind.PICTURE, bytes([self.number]) + strengths.tobytes() + file)])

    def _best(self, luma: np.ndarray, decoded: np.ndarray) -> np.ndarray:
        """Strengths, int8, with which the squared error to the true ``luma`` is least, as decoders round it."""

        from codec_zoo.models.hu2018 import best_strengths_of_picture  # here, since decode_plain needs no Keras

        def changes(tile: np.ndarray) -> np.ndarray:
            return self.model.run("changes", ycbcr=tile[None])["changes"][0]

        def error(strengths: np.ndarray) -> int:
            shown = self._mend(decoded, strengths) if strengths.any() else color.ycbcr_to_rgb(decoded)
            rows = ((true, color.rgb_to_ycbcr(row)[:, 0]) for true, row in zip(luma, shown, strict=True))
            return sum(int(np.square(true.astype(np.int32) - row).sum()) for true, row in rows)

        found = tiling.run_in_tiles(changes, decoded, self.model.pipeline["reach"], TILE)
        best = best_strengths_of_picture(found, luma, decoded[..., 0])
        return min((np.zeros_like(PAPER), PAPER, best), key=error)

    def _mend(self, ycbcr: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        """What the filter makes of a decoded picture with strengths, int8: ``uint8 [H, W, 3]``, RGB."""
        shares = (strengths / np.float32(FULL))[None]

        def mend(tile: np.ndarray) -> np.ndarray:
            return self.model.run("decode", ycbcr=tile[None], strengths=shares)["images"][0]

        return tiling.run_in_tiles(mend, ycbcr, self.model.pipeline["reach"], TILE)

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the one layer.

        Raises:
            BitstreamError: it is damaged, or contradicts the header.
        """
        if self.filter == "off":
            return decode_plain(stream)
        ycbcr, strengths = _decode_ycbcr(stream)
        image = self._mend(ycbcr, strengths) if strengths.any() else color.ycbcr_to_rgb(ycbcr)
        return image if stream.channels == 3 else to_gray(image)


def decode_plain(stream: Bitstream) -> np.ndarray:
    """The codec's own picture, without any model.

    Raises:
        ModelError: a file of layers that only a model decodes.
        BitstreamError: the layer is damaged, or contradicts the header.
    """
    if any(layer.kind != LayerKind.PICTURE for layer in stream.layers):
        raise ModelError("only the model that coded this file can decode it: --model DIR.")
    image = color.ycbcr_to_rgb(_decode_ycbcr(stream)[0])
    return image if stream.channels == 3 else to_gray(image)


def _decode_ycbcr(stream: Bitstream) -> tuple[np.ndarray, np.ndarray]:
    """The codec's picture, YCbCr, ``uint8 [H, W, 3]``, and the filter's strengths, int8."""
    if len(stream.layers) != 1 or stream.layers[0].kind != LayerKind.PICTURE:
        raise BitstreamError("the file's layers are not those of a filter behind a codec.")
    payload, start = stream.layers[0].payload, 1 + len(PAPER)
    name = CODECS.get(payload[0]) if len(payload) > start else None
    if name is None:
        raise BitstreamError("the picture layer is damaged: no such codec.")
    codec, data = get_ycbcr_codec(f"{name}:30"), payload[start:]
    if codec.declared_size(data) != (stream.width, stream.height):
        raise BitstreamError("the picture layer has another size than the file's header says.")
    image = codec.decode_ycbcr(data)
    if image.shape[2] != 3:
        raise BitstreamError("the picture layer is gray: it is damaged.")
    return image, np.frombuffer(payload[1:start], np.int8)
