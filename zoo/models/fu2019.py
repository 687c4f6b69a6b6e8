"""Hybrid layered codec: the networks of Fu et al. 2019, "Improved Hybrid Layered Image Compression
using Deep Learning and Traditional Codecs" (arXiv 1907.06566).

                         ┌───────────── base layer (lossless) ─────────────┐
    image x ─▶ analysis ─▶ compact image c ─▶ synthesis ─▶ coarse image x' ─▶ residual x − x' ─▶ BPG
    [N,H,W,3]  (CompNet)   [N,H/s,W/s,3]      (RecNet)     [N,H,W,3]

Reproduced: §2.2 (both networks), §2.3 Eq. 1–2 (scalings), §2.4 Eq. 5 (loss). The residual mappings
(Eq. 3–4) and the codecs around are codec steps, not part of the network: see ``codec_zoo.harness``.

Where the paper is silent:

- **Arrangement of the 13 layers.** "13 network layers", "four downsampling layers", "a residual network
  which contains two convolution layers between" them: 4 × (1 + 2) + 1 = 13. CompNet is four times
  (down-sampling convolution, residual block), then a convolution to the compact image; RecNet is its
  mirror: a convolution from the compact image, then four times (residual block, up-sampling
  deconvolution), the last of which gives the picture. Stride 8 has three such pairs, stride 32 five.
- **Widths** about double as the picture halves, so that every stage costs about the same. In a short
  experiment (``docs/training.md``) they did as well as widths of 32 to 256 in the same time, at half the
  size.
- **Rounding.** The compact image is rounded to 8 bits in training too, with a straight-through
  gradient: the synthesis learns from just what a decoder gets.
- **Initialisation.** The networks start as a picture pyramid (average down, interpolate up) with residual
  blocks that add nothing. From random weights the compact image saturates its Tanh at any learning rate
  above 3e-4, and learning is some ten times slower.
- **Dropout rate**: 0. The layer is where Fig. 4 has it, but at our training budget the networks are far
  from over-fitting, so that there is nothing for it to prevent.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
from keras import ops
from PIL import Image

from codec_zoo.contract import LearnsAsOne, Signature
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.entropy_models import FactorizedPrior
from codec_zoo.layers import (
    PRELU_SLOPE,
    QuantizePixels,
    ResidualBlock,
    make_activation,
    pad_to_multiple,
    sizes,
    to_pixel_range,
    to_unit_range,
)
from codec_zoo.metrics import Probe
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.stream import Alternative, Choice, ImageCodec, Latent, LosslessImage, Residual, Stream, StreamLayer

# The residual's domains, that of the paper's tables first, and its QP.
RESIDUAL_CODECS = ("bpg-ycbcr444", "bpg-ycbcr444-10bit", "bpg-rgb444", "bpg-rgb444-10bit")
RESIDUAL_QP = 32


def analysis_transform(widths: Sequence[int], activation: str, dropout: float) -> keras.Model:
    """CompNet: float ``[N, H, W, 3]`` in [−1, 1] → ``[N, H/s, W/s, 3]`` in [−1, 1], ``s = 2^len(widths)``."""
    x = inputs = keras.Input((None, None, 3))
    for i, width in enumerate(widths):
        x = Conv2D(width, 3, strides=2, padding="same", name=f"down{i}")(x)
        x = make_activation(activation, name=f"act{i}")(x)
        x = ResidualBlock(width, activation, dropout, name=f"block{i}")(x)
    x = Conv2D(3, 3, padding="same", name="compact")(x)
    x = keras.layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.Model(inputs, x, name="analysis")


def synthesis_transform(widths: Sequence[int], activation: str, dropout: float) -> keras.Model:
    """RecNet: float ``[N, h, w, 3]`` in [−1, 1] → ``[N, h·s, w·s, 3]`` in [−1, 1], mirror of CompNet."""
    x = inputs = keras.Input((None, None, 3))
    x = Conv2D(widths[-1], 3, padding="same", name="expand")(x)
    for i in reversed(range(len(widths))):
        x = make_activation(activation, name=f"act{i}")(x)
        x = ResidualBlock(widths[i], activation, dropout, name=f"block{i}")(x)
        filters = widths[i - 1] if i else 3
        x = Conv2DTranspose(filters, 3, strides=2, padding="same", name=f"up{i}")(x)
    x = keras.layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.Model(inputs, x, name="synthesis")


def _start_as_resampler(analysis: keras.Model, synthesis: keras.Model, stages: int, activation: str) -> None:
    """Give fresh networks the weights of a picture pyramid; everything beside its six maps stays random.

    Each colour x travels through a stage in two maps, +x and −x: for an activation f of slope a below 0,
    ``f(x) − f(−x) = (1 + a)·x``, so the pair carries x through undistorted.
    """
    smooth, linear = np.array([0.25, 0.5, 0.25]), np.array([0.5, 1.0, 0.5])
    centre = np.array([0.0, 1.0, 0.0])
    colours = np.eye(3)
    pairs = np.concatenate([colours, -colours])
    from_pairs = pairs / (1 + (PRELU_SLOPE if activation == "prelu" else 0))

    def set_kernel(layer, taps, read, write, gain=1.0):
        transposed = isinstance(layer, Conv2DTranspose)
        kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
        view = kernel.swapaxes(2, 3) if transposed else kernel  # [3, 3, in, out]
        view[..., : len(write)] = 0
        view[:, :, : len(read), : len(write)] = gain * np.einsum("y,x,ic,oc->yxio", taps, taps, read, write)
        layer.kernel.assign(kernel)

    for i in range(stages):
        set_kernel(analysis.get_layer(f"down{i}"), smooth, from_pairs if i else colours, pairs)
        gain = 1.0 if i else 1.25  # makes up for two Tanh, roughly
        set_kernel(synthesis.get_layer(f"up{i}"), linear, from_pairs, pairs if i else colours, gain)
    set_kernel(analysis.get_layer("compact"), centre, from_pairs, colours)
    set_kernel(synthesis.get_layer("expand"), centre, colours, pairs)


@keras.saving.register_keras_serializable("codec_zoo")
class HybridAutoencoder(LearnsAsOne, keras.Model):
    """The convolutional auto-encoder CompNet → compact image → RecNet of Fu 2019.

    Args:
        widths: maps of each stage, finest first; their number gives the stride ``2^len(widths)``.
        activation: ``"prelu"`` or ``"relu"``.
        dropout: rate in the residual blocks, 0 … 1.

    Call: ``uint8`` or float ``[N, H, W, 3]``, 0 … 255, sides multiples of the stride → float32 coarse
    image in [−1, 1], same shape. Loss: mean squared error in that range (Eq. 5).
    """

    def __init__(self, widths: Sequence[int], activation: str = "prelu", dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.analysis = analysis_transform(widths, activation, dropout)
        self.rounding = QuantizePixels(name="rounding")
        self.synthesis = synthesis_transform(widths, activation, dropout)
        _start_as_resampler(self.analysis, self.synthesis, len(widths), activation)
        self.widths = tuple(widths)
        self.activation = activation
        self.dropout = dropout
        self.build((None, None, None, 3))

    @classmethod
    def make_stream(cls, widths: Sequence[int], activation: str = "prelu", dropout: float = 0.0) -> Stream:
        """How files are coded (§2.1); arguments of the constructor."""
        stride = 2 ** len(widths)
        base = (
            Alternative("jxl-lossless", LosslessImage("jxl-lossless"), 1),
            Alternative("flif", LosslessImage("flif"), 2),
        )
        residual = tuple(Alternative(codec, ImageCodec(codec, RESIDUAL_QP)) for codec in RESIDUAL_CODECS)
        compact = Latent("compact", Choice("base_codec", "jxl-lossless", base), stride, channels=3)
        return Stream(
            (
                StreamLayer("base", (compact,), decode="decode"),
                StreamLayer("residual", (Residual(Choice("residual_codec", RESIDUAL_CODECS[0], residual)),)),
            ),
            stride,
        )

    @property
    def receptive_field(self) -> dict[str, int]:
        """Start of a signature's name → pixels around a place that it looks at: 2 or 1 of a stage's (de)convolution
        and 2 of its block at half the size, for each stage, and 1 at the smallest size.
        """
        pixels = 7 * self.stride
        return {"encode": pixels, "decode": pixels}

    @property
    def stride(self) -> int:
        """Side of the picture over side of the compact image."""
        return 2 ** len(self.widths)

    def build(self, input_shape=None):
        """Everything is built with the parts."""
        self.built = True

    def call(self, images, training=None):
        """Compress and reconstruct; see the class."""
        compact = self.analysis(to_unit_range(images), training=training)
        return self.synthesis(self.rounding(compact), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Eq. 5: mean squared error against the input, which is its own target."""
        return ops.mean(ops.square(ops.cast(y_pred, "float32") - to_unit_range(x)))

    def initialize(self, images: np.ndarray) -> None:
        """Nothing: the networks start as a resampler, whatever the data."""

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """What a training loss says on the pixel scale: ``psnr``, dB."""
        return {"psnr": -10 * math.log10(losses["loss"] / 4)}

    # The compact image is coded by an image codec.
    priors: ClassVar[dict[str, FactorizedPrior]] = {}

    @property
    def signatures(self) -> dict[str, Signature]:
        """What the exported model answers to: the two halves of the base layer."""
        return {
            "encode": Signature(self.encode, {"images": ("uint8", (None, None, None, 3))}),
            "decode": Signature(
                self.decode, {"compact": ("uint8", (None, None, None, 3)), "size": ("int32", (None, 2))}
            ),
        }

    def encode(self, images):
        """Picture to compact image.

        Args:
            images: ``uint8 [N, H, W, 3]``, any sides from 1 up; edges are repeated up to a multiple of
                the stride.

        Returns:
            ``compact``: ``uint8 [N, ⌈H/s⌉, ⌈W/s⌉, 3]``; ``size``: ``int32 [N, 2]``, H and W of each.
        """
        compact = self.analysis(to_unit_range(pad_to_multiple(images, self.stride)), training=False)
        return {"compact": ops.cast(ops.round(to_pixel_range(compact)), "uint8"), "size": sizes(images)}

    def decode(self, compact, size):
        """Compact image to coarse reconstruction.

        Args:
            compact: ``uint8 [N, h, w, 3]``.
            size: ``int32 [N, 2]``, H ≤ h·s and W ≤ w·s, the same for the whole batch.

        Returns:
            ``images``: ``uint8 [N, H, W, 3]``.
        """
        coarse = to_pixel_range(self.synthesis(to_unit_range(compact), training=False))
        images = ops.cast(ops.round(coarse), "uint8")
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    def probe(self, image: np.ndarray) -> Probe:
        """Code one picture's base layer for real and look at what comes back.

        The compact image is written as a lossless WebP file, which every machine that trains has and
        which is within 3 % of FLIF on such images.

        Args:
            image: ``uint8 [H, W, 3]``.
        """
        coded = self.encode(ops.convert_to_tensor(image[None]))
        compact = ops.convert_to_numpy(coded["compact"])[0]
        file = io.BytesIO()
        Image.fromarray(compact).save(file, "WEBP", lossless=True)
        reconstruction = ops.convert_to_numpy(self.decode(**coded)["images"])[0]
        return Probe(
            original=image,
            reconstruction=reconstruction,
            bpp=8 * file.tell() / (image.shape[0] * image.shape[1]),
            loss=float(np.mean(np.square((reconstruction / 255.0 - image / 255.0) * 2))),
            latents={"compact": compact},
        )

    def get_config(self):
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(widths=self.widths, activation=self.activation, dropout=self.dropout)
        return config


_PAPER = Paper(
    authors="Haisheng Fu, Feng Liang, Bo Lei, Nai Bian, Qian Zhang, Mohammad Akbari, Jie Liang, Chengjie Tu",
    title="Improved Hybrid Layered Image Compression using Deep Learning and Traditional Codecs",
    year=2019,
    url="https://arxiv.org/abs/1907.06566",
)

_RECIPE = Recipe(
    patch_size=128,
    batch_size=20,
    steps=40 * 81_650 // 20,
    learning_rate=1e-4,
    note="§2.4: 40 epochs of 81,650 patches, batch 20, Adam, fixed rate 1e-4. The patch size is not "
    "published; 128 suffices for the receptive field and leaves an 8×8 compact image at stride 16.",
)

# The finest five widths; a model of stride 2^n takes the first n.
_WIDTHS = (16, 48, 96, 192, 192)

for _stages in (3, 4, 5):
    for _activation in ("prelu", "relu"):
        register(
            Preset(
                name=f"fu2019-hybrid-s{2**_stages}-{_activation}",
                paper=_PAPER,
                model=HybridAutoencoder,
                config={"widths": _WIDTHS[:_stages], "activation": _activation},
                recipe=_RECIPE,
                reproduces="Fig. 6 and 7 (proposed); Fig. 8 (S16+PReLU)"
                if (_stages, _activation) == (4, "prelu")
                else f"Fig. 8 (S{2**_stages}+{'PReLU' if _activation == 'prelu' else 'ReLU'})",
            )
        )
