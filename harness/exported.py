"""Exported models as users have them: a card, tables, and signatures that run here or on a server."""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from codec_zoo import weights
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.export import card as cards
from codec_zoo.export.tables import TABLES
from codec_zoo.files import cache_folder, writing
from codec_zoo.harness.bitstream import Bitstream, preset_id
from codec_zoo.harness.range_coder import Tables, load_tables
from codec_zoo.presets import Preset, list_presets


class ExportedModel:
    """What codecs need of an exported model, wherever it runs.

    Args:
        where: the model runs, for messages.
        card: the model card (see ``codec_zoo.export.card``).
        tables: for the range coder, by latent; empty for a model without entropy models.

    Attributes:
        seconds: spent in the model so far, the way to a server included.

    Raises:
        ModelError: the card is of another schema.
    """

    def __init__(self, where: str, card: dict[str, Any], tables: dict[str, Tables]):
        self.where = where
        self.card = card
        self.tables = tables
        self.seconds = 0.0
        if not isinstance(card, dict) or card.get("schema") != cards.SCHEMA:
            raise ModelError(f"the card in {where} has another schema than {cards.SCHEMA}: export it again.")
        if missing := {"preset", "weights_sha256", "pipeline", "signatures"} - card.keys():
            raise ModelError(f"the card in {where} lacks {', '.join(sorted(missing))}: export it again.")

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.card["preset"]

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Call a signature with arrays; arrays come back."""
        started = time.perf_counter()
        outputs = self._run(signature, inputs)
        self.seconds += time.perf_counter() - started
        return outputs

    def _run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def check_coded(self, stream: Bitstream) -> None:
        """Raise ``ModelError`` unless this model, with these weights, coded ``stream``."""
        if stream.preset_id != preset_id(self.preset):
            raise ModelError(f"the file was coded by another model than {self.preset}.")
        if not coded(self.card, stream):
            raise ModelError(
                f"the file was coded by {self.preset} with other weights ({stream.weights_id.hex()}, these are "
                f"{self.card['weights_sha256'][:8]}). Name the export that coded it: --model DIR."
            )


class LocalModel(ExportedModel):
    """A SavedModel folder, run in this process.

    Attributes:
        folder: ``…/<preset>/<version>``.
    """

    def __init__(self, folder: Path):
        """Load ``folder``.

        Raises:
            ModelError: there is no model, or it is not one of this zoo.
        """
        import tensorflow as tf

        tables = folder / "assets" / TABLES
        try:
            card = read_card(folder)
            self._module = tf.saved_model.load(str(folder))  # which keeps the variables alive
            loaded = load_tables(tables) if tables.exists() else {}
        except Exception as error:  # TensorFlow raises many kinds for damaged files
            raise ModelError(
                f"{folder} is not an exported model of this zoo ({error}). Export it again: `codec-zoo export`."
            ) from error
        super().__init__(str(folder), card, loaded)
        self.folder = folder

    def _run(self, signature, inputs):
        import tensorflow as tf

        outputs = self._module.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


class UntrainedModel(ExportedModel):
    """Stands for a preset whose files bring their own weights: there is nothing to load."""

    def __init__(self, preset: Preset):
        """Of a preset that does not train."""
        card = {
            "schema": cards.SCHEMA,
            "preset": preset.name,
            "weights_sha256": hashlib.sha256(b"").hexdigest(),
            "pipeline": dict(preset.pipeline),
            "signatures": {},
        }
        super().__init__(preset.name, card, {})


def parse_layers(layers: int | str, model: ExportedModel) -> int:
    """How many layers to write, checked.

    Raises:
        UsageError: not a number of layers that the model has.
    """
    most = model.card["pipeline"]["layers"]
    if not str(layers).isdecimal() or not 1 <= int(layers) <= most:
        raise UsageError(f"--layers of {model.preset} is a whole number, 1 … {most}. Received: {layers!r}")
    return int(layers)


def parse_rounds(search: int | str, model: ExportedModel) -> int:
    """Rounds of a search for better latents (``codec_zoo.export.search``), checked; 0 for none.

    Raises:
        UsageError: not a number, or the model has no search.
    """
    if not str(search).isdecimal():
        raise UsageError(f"--search is a number of rounds, 0, 1, 2 …. Received: {search!r}")
    if int(search) and "search_1" not in model.card["signatures"]:
        raise UsageError(
            f"--search lowers the squared error, and {model.preset} is trained for another measure: leave it out."
        )
    return int(search)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of the SavedModel in ``folder``."""
    return json.loads((folder / "assets" / cards.FILE).read_text())


def coded(card: dict[str, Any], stream: Bitstream) -> bool:
    """Whether the model with this card, these weights, coded ``stream``."""
    weights_id = bytes.fromhex(card["weights_sha256"])[:4]
    return (stream.preset_id, stream.weights_id) == (preset_id(card["preset"]), weights_id)


def list_versions(base: Path) -> list[Path]:
    """The version folders of a model, oldest first."""
    return sorted((p for p in base.glob("*") if p.name.isdecimal() and p.is_dir()), key=lambda p: int(p.name))


@functools.lru_cache(maxsize=4)
def open_model(name_or_folder: str) -> ExportedModel:
    """Open an exported model.

    Args:
        name_or_folder: a preset with trained weights, exported into the cache on first use, or downloaded
            before; a preset that needs none; or the folder of an export, with or without its version.

    Raises:
        UsageError: neither a preset nor a folder.
        ModelError: no trained weights, or a damaged export.
    """
    path = Path(name_or_folder)
    if path.is_dir():
        versions = list_versions(path)
        return LocalModel(versions[-1] if versions else path)
    if name_or_folder not in weights.index():
        untrained = {preset.name: preset for preset in list_presets() if not preset.trains}
        if name_or_folder in untrained:
            return UntrainedModel(untrained[name_or_folder])
        downloaded = [folder for folder in cached_models() if folder.parent.name == name_or_folder]
        if downloaded:
            return LocalModel(max(downloaded, key=lambda folder: int(folder.name)))
    return LocalModel(export_to_cache(name_or_folder))


def export_to_cache(name: str) -> Path:
    """The export of a preset's packaged weights in the cache, made on first use; one process at a time.

    Raises:
        UsageError: no such preset.
        ModelError: no trained weights.
    """
    record = weights.entry(name)
    base = cache_folder() / "models" / f"{record['sha256'][:12]}-{cards.SCHEMA}"
    folder = base / name / "1"
    if not folder.exists():  # it appears whole, and a cache may be one that can only be read
        from codec_zoo.export.saved_model import export_pretrained

        with locked(base):
            if not folder.exists():
                export_pretrained(name, base, verify=False)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, ``<path>.lock``; the system frees it when its holder dies.

    Raises:
        CodecZooError: the folder cannot be written.
    """
    lock = FileLock(f"{path}.lock")
    with writing(path, "Free space, or name another cache folder: CODEC_ZOO_CACHE."):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cached_models() -> list[Path]:
    """Folders of the models in the cache that this version can run: exported there, or downloaded."""
    bases = (cache_folder() / "models").glob("*/*")
    folders = [folder for base in bases if base.is_dir() for folder in list_versions(base)]
    return [folder for folder in folders if _is_usable(folder)]


def _is_usable(folder: Path) -> bool:
    try:
        return read_card(folder).get("schema") == cards.SCHEMA
    except (OSError, ValueError):
        return False


def find_model(stream: Bitstream) -> ExportedModel:
    """The zoo's own model that coded ``stream``, or one that was downloaded.

    Raises:
        ModelError: none of them did.
    """
    for folder in cached_models():
        if coded(read_card(folder), stream):
            return open_model(str(folder))
    for name in [*weights.index(), *(preset.name for preset in list_presets() if not preset.trains)]:
        if preset_id(name) == stream.preset_id:
            model = open_model(name)
            model.check_coded(stream)
            return model
    raise ModelError(
        f"no trained preset of this zoo coded the file (preset id {stream.preset_id.hex()}). "
        "Name the export that did: --model DIR. What a codec coded under a filter also decodes with --no-filter."
    )
