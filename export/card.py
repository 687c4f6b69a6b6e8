"""The model card: what a SavedModel says of itself, as JSON in its assets."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codec_zoo.presets import Preset

if TYPE_CHECKING:
    import keras

    from codec_zoo.model import Signature

SCHEMA = 7
FILE = "model_card.json"


def hash_weights(model: "keras.Model") -> str:
    """SHA-256 over names, shapes and float32 values of all weights: what a coded file is tied to."""
    import keras

    digest = hashlib.sha256()
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight).astype("<f4")
        digest.update(f"{weight.path}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def make_card(
    preset: Preset,
    model: "keras.Model",
    version: int,
    training: Mapping[str, Any],
    signatures: Mapping[str, "Signature"],
) -> dict[str, Any]:
    """The card of an exported model.

    Args:
        preset: what was trained.
        model: with its weights.
        version: of the export.
        training: provenance, as in the weights index; empty for fresh weights.
        signatures: that are exported.
    """
    return {
        "schema": SCHEMA,
        "preset": preset.name,
        "version": version,
        "paper": {
            "authors": preset.paper.authors,
            "title": preset.paper.title,
            "year": preset.paper.year,
            "url": preset.paper.url,
        },
        "reproduces": preset.reproduces,
        "licence": "Apache-2.0",
        "parameters": int(model.count_params()),
        "weights_sha256": hash_weights(model),
        "pipeline": dict(preset.pipeline),
        "signatures": {
            name: {key: [dtype, list(shape)] for key, (dtype, shape) in signature.inputs.items()}
            for name, signature in signatures.items()
        },
        "training": {key: value for key, value in training.items() if key not in ("file", "sha256")},
    }
