"""Gives each test of the contract its file's presets, and what is made of a preset once for all its tests."""

import tempfile
from pathlib import Path

import golden
import keras
import numpy as np
import pytest
from contract import is_trained, numpy_values, presets_of, representatives

from codec_zoo.codecs.specs import codec_for
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_model, export_pretrained


def pytest_generate_tests(metafunc):
    if "preset" not in metafunc.fixturenames:
        return
    marked = {mark.name for mark in metafunc.definition.iter_markers()}
    first = representatives()

    def marks(preset):
        by_default = preset.name in first or not marked & {"once", "measured"}
        return [] if by_default or ("measured" in marked and is_trained(preset)) else [pytest.mark.slow]

    presets = presets_of(metafunc.cls.share)
    values = [pytest.param(preset, id=preset.name, marks=marks(preset)) for preset in presets]
    metafunc.parametrize("preset", values, scope="class")


@pytest.fixture(scope="class")
def model(preset):
    """With fresh weights, none of which is 0."""
    keras.utils.set_random_seed(0)
    model, random = preset.create(), np.random.default_rng(0)
    model.set_weights([value + random.normal(0, 0.01, value.shape) for value in numpy_values(model.weights)])
    return model


@pytest.fixture(scope="class")
def codec(preset):
    """The codec around the preset's export, with its weights where it has them."""
    if not preset.trains:
        yield codec_for(open_model(preset.name))
        return
    with tempfile.TemporaryDirectory() as folder:
        if is_trained(preset):
            export_pretrained(preset.name, folder, verify=False)
        else:
            keras.utils.set_random_seed(0)
            export_model(preset.name, preset.create(), folder, verify=False)
        yield codec_for(open_model(str(Path(folder, preset.name))))


@pytest.fixture(scope="class")
def measured(preset, codec):
    """What the preset makes of the golden crop."""
    return golden.measure(preset.name, codec)
