"""Files of JPEG-coded representations at one of two resolutions (Zhao 2018, §2; Jiang 2017).

    picture ─▶ model.encode_BRANCH ─▶ representation ─▶ JPEG ─▶ representation layer
    picture ◀─ model.decode_BRANCH ◀─ representation ◀─ JPEG ◀─┘

Payload of the layer: the branch's scale (1 byte) and a JPEG file, gray or 4:2:0. Gray pictures stay gray.
"""

import bisect
import functools

import numpy as np

from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.images import as_rgb
from codec_zoo.codecs.model_codec import ModelCodec, inner_codec, parse_target
from codec_zoo.codecs.standard.pillow_formats import JPEG420
from codec_zoo.errors import BitstreamError, ImageError, UsageError
from codec_zoo.export.runtime import ExportedModel
from codec_zoo.metrics import psnr

# Of JPEG, coarse first; a target takes one of them.
QUALITIES = range(1, 101)
QUALITY = 10
# The networks have 128 channels, and TensorFlow counts the values of a tensor in 31 bits: beyond, it crashes.
MAX_PIXELS = 2**24 - 1


class MixedCodec(ModelCodec):
    """Files with one representation layer, from an exported model.

    Args:
        model: of kind ``mixed``.
        quality: of JPEG, 1 … 100; :data:`QUALITY` by default; not with a target.
        resolution: a branch of the model, ``"low"`` or ``"high"``; ``"auto"`` takes the better for a target, and
            without one the first branch.
        target_bpp: the picture of highest PSNR in a file of at most so many bits a pixel; if none is, the smallest.
        target_psnr: the smallest file of at least so many dB; if none has, the best.

    Raises:
        UsageError: an argument is none of these, or quality and targets together.
    """

    name = "mixed"
    qualities = (5, 10, 20, 40)

    def __init__(
        self,
        model: ExportedModel,
        quality: float | None = None,
        resolution: str = "auto",
        target_bpp: float | str | None = None,
        target_psnr: float | str | None = None,
    ):
        self.scales: dict[str, int] = model.pipeline["branches"]
        if resolution != "auto" and resolution not in self.scales:
            raise UsageError(
                f"--resolution of {model.preset} is auto or one of {', '.join(self.scales)}. Received: {resolution!r}"
            )
        if sum(value is not None for value in (quality, target_bpp, target_psnr)) > 1:
            raise UsageError("give one of -q, --target-bpp and --target-psnr.")
        self.target_bpp = parse_target("--target-bpp", target_bpp)
        self.target_psnr = parse_target("--target-psnr", target_psnr)
        self.model = model
        self.quality: float = QUALITY if quality is None else quality
        inner_codec(model, JPEG420.name, self.quality)
        self.resolution = resolution

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 1 or 3]`` of at most :data:`MAX_PIXELS`; see ``Codec.encode``."""
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise ImageError(
                f"{image.shape[1]}×{image.shape[0]} pixels are too many for {self.model.preset}, which takes "
                f"{MAX_PIXELS:,} in all. Cut the picture up."
            )
        branches = list(self.scales) if self.resolution == "auto" else [self.resolution]
        if self.target_bpp is None and self.target_psnr is None:
            return self._encode(image, self._represent(image, branches[0]), branches[0], self.quality)
        candidates = [_Candidates(self, image, branch) for branch in branches]
        if self.target_psnr is None:
            return _most_within((self.target_bpp or 0.0) * image.shape[0] * image.shape[1] / 8, candidates)
        return _least_above(self.target_psnr, candidates)

    def _represent(self, image: np.ndarray, branch: str) -> np.ndarray:
        """``uint8 [h, w, 1 or 3]``: Y, and Cb, Cr of a colour picture."""
        coded = self.model.run(f"encode_{branch}", images=as_rgb(image)[None])["representation"][0]
        return coded[..., : image.shape[2]]

    def _encode(self, image: np.ndarray, representation: np.ndarray, branch: str, quality: float) -> bytes:
        payload = bytes([self.scales[branch]]) + JPEG420(quality).encode_ycbcr(representation)
        return self.to_file(image, [Layer(LayerKind.REPRESENTATION, payload)])

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the one layer.

        Raises:
            BitstreamError: it is damaged, or contradicts the header or the model.
        """
        if len(stream.layers) != 1 or stream.layers[0].kind != LayerKind.REPRESENTATION:
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}.")
        if stream.width * stream.height > MAX_PIXELS:
            raise BitstreamError(
                f"the file claims {stream.width}×{stream.height} pixels, which no file of this model has."
            )
        scale, data = stream.layers[0].payload[:1], stream.layers[0].payload[1:]
        branch = next((name for name, known in self.scales.items() if bytes([known]) == scale), None)
        if branch is None:
            raise BitstreamError(f"the representation is damaged: {self.model.preset} has no such resolution.")
        codec = JPEG420(10)
        size = -(-stream.width // scale[0]), -(-stream.height // scale[0])
        if codec.declared_size(data) != size:
            raise BitstreamError("the representation has another size than the file's header says.")
        representation = codec.decode_ycbcr(data)
        if representation.shape[2] != stream.channels:
            raise BitstreamError("the representation has other channels than the file's header says.")
        if stream.channels == 1:
            neutral = np.full((*representation.shape[:2], 2), 128, np.uint8)
            representation = np.concatenate([representation, neutral], axis=-1)
        true_size = np.array([[stream.height, stream.width]], np.int32)
        image = self.model.run(f"decode_{branch}", representation=representation[None], size=true_size)["images"][0]
        # Without chroma, R = G = B = Y.
        return image if stream.channels == 3 else image[..., :1]


class _Candidates:
    """The files of one branch, a quality each, coded and decoded when they are asked for, once.

    Their sizes and PSNR rise with the quality, up to a few bytes and thousandths of dB: a bisection finds those at a
    target.
    """

    def __init__(self, codec: MixedCodec, image: np.ndarray, branch: str):
        representation = codec._represent(image, branch)

        def encode(quality: int) -> bytes:
            return codec._encode(image, representation, branch, quality)

        def measure(quality: int) -> float:
            reached = psnr(image, codec.decode(self.file(quality)))
            if codec.progress:
                bpp = 8 * len(self.file(quality)) / (image.shape[0] * image.shape[1])
                codec.progress(f"resolution {branch}, JPEG {quality}: {bpp:.4f} bpp, {reached:.2f} dB")
            return reached

        self.file, self.psnr = functools.cache(encode), functools.cache(measure)

    def count_up_to(self, size: float) -> int:
        """How many of the lowest qualities have files of at most ``size`` bytes."""
        return bisect.bisect_right(QUALITIES, size, key=lambda quality: len(self.file(quality)))

    def count_below(self, wanted: float, most: int) -> int:
        """How many of the ``most`` lowest qualities stay below a PSNR, dB."""
        return bisect.bisect_left(QUALITIES, wanted, hi=most, key=self.psnr)


def _most_within(size: float, branches: list[_Candidates]) -> bytes:
    """The file of highest PSNR of at most so many bytes; if there is none, the smallest."""
    fitting = [(branch, QUALITIES[count - 1]) for branch in branches if (count := branch.count_up_to(size))]
    if not fitting:
        return min((branch.file(QUALITIES[0]) for branch in branches), key=len)
    branch, quality = max(fitting, key=lambda pair: pair[0].psnr(pair[1])) if len(fitting) > 1 else fitting[0]
    return branch.file(quality)


def _least_above(wanted: float, branches: list[_Candidates]) -> bytes:
    """The smallest file of at least so many dB; if there is none, that of highest PSNR."""
    best = None
    for branch in branches:
        most = branch.count_up_to(len(best) - 1) if best else len(QUALITIES)
        count = branch.count_below(wanted, most)
        if count < most:
            best = branch.file(QUALITIES[count])
    if best is None:
        branch = max(branches, key=lambda branch: branch.psnr(QUALITIES[-1]))
        best = branch.file(QUALITIES[-1])
    return best
