"""Warm-up requests inside a SavedModel: TF Serving replays them before it sends users to a version."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE = "tf_serving_warmup_requests"


def write_warmup(folder: Path, name: str, requests: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Write ``assets.extra/tf_serving_warmup_requests``: for each signature, the first image of its inputs.

    Args:
        folder: of the SavedModel.
        name: of the model on the server.
        requests: signatures with their inputs, ``[N, …]``.
    """
    path = folder / "assets.extra" / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value[:1]))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
