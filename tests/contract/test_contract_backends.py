"""Models need no TensorFlow: they are written for Keras, on whatever backend it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract import representatives, training_batch

from codec_zoo.presets import get_preset

# Keras itself may run on TensorFlow; what the zoo imports, at once or later, must be something else.
_WITHOUT_TENSORFLOW = """
import builtins, importlib, pkgutil, sys
import keras
real = builtins.__import__
def importing(name, globals=None, *rest):
    importer = (globals or {}).get("__name__", "")
    assert not (importer.startswith("codec_zoo") and name.split(".")[0] == "tensorflow"), importer
    return real(name, globals, *rest)
builtins.__import__ = importing
import codec_zoo, codec_zoo.models, codec_zoo.training
ROOMS = {"datasets", "export", "codecs", "harness", "cli"}
count = 0
for package in (codec_zoo, codec_zoo.models, codec_zoo.training):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name.split(".")[1] not in ROOMS and module.name != "codec_zoo.training.jax_steps":
            importlib.import_module(module.name)
            count += 1
assert count > 20, count
from codec_zoo.presets import get_preset
for name in ("balle2018-hyperprior-mse-3", "fu2019-hybrid-s8-relu", "hu2018-filter-svac-q48", "report2017-gan-w"):
    model = get_preset(name).create()
    assert model.signatures
"""


def test_the_zoo_imports_no_tensorflow():
    process = subprocess.run([sys.executable, "-c", _WITHOUT_TENSORFLOW], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]


_TRAINS = """
import sys
import keras
import numpy as np
from codec_zoo.presets import get_preset
from codec_zoo.training.optimizers import make_optimizer
assert keras.backend.backend() == sys.argv[1]
for argument in sys.argv[2:]:
    name, side, channels = argument.split(":")
    preset = get_preset(name)
    model = preset.create()
    batch = np.random.default_rng(0).integers(0, 256, (2, int(side), int(side), int(channels)), np.uint8)
    learners = model.learners()
    for learner in learners:
        learner.compile(optimizer=make_optimizer(preset.recipe), jit_compile=False)
    before = [np.array(variable.numpy()) for variable in model.trainable_variables]
    losses = model.learn(learners, batch, 0)
    assert all(np.isfinite(float(loss)) for loss in losses.values()), name
    changed = [(old != variable.numpy()).any() for old, variable in zip(before, model.trainable_variables)]
    assert any(changed), name
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_architecture_trains_without_tensorflow(backend, request, tmp_path):
    """In an environment that has none."""
    installed = request.getfixturevalue(f"{backend}_environment")
    presets = [get_preset(name) for name in sorted(representatives())]
    shapes = {preset.name: training_batch(preset).shape for preset in presets if preset.trains}
    arguments = [f"{name}:{shape[1]}:{shape[3]}" for name, shape in shapes.items()]
    environment = {"PATH": os.environ["PATH"], "KERAS_BACKEND": backend}
    command = [Path(installed) / "bin" / "python", "-c", _TRAINS, backend, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert process.returncode == 0, process.stderr[-2000:]
