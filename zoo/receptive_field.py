"""Receptive fields, computed from the layers: how many pixels around a place a signature looks at.

Large images are coded in tiles. A tile needs so many pixels around it that its inside comes out as in the whole
image: the receptive field. Here it follows from the kernels and strides of the layers.

:func:`window` gives the :class:`Window` of a layer or a network, :meth:`Window.then` joins two that follow each
other, ``|`` two that look at the same input side by side. A model says which networks its signatures run
(``CompressionModel.windows``); :func:`receptive_fields` gives their pixels. A file that defines a layer registers its
window: ``@window.register``.
"""

import dataclasses
import functools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from codec_zoo.contract import CompressionModel


@dataclasses.dataclass(frozen=True)
class Window:
    """The input samples that an output sample depends on, along one axis, away from the borders.

    Output sample i depends on the input samples from ``step · i − before`` to ``step · i + after``.

    Attributes:
        step: input samples from one output sample to the next: 2 of a convolution of stride 2, ½ of its transpose.
        before: how far the window reaches to lower indices, in input samples.
        after: how far it reaches to higher indices.
        unit: side of the square of image pixels that an input sample stands for: 1 of an image, 16 of latents of
            stride 16.
    """

    step: Fraction = Fraction(1)
    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    unit: int = 1

    def then(self, following: "Window") -> "Window":
        """The window of a network with this window, then one with the window ``following``."""
        return Window(
            step=self.step * following.step,
            before=self.step * following.before + self.before,
            after=self.step * following.after + self.after,
            unit=self.unit,
        )

    def __or__(self, other: "Window") -> "Window":
        """The window of two networks side by side, whose outputs are added or concatenated."""
        if (self.step, self.unit) != (other.step, other.unit):
            raise ValueError(f"networks side by side need outputs of one size. Received: {self}, {other}")
        return dataclasses.replace(self, before=max(self.before, other.before), after=max(self.after, other.after))

    def of_latents(self, stride: int) -> "Window":
        """The same window of a network whose input has one sample for ``stride`` × ``stride`` pixels."""
        return dataclasses.replace(self, unit=stride)

    @property
    def margin(self) -> int:
        """Pixels of the image around a region that its output depends on.

        The region begins and ends on whole samples of input and output, as tiles do.
        """
        return self.unit * max(math.floor(self.before), math.floor(self.after + 1 - self.step), 0)


def receptive_fields(model: "CompressionModel") -> dict[str, int]:
    """Signature → pixels around a place that its output there depends on, a multiple of the model's stride.

    ``search_k`` has the field of ``encode``, with which it begins. Each of its rounds looks further; tiles leave the
    other tiles' moves out.
    """
    found = {
        name: -(-max(window.margin for window in windows) // model.stride) * model.stride
        for name, windows in model.windows().items()
    }
    return found | {f"search_{k}": found["encode"] for k in range(1, len(model.refinements()) + 1)}


def pooling(side: int, stride: int) -> Window:
    """The window of a pool, or of a convolution, that does not pad its input."""
    return Window(step=Fraction(stride), after=Fraction(side - 1))


@functools.singledispatch
def window(layer: Any) -> Window:
    """The window of a layer or a network.

    Raises:
        TypeError: its kind is unknown. The file that defines it registers a function for it.
    """
    raise TypeError(f"the receptive field of {type(layer).__name__} is unknown: register a function for it.")


@window.register(keras.layers.Activation)
@window.register(keras.layers.BatchNormalization)
@window.register(keras.layers.Dropout)
@window.register(keras.layers.InputLayer)
@window.register(keras.layers.LeakyReLU)
@window.register(keras.layers.PReLU)
@window.register(keras.layers.ReLU)
def _pointwise(layer: keras.layers.Layer) -> Window:
    """Each output sample depends on the input sample at its place."""
    return Window()


@window.register(keras.layers.Conv2D)
def _convolution(layer: keras.layers.Conv2D) -> Window:
    """With "same" padding of inputs whose sides are multiples of the stride, or without padding."""
    stride = layer.strides[0]
    side = (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1
    _check_square(layer)
    before = max(side - stride, 0) // 2 if layer.padding == "same" else 0
    return Window(step=Fraction(stride), before=Fraction(before), after=Fraction(side - 1 - before))


@window.register(keras.layers.Conv2DTranspose)
def _transposed_convolution(layer: keras.layers.Conv2DTranspose) -> Window:
    """Output o = stride · i + tap − cut: "same" padding leaves out the first ``cut`` outputs."""
    stride, side = layer.strides[0], layer.kernel_size[0]
    _check_square(layer)
    if layer.dilation_rate != (1, 1):
        raise TypeError(f"{layer.name}: transposed convolutions must not have dilation.")
    cut = max(side - stride, 0) // 2 if layer.padding == "same" else 0
    return Window(step=Fraction(1, stride), before=Fraction(side - 1 - cut, stride), after=Fraction(cut, stride))


@window.register(keras.layers.AveragePooling2D)
@window.register(keras.layers.MaxPooling2D)
def _pool(layer: Any) -> Window:
    if layer.padding != "valid" or layer.pool_size[0] != layer.pool_size[1]:
        raise TypeError(f"{layer.name}: pools need padding 'valid' and a square window.")
    return pooling(layer.pool_size[0], layer.strides[0])


def _check_square(layer: Any) -> None:
    for name in ("kernel_size", "strides", "dilation_rate"):
        if len(set(getattr(layer, name))) != 1:
            raise TypeError(f"{layer.name}: {name} must be the same along both axes.")


@window.register(keras.Sequential)
def _sequential(network: keras.Sequential) -> Window:
    return chain(*network.layers)


def chain(*layers: keras.layers.Layer) -> Window:
    """The window of layers that follow each other."""
    return functools.reduce(Window.then, map(window, layers), Window())


@window.register(keras.Model)
def _functional(network: keras.Model) -> Window:
    """A functional model: from its output back to its input, over all ways; a merging layer joins them."""
    if not getattr(network, "inputs", None):
        raise TypeError(f"{network.name} is neither Sequential nor functional: register a function for its class.")

    @functools.cache
    def until(layer: keras.layers.Layer) -> Window:
        """The window of the network up to a layer's output."""
        parents = [source._keras_history.operation for node in layer._inbound_nodes for source in node.input_tensors]
        before = functools.reduce(Window.__or__, map(until, parents)) if parents else Window()
        return before.then(window(layer))

    (output,) = network.outputs
    return until(output._keras_history.operation)


@window.register(keras.layers.Add)
@window.register(keras.layers.Concatenate)
def _merge(layer: keras.layers.Layer) -> Window:
    return Window()
