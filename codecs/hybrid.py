"""The hybrid layered codec around an exported auto-encoder (Fu 2019, Fig. 2).

    picture ─▶ model.encode ─▶ compact image ─▶ lossless codec ─▶ base layer
                                    │
                               model.decode ─▶ coarse image
    picture − coarse image ─▶ mapping ─▶ BPG ─▶ residual layer

Payloads: base = codec id (1 byte) + that codec's file; residual = mapping (1 or 5 bytes) + .bpg file.

The mapping ``auto`` (beyond the paper) is ``clip``, unless clipping spoils the picture more than the quantiser does:
hard edges, as of text. Then the residual is coded with ``clip`` and with ``minmax``, and the better is kept.
"""

import numpy as np

from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.model_codec import ModelCodec, inner_codec
from codec_zoo.codecs.residual import MAPPINGS, Mapping, beyond_clip
from codec_zoo.codecs.standard import bpg, get_codec
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import ExportedModel, parse_layers

# The number is in the file.
BASE_CODECS = {1: "jxl-lossless", 2: "flif"}
RESIDUAL_CODECS = ("bpg-ycbcr444", "bpg-ycbcr444-10bit", "bpg-rgb444", "bpg-rgb444-10bit")
QUALITY = 32
# What a bit is worth in squared error of RGB, in squares of the quantiser's step: the slope of x265's curves.
PRICE = 0.3


class HybridCodec(ModelCodec):
    """Files with a learned base layer and a BPG residual layer, from an exported model.

    Args:
        model: of kind ``hybrid``.
        quality: QP of the residual layer, 0 (finest) … 51; :data:`QUALITY` by default.
        mapping: ``"shift"``, ``"minmax"`` or ``"clip"`` (§2.3), or ``"auto"``, the default: the picture's own.
        residual_codec: one of :data:`RESIDUAL_CODECS`, the first by default: the domain in which the residual is
            coded.
        base_codec: ``"jxl-lossless"``, or ``"flif"`` where its executable is on the PATH.
        layers: 1 for the base layer alone, 2 for both.

    Raises:
        UsageError: an argument is none of these, or is for the residual layer that ``layers=1`` leaves out.
    """

    name = "hybrid"
    qualities = (44, 40, 36, 32, 28, 24, 20)

    def __init__(
        self,
        model: ExportedModel,
        quality: float | None = None,
        mapping: str | None = None,
        residual_codec: str | None = None,
        base_codec: str = "jxl-lossless",
        layers: int | str = 2,
    ):
        self.model = model
        self.layers = parse_layers(layers, model)
        given = {"-q": quality, "--mapping": mapping, "--residual-codec": residual_codec}
        if self.layers == 1 and (idle := [option for option, value in given.items() if value is not None]):
            raise UsageError(
                f"--layers 1 leaves out the residual layer, and with it {', '.join(idle)}: give one or the other."
            )
        mapping = mapping or "auto"
        if mapping not in ("auto", *MAPPINGS):
            raise UsageError(f"--mapping is one of auto, {', '.join(MAPPINGS)}. Received: {mapping!r}")
        residual_codec = residual_codec or RESIDUAL_CODECS[0]
        if residual_codec not in RESIDUAL_CODECS:
            raise UsageError(f"--residual-codec is one of {', '.join(RESIDUAL_CODECS)}. Received: {residual_codec!r}")
        if base_codec not in BASE_CODECS.values():
            raise UsageError(f"--base-codec is one of {', '.join(BASE_CODECS.values())}. Received: {base_codec!r}")
        self.mapping = mapping
        self.quality: float = QUALITY if quality is None else quality
        self.residual_codec = inner_codec(model, residual_codec, self.quality)
        self.base_codec = base_codec

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""
        rgb = as_rgb(image)
        height, width = image.shape[:2]
        coded = self.model.run("encode", images=rgb[None])
        number = next(key for key, name in BASE_CODECS.items() if name == self.base_codec)
        base = bytes([number]) + get_codec(self.base_codec).encode(coded["compact"][0])
        layers = [Layer(LayerKind.BASE, base)]
        if self.layers > 1:
            coarse = self.coarse(coded["compact"][0], height, width)
            layers.append(Layer(LayerKind.RESIDUAL, self._encode_residual(rgb, coarse)))
        return self.to_file(image, layers)

    def _encode_residual(self, rgb: np.ndarray, coarse: np.ndarray) -> bytes:
        """The payload of the residual layer, of the picture and its coarse image, ``uint8 [H, W, 3]``."""
        residual = rgb.astype(np.int16) - coarse

        def encode(name: str) -> bytes:
            mapping = Mapping.choose(name, residual)
            return mapping.to_bytes() + self.residual_codec.encode(mapping.apply(residual))

        def cost(payload: bytes) -> float:
            error = rgb.astype(np.float64) - _add_residual(coarse, payload)
            return float(np.sum(np.square(error))) + PRICE * step(self.quality) ** 2 * 8 * len(payload)

        if self.mapping != "auto":
            return encode(self.mapping)
        # The mean squared error of photographs is about as large as the step, from QP 22 to 40.
        if beyond_clip(residual) <= step(self.quality):
            return encode("clip")
        return min(encode("clip"), encode("minmax"), key=cost)

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers: 1 for the coarse image, 2 for all.

        Raises:
            BitstreamError: the layers are not those of a hybrid file, or contradict the header.
        """
        kinds = [layer.kind for layer in stream.layers]
        if kinds not in ([LayerKind.BASE], [LayerKind.BASE, LayerKind.RESIDUAL]):
            raise BitstreamError("the file's layers are not those of a hybrid codec: base, then residual.")
        number, base = stream.layers[0].payload[:1], stream.layers[0].payload[1:]
        name = BASE_CODECS.get(number[0]) if number else None
        if name is None:
            raise BitstreamError("the base layer names no codec that is known here.", "Update codec-zoo.")
        stride = self.model.pipeline["stride"]
        compact_size = -(-stream.width // stride), -(-stream.height // stride)
        compact = _decode_checked(get_codec(name), base, compact_size, "base")
        image = self.coarse(compact, stream.height, stream.width)
        if count > 1 and len(stream.layers) > 1:
            image = _add_residual(image, stream.layers[1].payload)
        return image if stream.channels == 3 else to_gray(image)

    def coarse(self, compact: np.ndarray, height: int, width: int) -> np.ndarray:
        """The coarse reconstruction ``uint8 [H, W, 3]`` of a compact image ``uint8 [h, w, 3]``."""
        size = np.array([[height, width]], np.int32)
        return self.model.run("decode", compact=compact[None], size=size)["images"][0]


def step(quality: float) -> float:
    """HEVC's quantiser step at a QP."""
    return 2 ** ((quality - 4) / 6)


def _add_residual(coarse: np.ndarray, payload: bytes) -> np.ndarray:
    """The picture of a coarse image, ``uint8 [H, W, 3]``, and the residual layer's payload."""
    mapping, file = Mapping.from_bytes(payload)
    if bpg.demux(file).pixel_format != bpg.YUV444:
        raise BitstreamError("the residual layer is not coded in 4:4:4: the file is damaged.")
    mapped = _decode_checked(get_codec("bpg-ycbcr444"), file, (coarse.shape[1], coarse.shape[0]), "residual")
    return np.clip(coarse + mapping.invert(mapped), 0, 255).astype(np.uint8)


def _decode_checked(codec: Codec, data: bytes, size: tuple[int, int], layer: str) -> np.ndarray:
    """Decode a layer's file, after a look at whether its size is the one it must have."""
    declared = codec.declared_size(data)
    if declared != size:
        raise BitstreamError(
            f"the {layer} layer has {declared[0]}×{declared[1]} pixels, and the file's header asks for "
            f"{size[0]}×{size[1]}: the file is damaged."
        )
    image = codec.decode(data)
    if image.shape[2] != 3:
        raise BitstreamError(f"the {layer} layer is gray, and its model's are not: the file is damaged.")
    return image
