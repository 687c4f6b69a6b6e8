"""Scale hyperprior: Ballé et al. 2018, "Variational image compression with a scale hyperprior" (ICLR).

    image ─▶ analysis ─▶ y ──────────────── round ─▶ ŷ ─▶ synthesis ─▶ image
    [N,H,W,3]       [N,H/16,W/16,C]           │
                     │ |y|               Gaussian, σ
                     ▼                        │
               hyper_analysis ─▶ z ─ round ─▶ hyper_synthesis        z: factorized prior
                            [N,H/64,W/64,M]

Reproduced: the architecture with the scale hyperprior (transforms of four 5×5 convolutions with GDN,
hyper-transforms, factorized prior of appendix 6.1) and both objectives, squared error and MS-SSIM.

Ballé's objective is R + λ·D; here the weight multiplies the rate (``codec_zoo.rate_points``). Differences: standard
deviations come from a softplus with a bound of 0.11 rather than from a ReLU; in training the synthesis gets rounded
latents with a straight-through gradient while the rate gets noise; weights start from principal components
(``codec_zoo.initialization``). Files are made with a hyper-synthesis in exact integers
(``codec_zoo.hyper_synthesis``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import Signature
from codec_zoo.convolutions import Conv2D
from codec_zoo.entropy_models import (
    SCALE_MAX,
    SCALE_MIN,
    FactorizedPrior,
    bits,
    gaussian_likelihood,
    round_straight_through,
    scale_table,
)
from codec_zoo.hyper_synthesis import HyperSynthesis
from codec_zoo.layers.gdn import analysis_transform, synthesis_transform
from codec_zoo.presets import Paper, Recipe
from codec_zoo.rate_points import register_rate_points
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, RangeCoder, Rows, StreamLayer
from codec_zoo.transform_coding import TransformCoder, latent_layer, make_noise, total

# Of the analysis, first layer first.
KERNELS, STRIDES = (5, 5, 5, 5), (2, 2, 2, 2)

# === Layers ===


def hyper_analysis(latent_channels: int, hyper_channels: int) -> keras.Sequential:
    """|y| → z: float ``[N, h, w, latent_channels]`` → ``[N, h/4, w/4, hyper_channels]`` (Fig. 4)."""
    return keras.Sequential(
        [
            keras.Input((None, None, latent_channels)),
            Conv2D(hyper_channels, 3, padding="same", activation="relu", name="conv0"),
            Conv2D(hyper_channels, 5, strides=2, padding="same", activation="relu", name="conv1"),
            Conv2D(hyper_channels, 5, strides=2, padding="same", name="conv2"),
        ],
        name="hyper_analysis",
    )


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class ScaleHyperprior(TransformCoder):
    """Transforms with GDN; y is Gaussian with standard deviations from z, which is under a factorized prior.

    Args:
        channels: inside the transforms.
        latent_channels: of y.
        hyper_channels: of z, and inside the hyper-transforms.
        kernels: sides of the analysis's kernels, first layer first.
        strides: of the analysis.
        kwargs: see :class:`codec_zoo.transform_coding.TransformCoder`.

    Call: see :class:`codec_zoo.transform_coding.RateDistortionModel`.
    """

    prior_latent: ClassVar[str] = "z"

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        hyper_channels: int,
        kernels: Sequence[int] = KERNELS,
        strides: Sequence[int] = STRIDES,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.analysis = analysis_transform(channels, latent_channels, kernels, strides)
        self.synthesis = synthesis_transform(channels, latent_channels, kernels, strides)
        self.hyper_analysis = hyper_analysis(latent_channels, hyper_channels)
        self.hyper_synthesis = HyperSynthesis(latent_channels, hyper_channels, name="hyper_synthesis")
        self.prior = FactorizedPrior(name="prior")
        self.noise = make_noise()
        self.channels = channels
        self.latent_channels = latent_channels
        self.hyper_channels = hyper_channels
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)
        self.build_entropy_model({self.hyper_synthesis: hyper_channels, self.prior: hyper_channels})

    @classmethod
    def make_stream_layer(
        cls,
        k: int,
        refined: bool,
        latent_channels: int,
        hyper_channels: int,
        strides: Sequence[int] = STRIDES,
        **config: Any,
    ) -> StreamLayer:
        """z, then y under the Gaussians that z chooses."""
        stride = math.prod(strides)
        z = Latent(f"z{k}", RangeCoder(f"z{k}"), 4 * stride, hyper_channels)
        rows = Rows(f"entropy_parameters_{k}", (z.name,))
        return latent_layer(k, refined, z, Latent(f"y{k}", RangeCoder("y", rows), stride, latent_channels))

    @property
    def latent_channels_of(self) -> dict[str, int]:
        """y, then z."""
        return {"y": self.latent_channels, "z": self.hyper_channels}

    def latents(self, residual: Any) -> dict[str, Any]:
        """float32 ``[N, H, W, 3]`` → y: float32 ``[N, H/16, W/16, C]``, z: float32 ``[N, H/64, W/64, M]``."""
        y = ops.cast(self.analysis(residual), "float32")
        return {"y": y, "z": ops.cast(self.hyper_analysis(ops.abs(y)), "float32")}

    def training_bits(self, latents: Mapping[str, Any]) -> Any:
        """Bits of z and y with noise, the scales from rounded z: float32 ``[N]``."""
        y, z = latents["y"], latents["z"]
        scale = self.hyper_synthesis(round_straight_through(z))
        return total(bits(self.prior(self.noise(z)))) + total(bits(gaussian_likelihood(self.noise(y), scale)))

    def rate(self, coded: Mapping[str, Any]) -> Callable[[Any], Any]:
        """y → bits of each value under the Gaussians that z chooses."""
        scale = ops.take(scale_table().astype("float32"), self.hyper_synthesis.exact(coded["z"]))
        return lambda y: bits(gaussian_likelihood(y, scale))

    def cross_entropy(self, coded: Mapping[str, Any]) -> Any:
        """Bits of z and y, int32: float32 ``[N]``."""
        hyper = total(bits(self.prior(ops.cast(coded["z"], "float32"))))
        return hyper + total(self.rate(coded)(ops.cast(coded["y"], "float32")))

    def start_scales(self, scales: np.ndarray) -> None:
        """Start the last bias of the hyper-synthesis at these standard deviations of y, float32 ``[C]``."""
        scales = np.clip(scales, 2 * SCALE_MIN, SCALE_MAX)
        self.hyper_synthesis.stages[-1].bias.assign(scales + np.log(-np.expm1(-scales)))

    def table_signatures(self, k: int) -> dict[str, Signature]:
        """``entropy_parameters_k``: ``zk``, int32 → ``indexes``, rows of the scale table, int32 of the shape of y.

        Raises:
            ValueError: with these weights the exact hyper-synthesis could overflow.
        """
        self.hyper_synthesis.check_exact()
        name = f"z{k}"
        return {
            f"entropy_parameters_{k}": Signature(
                lambda **given: {"indexes": self.hyper_synthesis.exact(given[name])},
                {name: ("int32", (None, None, None, self.hyper_channels))},
            )
        }

    def latent_windows(self) -> dict[str, Window]:
        """y, and z, which looks at y."""
        y = window(self.analysis)
        return {"y": y, "z": y.then(window(self.hyper_analysis))}

    def table_window(self) -> Window:
        """The window of the scales in z."""
        return window(self.hyper_synthesis).of_latents(self.stride)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            channels=self.channels,
            latent_channels=self.latent_channels,
            hyper_channels=self.hyper_channels,
            kernels=self.kernels,
            strides=self.strides,
        )
        return config


# === Presets ===

_PAPER = Paper(
    authors="Johannes Ballé, David Minnen, Saurabh Singh, Sung Jin Hwang, Nick Johnston",
    title="Variational image compression with a scale hyperprior",
    year=2018,
    url="https://arxiv.org/abs/1802.01436",
)

_RECIPE = Recipe(
    patch_size=256,
    batch_size=8,
    steps=1_000_000,
    learning_rate=1e-4,
    note="§4: Adam, 1e-4, crops of 256×256, batch 8, about a million steps; images from the web.",
)


def _config(point: int) -> dict[str, Any]:
    """More channels at the higher rates, as in the paper."""
    channels, latent_channels = (128, 192) if point <= 5 else (192, 320)
    return {"channels": channels, "latent_channels": latent_channels, "hyper_channels": channels}


register_rate_points("balle2018-hyperprior", _PAPER, _RECIPE, ScaleHyperprior, _config)
