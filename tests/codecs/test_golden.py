"""Files of earlier commits decode to the pictures that they had then."""

from pathlib import Path

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.specs import codec_for
from codec_zoo.export.runtime import find_model

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
    """Of each first layer that trained models write but a JPEG representation, and of fine-tuning's last."""
    kinds = {layer.kind.name for path in FILES for layer in container.read(path.read_bytes()).layers}
    assert kinds >= {"BASE", "RESIDUAL", "LATENT", "PICTURE", "PLANE"}
