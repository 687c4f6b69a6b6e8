"""One network for all rates: latents are coded in quantisation steps Δ, and Δ is in the file.

    image ─▶ analysis ─▶ y ─▶ y/Δ ─▶ round ─▶ Δ·ŷ ─▶ synthesis ─▶ image

After Cui et al. 2021, "Asymmetric gained deep image compression with continuous rate adaptation" (CVPR), and the
``-vbr`` models of CompressAI. Cui has a gain for each channel, and another for the inverse. Here Δ is one number for
all channels: 1.131^(k/8), with k a signed byte in the file. Each model says how its entropy model depends on Δ.

Where k is above 0, the encoder rounds a latent further towards zero if the bits that this saves are worth the error.
Encoders of video do this too (Karczewicz, Ye and Chong 2008, "Rate distortion optimized quantization", VCEG-AH21).
The decoder is the same with and without it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from keras import ops

from codec_zoo.contract import STEP, TensorSpecs
from codec_zoo.entropy_models import quantisation_step
from codec_zoo.metrics import EvaluatedImage, psnr
from codec_zoo.stream import Step, StreamLayer
from codec_zoo.stream_coders import COARSEST
from codec_zoo.transform_coding import TransformCoder


class VariableRateCoder(TransformCoder):
    """What models of variable rate share. It stands before the model of one rate in the list of bases.

    Training draws a k for each image of a batch and minimises D/Δ + λ·Δ·R: the distortion that a bit a pixel is worth
    is λ·Δ². The slope of the squared error over R is proportional to Δ², too, where the rate is high (Gish and Pierce
    1968). Divided by Δ the loss is about equal at all rates, so that each counts alike.

    Args:
        steps: the finest and the coarsest k of training.
        kwargs: of the model of one rate.

    Call: ``images``, ``uint8`` or float ``[N, H, W, 3]``, and ``step``, k, int32 ``[N]`` → as in
    :class:`codec_zoo.transform_coding.RateDistortionModel`.
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
        """The quantisation step, then the latents."""
        layer = super().make_stream_layer(k, refined, *arguments, **config)
        return dataclasses.replace(layer, entries=(Step(cls.CURVE), *layer.entries))

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> tuple[Any, Any]:
        """Code and reconstruct with the rounding and the noise of training."""
        return self.code_images(**inputs)

    def inputs_of(self, batch: np.ndarray, step: int) -> dict[str, Any]:
        """The patches, and for each a k from another part of the range of training."""
        finest, coarsest = self.steps
        parts = np.arange(len(batch)) + np.random.default_rng(step).random(len(batch))
        drawn = finest + np.floor(parts / len(batch) * (coarsest - finest + 1))
        return {"images": batch, "step": drawn.astype(np.int32)}

    def terms(self, inputs: Any, reconstruction: Any, bpp: Any) -> tuple[Any, Any]:
        """Distortion over Δ, and bits a pixel times Δ."""
        delta = ops.reshape(quantisation_step(inputs["step"]), (-1,))
        return self.distortions(inputs["images"], reconstruction) / delta, bpp * delta

    def rate_factor(self, **dials: Any) -> Any:
        """Δ²."""
        return ops.square(quantisation_step(dials["step"]))

    def quantise(self, latents: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """y in steps of Δ, other latents as they are: the integers that files hold, int32.

        They are rounded, and y one step further towards zero where bits are worth it; see the module.
        """
        delta = quantisation_step(dials["step"])
        others = {name: ops.round(value) for name, value in latents.items() if name != "y"}
        y = self.round_by_rate(
            latents["y"] / delta, lambda nearest, lower: self.bits_saved(nearest, lower, others, delta), dials["step"]
        )
        return {name: ops.cast(value, "int32") for name, value in {"y": y, **others}.items()}

    def round_by_rate(self, values: Any, bits_saved: Callable[[Any, Any], Any], step: Any) -> Any:
        """Round values to the nearest integer, or one further towards zero where bits are worth it.

        Args:
            values: latents in quantisation steps, float32 ``[N, h, w, C]``.
            bits_saved: integers, and the next ones towards zero (0 of 0) → the bits of the first less the bits of the
                second.
            step: k of each image, int32 ``[N]``.

        Returns:
            Integers, float32 ``[N, h, w, C]``.
        """
        nearest = ops.round(values)
        lower = nearest - ops.sign(nearest)
        error_added = ops.square(values - lower) - ops.square(values - nearest)
        return ops.where(error_added < self.bit_worth(step) * bits_saved(nearest, lower), lower, nearest)

    def bits_saved(self, nearest: Any, lower: Any, others: Mapping[str, Any], delta: Any) -> Any:
        """Bits of ``nearest`` less the bits of ``lower``.

        Args:
            nearest: y/Δ, rounded: float32 ``[N, h, w, C]``.
            lower: the next integers towards zero; 0 of 0.
            others: the other latents, rounded: float32.
            delta: Δ, float32 ``[N, 1, 1, 1]``.

        Returns:
            float32 ``[N, h, w, C]``.
        """
        raise NotImplementedError

    def bit_worth(self, step: Any) -> Any:
        """Squared error of y, in units of Δ², that a bit less may cost: int32 ``[N]`` → float32 ``[N, 1, 1, 1]``."""
        share = ops.clip(ops.cast(step, "float32") / self.FULL_WORTH_FROM, 0.0, 1.0)
        return self.BIT_WORTH * ops.reshape(share, (-1, 1, 1, 1))

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
