"""TensorFlow's graph of a signature."""

from collections.abc import Mapping

import tensorflow as tf

from codec_zoo.contract import Signature, TensorSpecs
from codec_zoo.errors import ModelError


def trace(signature: Signature) -> tf.types.experimental.PolymorphicFunction:
    """The ``tf.function`` of a signature, its inputs named as the signature names them.

    Where it is traced, ``ModelError`` is raised if the outputs are not the declared ones.
    """
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (dtype, shape) in signature.inputs.items()]
    names = list(signature.inputs)

    @tf.function(input_signature=specs, autograph=False)
    def run(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = dict(signature.function(**dict(zip(names, tensors, strict=True))))
        _check_outputs(outputs, signature.outputs)
        return outputs

    return run


def _check_outputs(outputs: Mapping[str, tf.Tensor], declared: TensorSpecs) -> None:
    if outputs.keys() != declared.keys():
        raise ModelError(f"a signature has other outputs than declared: {sorted(outputs)}, not {sorted(declared)}.")
    for name, (dtype, shape) in declared.items():
        found = outputs[name]
        if found.dtype.name != dtype or not found.shape.is_compatible_with(shape):
            raise ModelError(f"the output {name} is {found.dtype.name} {found.shape}, not {dtype} {list(shape)}.")
