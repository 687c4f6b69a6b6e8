"""Importing Codec Zoo leaves the user's process as it was: limits, logging, warnings, signals, variables."""

import subprocess
import sys

# The libraries come first: a change that one of them makes is its own.
PROGRAM = """
import importlib, logging, os, pkgutil, signal, sys, threading, warnings
import av, bjontegaard, grpc, imagecodecs, keras, matplotlib, numba, PIL.Image, plotly, requests, rich, tensorboard
import ai_edge_litert.interpreter, onnx, onnxruntime, tensorboardX, tensorflow, tensorflow_datasets
import tensorflow_serving.apis.predict_pb2, tf2onnx, yaml

def state():
    return {
        "pixels that Pillow opens": PIL.Image.MAX_IMAGE_PIXELS,
        "truncated images in Pillow": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        "level of PyAV": av.logging.get_level(),
        **{key: str(dict.get(matplotlib.rcParams, key)) for key in matplotlib.rcParams},
        "filters of warnings": list(warnings.filters),
        "showing of warnings": warnings.showwarning,
        "logging": (logging.root.level, logging.root.manager.disable, list(logging.root.handlers)),
        "levels of loggers": {name: logging.getLogger(name).level for name in ("PIL", "absl", "tensorflow", "keras")},
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "finders": list(sys.meta_path),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "floats of Keras": (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()),
        "recursion": sys.getrecursionlimit(),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "folder": os.getcwd(),
        "threads": threading.active_count(),
    }

before = state()
import codec_zoo
names = [module.name for module in pkgutil.walk_packages(codec_zoo.__path__, "codec_zoo.")]
assert len(names) > 80, names
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name in ("apache_beam", "jax"), error  # not among the requirements of every installation
after = state()
changed = [f"{key}: {before[key]} → {after[key]}" for key in before if before[key] != after[key]]
assert not changed, changed
"""


def test_no_module_changes_the_process():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]


# What `codec-zoo train` imports on a machine with another backend, and packages that only an extra installs.
# TensorFlow itself is there, since Keras needs a backend.
TRAINING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"no {name}", name=name)

MISSING = {
    "av", "bitarray", "bjontegaard", "imagecodecs", "jinja2", "markdown_it", "matplotlib", "plotly",
    "tensorflow_datasets", "tensorflow_metadata", "tensorflow_serving", "yaml",
}
sys.meta_path.insert(0, Missing())
import codec_zoo.cli.train, codec_zoo.cli.unexported, codec_zoo.datasets.training_data, codec_zoo.training.loop
"""


def test_training_needs_no_package_of_an_extra():
    """The slow tests train in an environment with JAX or PyTorch alone."""
    process = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
