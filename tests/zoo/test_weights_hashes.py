"""Coded files carry the hash of their model's weights, over paths, shapes and values, in the model's order.

A change of code that renames a variable, or moves it, would make every file unreadable: ``weights_sha256.json`` holds
the hash of each trained preset.
"""

import json
from pathlib import Path

import pytest

from codec_zoo import weights
from codec_zoo.export.card import hash_weights

HASHES = json.loads(Path(__file__).with_name("weights_sha256.json").read_text())


@pytest.mark.parametrize("name", sorted(weights.index()))
def test_the_hash_of_trained_weights_stays(name):
    assert hash_weights(weights.create(name)) == HASHES[name]


def test_every_hash_is_that_of_a_trained_preset():
    assert HASHES.keys() == weights.index().keys()
