"""Generalised divisive normalisation (GDN), and the transforms of convolutions with GDN between."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.receptive_field import Window, window


@keras.saving.register_keras_serializable("codec_zoo")
class GDN(keras.layers.Layer):
    """Generalised divisive normalisation, or its inverse.

        y_i = x_i / (β_i + Σ_j γ_ij |x_j|^α)^ε        inverse: y_i = x_i · (β_i + Σ_j γ_ij |x_j|^α)^ε

    Ballé, Laparra, Simoncelli 2016 ("Density modeling of images using a generalized normalization
    transformation"), Eq. 5. β and γ stay non-negative as squares, ``β = β_min + b²`` and ``γ = g²``: a square
    has a slope on both sides of 0, so that no parameter sticks to the bound, and steps shrink towards it.

    Args:
        inverse: multiply instead of dividing.
        alpha: exponent of the channels, 1 or 2.
        epsilon: exponent of the pool, 1 or ½.
        beta_min: lower bound of β.
        gamma_start: γ_ii at the start; γ_ij = 0 and β = 1.

    Call: float ``[N, h, w, C]`` → the same shape.
    """

    # Roots of γ off the diagonal at the start: just above 0, where the slope of a square is 0.
    OFF_DIAGONAL = 2.0**-18

    def __init__(
        self,
        inverse: bool = False,
        alpha: float = 2.0,
        epsilon: float = 0.5,
        beta_min: float = 1e-6,
        gamma_start: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if alpha not in (1.0, 2.0) or epsilon not in (0.5, 1.0):
            raise ValueError(f"alpha must be 1 or 2, epsilon 1 or 0.5. Received: {alpha}, {epsilon}")
        self.inverse = inverse
        self.alpha = alpha
        self.epsilon = epsilon
        self.beta_min = beta_min
        self.gamma_start = gamma_start

    def build(self, input_shape: Sequence[Any]) -> None:
        """Make β and γ for the number of channels."""
        channels = input_shape[-1]
        gamma = self.OFF_DIAGONAL + (np.sqrt(self.gamma_start) - self.OFF_DIAGONAL) * np.eye(channels)
        self.beta_root = self.add_weight(
            name="beta_root", shape=(channels,), initializer=keras.initializers.Constant(np.sqrt(1 - self.beta_min))
        )
        self.gamma_root = self.add_weight(
            name="gamma_root", shape=(channels, channels), initializer=lambda shape, dtype: ops.cast(gamma, dtype)
        )

    @property
    def beta(self) -> Any:
        """float ``[C]``, at least ``beta_min``."""
        return self.beta_min + ops.square(self.beta_root)

    @property
    def gamma(self) -> Any:
        """float ``[C, C]``, from channel j (first) to channel i, 0 or more."""
        return ops.square(self.gamma_root)

    def call(self, inputs: Any) -> Any:
        """Divide each channel by the pool of all channels, or multiply."""
        power = ops.abs(inputs) if self.alpha == 1.0 else ops.square(inputs)
        pool = ops.cast(self.beta, inputs.dtype) + ops.matmul(power, ops.cast(self.gamma, inputs.dtype))
        if self.epsilon == 0.5:
            return inputs * (ops.sqrt(pool) if self.inverse else ops.rsqrt(pool))
        return inputs * pool if self.inverse else inputs / pool

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            inverse=self.inverse,
            alpha=self.alpha,
            epsilon=self.epsilon,
            beta_min=self.beta_min,
            gamma_start=self.gamma_start,
        )
        return config


@window.register(GDN)
def _pointwise(layer: GDN) -> Window:
    """GDN mixes the channels of one place."""
    return Window()


def analysis_transform(
    channels: int, latent_channels: int, kernels: Sequence[int], strides: Sequence[int]
) -> keras.Sequential:
    """Convolutions with GDN between them: float ``[N, H, W, 3]`` → ``[N, H/s, W/s, latent_channels]``.

    Args:
        channels: of the inner layers.
        latent_channels: of the output.
        kernels: sides of the kernels, first layer first.
        strides: of the layers; s is their product.
    """
    layers: list[keras.layers.Layer] = [keras.Input((None, None, 3))]
    last = len(kernels) - 1
    for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        filters = latent_channels if i == last else channels
        layers.append(Conv2D(filters, kernel, strides=stride, padding="same", name=f"conv{i}"))
        if i < last:
            layers.append(GDN(name=f"gdn{i}"))
    return keras.Sequential(layers, name="analysis")


def synthesis_transform(
    channels: int, latent_channels: int, kernels: Sequence[int], strides: Sequence[int]
) -> keras.Sequential:
    """The mirror of :func:`analysis_transform`, with inverse GDN: ``[N, h, w, C]`` → ``[N, h·s, w·s, 3]``.

    Its arguments are those of the analysis; its first layer, ``conv2`` of three, mirrors the analysis's last.
    """
    layers: list[keras.layers.Layer] = [keras.Input((None, None, latent_channels))]
    for i in reversed(range(len(kernels))):
        filters = channels if i else 3
        layers.append(Conv2DTranspose(filters, kernels[i], strides=strides[i], padding="same", name=f"conv{i}"))
        if i:
            layers.append(GDN(inverse=True, name=f"igdn{i}"))
    return keras.Sequential(layers, name="synthesis")
