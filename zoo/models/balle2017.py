"""Factorized prior: Ballé et al. 2017, "End-to-end optimized image compression" (ICLR).

    image ─▶ analysis ─▶ y ─▶ round ─▶ ŷ ─▶ synthesis ─▶ image
    [N,H,W,3]   [N,H/16,W/16,C]        │
                          factorized prior: a density a channel

Reproduced: the nonlinear transform code of the paper, an analysis of 9×9, 5×5, 5×5 convolutions with strides 4, 2, 2
and GDN, its mirror as synthesis, a density learned for each channel.

As in the code its author published later (TensorFlow Compression's ``bls2017.py``), the density is the smooth one of
Ballé 2018, appendix 6.1, instead of piecewise linear, no GDN stands next to the latents, and there are 128 channels.
One network has all rates (``codec_zoo.variable_rate``); the paper trains one for each. The rate weights are those of
``balle2018``, so that the two priors can be compared; the paper itself has squared error only. Weights start from
principal components.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from codec_zoo.entropy_models import (
    STEPS_A_ROW,
    FactorizedPrior,
    bits,
    quantisation_step,
    quantisation_steps_at,
    round_straight_through,
)
from codec_zoo.layers.gdn import analysis_transform, synthesis_transform
from codec_zoo.presets import Paper, Recipe
from codec_zoo.rate_points import register_variable_rate
from codec_zoo.stream import Latent, StreamLayer
from codec_zoo.stream_coders import RangeCoder, StepRows
from codec_zoo.transform_coding import TransformCoder, latent_layer, make_noise, total
from codec_zoo.variable_rate import VariableRateCoder

# Of the analysis, first layer first.
KERNELS, STRIDES = (9, 5, 5), (4, 2, 2)

# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class FactorizedPriorModel(TransformCoder):
    """Transforms with GDN, and a factorized prior on y.

    Args:
        channels: inside the transforms.
        latent_channels: of y.
        kernels: sides of the analysis's kernels, first layer first.
        strides: of the analysis.
        kwargs: see :class:`codec_zoo.transform_coding.TransformCoder`.

    Call: see :class:`codec_zoo.transform_coding.RateDistortionModel`.
    """

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        kernels: Sequence[int] = KERNELS,
        strides: Sequence[int] = STRIDES,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.analysis = analysis_transform(channels, latent_channels, kernels, strides)
        self.synthesis = synthesis_transform(channels, latent_channels, kernels, strides)
        self.prior = FactorizedPrior(name="prior")
        self.noise = make_noise()
        self.channels = channels
        self.latent_channels = latent_channels
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)
        self.build_entropy_model({self.prior: latent_channels})

    @classmethod
    def make_stream_layer(
        cls, k: int, refined: bool, latent_channels: int, strides: Sequence[int] = STRIDES, **config: Any
    ) -> StreamLayer:
        """y."""
        return latent_layer(k, refined, cls.make_latent(k, math.prod(strides), latent_channels))

    @classmethod
    def make_latent(cls, k: int, stride: int, channels: int) -> Latent:
        """y, with a table for each channel."""
        return Latent(f"y{k}", RangeCoder(f"y{k}"), stride, channels)

    @property
    def latent_channels_of(self) -> dict[str, int]:
        """y alone."""
        return {"y": self.latent_channels}

    def latents(self, residual: Any) -> dict[str, Any]:
        """float32 ``[N, H, W, 3]`` → y: float32 ``[N, H/16, W/16, C]``."""
        return {"y": ops.cast(self.analysis(residual), "float32")}

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """Rounded y; bits of y with noise."""
        y = latents["y"]
        return round_straight_through(y), {"y": total(bits(self.prior(self.noise(y))))}

    def rate(self, coded: Mapping[str, Any], **dials: Any) -> Callable[[Any], Any]:
        """y → bits of each value under the prior."""
        return lambda y: bits(self.prior(y))

    def cross_entropies(self, coded: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """Bits of y, int32: float32 ``[N]``."""
        return {"y": total(self.rate(coded, **dials)(ops.cast(coded["y"], "float32")))}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            channels=self.channels,
            latent_channels=self.latent_channels,
            kernels=self.kernels,
            strides=self.strides,
        )
        return config


@keras.saving.register_keras_serializable("codec_zoo")
class VariableRateFactorizedPrior(VariableRateCoder, FactorizedPriorModel):
    """One network for all rates: a value i of y has the mass of the prior in (i ± ½)·Δ.

    The export has the tables of every eighth Δ, 1.131 apart; each k is coded with the nearest.

    Args:
        kwargs: see :class:`codec_zoo.variable_rate.VariableRateCoder` and :class:`FactorizedPriorModel`.

    Call: see :class:`codec_zoo.variable_rate.VariableRateCoder`.
    """

    ROWS: ClassVar[StepRows] = StepRows(STEPS_A_ROW)

    @classmethod
    def make_latent(cls, k: int, stride: int, channels: int) -> Latent:
        """Tables for each channel and each eighth Δ."""
        return Latent(f"y{k}", RangeCoder(f"y{k}", cls.ROWS), stride, channels)

    @property
    def prior_steps(self) -> tuple[float, ...]:
        """Δ in the middle of each group of eight k."""
        return tuple(quantisation_steps_at(self.ROWS.middles))

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """y in rounded steps of Δ; bits of y/Δ with noise."""
        delta = quantisation_step(dials["step"])
        y = latents["y"] / delta
        return delta * round_straight_through(y), {"y": total(bits(self.prior(self.noise(y), delta)))}

    def bits_saved(self, nearest: Any, lower: Any, others: Mapping[str, Any], delta: Any) -> Any:
        """Of the prior."""
        return bits(self.prior(nearest, delta)) - bits(self.prior(lower, delta))

    def rate(self, coded: Mapping[str, Any], **dials: Any) -> Callable[[Any], Any]:
        """y, in steps of Δ → bits of each value under the prior."""
        return lambda y: bits(self.prior(y, quantisation_step(dials["step"])))


# === Presets ===

_PAPER = Paper(
    authors="Johannes Ballé, Valero Laparra, Eero P. Simoncelli",
    title="End-to-end optimized image compression",
    year=2017,
    url="https://arxiv.org/abs/1611.01704",
)

_RECIPE = Recipe(
    patch_size=256,
    batch_size=8,
    steps=1_000_000,
    learning_rate=1e-4,
    note="Adam 1e-4, lowered tenfold when the loss stalls; patches of 256×256, batch and steps as in balle2018.",
)


register_variable_rate(
    "balle2017-factorized",
    _PAPER,
    _RECIPE,
    VariableRateFactorizedPrior,
    {"channels": 128, "latent_channels": 128},
    distortions=("mse",),
)
