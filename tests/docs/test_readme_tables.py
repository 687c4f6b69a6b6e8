"""The tables of README.md and docs/choose-a-model.md are the ones that the committed measurements give."""

import math

import pytest

from codec_zoo.codecs.specs import split_spec
from codec_zoo.presets import DEFAULT_PRESET, get_preset


@pytest.fixture(scope="module")
def tables(experiment):
    """The script, as a module."""
    return experiment("readme_tables")


def test_tables_are_current(tables):
    """A failure here: `python experiments/readme_tables.py` writes the tables."""
    for path, text in tables.pages().items():
        assert path.read_text() == text, path


def test_models_can_be_taken(tables):
    names = [split_spec(model.spec)[0] for model in tables.MODELS]
    assert names[0] == DEFAULT_PRESET
    assert all(get_preset(name).trained for name in names)


def test_a_rate_between_two_points(tables):
    points = [(0.25, 30.0), (1.0, 34.0)]
    assert math.isclose(tables._at(points, 0.5), 32.0)
    assert tables._at(points, 0.25) == 30.0 and tables._at(points, 1.1) is None


def test_markers_are_needed(tables):
    with pytest.raises(ValueError, match="there are no lines <!-- models"):
        tables.replace("no markers", "models", "| a |")
