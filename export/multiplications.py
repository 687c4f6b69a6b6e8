"""Multiplications a pixel of each signature, counted in TensorFlow's graph of it.

The count has the products of convolutions, transposed convolutions, dense layers and matrices, whatever their dtype.
Operations on single values are left out: biases, activations, colour spaces.
"""

import math
from collections.abc import Mapping

import tensorflow as tf

from codec_zoo.contract import Signature, TensorSpecs
from codec_zoo.export.trace import trace

# Side of the image that the signatures are traced for: a multiple of every model's stride.
SIDE = 512


class _UncountedError(Exception):
    """A graph has an operation whose products are not known before it runs."""


def multiplications(signatures: Mapping[str, Signature]) -> dict[str, int]:
    """Signature → multiplications for each pixel of the image, rounded.

    A signature is missing if it has a loop, or a product whose size depends on values.

    Args:
        signatures: of a model. The outputs of each ``encode`` are inputs of those behind it.
    """
    known: TensorSpecs = {"images": ("uint8", (1, SIDE, SIDE, 3))}
    counted = {}
    for name, signature in signatures.items():
        inputs = {key: (dtype, _sides(key, shape, known)) for key, (dtype, shape) in signature.inputs.items()}
        traced = trace(Signature(signature.function, inputs, signature.outputs)).get_concrete_function()
        try:
            counted[name] = round(sum(map(_products, _needed(traced.outputs))) / SIDE**2)
        except _UncountedError:
            continue
        if name.startswith("encode"):
            outputs = traced.structured_outputs.items()
            known = {**known, **{key: (value.dtype.name, tuple(value.shape)) for key, value in outputs}}
    return counted


def _sides(name: str, shape: tuple[int | None, ...], known: TensorSpecs) -> tuple[int | None, ...]:
    """The shape of an input for one image of :data:`SIDE`."""
    return known[name][1] if name in known else tuple(1 if side is None else side for side in shape)


def _needed(outputs: list[tf.Tensor]) -> list[tf.Operation]:
    """The operations that the outputs of a graph depend on: TensorFlow runs no others."""
    found: dict[str, tf.Operation] = {}
    waiting = [output.op for output in outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [value.op for value in operation.inputs]
            waiting += operation.control_inputs
    return list(found.values())


def _products(operation: tf.Operation) -> int:
    """The multiplications of one operation."""
    match operation.type:
        case "Conv2D":
            rows, columns, channels, _ = _shape(operation.inputs[1])
            return math.prod(_shape(operation.outputs[0])) * rows * columns * channels
        case "DepthwiseConv2dNative":
            rows, columns, *_ = _shape(operation.inputs[1])
            return math.prod(_shape(operation.outputs[0])) * rows * columns
        case "Conv2DBackpropInput":  # a transposed convolution: each value of its input times the kernel
            rows, columns, channels, _ = _shape(operation.inputs[1])
            return math.prod(_shape(operation.inputs[2])) * rows * columns * channels
        case "MatMul":
            inner = 0 if operation.get_attr("transpose_a") else 1
            return math.prod(_shape(operation.outputs[0])) * _shape(operation.inputs[0])[inner]
        case "BatchMatMulV2":
            inner = -2 if operation.get_attr("adj_x") else -1
            return math.prod(_shape(operation.outputs[0])) * _shape(operation.inputs[0])[inner]
        case "Einsum" if b"." not in operation.get_attr("equation"):
            terms = operation.get_attr("equation").decode().partition("->")[0].split(",")
            shapes = map(_shape, operation.inputs)
            sides = {
                letter: side for pair in zip(terms, shapes, strict=True) for letter, side in zip(*pair, strict=True)
            }
            return math.prod(sides.values())
        case kind if any(word in kind for word in ("Conv", "MatMul", "Einsum", "While", "If", "Case", "Call")):
            raise _UncountedError
    return 0


def _shape(value: tf.Tensor) -> list[int]:
    if not value.shape.is_fully_defined():
        raise _UncountedError
    return value.shape.as_list()
