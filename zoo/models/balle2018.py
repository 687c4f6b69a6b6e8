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

Variable rate (``balle2018-hyperprior-mse-vbr``): one network for all rates, after Cui et al. 2021, "Asymmetric
gained deep image compression with continuous rate adaptation" (CVPR), and the ``-vbr`` models of CompressAI. y is
divided by a quantisation step Δ before it is rounded, and ŷ is multiplied by Δ. Cui has a gain for each channel, and
another for the inverse. Here Δ is one number for all channels: 1.131^(k/8), with k a signed byte in the file. The
standard deviations are divided by Δ, too. The scale table is even in the logarithm, with the ratio 1.131. So the
division is a shift of the row by k/8, in exact integers. z does not depend on Δ.

Where k is above 0, the encoder rounds a latent further towards zero if the bits that this saves are worth the error.
Encoders of video do this too (Karczewicz, Ye and Chong 2008, "Rate distortion optimized quantization", VCEG-AH21).
The decoder is the same with and without it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import STEP, Signature, TensorSpecs
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
from codec_zoo.metrics import EvaluatedImage, psnr
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.rate_points import objective, register_variable_rate
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import COARSEST, Latent, RangeCoder, Rows, Step, StreamLayer
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
class VariableRateHyperprior(ScaleHyperprior):
    """One network for all rates: y is coded in quantisation steps Δ = 1.131^(k/8); see the module.

    Training draws a k for each image of a batch and minimises D/Δ + λ·Δ·R: the distortion that a bit a pixel is worth
    is λ·Δ². The slope of the squared error over R is proportional to Δ², too, where the rate is high (Gish and Pierce
    1968). Divided by Δ the loss is about equal at all rates, so that each counts alike.

    Args:
        steps: the finest and the coarsest k of training.
        kwargs: see :class:`ScaleHyperprior`.

    Call: ``images``, ``uint8`` or float ``[N, H, W, 3]``, and ``step``, k, int32 ``[N]`` → as in
    :class:`ScaleHyperprior`.
    """

    dials: ClassVar[TensorSpecs] = {"step": STEP}
    # Of its rate–distortion curve: ten that are even in the logarithm of Δ, from 0.1 to 1.2 bits a pixel on Kodak.
    CURVE: ClassVar[tuple[int, ...]] = tuple(range(27, 199, 19))
    # Of :meth:`bit_worth`: its largest value, and the k from which it has it. ``experiments/rate_aware_rounding.py``
    # compares some.
    BIT_WORTH, FULL_WORTH_FROM = 0.03, 20
    # So many k, even over those of training, are looked at in held-out images.
    HELD_OUT: ClassVar[int] = 5

    def __init__(self, *arguments: Any, steps: Sequence[int] = (-72, 112), **kwargs: Any):
        super().__init__(*arguments, **kwargs)
        self.steps = tuple(steps)

    @classmethod
    def make_stream_layer(cls, k: int, refined: bool, *arguments: Any, **config: Any) -> StreamLayer:
        """The quantisation step, then z and y."""
        layer = super().make_stream_layer(k, refined, *arguments, **config)
        return dataclasses.replace(layer, entries=(Step(cls.CURVE), *layer.entries))

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> tuple[Any, Any]:
        """Code and reconstruct with the rounding and the noise of training."""
        return self.code_images(**inputs)

    def learn(self, learners: Sequence[Any], batch: np.ndarray, step: int) -> dict[str, Any]:
        """Do one step on ``uint8 [N, P, P, 3]``. Each k is from another part of the steps; ``step`` seeds the draw."""
        finest, coarsest = self.steps
        parts = np.arange(len(batch)) + np.random.default_rng(step).random(len(batch))
        drawn = finest + np.floor(parts / len(batch) * (coarsest - finest + 1))
        inputs = {"images": batch, "step": drawn.astype(np.int32)}
        weights = np.full(len(batch), self.rate_weights[-1] * self.rate_share, np.float32)
        return {"loss": learners[0].train_on_batch(inputs, weights)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Distortion over Δ plus bits a pixel times Δ and their weights ``y``, float32 ``[N]``: a scalar."""
        reconstruction, bpp = y_pred
        delta = ops.reshape(quantisation_step(x["step"]), (-1,))
        return self.add_up(self.distortions(x["images"], reconstruction) / delta, bpp * delta, y)

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """y in rounded steps of Δ; bits of z, and of y/Δ, with noise, the scales from rounded z."""
        z, delta = latents["z"], quantisation_step(dials["step"])
        y, scale = latents["y"] / delta, self.hyper_synthesis(round_straight_through(z), delta)
        spent = total(bits(gaussian_likelihood(self.noise(y), scale)))
        return delta * round_straight_through(y), {"z": total(bits(self.prior(self.noise(z)))), "y": spent}

    def rate_factor(self, **dials: Any) -> Any:
        """Δ²."""
        return ops.square(quantisation_step(dials["step"]))

    def quantise(self, latents: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """y in steps of Δ, z as it is: the integers that files hold, int32.

        z is rounded. y is too, or one step further towards zero where bits are worth it; see the module.
        """
        delta, z = quantisation_step(dials["step"]), ops.round(latents["z"])
        y = latents["y"] / delta
        nearest = ops.round(y)
        lower = nearest - ops.sign(nearest)
        saved = bits_above_next(ops.abs(nearest), self.hyper_synthesis(z, delta))
        further = ops.square(y - lower) - ops.square(y - nearest) < self.bit_worth(dials["step"]) * saved
        return {"y": ops.cast(ops.where(further, lower, nearest), "int32"), "z": ops.cast(z, "int32")}

    def bit_worth(self, step: Any) -> Any:
        """Squared error of y, in units of Δ², that a bit less may cost: int32 ``[N]`` → float32 ``[N, 1, 1, 1]``."""
        share = ops.clip(ops.cast(step, "float32") / self.FULL_WORTH_FROM, 0.0, 1.0)
        return self.BIT_WORTH * ops.reshape(share, (-1, 1, 1, 1))

    def latent_windows(self) -> dict[str, Window]:
        """As of any hyperprior; the rounding of y looks at its standard deviations, too."""
        found = super().latent_windows()
        return {**found, "y": found["y"] | found["z"].then(window(self.hyper_synthesis))}

    def reconstruct(self, coded: Mapping[str, Any], **dials: Any) -> Any:
        """Integer latents → the residual: float32 ``[N, H, W, 3]``."""
        y = ops.cast(coded["y"], "float32") * quantisation_step(dials["step"])
        return super().reconstruct({**coded, "y": y})

    def evaluate_image(self, image: np.ndarray, **dials: Any) -> EvaluatedImage:
        """Code one image at several rates, or with the ``step`` given.

        Returns:
            The evaluation at the middle rate. Its loss is the mean of D/Δ + λ·Δ·R over all of them, and its scores
            are the loss, bits a pixel and PSNR at each quality q: ``loss_q``, ``bpp_q``, ``psnr_q``.
        """
        if dials:
            return super().evaluate_image(image, **dials)
        finest, coarsest = self.steps
        found, scores = list[EvaluatedImage](), dict[str, float]()
        for k in np.linspace(finest, coarsest, self.HELD_OUT).astype(np.int32):
            result = super().evaluate_image(image, step=k[None])
            loss = result.loss / ops.convert_to_numpy(quantisation_step(k[None])).item()
            assert result.bpp is not None
            scores |= {
                f"loss_{COARSEST - k}": loss,
                f"bpp_{COARSEST - k}": result.bpp,
                f"psnr_{COARSEST - k}": psnr(image, result.reconstruction),
            }
            found.append(dataclasses.replace(result, loss=loss))
        mean = float(np.mean([result.loss for result in found]))
        return dataclasses.replace(found[len(found) // 2], loss=mean, scores=scores)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "steps": self.steps}


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
for _point in (2, 3, 4):
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
