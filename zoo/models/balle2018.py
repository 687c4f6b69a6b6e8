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

Variable rate (``balle2018-hyperprior-*-vbr``): see ``codec_zoo.variable_rate``. The standard deviations are divided
by the quantisation step, too. The scale table is even in the logarithm, with the ratio 1.131. So the division is a
shift of the row by k/8, in exact integers. z does not depend on the step.
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
    bits_above_next,
    gaussian_likelihood,
    quantisation_step,
    round_straight_through,
    scale_table,
)
from codec_zoo.hyper_synthesis import HyperSynthesis
from codec_zoo.layers.gdn import analysis_transform, synthesis_transform
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.rate_points import objective, register_variable_rate
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, StreamLayer
from codec_zoo.stream_coders import RangeCoder, Rows
from codec_zoo.transform_coding import TransformCoder, latent_layer, make_noise, total
from codec_zoo.variable_rate import VariableRateCoder

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
        self.hyper_analysis, self.hyper_synthesis = self.hyper_transforms(latent_channels, hyper_channels)
        self.prior = FactorizedPrior(name="prior")
        self.noise = make_noise()
        self.channels = channels
        self.latent_channels = latent_channels
        self.hyper_channels = hyper_channels
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)
        self.build_entropy_model({self.hyper_synthesis: hyper_channels, self.prior: hyper_channels})

    def hyper_transforms(self, latent_channels: int, hyper_channels: int) -> tuple[keras.Sequential, HyperSynthesis]:
        """The hyper-analysis and the hyper-synthesis."""
        synthesis = HyperSynthesis(latent_channels, hyper_channels, name="hyper_synthesis")
        return hyper_analysis(latent_channels, hyper_channels), synthesis

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

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """Rounded y; bits of z and y with noise, the scales from rounded z."""
        y, z = latents["y"], latents["z"]
        scale = self.hyper_synthesis(round_straight_through(z))
        hyper = total(bits(self.prior(self.noise(z))))
        spent = total(bits(gaussian_likelihood(self.noise(y), scale)))
        return round_straight_through(y), {"z": hyper, "y": spent}

    def rate(self, coded: Mapping[str, Any], **dials: Any) -> Callable[[Any], Any]:
        """y → bits of each value under the Gaussians that z chooses."""
        scale = ops.take(scale_table().astype("float32"), self.hyper_synthesis.exact(coded["z"], **dials))
        return lambda y: bits(gaussian_likelihood(y, scale))

    def cross_entropies(self, coded: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """Bits of z and y, int32: float32 ``[N]`` each."""
        hyper = total(bits(self.prior(ops.cast(coded["z"], "float32"))))
        return {"z": hyper, "y": total(self.rate(coded, **dials)(ops.cast(coded["y"], "float32")))}

    def start_scales(self, scales: np.ndarray) -> None:
        """Start the last bias of the hyper-synthesis at these standard deviations of y, float32 ``[C]``."""
        scales = np.clip(scales, 2 * SCALE_MIN, SCALE_MAX)
        self.hyper_synthesis.stages[-1].bias.assign(scales + np.log(-np.expm1(-scales)))

    def table_signatures(self, k: int) -> dict[str, Signature]:
        """``entropy_parameters_k``: ``zk``, int32 → ``indexes``, rows of the scale table, int32 of the shape of y.

        Of a model that has ``step``, too: the rows are of its quantisation step.

        Raises:
            ValueError: with these weights the exact hyper-synthesis could overflow.
        """
        self.hyper_synthesis.check_exact()
        name = f"z{k}"
        return {
            f"entropy_parameters_{k}": Signature(
                lambda **given: {"indexes": self.hyper_synthesis.exact(given.pop(name), **given)},
                {name: ("int32", (None, None, None, self.hyper_channels)), **self.dials},
                {"indexes": ("int32", (None, None, None, self.latent_channels))},
            )
        }

    def latent_windows(self) -> dict[str, Window]:
        """y, and z, which looks at y."""
        y = window(self.analysis)
        return {"y": y, "z": y.then(window(self.hyper_analysis))}

    def table_windows(self, k: int) -> dict[str, list[Window]]:
        """The window of the scales in z."""
        return {f"entropy_parameters_{k}": [window(self.hyper_synthesis).of_latents(self.stride)]}

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


@keras.saving.register_keras_serializable("codec_zoo")
class VariableRateHyperprior(VariableRateCoder, ScaleHyperprior):
    """One network for all rates: the standard deviations of y are divided by the quantisation step.

    Args:
        kwargs: see :class:`codec_zoo.variable_rate.VariableRateCoder` and :class:`ScaleHyperprior`.

    Call: see :class:`codec_zoo.variable_rate.VariableRateCoder`.
    """

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """y in rounded steps of Δ; bits of z, and of y/Δ, with noise, the scales from rounded z."""
        z, delta = latents["z"], quantisation_step(dials["step"])
        y, scale = latents["y"] / delta, self.hyper_synthesis(round_straight_through(z), delta)
        spent = total(bits(gaussian_likelihood(self.noise(y), scale)))
        return delta * round_straight_through(y), {"z": total(bits(self.prior(self.noise(z)))), "y": spent}

    def bits_saved(self, nearest: Any, lower: Any, others: Mapping[str, Any], delta: Any) -> Any:
        """Of the Gaussians that z chooses."""
        return bits_above_next(ops.abs(nearest), self.hyper_synthesis(others["z"], delta))

    def latent_windows(self) -> dict[str, Window]:
        """As of any hyperprior; the rounding of y looks at its standard deviations, too."""
        found = super().latent_windows()
        return {**found, "y": found["y"] | found["z"].then(window(self.hyper_synthesis))}


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


# The paper has 192 and 320 at its higher rates.
_CONFIG = {"channels": 128, "latent_channels": 192, "hyper_channels": 128}

# The models of variable rate stand for the other points.
for _point in (3, 4):
    register(
        Preset(
            name=f"balle2018-hyperprior-mse-{_point}",
            paper=_PAPER,
            model=ScaleHyperprior,
            config={**_CONFIG, **objective("mse", _point)},
            recipe=_RECIPE,
            significant_bits=7,
            reproduces=f"R-D curve on Kodak (MSE, point {_point})",
        )
    )
register_variable_rate("balle2018-hyperprior", _PAPER, _RECIPE, VariableRateHyperprior, _CONFIG)
