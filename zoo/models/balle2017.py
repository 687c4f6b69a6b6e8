"""Factorized prior: Ballé et al. 2017, "End-to-end optimized image compression" (ICLR).

    image ─▶ analysis ─▶ y ─▶ round ─▶ ŷ ─▶ synthesis ─▶ image
    [N,H,W,3]   [N,H/16,W/16,C]        │
                          factorized prior: a density a channel

Reproduced: the nonlinear transform code of the paper, an analysis of 9×9, 5×5, 5×5 convolutions with strides 4, 2, 2
and GDN, its mirror as synthesis, a density learned for each channel.

As in the code its author published later (TensorFlow Compression's ``bls2017.py``), the density is the smooth one of
Ballé 2018, appendix 6.1, instead of piecewise linear, no GDN stands next to the latents, and there are 128 channels;
192 at the three highest rates. The rate weights are those of ``balle2018``, so that the two priors can be compared;
the paper itself has squared error only. Weights start from principal components.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from codec_zoo.entropy_models import FactorizedPrior, bits, round_straight_through
from codec_zoo.layers.gdn import analysis_transform, synthesis_transform
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.rate_points import objective
from codec_zoo.stream import Latent, RangeCoder, StreamLayer
from codec_zoo.transform_coding import TransformCoder, latent_layer, make_noise, total

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
        """y, with a table for each channel."""
        y = Latent(f"y{k}", RangeCoder(f"y{k}"), math.prod(strides), latent_channels)
        return latent_layer(k, refined, y)

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
        return {"y": total(bits(self.prior(ops.cast(coded["y"], "float32"))))}

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


for _point in range(1, 9):
    # More channels at the higher rates, as in the paper.
    _channels = 128 if _point <= 5 else 192
    register(
        Preset(
            name=f"balle2017-factorized-mse-{_point}",
            paper=_PAPER,
            model=FactorizedPriorModel,
            config={"channels": _channels, "latent_channels": _channels, **objective("mse", _point)},
            recipe=_RECIPE,
            significant_bits=7,
            reproduces=f"R-D curve on Kodak (MSE, point {_point})",
        )
    )
