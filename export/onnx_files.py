"""Export to ONNX: a file for each signature, ``<signature>.onnx``, and the weights of all of them, ``weights.bin``.

The folder holds all that a codec needs: the transforms, the rows of tables, the card and the tables, these two in
``assets/`` as in a SavedModel. ``search_k`` is missing, since it follows gradients.

ONNX Runtime has no float64 convolutions on a CPU, but float64 matrix products. So each convolution of exact integers
becomes the product of its kernel with slices of its input. Every partial sum is an exact integer, and so the result
is the same.
"""

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnx import helper, numpy_helper

from codec_zoo.contract import Signature
from codec_zoo.errors import ModelError
from codec_zoo.export.runtime import ONNX_ENDING
from codec_zoo.export.trace import trace

OPSET = 18
WEIGHTS = "weights.bin"
# Smaller arrays stay in their graph.
LARGE = 1024
# Where ONNX Runtime finds arrays fast.
ALIGNMENT = 4096


def write_onnx(signatures: Mapping[str, Signature], folder: Path) -> None:
    """Write each signature as a graph into ``folder``, and their weights once.

    Raises:
        ModelError: a signature has an operation that ONNX or ONNX Runtime lacks.
    """
    weights = _Weights()
    for name, signature in signatures.items():
        graph = _convert(name, signature)
        weights.take(graph)
        (folder / f"{name}{ONNX_ENDING}").write_bytes(graph.SerializeToString())
    (folder / WEIGHTS).write_bytes(weights.data)
    for name in signatures:
        path = str(folder / f"{name}{ONNX_ENDING}")
        try:
            onnx.checker.check_model(path, full_check=True)
            onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX and its runtime raise many kinds
            raise ModelError(f"the signature {name} does not run in ONNX Runtime ({error}).") from error


def _convert(name: str, signature: Signature) -> onnx.ModelProto:
    """The graph of a signature, its inputs and outputs named and ordered as the signature has them.

    An output that has the name of an input gets ``_out`` behind it.
    """
    specs = [tf.TensorSpec(shape, dtype, name=key) for key, (dtype, shape) in signature.inputs.items()]
    run = trace(signature)

    @tf.function(input_signature=specs, autograph=False)
    def in_order(*tensors: tf.Tensor) -> list[tf.Tensor]:
        outputs = run(*tensors)
        return [outputs[key] for key in signature.outputs]

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_function(in_order, input_signature=specs, opset=OPSET)
    except Exception as error:  # tf2onnx raises many kinds
        raise ModelError(f"the signature {name} has an operation that ONNX lacks ({error}).") from error
    _name_outputs(model.graph, list(signature.outputs))
    _replace_float64_convolutions(model.graph)
    return model


def _name_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    inputs = {value.name for value in graph.input}
    for value, name in zip(graph.output, names, strict=True):
        renamed = f"{name}_out" if name in inputs else name
        graph.node.append(helper.make_node("Identity", [value.name], [renamed]))
        value.name = renamed


class _Weights:
    """The large arrays of several graphs, each once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._places: dict[bytes, int] = {}

    def take(self, model: onnx.ModelProto) -> None:
        """Move the large arrays of a graph here."""
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor).tobytes()
            if len(values) < LARGE:
                continue
            key = hashlib.sha256(values).digest()
            if key not in self._places:
                self.data += bytes(-len(self.data) % ALIGNMENT)
                self._places[key] = len(self.data)
                self.data += values
            place = {"location": WEIGHTS, "offset": self._places[key], "length": len(values)}
            moved = onnx.TensorProto(
                name=tensor.name,
                dims=tensor.dims,
                data_type=tensor.data_type,
                data_location=onnx.TensorProto.EXTERNAL,
                external_data=[onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in place.items()],
            )
            tensor.CopyFrom(moved)


# --- float64 convolutions ---


def _replace_float64_convolutions(graph: onnx.GraphProto) -> None:
    """Write the float64 ``Conv`` and ``ConvTranspose`` of a graph as matrix products."""
    kernels = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.DOUBLE}
    nodes = []
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in kernels:
            nodes += _as_products(graph, node, numpy_helper.to_array(kernels[node.input[1]]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


def _as_products(graph: onnx.GraphProto, node: onnx.NodeProto, kernel: np.ndarray) -> list[onnx.NodeProto]:
    """The nodes for a convolution with ``kernel``: ``[out, in, h, w]``, of a transposed one ``[in, out, h, w]``.

    A transposed one of stride s is one without stride that gives s² phases of its output.
    """
    options: dict[str, Any] = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    transposed, sides = node.op_type == "ConvTranspose", kernel.shape[2:]
    strides = options.get("strides", [1, 1])
    stride, pads = strides[0], list(options.get("pads", [0, 0, 0, 0]))
    auto_pad = options.get("auto_pad", b"NOTSET")
    if not transposed and auto_pad == b"SAME_UPPER" and stride == 1:
        before = [(side - 1) // 2 for side in sides]
        pads, auto_pad = [*before, *(side - 1 - cut for side, cut in zip(sides, before, strict=True))], b"NOTSET"
    if (
        strides != [stride, stride]
        or (stride > 1 and not transposed)
        or auto_pad not in (b"NOTSET", b"VALID")
        or options.get("group", 1) != 1
        or any(step != 1 for step in options.get("dilations", []))
        or any(options.get("output_padding", []))
        or "output_shape" in options
    ):
        raise ModelError(f"ONNX Runtime has no float64 convolution like {node.name} ({options}).")

    nodes: list[onnx.NodeProto] = []

    def add(op: str, values: str | list[str], *constants: np.ndarray, **attributes: Any) -> str:
        inputs = [values] if isinstance(values, str) else list(values)
        output = f"{node.output[0]}/{len(nodes)}"
        for constant in constants:
            inputs.append(f"{output}/{len(inputs)}")
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(constant), inputs[-1]))
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def cut(values: str, axes: list[int], starts: list[int], left_out: list[int]) -> str:
        """A slice from ``starts`` that leaves out so many values at the end."""
        ends = [-count if count else 2**31 - 1 for count in left_out]
        return add("Slice", values, *(np.array(v, np.int64) for v in (starts, ends, axes)))

    if transposed:
        taps = [math.ceil(side / stride) for side in sides]
        around = [(0, tap * stride - side) for tap, side in zip(taps, sides, strict=True)]
        phases = np.pad(kernel, ((0, 0), (0, 0), *around))
        phases = phases.reshape(*kernel.shape[:2], taps[0], stride, taps[1], stride)[:, :, ::-1, :, ::-1]
        matrix = phases.transpose(2, 4, 0, 3, 5, 1)  # taps, in, phases, out
        matrix = matrix.reshape(math.prod(taps) * kernel.shape[0], -1)
        margins = [tap - 1 for tap in taps] * 2
    else:
        taps, margins = list(sides), pads
        matrix = kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
    last = add("Transpose", node.input[0], perm=[0, 2, 3, 1])
    last = add("Pad", last, np.array([0, *margins[:2], 0, 0, *margins[2:], 0], np.int64))
    columns = [
        cut(last, [1, 2], [i, j], [taps[0] - 1 - i, taps[1] - 1 - j]) for i in range(taps[0]) for j in range(taps[1])
    ]
    last = add("MatMul", add("Concat", columns, axis=3), matrix)
    last = add("Transpose", last, perm=[0, 3, 1, 2])
    if transposed:
        last = add("DepthToSpace", last, blocksize=stride) if stride > 1 else last
        ends = [tap * stride - side + pad for tap, side, pad in zip(taps, sides, pads[2:], strict=True)]
        last = cut(last, [2, 3], pads[:2], ends)
    if len(node.input) > 2 and node.input[2]:
        last = add("Add", [last, add("Unsqueeze", node.input[2], np.array([1, 2], np.int64))])
    nodes.append(helper.make_node("Identity", [last], [node.output[0]]))
    return nodes
