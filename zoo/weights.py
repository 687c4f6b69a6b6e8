"""Trained weights: half-precision files beside this module, an index with their provenance and hashes."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras

from codec_zoo.errors import ModelError
from codec_zoo.files import atomic_path, write_atomic
from codec_zoo.presets import get_preset

FOLDER = Path(__file__).parent / "weights"
INDEX = FOLDER / "index.json"


def save(model: keras.Model, path: Path) -> None:
    """Write ``model``'s weights as ``.weights.h5`` in half precision, without its optimizer."""
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.weights.h5"
        model.save_weights(full)
        # A second file, since HDF5 never gives back the space of what is deleted.
        with h5py.File(full, "r") as old, h5py.File(temporary, "w") as new:
            _copy_halved(old, new)


def _copy_halved(old: h5py.Group, new: h5py.Group) -> None:
    """Copy a tree with its attributes; floats become halves, the optimizer stays behind."""
    new.attrs.update(old.attrs)
    for name, item in old.items():
        if isinstance(item, h5py.Dataset):
            new.create_dataset(name, data=item[()], dtype="f2" if item.dtype == "f4" else item.dtype)
        elif name != "optimizer":
            _copy_halved(item, new.create_group(name))


def load(model: keras.Model, path: Path) -> None:
    """Load a ``.weights.h5`` file of the same architecture.

    Raises:
        ModelError: no such file, damaged, or of another architecture.
    """
    try:
        model.load_weights(path)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot load weights {path} into {model.name}: {first}") from error


def index() -> dict[str, dict[str, Any]]:
    """Preset name → file, sha256 and provenance of its weights; empty if none is trained yet."""
    return json.loads(INDEX.read_text()) if INDEX.exists() else {}


def entry(name: str) -> dict[str, Any]:
    """The index's record of one preset.

    Raises:
        UsageError: no such preset, or one without weights.
        ModelError: the preset has no trained weights.
    """
    get_preset(name).require_training()
    records = index()
    if name not in records:
        trained = ", ".join(sorted(records)) or "none"
        raise ModelError(
            f"{name} has no trained weights yet (trained: {trained}). Train it: `codec-zoo train {name}`."
        )
    return records[name]


def pretrained(name: str) -> keras.Model:
    """Build the preset ``name`` with its trained weights.

    Raises:
        UsageError: no such preset.
        ModelError: no trained weights, or the file's sha256 is not the index's.
    """
    record = entry(name)
    path = FOLDER / record["file"]
    if not path.exists() or hash_file(path) != record["sha256"]:
        raise ModelError(f"{path} is missing or damaged. Reinstall the package.")
    model = get_preset(name).create()
    load(model, path)
    return model


def tables_path(name: str) -> Path:
    """Where the integer tables of a trained preset with entropy models are; see ``codec_zoo.export.tables``."""
    return FOLDER / f"{name}.tables.npz"


def publish(run: Path) -> str:
    """Put a run's best weights and provenance in the zoo (a checkout's ``zoo/weights``).

    Returns:
        The preset's name.

    Raises:
        ModelError: the folder holds no finished evaluation.
    """
    source, record_path = run / "best.weights.h5", run / "run.json"
    if not (source.exists() and record_path.exists()):
        raise ModelError(f"{run} holds no best.weights.h5 and run.json. Train until the first evaluation.")
    record = json.loads(record_path.read_text())
    name = record["preset"]
    target = FOLDER / f"{name}.weights.h5"
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    held_out = min(record["curve"], key=lambda point: point["loss"])
    records = index()
    records[name] = {
        "file": target.name,
        "sha256": hash_file(target),
        **{key: value for key, value in record.items() if key != "preset"},
        "step": held_out["step"],
        "held_out": held_out,
    }
    write_atomic(INDEX, json.dumps(records, indent=1, sort_keys=True).encode() + b"\n")
    return name


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
