"""Export to LiteRT (TensorFlow Lite): one file, ``model.tflite``, with the signatures ``encode…`` and ``decode…``.

It has the built-in operations of LiteRT only. LiteRT has no float64, so the signatures that choose tables in exact
integers are missing: entropy coding needs another runtime.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import ai_edge_litert.interpreter
import keras
import numpy as np
import tensorflow as tf

from codec_zoo.contract import Signature
from codec_zoo.errors import ModelError
from codec_zoo.export.trace import trace

FILE = "model.tflite"


def write_litert(model: keras.Model, signatures: Mapping[str, Signature], folder: Path) -> None:
    """Write ``model.tflite`` with these signatures of a model into ``folder``.

    Raises:
        ModelError: a signature has an operation that is none of LiteRT's own.
    """
    with tempfile.TemporaryDirectory() as scratch:
        functions = {name: trace(signature).get_concrete_function() for name, signature in signatures.items()}
        module = tf.Module()
        module.weights = [weight.value for weight in model.weights]
        tf.saved_model.save(module, scratch, functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            (folder / FILE).write_bytes(converter.convert())
        except Exception as error:  # TensorFlow raises many kinds
            (cause, *_) = str(error).splitlines() or [""]
            raise ModelError(f"LiteRT's built-in operations do not suffice ({cause}).") from error


def open_litert(folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    """A function that runs a signature of ``model.tflite``: its name and named arrays → named arrays."""
    interpreter = ai_edge_litert.interpreter.Interpreter(str(folder / FILE))

    def run(signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return interpreter.get_signature_runner(signature)(**inputs)

    return run
