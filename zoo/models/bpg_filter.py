"""A CNN filter of RGB behind BPG 4:4:4, one network for all qualities: a model of this zoo.

    image ─▶ BPG ─▶ decoded ─▶ network, QP ─▶ residual of Y, Cb, Cr ─▶ × strengths ─▶ + ─▶ image
    [N,H,W,3]       [N,H,W,3]                 [N,H,W,3]                               decoded

    decoded ─▶ /2 ─▶ first ─▶ block ─▶ /2 ─▶ down ─▶ 3 blocks ─▶ up ─▶ ×2 ─▶ + ─▶ block ─▶ last ─▶ ×2 ─▶ residual
    [N,H,W,3]  [·,12]  [N,H/2,W/2,48] │ [·,192]  [N,H/4,W/4,80]      [·,48]  │  [N,H/2,W/2,48]  [·,12]   [N,H,W,3]
                                      └──────────────────────────────────────┘
    QP ─▶ dense, 64 ─▶ dense ─▶ scale and shift of each channel of each block

The idea of a CNN that adds a residual to what a standard codec gives is that of Hu et al. 2018 ("Combine traditional
compression method with convolutional neural networks", CVPR workshop, CLIC; ``codec_zoo.models.hu2018``), and of many
filters behind HEVC (Dai et al. 2017, "A convolutional neural network approach for post-processing in HEVC intra
coding"). From others too: the work is done at half and a quarter of the resolution, by space-to-depth and back (Shi
et al. 2016), with a way around the coarse part (Ronneberger et al. 2015, U-Net); residual blocks of two 3×3
convolutions have no normalisation (Lim et al. 2017, EDSR); the quantiser is an input that scales and shifts the
channels of each block (Perez et al. 2018, FiLM), so that one network serves all qualities.

All three planes are mended. The residual is in YCbCr, which BPG codes in. Its unit is the typical error of BPG at a
QP, s = 2^((QP − 8)/9.5) gray levels. The last layer starts at zero: training starts from the decoded image. With the
squared errors of RGB before and behind the filter, the loss of a patch is 2 · behind / (before + s²), so that all
qualities count alike.

As behind the luma filters, the encoder finds by least squares how strong the residual is, here one strength for each
of Y, Cb and Cr. They stand in the file, with the QP: no image loses against its own BPG file, which is a part of the
file and can be read without the model.
"""

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo import color
from codec_zoo.contract import IMAGES, CompressionModel, Signature, TensorSpecs
from codec_zoo.convolutions import Conv2D
from codec_zoo.filter_layers import RGB_CHANGES, RGB_CODEC, RGB_STEPS, filtered_layer
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import Window, chain
from codec_zoo.stream import Stream

# The QPs of training, and thereby those that the network takes: others are clipped to them.
QUALITIES = (20, 46)
# Of a file where none is asked for.
DEFAULT_QUALITY = 34
# The network sees how far a QP is from the middle, as a share of half the range.
MIDDLE = sum(QUALITIES) / 2
# Side of the squares that become channels on the way to half the resolution, and again to a quarter.
SHRINK = 2
# Width of the layer between the QP and the scales and shifts.
HIDDEN = 64
# RGB of a change of Y, Cb and Cr by one.
_ONE = 1 << color.BITS
TO_RGB = (
    (1.0, 1.0, 1.0),
    (0.0, color.CB_TO_G / _ONE, color.CB_TO_B / _ONE),
    (color.CR_TO_R / _ONE, color.CR_TO_G / _ONE, 0.0),
)


# === Layers ===


@keras.saving.register_keras_serializable("codec_zoo")
class ScaledBlock(keras.layers.Layer):
    """A residual block of two 3×3 convolutions, the input of the first scaled and shifted for each channel.

    Call: float ``[N, h, w, C]``, scales and shifts ``[N, 1, 1, C]`` each → ``[N, h, w, C]``.
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.inner = Conv2D(channels, 3, padding="same", activation="relu", name="inner")
        self.outer = Conv2D(channels, 3, padding="same", name="outer")
        for layer in (self.inner, self.outer):
            layer.build((None, None, None, channels))
        self.built = True

    def call(self, inputs: Any, scales: Any, shifts: Any) -> Any:
        """Add what the convolutions make of the inputs."""
        return inputs + self.outer(self.inner(inputs * scales + shifts))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "channels": self.channels}


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class BPGFilter(CompressionModel):
    """Adds a learned residual to images decoded by BPG, at any QP.

    Args:
        channels: of the blocks at half the resolution, one before and one behind the coarse part.
        coarse_channels: of the blocks at a quarter of the resolution.
        coarse_blocks: how many.

    Call: pairs of training, ``uint8 [N, H, W, 7]``: decoded RGB, true RGB, QP → float32 ``[N, H, W, 3]``, changes of
    Y, Cb and Cr, in gray levels.
    """

    def __init__(self, channels: int, coarse_channels: int, coarse_blocks: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels, self.coarse_channels = channels, coarse_channels
        squares = SHRINK**2
        self.first = Conv2D(channels, 3, padding="same", name="first")
        self.head = ScaledBlock(channels, name="head")
        self.down = Conv2D(coarse_channels, 1, name="down")
        self.coarse = [ScaledBlock(coarse_channels, name=f"coarse{i}") for i in range(coarse_blocks)]
        self.up = Conv2D(squares * channels, 1, name="up")
        self.tail = ScaledBlock(channels, name="tail")
        self.last = Conv2D(3 * squares, 3, padding="same", kernel_initializer="zeros", name="last")
        self.hidden = keras.layers.Dense(HIDDEN, activation="relu", name="hidden", dtype="float32")
        factors = 2 * sum(block.channels for block in self.blocks)
        self.factors = keras.layers.Dense(factors, kernel_initializer="zeros", name="factors", dtype="float32")
        for layer, inputs in (
            (self.first, 3 * squares),
            (self.down, squares * channels),
            (self.up, coarse_channels),
            (self.last, channels),
        ):
            layer.build((None, None, None, inputs))
        self.hidden.build((None, 1))
        self.factors.build((None, HIDDEN))
        self.built = True

    @property
    def blocks(self) -> list[ScaledBlock]:
        """All blocks, in the order of the data."""
        return [self.head, *self.coarse, self.tail]

    @classmethod
    def make_stream(cls, codec: str, quality: float, **config: Any) -> Stream:
        """How files are coded: the strengths, then BPG 4:4:4, which is the only ``codec``."""
        return Stream((filtered_layer(quality),), stride=1)

    @property
    def stride(self) -> int:
        """Tiles begin on whole squares of the quarter resolution."""
        return SHRINK**2

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Compute the changes of Y, Cb and Cr, in gray levels."""
        return self.residual(inputs[..., :3], inputs[:, 0, 0, 6:7])

    def residual(self, images: Any, quality: Any) -> Any:
        """The changes of Y, Cb and Cr of decoded images.

        Args:
            images: ``uint8 [N, H, W, 3]``, RGB.
            quality: QP, ``[N, 1]``.

        Returns:
            float32 ``[N, H, W, 3]``, in gray levels.
        """
        height, width = ops.shape(images)[1:3]
        quality = ops.clip(ops.cast(quality, "float32"), *QUALITIES)
        factors = self.factors(self.hidden((quality - MIDDLE) / (QUALITIES[1] - MIDDLE)))[:, None, None]
        ends = np.cumsum([channels for block in self.blocks for channels in 2 * [block.channels]])
        scales_and_shifts = iter(ops.split(factors, ends[:-1].tolist(), axis=-1))

        def run(block: ScaledBlock, values: Any) -> Any:
            return block(values, 1.0 + next(scales_and_shifts), next(scales_and_shifts))

        values = _to_whole_squares(ops.cast(images, "float32") / 255.0 - 0.5, height, width, self.stride)
        fine = run(self.head, self.first(ops.space_to_depth(values, SHRINK, data_format="channels_last")))
        values = self.down(ops.space_to_depth(fine, SHRINK, data_format="channels_last"))
        for block in self.coarse:
            values = run(block, values)
        values = fine + ops.depth_to_space(self.up(values), SHRINK, data_format="channels_last")
        values = self.last(run(self.tail, values))
        values = ops.depth_to_space(values, SHRINK, data_format="channels_last")[:, :height, :width]
        return ops.cast(values, "float32") * error_size(quality)[:, None, None]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean over patches of 2 · behind / (before + s²): squared errors of RGB, and the typical one at that QP.

        ``x`` is ``[N, P, P, 7]``: decoded RGB, true RGB, QP.
        """
        pairs = ops.cast(x, "float32")
        missing = pairs[..., 3:6] - pairs[..., :3]
        left = missing - ops.matmul(y_pred, ops.convert_to_tensor(TO_RGB, "float32"))
        size = error_size(pairs[:, 0, 0, 6])
        after, before = (ops.mean(ops.square(error), axis=(1, 2, 3)) for error in (left, missing))
        return ops.mean(2 * after / (before + ops.square(size)))

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """The share of BPG's error that is left, in dB."""
        return {"relative_error": float(10 * np.log10(losses["loss"]))}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode`` and ``decode``, around BPG, and ``changes``, for which an encoder finds strengths."""
        decoded: TensorSpecs = {"rgb": IMAGES, "quality": ("float32", (None, 1))}
        coded: TensorSpecs = {**decoded, "strengths": ("float32", (None, RGB_CHANGES))}
        changes: TensorSpecs = {"changes": ("uint8", (None, None, None, 3 * RGB_CHANGES))}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "changes": Signature(self.changes, decoded, changes),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def windows(self) -> dict[str, list[Window]]:
        """Of no network, and of the filter, along the longest way."""
        shrink = Window(step=Fraction(SHRINK), after=Fraction(SHRINK - 1))
        grow = Window(step=Fraction(1, SHRINK), before=Fraction(SHRINK - 1, SHRINK))
        head, tail, *coarse = (chain(b.inner, b.outer) for b in (self.head, self.tail, *self.coarse))
        ways = (chain(self.first), head, shrink, *coarse, grow, tail, chain(self.last))
        mended = functools.reduce(Window.then, (shrink, *ways, grow))
        return {"encode": [Window()], "changes": [mended], "decode": [mended]}

    def encode(self, images: Any) -> dict[str, Any]:
        """The input of the codec, the default QP's, and full strengths: ``uint8 [N, H, W, 3]`` → ``rgb``, the same,
        ``quality``, float32 ``[N, 1]``, and ``strengths``, float32 ``[N, RGB_CHANGES]``.
        """
        count = ops.shape(images)[0]
        return {
            "rgb": images,
            "quality": DEFAULT_QUALITY * ops.ones((count, 1), "float32"),
            "strengths": ops.ones((count, RGB_CHANGES), "float32"),
        }

    def changes(self, rgb: Any, quality: Any) -> dict[str, Any]:
        """The factors of the strengths, of decoded images: ``uint8 [N, H, W, 3]`` and QPs ``[N, 1]`` → ``changes``,
        ``uint8 [N, H, W, 3 · RGB_CHANGES]``: of each of R, G and B the changes by Y, Cb and Cr, in steps of
        1/:data:`RGB_STEPS` around 128.
        """
        residual = self.residual(rgb, quality)
        planes = [residual * ops.convert_to_tensor(factors, "float32") for factors in zip(*TO_RGB, strict=True)]
        steps = 128 + ops.round(RGB_STEPS * ops.concatenate(planes, axis=-1))
        return {"changes": ops.cast(ops.clip(steps, 0, 255), "uint8")}

    def decode(self, rgb: Any, quality: Any, strengths: Any) -> dict[str, Any]:
        """Filter decoded images: ``uint8 [N, H, W, 3]`` and QPs ``[N, 1]`` → ``images``.

        The changes of Y, Cb and Cr are multiplied by ``strengths``, float32 ``[N, RGB_CHANGES]``, and added; zeros
        change nothing.
        """
        changes = self.residual(rgb, quality) * strengths[:, None, None]
        mended = ops.cast(rgb, "float32") + ops.matmul(changes, ops.convert_to_tensor(TO_RGB, "float32"))
        return {"images": ops.cast(ops.clip(ops.round(mended), 0, 255), "uint8")}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Filter one image at full strength; the loss is that of training.

        Args:
            image: ``uint8 [H, W, 7]``: decoded RGB, true RGB, QP.
        """
        pairs = ops.convert_to_tensor(image[None])
        residual = self(pairs)
        mended = ops.cast(pairs[..., :3], "float32") + ops.matmul(residual, ops.convert_to_tensor(TO_RGB, "float32"))
        reconstruction = np.clip(np.round(ops.convert_to_numpy(mended)[0]), 0, 255).astype(np.uint8)
        loss = float(self.compute_loss(x=pairs, y_pred=residual))
        return EvaluatedImage(image[..., 3:6], reconstruction, bpp=None, loss=loss, latents={})

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "coarse_channels": self.coarse_channels,
            "coarse_blocks": len(self.coarse),
        }


def error_size(quality: Any) -> Any:
    """The root of BPG's mean squared error on photographs at a QP, roughly, in gray levels."""
    return ops.power(2.0, (quality - 8.0) / 9.5)


def _to_whole_squares(values: Any, height: Any, width: Any, side: int) -> Any:
    """Repeat the last row and column of ``[N, H, W, C]`` up to multiples of ``side``."""
    rows, columns = ((length + side - 1) // side * side for length in (height, width))
    values = ops.concatenate([values, *[values[:, -1:]] * (side - 1)], axis=1)[:, :rows]
    return ops.concatenate([values, *[values[:, :, -1:]] * (side - 1)], axis=2)[:, :, :columns]


# === Presets ===

register(
    Preset(
        name="bpg-filter",
        paper=Paper(
            authors="Codec Zoo",
            title="A filter of RGB behind BPG 4:4:4, after Hu et al. 2018",
            year=2026,
        ),
        model=BPGFilter,
        config={"channels": 48, "coarse_channels": 80, "coarse_blocks": 3},
        recipe=Recipe(
            patch_size=96,
            batch_size=8,
            steps=25_000,
            learning_rate=2e-3,
            schedule="trapezoid",
            warmup_steps=200,
            optimizer="muon",
            average=0.998,
            note="Our own: crops of photographs at random QPs; the rate falls over the last quarter of the steps.",
        ),
        inner=(RGB_CODEC, DEFAULT_QUALITY),
        inner_qualities=QUALITIES,
        data="decoded-rgb",
        significant_bits=7,
        reproduces="gain over BPG 4:4:4 at all qualities (no paper's: the zoo's own model)",
    )
)
