"""Entropy models of latents: the rate that training minimises, and the source of the integer tables.

Training adds uniform noise (Ballé 2017, §III-B) and asks for likelihoods of the noisy values; a decoder sees
rounded values. Everything here is float32, whatever precision the transforms train in.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.stream_coders import COARSEST, FINEST
from codec_zoo.training.workers import uniform_for_share

LIKELIHOOD_BOUND = 1e-9

# The scale table of Gaussian latents: 64 standard deviations, even in the logarithm.
SCALE_MIN, SCALE_MAX, SCALES = 0.11, 256.0, 64
# The ratio of neighbours in it, 1.131, and how many quantisation steps it is divided into.
SCALE_RATIO, STEPS_A_ROW = (SCALE_MAX / SCALE_MIN) ** (1 / (SCALES - 1)), 8


def scale_table() -> np.ndarray:
    """The 64 standard deviations, 0.11 … 256: ``float64 [64]``."""
    return np.exp(np.linspace(np.log(SCALE_MIN), np.log(SCALE_MAX), SCALES))


def bits(likelihood: Any) -> Any:
    """Information of values with these likelihoods: −log2, float32, the same shape.

    Likelihoods below 1e-9 count as that, but keep their gradient.
    """
    return -ops.log2(straight_through(likelihood, ops.maximum(likelihood, LIKELIHOOD_BOUND)))


def straight_through(values: Any, changed: Any) -> Any:
    """``changed`` in value, ``values`` in gradient."""
    return values + ops.stop_gradient(changed - values)


def round_straight_through(values: Any) -> Any:
    """Round to the nearest integer; gradients pass as if nothing had happened."""
    return straight_through(values, ops.round(values))


@keras.saving.register_keras_serializable("codec_zoo")
class UniformNoise(keras.layers.Layer):
    """Add noise, uniform in −½ … ½, always: the stand-in for rounding that has a density.

    Call: float ``[…]`` → float32, the same shape.
    """

    def __init__(self, seed: int = 0, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, values: Any) -> Any:
        """Add the noise."""
        return values + uniform_for_share(ops.shape(values), -0.5, 0.5, self.generator)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        config.update(seed=self.seed)
        return config


def _gaussian_upper_tail(x: Any) -> Any:
    """Φ(−x) for the standard Gaussian."""
    return 0.5 * ops.erfc(x * 2**-0.5)


def gaussian_likelihood(values: Any, scale: Any) -> Any:
    """Mass of a zero-mean Gaussian in ``value ± ½``: Ballé 2018, Eq. 3.

    Args:
        values: float32, noisy or rounded latents.
        scale: float32 standard deviations, the same shape.
    """
    # Both bounds on the left of the mean, where differences of Φ keep their digits.
    magnitude = ops.abs(values)
    return _gaussian_upper_tail((magnitude - 0.5) / scale) - _gaussian_upper_tail((magnitude + 0.5) / scale)


def bits_above_next(magnitudes: Any, scale: Any) -> Any:
    """Bits of a Gaussian integer less the bits of the next one towards zero; 0 of zero.

    From a table of the scale table's rows and of magnitudes up to 16, since ONNX and LiteRT have no error function.
    Larger magnitudes count as 16.

    Args:
        magnitudes: float32, 0, 1, 2 …
        scale: float32 standard deviations, the same shape.

    Returns:
        float32, the same shape.
    """
    limit = 16
    tail = np.vectorize(math.erfc)
    edges = (np.arange(limit + 2) - 0.5) * 2**-0.5 / scale_table()[:, None]
    likelihood = -np.diff(tail(edges), axis=1) / 2
    spent = -np.log2(np.maximum(likelihood, LIKELIHOOD_BOUND))
    table = np.diff(spent, axis=1, prepend=spent[:, :1]).astype("float32")
    row = ops.round(ops.log(scale / SCALE_MIN) / math.log(SCALE_RATIO))
    index = ops.clip(row, 0, SCALES - 1) * (limit + 1) + ops.minimum(magnitudes, limit)
    return ops.take(table.ravel(), ops.cast(index, "int32"))


def to_scale(values: Any, delta: Any = 1.0) -> Any:
    """Any floats → standard deviations, 0.11 or more: a softplus, whose bound keeps its gradient.

    ``delta``: quantisation steps that the softplus is divided by before the bound.
    """
    scale = ops.softplus(values) / delta
    return straight_through(scale, ops.maximum(scale, SCALE_MIN))


def scale_thresholds() -> np.ndarray:
    """The 63 values at which :func:`to_scale` passes from one row of the table to the next: ``float64 [63]``.

    Rows meet at the geometric mean of their scales.
    """
    table = scale_table()
    return np.log(np.expm1(np.sqrt(table[:-1] * table[1:])))


def step_thresholds() -> np.ndarray:
    """The values at which a softplus passes each eighth of a row of the table: ``float64 [632]``.

    They begin 16 rows below the table, at the least standard deviation times the finest quantisation step.
    """
    eighths = np.arange(FINEST + 1, STEPS_A_ROW * (SCALES - 1) + 1)
    return np.log(np.expm1(SCALE_MIN * SCALE_RATIO ** (eighths / STEPS_A_ROW)))


def count_reached(values: Any, thresholds: np.ndarray) -> Any:
    """How many of the thresholds each value reaches, by bisection: int32, the shape of ``values``.

    The integers of ``ops.searchsorted(thresholds, values, side="right")``. The op of that on TensorFlow,
    ``UpperBound``, has no counterpart in ONNX, and a comparison with each of the thresholds costs more.

    Args:
        values: float64.
        thresholds: float64 ``[n]``, ascending.
    """
    half = 1 << len(thresholds).bit_length() - 1
    padded = ops.convert_to_tensor(np.append(thresholds, np.full(2 * half - 1 - len(thresholds), np.inf)), "float64")
    reached = ops.zeros_like(values, "int32")
    while half:
        passed = values >= ops.take(padded, reached + (half - 1))
        reached, half = reached + half * ops.cast(passed, "int32"), half // 2
    return reached


def shift_rows(eighths: Any, step: Any) -> Any:
    """Rows of the scale table for standard deviations that are divided by a quantisation step.

    Args:
        eighths: how many of :func:`step_thresholds` a standard deviation reaches: int32 ``[N, h, w, C]``.
        step: k of each image, int32 ``[N]``.

    Returns:
        0 … 63, int32, the shape of ``eighths``. Rows meet at the geometric mean of their scales.
    """
    shifted = eighths + FINEST - ops.reshape(step, (-1, 1, 1, 1)) + STEPS_A_ROW // 2
    return ops.clip(shifted, 0, STEPS_A_ROW * SCALES - 1) // STEPS_A_ROW


def quantisation_step(step: Any) -> Any:
    """Δ = 1.131^(k/8) for k of each image: int32 ``[N]``, −128 … 127 → float32 ``[N, 1, 1, 1]``."""
    return ops.reshape(ops.take(_quantisation_steps().astype("float32"), step - FINEST), (-1, 1, 1, 1))


def quantisation_steps_at(ks: Iterable[float]) -> np.ndarray:
    """Δ of any k, also between two integers: ``float64 [n]``."""
    return SCALE_RATIO ** (np.array(list(ks)) / STEPS_A_ROW)


def quantisation_step_integers(step: Any, fraction: int) -> Any:
    """Δ as :func:`quantisation_step`, rounded to so many fractional bits: integers, float64 ``[N, 1, 1, 1]``."""
    table = np.round(_quantisation_steps() * 2.0**fraction)
    return ops.reshape(ops.take(table, step - FINEST), (-1, 1, 1, 1))


def _quantisation_steps() -> np.ndarray:
    return quantisation_steps_at(range(FINEST, COARSEST + 1))


@keras.saving.register_keras_serializable("codec_zoo")
class FactorizedPrior(keras.layers.Layer):
    """Deep factorized prior: a learned density for each channel (Ballé 2018, appendix 6.1).

    The cumulative is ``c = σ(f_K ∘ … ∘ f_1)``, with ``f_k(x) = g_k(H_k x + b_k)``, ``H = softplus(Ĥ)`` and
    ``g(x) = x + tanh(a) · tanh(x)`` (the last ``g`` is absent), so that it is monotonic.

    Args:
        widths: rows of the inner matrices.
        start: about the half-width of the density at the start.

    Call: float32 ``[…, C]``, noisy or integer latents → likelihood, float32, the same shape.
    """

    def __init__(self, widths: Sequence[int] = (3, 3, 3), start: float = 10.0, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.widths = tuple(widths)
        self.start = start

    def build(self, input_shape: Sequence[Any]) -> None:
        """Make the matrices for the number of channels."""
        channels = input_shape[-1]
        rows = (1, *self.widths, 1)
        scale = self.start ** (1 / (len(self.widths) + 1))
        self.matrices, self.biases, self.factors = [], [], []
        for k, (inner, outer) in enumerate(itertools.pairwise(rows)):
            start = float(np.log(np.expm1(1 / scale / outer)))
            constant = keras.initializers.Constant(start)
            spread = keras.initializers.RandomUniform(-0.5, 0.5, seed=k)
            self.matrices.append(
                self.add_weight(name=f"matrix{k}", shape=(channels, outer, inner), initializer=constant)
            )
            self.biases.append(self.add_weight(name=f"bias{k}", shape=(channels, outer, 1), initializer=spread))
            if k < len(self.widths):
                self.factors.append(
                    self.add_weight(name=f"factor{k}", shape=(channels, outer, 1), initializer="zeros")
                )

    def logits(self, values: Any) -> Any:
        """Logit of the cumulative, before noise: ``[C, 1, N]`` → ``[C, 1, N]``."""
        x = values
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = ops.matmul(ops.softplus(matrix), x) + bias
            if k < len(self.factors):
                x = x + ops.tanh(self.factors[k]) * ops.tanh(x)
        return x

    def call(self, values: Any, delta: Any = 1.0) -> Any:
        """Compute the mass in ``(value ± ½) · delta``; ``delta`` broadcasts to the values."""
        shape = ops.shape(values)

        def logits(edges: Any) -> Any:
            columns = ops.transpose(ops.reshape(edges, (-1, values.shape[-1])))
            return self.logits(ops.reshape(columns, (values.shape[-1], 1, -1)))

        lower, upper = logits((values - 0.5) * delta), logits((values + 0.5) * delta)
        # Both on the side of 0 where the sigmoid is small and keeps its digits.
        sign = -ops.sign(lower + upper)
        mass = ops.abs(ops.sigmoid(sign * upper) - ops.sigmoid(sign * lower))
        return ops.reshape(ops.transpose(ops.reshape(mass, (values.shape[-1], -1))), shape)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        config.update(widths=self.widths, start=self.start)
        return config
