"""Exported models behind Ray Serve: ``python ray_server.py MODELS GRPC_PORT HTTP_PORT``.

Ray Serve is a server of another project. It receives the requests of the official stubs of PredictionService and
ModelService. TensorFlow reads the tensors and runs the SavedModels. ``MODELS`` has ``NAME/VERSION`` folders; the
newest versions are served. There is no project code in the process.
"""

import sys
import time
from pathlib import Path

import ray
import tensorflow as tf
from ray import serve
from ray.serve.config import gRPCOptions
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

SERVICERS = [
    "tensorflow_serving.apis.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server",
    "tensorflow_serving.apis.model_service_pb2_grpc.add_ModelServiceServicer_to_server",
]


@serve.deployment
class Models:
    """All models of a folder in one process."""

    def __init__(self, folder: str):
        self.models = {}
        for path in Path(folder).iterdir():
            version = max(int(child.name) for child in path.iterdir() if child.name.isdecimal())
            self.models[path.name] = version, tf.saved_model.load(str(path / str(version)))

    def Predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        _, model = self.models[request.model_spec.name]
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in model.signatures[request.model_spec.signature_name](**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=self.models[request.model_spec.name][0], state=30)  # AVAILABLE
        return response


if __name__ == "__main__":
    folder, grpc_port, http_port = sys.argv[1:]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options={"port": int(http_port)},
        grpc_options=gRPCOptions(port=int(grpc_port), grpc_servicer_functions=SERVICERS),
    )
    serve.run(Models.bind(folder), name="models")
    print("ready", flush=True)
    while True:
        time.sleep(1)
