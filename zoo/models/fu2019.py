"""Hybrid layered codec: the networks of Fu et al. 2019, "Improved Hybrid Layered Image Compression
using Deep Learning and Traditional Codecs" (arXiv 1907.06566).

                         ┌───────────── base layer (lossless) ─────────────┐
    image x ─▶ analysis ─▶ compact image c ─▶ synthesis ─▶ coarse image x' ─▶ residual x − x' ─▶ BPG
    [N,H,W,3]  (CompNet)   [N,H/s,W/s,3]      (RecNet)     [N,H,W,3]

Reproduced: §2.2 (both networks), §2.3 Eq. 1–2 (scalings), §2.4 Eq. 5 (loss). The residual mappings
(Eq. 3–4) and the codecs around are codec steps, not part of the network: see ``codec_zoo.codecs``.

Where the paper is silent:

- **Arrangement of the 13 layers.** "13 network layers", "four downsampling layers", "a residual network
  which contains two convolution layers between" them: 4 × (1 + 2) + 1 = 13. CompNet is four times
  (down-sampling convolution, residual block), then a convolution to the compact image; RecNet is its
  mirror: a convolution from the compact image, then four times (residual block, up-sampling
  deconvolution), the last of which gives the image. Stride 8 has three such pairs, stride 32 five.
- **Widths** grow as the image shrinks: 16, 48, 96, 192, 192.
- **Rounding.** The compact image is rounded to 8 bits in training too, with a straight-through
  gradient: the synthesis learns from just what a decoder gets.
- **Initialisation.** The networks start as an image pyramid (average down, interpolate up) with residual
  blocks that add nothing. From random weights the compact image saturates its Tanh at any learning rate
  above 3e-4, and learning is some ten times slower.
- **Dropout rate**: 0. The layer is where Fig. 4 has it, but at our training budget the networks are far
  from over-fitting, so that there is nothing for it to prevent.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Signature, TensorSpecs
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.layers.resampling import pad_to_multiple, sizes
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, Residual, Stream, StreamLayer
from codec_zoo.stream_coders import Alternative, Choice, ImageCodec, LosslessImage

# The residual's domains, first the domain of the paper's tables, and its QP.
RESIDUAL_CODECS = ("bpg-ycbcr444", "bpg-ycbcr444-10bit", "bpg-rgb444", "bpg-rgb444-10bit")
RESIDUAL_QP = 32
# Slope below zero that PReLU starts with (He 2015, §2.1).
PRELU_SLOPE = 0.25

# === Layers ===


def to_unit_range(pixels: Any) -> Any:
    """Map pixel values 0 … 255 to floats in [−1, 1] (Fu 2019, Eq. 1)."""
    return ops.cast(pixels, "float32") / 255.0 * 2.0 - 1.0


def to_pixel_range(values: Any) -> Any:
    """Map floats in [−1, 1] to the pixel scale 0 … 255, not yet rounded (Fu 2019, Eq. 2 before ``round``)."""
    return (values + 1.0) / 2.0 * 255.0


def make_activation(kind: str, **kwargs: Any) -> keras.layers.Layer:
    """The non-linearity ``kind``: ``"prelu"`` (one learned slope a channel) or ``"relu"``."""
    if kind == "prelu":
        return keras.layers.PReLU(
            shared_axes=[1, 2], alpha_initializer=keras.initializers.Constant(PRELU_SLOPE), **kwargs
        )
    if kind == "relu":
        return keras.layers.ReLU(**kwargs)
    raise ValueError(f"activation must be 'prelu' or 'relu'. Received: {kind!r}")


@keras.saving.register_keras_serializable("codec_zoo")
class QuantizePixels(keras.layers.Layer):
    """Round values in [−1, 1] to the 256 levels of an 8-bit picture: Eq. 2, then Eq. 1, of Fu 2019.

    The forward pass is exactly what a decoder sees. The backward pass takes the gradient of the
    identity (straight-through estimator), since rounding has none.

    Call: float ``[N, h, w, C]`` in [−1, 1] → float32 of the same shape, in [−1, 1].
    """

    def __init__(self, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)

    def call(self, values: Any) -> Any:
        """Round to the nearest of the 256 levels."""
        values = ops.cast(values, "float32")
        rounded = to_unit_range(ops.round(to_pixel_range(values)))
        return values + ops.stop_gradient(rounded - values)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        return config


@keras.saving.register_keras_serializable("codec_zoo")
class ResidualBlock(keras.layers.Layer):
    """Two 3×3 convolutions with dropout between, added to the input; nothing after the skip.

    Fu 2019, §2.2 and Fig. 4 (b): the block of He 2016 without the non-linearity behind the skip
    connection. The non-linearity and the dropout stand between the convolutions.

    Args:
        filters: channels in and out.
        activation: ``"prelu"`` (one slope a channel) or ``"relu"``.
        dropout: share of values dropped in training, 0 … 1.

    Call: float ``[N, h, w, filters]`` → the same shape.
    """

    def __init__(self, filters: int, activation: str = "prelu", dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.conv1 = Conv2D(filters, 3, padding="same", name="conv1")
        self.act = make_activation(activation, name="act")
        self.drop = keras.layers.Dropout(dropout, name="drop")
        self.conv2 = Conv2D(filters, 3, padding="same", kernel_initializer="zeros", name="conv2")
        self.filters = filters
        self.activation = activation
        self.dropout = dropout

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build the parts, so that weights load before the first call."""
        for layer in (self.conv1, self.act, self.conv2):
            layer.build(input_shape)
        self.drop.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the two convolutions to the input; ``training`` switches dropout on."""
        branch = self.drop(self.act(self.conv1(inputs)), training=training)
        return inputs + self.conv2(branch)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(filters=self.filters, activation=self.activation, dropout=self.dropout)
        return config


@window.register(QuantizePixels)
def _pointwise(layer: QuantizePixels) -> Window:
    return Window()


@window.register(ResidualBlock)
def _window(layer: ResidualBlock) -> Window:
    return window(layer.conv1).then(window(layer.conv2))


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
    """Give fresh networks the weights of an image pyramid; everything beside its six channels stays random.

    Each colour x travels through a stage in two channels, +x and −x: for an activation f of slope a below 0,
    ``f(x) − f(−x) = (1 + a)·x``, so the pair carries x through undistorted.
    """
    smooth, linear = np.array([0.25, 0.5, 0.25]), np.array([0.5, 1.0, 0.5])
    centre = np.array([0.0, 1.0, 0.0])
    colours = np.eye(3)
    pairs = np.concatenate([colours, -colours])
    from_pairs = pairs / (1 + (PRELU_SLOPE if activation == "prelu" else 0))

    def set_kernel(layer: Any, taps: np.ndarray, read: np.ndarray, write: np.ndarray, gain: float = 1.0) -> None:
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


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class HybridAutoencoder(CompressionModel):
    """The convolutional auto-encoder CompNet → compact image → RecNet of Fu 2019.

    Args:
        widths: channels of each stage, finest first; their number gives the stride ``2^len(widths)``.
        activation: ``"prelu"`` or ``"relu"``.
        dropout: rate in the residual blocks, 0 … 1.

    Call: ``uint8`` or float ``[N, H, W, 3]``, 0 … 255, sides multiples of the stride → float32 coarse
    image in [−1, 1], same shape. Loss: mean squared error in that range (Eq. 5).
    """

    def __init__(self, widths: Sequence[int], activation: str = "prelu", dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.analysis = analysis_transform(widths, activation, dropout)
        self.rounding = QuantizePixels(name="rounding")
        self.synthesis = synthesis_transform(widths, activation, dropout)
        _start_as_resampler(self.analysis, self.synthesis, len(widths), activation)
        self.widths = tuple(widths)
        self.activation = activation
        self.dropout = dropout
        self.built = True

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
    def stride(self) -> int:
        """Side of the image over side of the compact image."""
        return 2 ** len(self.widths)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Compress to the rounded compact image, and reconstruct; ``training`` switches dropout on."""
        compact = self.analysis(to_unit_range(images), training=training)
        return self.synthesis(self.rounding(compact), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Eq. 5: mean squared error against the input, which is its own target: a scalar."""
        return ops.mean(ops.square(ops.cast(y_pred, "float32") - to_unit_range(x)))

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """The loss on the scale of pixels: ``psnr``, dB."""
        return {"psnr": -10 * math.log10(losses["loss"] / 4)}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode`` and ``decode``: the two halves of the base layer."""
        coded: TensorSpecs = {"compact": IMAGES, "size": SIZE}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def windows(self) -> dict[str, list[Window]]:
        """Of both signatures."""
        return {
            "encode": [window(self.analysis)],
            "decode": [window(self.synthesis).of_latents(self.stride)],
        }

    def encode(self, images: Any) -> dict[str, Any]:
        """Images to compact images.

        Args:
            images: ``uint8 [N, H, W, 3]``, any sides from 1 up; edges are repeated up to a multiple of
                the stride.

        Returns:
            ``compact``: ``uint8 [N, ⌈H/s⌉, ⌈W/s⌉, 3]``; ``size``: ``int32 [N, 2]``, H and W of each.
        """
        compact = self.analysis(to_unit_range(pad_to_multiple(images, self.stride)), training=False)
        return {"compact": ops.cast(ops.round(to_pixel_range(compact)), "uint8"), "size": sizes(images)}

    def decode(self, compact: Any, size: Any) -> dict[str, Any]:
        """Compact images to coarse reconstructions.

        Args:
            compact: ``uint8 [N, h, w, 3]``.
            size: ``int32 [N, 2]``, H ≤ h·s and W ≤ w·s, the same for the whole batch.

        Returns:
            ``images``: ``uint8 [N, H, W, 3]``.
        """
        coarse = to_pixel_range(self.synthesis(to_unit_range(compact), training=False))
        images = ops.cast(ops.round(coarse), "uint8")
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Code the base layer of one image, as a real file, and decode it.

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
        return EvaluatedImage(
            original=image,
            reconstruction=reconstruction,
            bpp=8 * file.tell() / (image.shape[0] * image.shape[1]),
            loss=float(np.mean(np.square((reconstruction / 255.0 - image / 255.0) * 2))),
            latents={"compact": compact},
        )

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(widths=self.widths, activation=self.activation, dropout=self.dropout)
        return config


# === Presets ===

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
