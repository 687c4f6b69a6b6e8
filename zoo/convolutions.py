"""Convolutions that processors are good at: products in bfloat16, and strides that suit a GPU.

**Products in bfloat16** (:class:`BFloat16Products`). Keras's ``mixed_bfloat16`` has whole layers in bfloat16. On a
CPU TensorFlow then sums in it too, and gradients differ much from those in float32
(``experiments/gradient_precision.py``). Here only the products of convolutions are in bfloat16, and oneDNN keeps
their sums in float32.

**Strides.** A convolution of stride s is one without stride on the s² phases of its input, a transposed one gives the
s² phases of its output. Kernels of up to about 3·s become 3×3: for 5×5 and stride 2 that is 36 products instead of
25. The sums are the same up to their order. On JAX all strided layers are computed so: in these shapes XLA uses the
tensor cores of a GPU. On TensorFlow only transposed convolutions to few channels are: oneDNN works on blocks of 16
channels, and the last layer of a synthesis has three (``experiments/convolution_speed.py``).

The classes are Keras's, with Keras's names, since weight files name layers by their class.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

# A transposed convolution to so many channels is computed on phases on TensorFlow, too.
FEW_CHANNELS = 4


@keras.saving.register_keras_serializable("codec_zoo")
class BFloat16Products(keras.DTypePolicy):
    """float32, but for the products of :class:`Conv2D` and :class:`Conv2DTranspose`; see the module.

    A layer that is made with a dtype of its own has none of it.
    """

    def __init__(self) -> None:
        super().__init__("float32")
        self._name = "bfloat16_products"

    def get_config(self) -> dict[str, Any]:
        """Empty: there are no arguments."""
        return {}


def policy(precision: str) -> keras.DTypePolicy:
    """The dtype policy for ``precision`` on the backend that runs.

    Args:
        precision: ``"float32"`` or ``"mixed_bfloat16"``; on JAX that is Keras's policy.
    """
    if precision == "mixed_bfloat16" and keras.backend.backend() != "jax":
        return BFloat16Products()
    return keras.DTypePolicy(precision)


@contextlib.contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """In the block, layers are made with :func:`policy` of ``precision``."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _narrow(layer: keras.layers.Layer, *values: Any) -> Sequence[Any]:
    """Factors of a layer's products, in the dtype that it multiplies in."""
    return [ops.cast(v, "bfloat16") for v in values] if isinstance(layer.dtype_policy, BFloat16Products) else values


def _fits(layer: keras.layers.Layer) -> bool:
    """Whether a layer is computed on phases."""
    kernel, stride = layer.kernel_size[0], layer.strides[0]
    few = isinstance(layer, Conv2DTranspose) and layer.filters <= FEW_CHANNELS
    return (
        (keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and few))
        and layer.kernel_size == (kernel, kernel)
        and layer.strides == (stride, stride)
        and layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and layer.data_format == "channels_last"
        and 1 < stride <= kernel <= 2 * stride + (kernel - stride) // 2
    )


def _phases(kernel: Any, stride: int) -> Any:
    """``[k, k, a, b]`` → ``[3, s, 3, s, a, b]``: a tap is 3 blocks of s pixels, and a pixel in its block."""
    side = kernel.shape[0]
    before = stride - (side - stride) // 2
    around = (before, 3 * stride - side - before)
    kernel = ops.pad(kernel, (around, around, (0, 0), (0, 0)))
    return ops.reshape(kernel, (3, stride, 3, stride, *kernel.shape[2:]))


def convolve(inputs: Any, kernel: Any, stride: int) -> Any:
    """``ops.conv`` with "same" padding: ``[N, H, W, a]``, sides multiples of s → ``[N, H/s, W/s, b]``.

    Args:
        inputs: float.
        kernel: ``[k, k, a, b]``, s ≤ k ≤ 2·s + (k − s) // 2.
        stride: s.
    """
    channels = kernel.shape[3]
    kernel = ops.transpose(_phases(kernel, stride), (0, 2, 1, 3, 4, 5))
    blocks = ops.space_to_depth(inputs, stride, data_format="channels_last")
    return ops.conv(blocks, ops.reshape(kernel, (3, 3, -1, channels)), padding="same")


def convolve_transposed(inputs: Any, kernel: Any, stride: int) -> Any:
    """``ops.conv_transpose`` with "same" padding: ``[N, h, w, a]`` → ``[N, h·s, w·s, b]``.

    Args:
        inputs: float.
        kernel: ``[k, k, b, a]``, s ≤ k ≤ 2·s + (k − s) // 2.
        stride: s.
    """
    channels = kernel.shape[3]
    kernel = ops.transpose(ops.flip(_phases(kernel, stride), (0, 2)), (0, 2, 5, 1, 3, 4))
    phases = ops.conv(inputs, ops.reshape(kernel, (3, 3, channels, -1)), padding="same")
    return ops.depth_to_space(phases, stride, data_format="channels_last")


@keras.saving.register_keras_serializable("codec_zoo")
class Conv2D(keras.layers.Conv2D):
    """Keras's, on phases where that is faster; see the module."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve, without bias and activation."""
        stride = self.strides[0]
        if _fits(self) and not inputs.shape[1] % stride and not inputs.shape[2] % stride:
            return convolve(inputs, kernel, stride)
        return ops.cast(super().convolution_op(*_narrow(self, inputs, kernel)), self.compute_dtype)


@keras.saving.register_keras_serializable("codec_zoo")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's, on phases where that is faster; see the module."""

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias, activate."""
        inputs, kernel = _narrow(self, inputs, self.kernel)
        if _fits(self) and self.output_padding is None:
            outputs = convolve_transposed(inputs, kernel, self.strides[0])
        else:
            outputs = ops.conv_transpose(
                inputs,
                kernel,
                strides=self.strides,
                padding=self.padding,
                output_padding=self.output_padding,
                data_format=self.data_format,
                dilation_rate=self.dilation_rate,
            )
        outputs = ops.cast(outputs, self.compute_dtype)
        return self.activation(ops.add(outputs, ops.reshape(self.bias, (1, 1, 1, -1))) if self.use_bias else outputs)
