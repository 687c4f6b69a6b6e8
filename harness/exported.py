"""Exported models as users have them: a SavedModel folder with its card."""

import functools
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from codec_zoo import weights
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.export import card as cards
from codec_zoo.export.tables import TABLES
from codec_zoo.files import cache_folder
from codec_zoo.harness.bitstream import Bitstream, preset_id
from codec_zoo.harness.range_coder import Tables, load_tables
from codec_zoo.presets import Preset, get_preset, list_presets


class ExportedModel:
    """A SavedModel and its card.

    Attributes:
        folder: ``…/<preset>/<version>``.
        card: the model card (see ``codec_zoo.export.card``).
        seconds: spent in the model so far.
    """

    def __init__(self, folder: Path):
        """Load ``folder``.

        Raises:
            ModelError: there is no model, or it is not one of this zoo.
        """
        import tensorflow as tf

        self.folder = folder
        self.seconds = 0.0
        try:
            self.card: dict[str, Any] = json.loads((folder / "assets" / cards.FILE).read_text())
            self._module = tf.saved_model.load(str(folder))  # which keeps the variables alive
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder} is not an exported model of this zoo ({error}). Export it again: `codec-zoo export`."
            ) from error
        if self.card.get("schema") != cards.SCHEMA:
            raise ModelError(f"the card in {folder} has another schema than {cards.SCHEMA}: export it again.")

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.card["preset"]

    def call(self, signature: str, **inputs) -> dict[str, Any]:
        """Call a signature with tensors; tensors come back, and gradients can go through."""
        return self._module.signatures[signature](**inputs)

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Call a signature with arrays; arrays come back."""
        import tensorflow as tf

        started = time.perf_counter()
        outputs = self.call(signature, **{k: tf.constant(v) for k, v in inputs.items()})
        arrays = {name: value.numpy() for name, value in outputs.items()}
        self.seconds += time.perf_counter() - started
        return arrays

    @functools.cached_property
    def tables(self) -> dict[str, Tables]:
        """Tables for the range coder, by latent; empty for a model without entropy models."""
        path = self.folder / "assets" / TABLES
        return load_tables(path) if path.exists() else {}

    def check_coded(self, stream: Bitstream) -> None:
        """Raise ``ModelError`` unless this model, with these weights, coded ``stream``."""
        if stream.preset_id != preset_id(self.preset):
            raise ModelError(f"the file was coded by another model than {self.preset}.")
        if stream.weights_id != bytes.fromhex(self.card["weights_sha256"])[:4]:
            raise ModelError(
                f"the file was coded by {self.preset} with other weights ({stream.weights_id.hex()}, these are "
                f"{self.card['weights_sha256'][:8]}). Name the export that coded it: --model DIR."
            )


class UntrainedModel(ExportedModel):
    """Stands for a preset whose files bring their own weights: there is nothing to load."""

    def __init__(self, preset: Preset):
        """Of a preset that does not train."""
        self.seconds = 0.0
        self.card = {
            "preset": preset.name,
            "weights_sha256": hashlib.sha256(b"").hexdigest(),
            "pipeline": dict(preset.pipeline),
        }


def parse_layers(layers: int | str, model: ExportedModel) -> int:
    """How many layers to write, checked.

    Raises:
        UsageError: not a number of layers that the model has.
    """
    most = model.card["pipeline"]["layers"]
    if not str(layers).isdecimal() or not 1 <= int(layers) <= most:
        raise UsageError(f"{model.preset} has {most} layers. Received: {layers!r}")
    return int(layers)


@functools.lru_cache(maxsize=4)
def open_model(name_or_folder: str) -> ExportedModel:
    """Open an exported model.

    Args:
        name_or_folder: a preset with trained weights, exported into the cache on first use, or one that needs
            none; or the folder
            of an export, with or without its version.

    Raises:
        UsageError: neither a preset nor a folder.
        ModelError: no trained weights, or a damaged export.
    """
    path = Path(name_or_folder)
    if path.is_dir():
        versions = sorted((p for p in path.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
        return ExportedModel(versions[-1] if versions else path)
    preset = get_preset(name_or_folder)
    if not preset.trains:
        return UntrainedModel(preset)
    record = weights.entry(name_or_folder)
    base = cache_folder() / "models" / f"{record['sha256'][:12]}-{cards.SCHEMA}"
    folder = base / name_or_folder / "1"
    if not (folder / "saved_model.pb").exists():
        from codec_zoo.export.saved_model import export_pretrained

        export_pretrained(name_or_folder, base, verify=False)
    return ExportedModel(folder)


def find_model(stream: Bitstream) -> ExportedModel:
    """The zoo's own model that coded ``stream``.

    Raises:
        ModelError: none of the zoo's trained presets did.
    """
    for name in [*weights.index(), *(preset.name for preset in list_presets() if not preset.trains)]:
        if preset_id(name) == stream.preset_id:
            model = open_model(name)
            model.check_coded(stream)
            return model
    raise ModelError(
        f"no trained preset of this zoo coded the file (preset id {stream.preset_id.hex()}). "
        "Name the export that did: --model DIR. What a codec coded under a filter also decodes with --no-filter."
    )
