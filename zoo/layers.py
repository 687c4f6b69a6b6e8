"""Layers shared by several model families."""

import keras
import numpy as np
from keras import ops

from codec_zoo.convolutions import Conv2D

# Slope below zero that PReLU starts with (He 2015, §2.1).
PRELU_SLOPE = 0.25
# Gray levels for 1 at the output of a network that adds detail to a picture: about what it finds. At 255 each step of
# Adam would move the picture by whole levels, the last layer overshoots, and the ReLUs before it die.
DETAIL = 16.0


def to_unit_range(pixels):
    """Map pixel values 0 … 255 to floats in [−1, 1] (Fu 2019, Eq. 1)."""
    return ops.cast(pixels, "float32") / 255.0 * 2.0 - 1.0


def to_pixel_range(values):
    """Map floats in [−1, 1] to the pixel scale 0 … 255, not yet rounded (Fu 2019, Eq. 2 before ``round``)."""
    return (values + 1.0) / 2.0 * 255.0


def sizes(images):
    """``int32 [N, 2]``: height and width of each picture of a batch ``[N, H, W, C]``."""
    count, height, width = ops.shape(images)[:3]
    return ops.broadcast_to(ops.stack([ops.cast(height, "int32"), ops.cast(width, "int32")]), (count, 2))


def pad_to_multiple(images, multiple: int):
    """Repeat the last row and column until both sides are multiples of ``multiple``.

    Unlike symmetric padding, this works from 1×1 up. ``[N, H, W, C]`` in and out, any dtype.
    """
    for axis in (1, 2):
        side = ops.shape(images)[axis]
        padded = -(-side // multiple) * multiple
        images = ops.take(images, ops.minimum(ops.arange(padded), side - 1), axis=axis)
    return images


def double(images):
    """Bilinear interpolation to twice the sides, samples at centres: float ``[N, H, W, C]`` → ``[N, 2H, 2W, C]``."""
    count, height, width = ops.shape(images)[:3]
    channels = images.shape[-1]
    before = ops.concatenate([images[:, :1], images[:, :-1]], axis=1)
    after = ops.concatenate([images[:, 1:], images[:, -1:]], axis=1)
    rows = ops.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=2)
    images = ops.reshape(rows, (count, 2 * height, width, channels))
    before = ops.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)
    after = ops.concatenate([images[:, :, 1:], images[:, :, -1:]], axis=2)
    columns = ops.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=3)
    return ops.reshape(columns, (count, 2 * height, 2 * width, channels))


@keras.saving.register_keras_serializable("codec_zoo")
class QuantizePixels(keras.layers.Layer):
    """Round values in [−1, 1] to the 256 levels of an 8-bit picture: Eq. 2, then Eq. 1, of Fu 2019.

    The forward pass is exactly what a decoder sees. The backward pass takes the gradient of the
    identity (straight-through estimator), since rounding has none.

    Call: float ``[N, h, w, C]`` in [−1, 1] → float32 of the same shape, in [−1, 1].
    """

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def call(self, values):
        """Quantise; see the class."""
        values = ops.cast(values, "float32")
        rounded = to_unit_range(ops.round(to_pixel_range(values)))
        return values + ops.stop_gradient(rounded - values)

    def compute_output_shape(self, input_shape):
        """Shape in, shape out."""
        return input_shape

    def get_config(self):
        """Config without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        return config


@keras.saving.register_keras_serializable("codec_zoo")
class ResidualBlock(keras.layers.Layer):
    """Two 3×3 convolutions with dropout between, added to the input; nothing after the skip.

    Fu 2019, §2.2 and Fig. 4 (b): the block of He 2016 without the non-linearity behind the skip
    connection. The non-linearity and the dropout stand between the convolutions.

    Args:
        filters: maps in and out.
        activation: ``"prelu"`` (one slope a map) or ``"relu"``.
        dropout: share of values dropped in training, 0 … 1.

    Call: float ``[N, h, w, filters]`` → the same shape.
    """

    def __init__(self, filters: int, activation: str = "prelu", dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = Conv2D(filters, 3, padding="same", name="conv1")
        self.act = make_activation(activation, name="act")
        self.drop = keras.layers.Dropout(dropout, name="drop")
        self.conv2 = Conv2D(filters, 3, padding="same", kernel_initializer="zeros", name="conv2")
        self.filters = filters
        self.activation = activation
        self.dropout = dropout

    def build(self, input_shape):
        """Build the parts, so that weights load before the first call."""
        for layer in (self.conv1, self.act, self.conv2):
            layer.build(input_shape)
        self.drop.build(input_shape)

    def call(self, inputs, training=None):
        """Apply the block; see the class."""
        branch = self.drop(self.act(self.conv1(inputs)), training=training)
        return inputs + self.conv2(branch)

    def compute_output_shape(self, input_shape):
        """Shape in, shape out."""
        return input_shape

    def get_config(self):
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(filters=self.filters, activation=self.activation, dropout=self.dropout)
        return config


def make_activation(kind: str, **kwargs) -> keras.layers.Layer:
    """The non-linearity ``kind``: ``"prelu"`` (one learned slope a map) or ``"relu"``."""
    if kind == "prelu":
        return keras.layers.PReLU(
            shared_axes=[1, 2], alpha_initializer=keras.initializers.Constant(PRELU_SLOPE), **kwargs
        )
    if kind == "relu":
        return keras.layers.ReLU(**kwargs)
    raise ValueError(f"activation must be 'prelu' or 'relu'. Received: {kind!r}")


@keras.saving.register_keras_serializable("codec_zoo")
class GDN(keras.layers.Layer):
    """Generalised divisive normalisation, or its inverse.

        y_i = x_i / (β_i + Σ_j γ_ij |x_j|^α)^ε        inverse: y_i = x_i · (β_i + Σ_j γ_ij |x_j|^α)^ε

    Ballé, Laparra, Simoncelli 2016 ("Density modeling of images using a generalized normalization
    transformation"), Eq. 5. β and γ stay non-negative as squares, ``β = β_min + b²`` and ``γ = g²``: a square
    has a slope on both sides of 0, so that no parameter sticks to the bound, and steps shrink towards it.

    Args:
        inverse: multiply instead of dividing.
        alpha: exponent of the maps, 1 or 2.
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
        **kwargs,
    ):
        super().__init__(**kwargs)
        if alpha not in (1.0, 2.0) or epsilon not in (0.5, 1.0):
            raise ValueError(f"alpha must be 1 or 2, epsilon 1 or 0.5. Received: {alpha}, {epsilon}")
        self.inverse = inverse
        self.alpha = alpha
        self.epsilon = epsilon
        self.beta_min = beta_min
        self.gamma_start = gamma_start

    def build(self, input_shape):
        """Make β and γ for the number of maps."""
        maps = input_shape[-1]
        gamma = self.OFF_DIAGONAL + (np.sqrt(self.gamma_start) - self.OFF_DIAGONAL) * np.eye(maps)
        self.beta_root = self.add_weight(
            name="beta_root", shape=(maps,), initializer=keras.initializers.Constant(np.sqrt(1 - self.beta_min))
        )
        self.gamma_root = self.add_weight(
            name="gamma_root", shape=(maps, maps), initializer=lambda shape, dtype: ops.cast(gamma, dtype)
        )

    @property
    def beta(self):
        """float ``[C]``, at least ``beta_min``."""
        return self.beta_min + ops.square(self.beta_root)

    @property
    def gamma(self):
        """float ``[C, C]``, from map j (first) to map i, 0 or more."""
        return ops.square(self.gamma_root)

    def call(self, inputs):
        """Normalise; see the class."""
        power = ops.abs(inputs) if self.alpha == 1.0 else ops.square(inputs)
        pool = ops.cast(self.beta, inputs.dtype) + ops.matmul(power, ops.cast(self.gamma, inputs.dtype))
        if self.epsilon == 0.5:
            return inputs * (ops.sqrt(pool) if self.inverse else ops.rsqrt(pool))
        return inputs * pool if self.inverse else inputs / pool

    def compute_output_shape(self, input_shape):
        """Shape in, shape out."""
        return input_shape

    def get_config(self):
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
