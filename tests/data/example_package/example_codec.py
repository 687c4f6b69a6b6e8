"""Mean and scale hyperprior: Minnen et al. 2018, "Joint Autoregressive and Hierarchical Priors" (NeurIPS), §3.

    image ─▶ analysis ─▶ y ─ (y − μ) ─ round ─▶ ŷ ─ (ŷ + μ) ─▶ synthesis ─▶ image
    [N,H,W,3]       [N,H/8,W/8,C]  ▲            │        ▲
                     │             │       Gaussian, σ   │
                     ▼             μ            ▲        μ
               hyper_analysis ─▶ z ─ round ─▶ hyper_synthesis, mean_synthesis
                          [N,H/32,W/32,M]

Reproduced: means and scales of y from z, without the autoregressive part; a few channels, enough for an example.
"""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Signature
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.entropy_models import (
    FactorizedPrior,
    UniformNoise,
    bits,
    gaussian_likelihood,
    round_straight_through,
    scale_table,
)
from codec_zoo.hyper_synthesis import HyperSynthesis
from codec_zoo.layers.resampling import pad_to_multiple, sizes
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import window
from codec_zoo.stream import Latent, Stream, StreamLayer
from codec_zoo.stream_coders import RangeCoder, Rows

# Side of the image over side of y, and of z.
Y_STRIDE, Z_STRIDE = 8, 32

# === Layers ===


def convolutions(name, channels, last, transposed=False):
    """Two strided convolutions, which lower or raise the sides by a factor of 4."""
    layer = Conv2DTranspose if transposed else Conv2D
    first = layer(channels, 5, strides=2, padding="same", activation="relu", name="conv0")
    return keras.Sequential([first, layer(last, 5, strides=2, padding="same", name="conv1")], name=name)


# === Model ===


@keras.saving.register_keras_serializable("example_codec")
class MeanScaleHyperprior(CompressionModel):
    """y is Gaussian with means and standard deviations from z, which is under a factorized prior.

    Args:
        channels: of y, of z, and inside the transforms.
        rate_weight: squared error on the 0 … 255 scale that one bit a pixel is worth.

    Call: ``uint8 [N, H, W, 3]``, sides multiples of 32 → float32 reconstruction, and bits a pixel, float32 ``[N]``.
    """

    def __init__(self, channels, rate_weight, **kwargs):
        super().__init__(**kwargs)
        self.analysis = keras.Sequential(
            [convolutions("lower", channels, channels), Conv2D(channels, 5, strides=2, padding="same")]
        )
        self.synthesis = keras.Sequential(
            [
                Conv2DTranspose(channels, 5, strides=2, padding="same", activation="relu"),
                convolutions("upper", channels, 3, transposed=True),
            ]
        )
        self.hyper_analysis = convolutions("hyper_analysis", channels, channels)
        self.mean_synthesis = convolutions("mean_synthesis", channels, channels, transposed=True)
        # In integer arithmetic for files: scales choose tables, and every machine has to choose alike.
        self.hyper_synthesis = HyperSynthesis(channels, channels, name="hyper_synthesis")
        self.prior = FactorizedPrior(name="prior")
        self.noise = UniformNoise(name="noise")
        self.channels, self.rate_weight = channels, rate_weight
        self(np.zeros((1, Z_STRIDE, Z_STRIDE, 3), np.uint8))  # builds all parts

    @classmethod
    def make_stream(cls, channels, rate_weight):
        """z, then y under Gaussians whose scales z chooses. Means need no place in it: ``decode`` adds them."""
        z = Latent("z", RangeCoder("z"), Z_STRIDE, channels)
        y = Latent("y", RangeCoder("y", Rows("entropy_parameters", ("z",))), Y_STRIDE, channels)
        return Stream((StreamLayer("latent", (z, y), "decode", checked=True),), Z_STRIDE)

    @property
    def stride(self):
        """Sides are padded to multiples of this."""
        return Z_STRIDE

    @property
    def priors(self):
        """The export makes a table of it; those of the Gaussians are always there."""
        return {"z": self.prior}

    def call(self, images, training=None):
        """With noise in the rate and straight-through rounding in the reconstruction; see the class."""
        y, z = self._latents(images)
        mean = self.mean_synthesis(round_straight_through(z))
        scale = self.hyper_synthesis(round_straight_through(z))
        spent = bits(gaussian_likelihood(self.noise(y) - mean, scale)), bits(self.prior(self.noise(z)))
        pixels = ops.cast(ops.shape(images)[1] * ops.shape(images)[2], "float32")
        return self._reconstruct(round_straight_through(y - mean) + mean), sum(map(_total, spent)) / pixels

    def _latents(self, images):
        y = self.analysis(ops.cast(images, "float32") / 255.0 - 0.5)
        return y, self.hyper_analysis(ops.abs(y))

    def _reconstruct(self, y):
        return 255.0 * (self.synthesis(y) + 0.5)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """D + λ·R of a batch, which is ``x``."""
        reconstruction, bpp = y_pred
        return ops.mean(ops.square(reconstruction - ops.cast(x, "float32"))) + self.rate_weight * ops.mean(bpp)

    @property
    def signatures(self):
        """What the export has; the stream names them."""
        self.hyper_synthesis.check_exact()
        z, y, indexes = ({name: ("int32", (None, None, None, self.channels))} for name in ("z", "y", "indexes"))
        coded = {**z, **y, "size": SIZE}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "entropy_parameters": Signature(lambda z: {"indexes": self.hyper_synthesis.exact(z)}, z, indexes),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def windows(self):
        """How far around a place each signature looks, so that large images go through it in tiles."""
        y, means, synthesis = window(self.analysis), window(self.mean_synthesis), window(self.synthesis)
        z = y.then(window(self.hyper_analysis))
        return {
            "encode": [y, z, z.then(means)],
            "entropy_parameters": [window(self.hyper_synthesis).of_latents(Z_STRIDE)],
            "decode": [synthesis.of_latents(Y_STRIDE), means.then(synthesis).of_latents(Z_STRIDE)],
        }

    def encode(self, images):
        """``uint8 [N, H, W, 3]`` → z and y less its means, int32; ``size``, H and W."""
        y, z = self._latents(pad_to_multiple(images, Z_STRIDE))
        z = ops.round(z)
        y = ops.round(y - self.mean_synthesis(z))
        return {"z": ops.cast(z, "int32"), "y": ops.cast(y, "int32"), "size": sizes(images)}

    def decode(self, z, y, size):
        """The inverse: ``uint8 [N, H, W, 3]``."""
        pixels = self._reconstruct(ops.cast(y, "float32") + self.mean_synthesis(ops.cast(z, "float32")))
        images = ops.cast(ops.clip(ops.round(pixels), 0, 255), "uint8")
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    def evaluate_image(self, image):
        """Code a held-out image, ``uint8 [H, W, 3]``; the rate is the cross-entropy of what a file holds."""
        coded = self.encode(image[None])
        scale = ops.take(scale_table().astype("float32"), self.hyper_synthesis.exact(coded["z"]))
        z, y = (ops.cast(coded[name], "float32") for name in "zy")
        spent = _total(bits(self.prior(z))) + _total(bits(gaussian_likelihood(y, scale)))
        bpp = float(spent[0]) / (image.shape[0] * image.shape[1])
        shown = ops.convert_to_numpy(self.decode(**coded)["images"])[0]
        error = float(np.mean((shown.astype(np.float32) - image) ** 2))
        latents = {name: ops.convert_to_numpy(coded[name]) for name in "zy"}
        return EvaluatedImage(image, shown, bpp, error + self.rate_weight * bpp, latents)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "channels": self.channels, "rate_weight": self.rate_weight}


def _total(values):
    return ops.sum(values, axis=(1, 2, 3))


# === Presets ===

register(
    Preset(
        name="example-mean-scale",
        paper=Paper(
            authors="David Minnen, Johannes Ballé, George Toderici",
            title="Joint Autoregressive and Hierarchical Priors for Learned Image Compression",
            year=2018,
            url="https://arxiv.org/abs/1809.02736",
        ),
        model=MeanScaleHyperprior,
        config={"channels": 8, "rate_weight": 30.0},
        recipe=Recipe(patch_size=64, batch_size=4, steps=2000, learning_rate=1e-3),
        reproduces="an example",
        weights=Path(__file__).parent / "example_codec_weights",  # `codec-zoo publish` writes there
    )
)
