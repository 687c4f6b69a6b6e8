"""The hyper-synthesis of Ballé 2018, in float32 for training and in exact integers for files.

A decoder chooses the table of each latent by the standard deviation that the hyper-synthesis gives. Where encoder and
decoder disagree about one, the rest of the file is lost. So files are made with :meth:`HyperSynthesis.exact`: every
machine, thread count and compiler gives the same tables.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.entropy_models import count_reached, scale_thresholds, shift_rows, step_thresholds, to_scale
from codec_zoo.receptive_field import Window, chain, window


@keras.saving.register_keras_serializable("codec_zoo")
class HyperSynthesis(keras.layers.Layer):
    """ẑ → the standard deviation of each latent of y (Ballé 2018, Fig. 4).

    Args:
        latent_channels: channels of y.
        hyper_channels: channels of z.

    Call: float32 integers ``[N, h, w, hyper_channels]`` → float32 standard deviations
    ``[N, 4h, 4w, latent_channels]``.
    """

    # Fixed point of the exact version: fractional bits of weights and of the values between layers.
    WEIGHT_BITS, VALUE_BITS = 14, 10
    # What values are clipped to, so that no sum passes 2^53 and every float64 sum is exact.
    MAX_HYPER_LATENT, MAX_VALUE = 2.0**15, 2.0**26

    def __init__(self, latent_channels: int, hyper_channels: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.stages: list[Any] = [
            Conv2DTranspose(hyper_channels, 5, strides=2, padding="same", dtype="float32", name="conv0"),
            Conv2DTranspose(hyper_channels, 5, strides=2, padding="same", dtype="float32", name="conv1"),
            Conv2D(latent_channels, 3, padding="same", dtype="float32", name="conv2"),
        ]
        self.latent_channels = latent_channels
        self.hyper_channels = hyper_channels

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build the parts, so that weights load before the first call."""
        for stage in self.stages:
            stage.build((None, None, None, self.hyper_channels))

    def call(self, inputs: Any, delta: Any = 1.0) -> Any:
        """Estimate the standard deviations in quantisation steps ``delta``, in float32, for training."""
        return to_scale(self.stages[-1](self.features(inputs)), delta)

    def features(self, inputs: Any) -> Any:
        """What the last convolution sees: float32 ``[N, h, w, hyper_channels]`` → ``[N, 4h, 4w, hyper_channels]``."""
        first, second, _ = self.stages
        return ops.relu(second(ops.relu(first(inputs))))

    def exact(self, hyper_latents: Any, step: Any = None) -> Any:
        """Rows of the scale table, 0 … 63: int32 ``[N, h, w, hyper_channels]`` → ``[N, 4h, 4w, latent_channels]``.

        ``step``: of y, k of each image, int32 ``[N]``; None: y is rounded as it is.

        Integer weights and values are held in float64. Every product and every partial sum is an integer
        below 2^53 (:meth:`check_exact`), hence exact in whatever order a machine adds. JAX has float64 only with
        ``JAX_ENABLE_X64=1``; without it the result is good for estimates, not for files.
        """
        kernel, bias = self.integers(self.stages[-1])
        sums = ops.conv(self.exact_features(hyper_latents), kernel, padding="same") + bias
        return self.rows(sums, step)

    def exact_features(self, hyper_latents: Any) -> Any:
        """:meth:`features` in exact integers: int32 → float64 multiples of 2^−``VALUE_BITS``, held as integers."""
        limit = self.MAX_HYPER_LATENT
        x = ops.clip(ops.cast(hyper_latents, "float64"), -limit, limit)
        for stage, fraction in zip(self.stages[:2], (0, self.VALUE_BITS), strict=True):
            kernel, bias = self.integers(stage, fraction)
            x = self.activate(ops.conv_transpose(x, kernel, strides=2, padding="same") + bias, fraction)
        return x

    def activate(self, sums: Any, fraction: int | None = None) -> Any:
        """ReLU and floor of exact sums, whose inputs have so many fractional bits; None: ``VALUE_BITS``."""
        shift = self.WEIGHT_BITS + (self.VALUE_BITS if fraction is None else fraction) - self.VALUE_BITS
        # Not ops.floor, which gives float32 on some backends.
        return ops.cast(ops.cast(ops.clip(sums * 2.0**-shift, 0.0, self.MAX_VALUE), "int64"), "float64")

    def rows(self, sums: Any, step: Any = None) -> Any:
        """Rows of the scale table of the last layer's exact sums; ``step`` as in :meth:`exact`: int32."""
        thresholds = scale_thresholds() if step is None else step_thresholds()
        rows = count_reached(sums, np.round(thresholds * 2.0 ** (self.VALUE_BITS + self.WEIGHT_BITS)))
        return rows if step is None else shift_rows(rows, step)

    def integers(self, stage: Any, fraction: int | None = None) -> tuple[Any, Any]:
        """Kernel and bias of a layer as integers in float64, for inputs with so many fractional bits.

        ``fraction``: None: ``VALUE_BITS``.
        """
        fraction = self.VALUE_BITS if fraction is None else fraction
        kernel = ops.round(ops.cast(stage.kernel, "float64") * 2.0**self.WEIGHT_BITS)
        return kernel, ops.round(ops.cast(stage.bias, "float64") * 2.0 ** (self.WEIGHT_BITS + fraction))

    def check_exact(self) -> None:
        """Raise ``ValueError`` if a sum of :meth:`exact` could pass 2^53 with these weights."""
        first, second, last = self.stages
        self.check_sums(self.MAX_HYPER_LATENT, first, 0)
        self.check_sums(self.MAX_VALUE, second)
        self.check_sums(self.MAX_VALUE, last)

    def check_sums(self, largest: float, stage: Any, fraction: int | None = None, parts: int = 1) -> None:
        """Raise ``ValueError`` if a sum of a layer could pass 2^53 with inputs that are at most ``largest``.

        ``parts``: as many such sums are added.
        """
        kernel, bias = (np.abs(ops.convert_to_numpy(value)) for value in self.integers(stage, fraction))
        inputs = (0, 1, 3) if isinstance(stage, Conv2DTranspose) else (0, 1, 2)  # its kernel is [h, w, out, in]
        worst = parts * (kernel.sum(inputs) * largest + bias).max()
        if not worst < 2.0**53:
            raise ValueError(f"{self.name}: a sum may reach {worst:.3g}, beyond exact float64 integers.")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Four times the height and width, ``latent_channels`` channels."""
        count, height, width, _ = input_shape
        return (count, height and 4 * height, width and 4 * width, self.latent_channels)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        config.update(latent_channels=self.latent_channels, hyper_channels=self.hyper_channels)
        return config


@window.register(HyperSynthesis)
def _window(layer: HyperSynthesis) -> Window:
    return chain(*layer.stages)
