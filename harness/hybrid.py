"""The hybrid layered codec around an exported auto-encoder (Fu 2019, Fig. 2).

    picture ─▶ model.encode ─▶ compact image ─▶ lossless codec ─▶ base layer
                                    │
                               model.decode ─▶ coarse image
    picture − coarse image ─▶ mapping ─▶ BPG ─▶ residual layer

Payloads: base = codec id (1 byte) + that codec's file; residual = mapping (1 or 5 bytes) + .bpg file.
"""

import numpy as np

from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.harness.bitstream import Bitstream, Layer, LayerKind
from codec_zoo.harness.codecs import get_codec
from codec_zoo.harness.codecs.base import Codec
from codec_zoo.harness.exported import ExportedModel, parse_layers
from codec_zoo.harness.images import as_rgb, to_gray
from codec_zoo.harness.model_codec import ModelCodec
from codec_zoo.harness.residual import MAPPINGS, Mapping

# The number is in the file.
BASE_CODECS = {1: "jxl-lossless", 2: "flif"}


class HybridCodec(ModelCodec):
    """Files with a learned base layer and a BPG residual layer, from an exported model.

    Args:
        model: of kind ``hybrid``.
        quality: QP of the residual layer, 0 (finest) … 51.
        mapping: ``"shift"``, ``"minmax"`` or ``"clip"`` (§2.3).
        residual_codec: ``"bpg-ycbcr444"`` or ``"bpg-rgb444"``: the domain in which the residual is coded.
        base_codec: ``"jxl-lossless"``, or ``"flif"`` where its executable is on the PATH.
        layers: 1 for the base layer alone, 2 for both.

    Raises:
        UsageError: an argument is none of these.
    """

    name = "hybrid"
    qualities = (44, 40, 36, 32, 28, 24, 20)

    def __init__(
        self,
        model: ExportedModel,
        quality: float = 32,
        mapping: str = "clip",
        residual_codec: str = "bpg-ycbcr444",
        base_codec: str = "jxl-lossless",
        layers: int | str = 2,
    ):
        if mapping not in MAPPINGS:
            raise UsageError(f"the mapping must be one of {', '.join(MAPPINGS)}. Received: {mapping!r}")
        if not residual_codec.startswith("bpg-"):
            raise UsageError(f"the residual's codec must be bpg-ycbcr444 or bpg-rgb444. Received: {residual_codec!r}")
        if base_codec not in BASE_CODECS.values():
            raise UsageError(
                f"the base layer's codec must be one of {', '.join(BASE_CODECS.values())}. Received: {base_codec!r}"
            )
        self.model = model
        self.quality = quality
        self.mapping = mapping
        self.layers = parse_layers(layers, model)
        self.residual_codec = get_codec(f"{residual_codec}:{quality:g}")
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
            residual = rgb.astype(np.int16) - self.coarse(coded["compact"][0], height, width)
            mapping = Mapping.choose(self.mapping, residual)
            payload = mapping.to_bytes() + self.residual_codec.encode(mapping.apply(residual))
            layers.append(Layer(LayerKind.RESIDUAL, payload))
        return self.to_file(image, layers)

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
        stride = self.model.card["pipeline"]["stride"]
        compact_size = -(-stream.width // stride), -(-stream.height // stride)
        compact = _decode_checked(get_codec(name), base, compact_size, "base")
        image = self.coarse(compact, stream.height, stream.width)
        if count > 1 and len(stream.layers) > 1:
            mapping, file = Mapping.from_bytes(stream.layers[1].payload)
            codec = get_codec("bpg-ycbcr444")
            mapped = _decode_checked(codec, file, (stream.width, stream.height), "residual")
            image = np.clip(image + mapping.invert(mapped), 0, 255).astype(np.uint8)
        return image if stream.channels == 3 else to_gray(image)

    def coarse(self, compact: np.ndarray, height: int, width: int) -> np.ndarray:
        """The coarse reconstruction ``uint8 [H, W, 3]`` of a compact image ``uint8 [h, w, 3]``."""
        size = np.array([[height, width]], np.int32)
        return self.model.run("decode", compact=compact[None], size=size)["images"][0]


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
