"""Files of earlier commits decode to the pictures that they had then."""

from pathlib import Path

import numpy as np
import pytest

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.specs import codec_for
from codec_zoo.export.runtime import find_model
from codec_zoo.presets import get_preset, list_presets

# Made by tests/data/golden/make.py with the published weights.
FILES = sorted((Path(__file__).parents[1] / "data" / "golden").glob("*.czoo"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_golden_file(path):
    """Lossless ones to the last bit.

    On another processor a network's rounding may differ by a level in a few pixels, not more.
    """
    stream = container.read(path.read_bytes())
    decoded = codec_for(find_model(stream)).decode_layers(stream, len(stream.layers))
    difference = np.abs(decoded.astype(int) - read_image(path.with_suffix(".png")))
    assert difference.max() <= (0 if path.stem.startswith("perceptron") else 1)
    assert np.mean(difference > 0) < 0.001


def test_there_are_files_of_each_kind():
    """Of each architecture with trained weights, and of both resolutions of the one that has two."""
    models = {get_preset(find_model(container.read(path.read_bytes())).preset).model for path in FILES}
    trained = [preset for preset in list_presets() if preset.name in weights.index() or not preset.trains]
    assert models == {preset.model for preset in trained}
    scales = {container.read(path.read_bytes()).layers[0].payload[0] for path in FILES if "mixed" in path.stem}
    assert scales == {1, 2}
