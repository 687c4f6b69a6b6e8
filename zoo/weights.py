"""Trained weights: a folder of files, with an index of their provenance and hashes.

The zoo's own are in :data:`FOLDER`. A preset of another package names a folder of its own (``Preset.weights``).

A run's weights are in half precision. Published ones take less room: large arrays keep few of their 11 significant
bits (:func:`significant_bits`) and are compressed, and what a stack of layers shares with the published stack that it
started from is left out. Such a file names in its attributes what it stands on, ``stands_on`` (a preset) and
``stands_on_sha256`` (of that file).
"""

import contextlib
import difflib
import errno
import functools
import hashlib
import heapq
import io
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from codec_zoo.errors import ModelError, UsageError
from codec_zoo.files import atomic_path, write_atomic, writing
from codec_zoo.notices import notice
from codec_zoo.presets import OWN_PACKAGE, Preset, find_preset, get_preset, known_presets, package_of
from codec_zoo.provenance import changed_files

if TYPE_CHECKING:
    from codec_zoo.contract import CompressionModel

FOLDER = Path(__file__).resolve().parent / "pretrained"
INDEX = "index.json"
# Arrays of fewer values are published as they are.
LARGE = 1024
# Significant bits of the large arrays of hyper-transforms, and the most that an analysis transform keeps.
HYPER_BITS, ANALYSIS_BITS = 4, 6
BELOW, BELOW_HASH = "stands_on", "stands_on_sha256"
# What a record keeps of each run that came before its own.
RUN = ("preset", "step", "seconds", "device", "precision", "data", "commit", "recipe", "initial_weights")


def save(model: "CompressionModel", path: Path) -> None:
    """Write ``model``'s weights as ``.weights.h5`` in half precision, without its optimizer."""
    half = io.BytesIO()  # HDF5 complains again and again where it cannot write
    with writing(path), tempfile.TemporaryDirectory() as scratch, _full_disk_told():
        needed = 16 * model.count_params() + 2**20  # with an optimizer's variables
        if shutil.disk_usage(scratch).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), scratch)
        full = Path(scratch) / "full.weights.h5"
        model.save_weights(full)
        # A second file, since HDF5 never gives back the space of what is deleted.
        with h5py.File(full, "r") as old, h5py.File(half, "w") as new:
            _copy_halved(old, new)
            for here, there in model.weights_layout.items():
                _move(new, here, there)
    write_atomic(path, half.getvalue())


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    """HDF5 ends with a ``RuntimeError`` where it cannot write."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _copy_halved(old: h5py.Group, new: h5py.Group) -> None:
    """Copy a tree with its attributes; floats become halves where these reach, the optimizer stays behind."""
    new.attrs.update(old.attrs)
    for name, item in old.items():
        if isinstance(item, h5py.Dataset):
            values = item[()]
            fits = values.dtype == np.float32 and np.abs(values).max(initial=0) <= np.finfo(np.float16).max
            new.create_dataset(name, data=values.astype(np.float16) if fits else values)
        elif name != "optimizer":
            _copy_halved(item, new.create_group(name))


def load(model: "CompressionModel", path: Path) -> None:
    """Load a ``.weights.h5`` file of the same architecture.

    Raises:
        ModelError: no such file, damaged, of another architecture, or what it stands on is not there.
    """
    try:
        with _whole(path) as whole, _in_layout_of(model, whole) as file:
            model.load_weights(file)
    except ModelError:
        raise
    except Exception as error:
        if not h5py.is_hdf5(path):
            raise ModelError(f"{path} is not a file of weights, or is damaged. Name a file .weights.h5.") from error
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot load weights {path} into {model.name}: {first}") from error


@contextlib.contextmanager
def _in_layout_of(model: "CompressionModel", path: Path) -> Iterator[Path]:
    """A file with the groups where Keras looks for them in the model: ``path`` itself, or a temporary one."""
    if not model.weights_layout:
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        moved = Path(scratch) / "moved.weights.h5"
        shutil.copyfile(path, moved)
        with h5py.File(moved, "r+") as file:
            for here, there in model.weights_layout.items():
                _move(file, there, here)
        yield moved


def _move(file: h5py.File, source: str, target: str) -> None:
    """Move a group, and those with its name and a number behind; "" is the file itself."""
    if not source or not target:
        for name in list(file.get(source or "/", {})):
            if f"{target}/{name}" in file:  # the empty group of the file's own variables
                del file[f"{target}/{name}"]
            file.move(f"{source}/{name}", f"{target}/{name}")
        return
    parent, _, name = source.rpartition("/")
    for found in list(file.get(parent, {})):
        if re.fullmatch(rf"{re.escape(name)}(_\d+)?", found):
            file.move(f"{parent}/{found}", target + found.removeprefix(name))


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file with all of a model's weights: ``path`` itself, or a temporary one with what it stands on added."""
    with h5py.File(path, "r") as own:
        below = own.attrs.get(BELOW)
        if below is None:
            yield path
            return
        lower = weights_path(below)
        if not lower.exists() or hash_file(lower) != own.attrs[BELOW_HASH]:
            raise ModelError(f"{path} stands on other weights of {below} than {lower}. Reinstall the package.")
        with tempfile.TemporaryDirectory() as scratch, _whole(lower) as rest:
            whole = Path(scratch) / "whole.weights.h5"
            with h5py.File(rest, "r") as old, h5py.File(whole, "w") as new:
                _add(own, new)
                _add(old, new)
            yield whole


def _add(source: h5py.Group, target: h5py.Group) -> None:
    """Copy what ``target`` has not got yet."""
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            if name not in target:
                target.create_group(name).attrs.update(item.attrs)
            _add(item, target[name])
        elif name not in target:
            source.copy(name, target)


def significant_bits(preset: Preset) -> Callable[[str], int]:
    """The bits that the large arrays of a preset keep, by their path in the file.

    ``Preset.significant_bits``, but :data:`HYPER_BITS` in hyper-transforms, where an error costs a few bits of the
    stream, and :data:`ANALYSIS_BITS` in an analysis: the rounding of latents is a larger error
    (``experiments/weight_bits.py``).
    """

    def bits(path: str) -> int:
        if "/hyper_" in path:
            return HYPER_BITS
        return min(preset.significant_bits, ANALYSIS_BITS) if "/analysis/" in path else preset.significant_bits

    return bits


def pack(
    source: Path, target: Path, significant: Callable[[str], int] | None = None, below: str | None = None
) -> str | None:
    """Write weights for publication; see the module.

    Args:
        source: a ``.weights.h5`` file in half precision, with all of its model's weights.
        target: written whole or not at all.
        significant: path of a large array in the file → bits that it keeps, the leading one included; None: all.
        below: a preset with published weights, or None.

    Returns:
        ``below`` if the file stands on it, None if they share nothing.
    """
    with contextlib.ExitStack() as stack:
        lower = stack.enter_context(h5py.File(stack.enter_context(_whole(weights_path(below))), "r")) if below else {}
        old = stack.enter_context(h5py.File(source, "r"))
        temporary = stack.enter_context(atomic_path(target))
        stack.enter_context(_full_disk_told())
        with h5py.File(temporary, "w", libver=("v110", "v110")) as new:
            shares = _copy_packed(old, new, lower, significant)
            if below and shares:
                new.attrs.update({BELOW: below, BELOW_HASH: hash_file(weights_path(below))})
    return below if shares else None


def _copy_packed(old: h5py.Group, new: h5py.Group, lower: Any, significant: Callable[[str], int] | None) -> bool:
    """Copy a tree with its attributes but for what ``lower`` has too; whether that is anything."""
    shares = False
    new.attrs.update({key: value for key, value in old.attrs.items() if key not in (BELOW, BELOW_HASH)})
    for name, item in old.items():
        known = lower.get(name)
        if isinstance(item, h5py.Group):
            shares |= _copy_packed(item, new.create_group(name), {} if known is None else known, significant)
            continue
        values = item[()]
        if known is not None and np.array_equal(known[()], values):
            shares = True
        elif values.dtype == np.float16 and values.size >= LARGE:
            _create_compressed(new, name, _round(values, significant(item.name)) if significant else values)
        else:
            new.create_dataset(name, data=values)
    return shares


def _create_compressed(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Add an array in HDF5's shuffle and deflate filters, which any reader has.

    Weights hold no repeated strings: deflate's search for them, which HDF5 cannot switch off, costs 5 % of room.
    Blocks of 4,096 symbols, each with codes of its own, cost 1 to 5 % less than zlib's of 16,384.
    """
    stored = group.create_dataset(
        name, values.shape, values.dtype, chunks=values.shape, shuffle=True, compression="gzip", compression_opts=9
    )
    planes = values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
    deflate = zlib.compressobj(9, memLevel=6, strategy=zlib.Z_RLE)
    stored.id.write_direct_chunk((0,) * values.ndim, deflate.compress(planes) + deflate.flush())


def _round(values: np.ndarray, significant: int) -> np.ndarray:
    """Half-precision values to so many significant bits, the nearest."""
    unit = 1 << (11 - significant)
    return ((values.view(np.uint16) + np.uint16(unit // 2)) & np.uint16(0x10000 - unit)).view(np.float16)


def index(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Preset name → file, sha256 and provenance of its weights; empty if none is trained yet.

    Args:
        folder: of weights; None: the zoo's own.

    Raises:
        ModelError: the index is damaged.
    """
    path = (folder or FOLDER) / INDEX
    try:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}). Reinstall its package.") from error


def _folder(preset: Preset) -> Path | None:
    """The folder for the trained weights of a preset; None for one of another package that names none."""
    return preset.weights or (FOLDER if package_of(preset) == OWN_PACKAGE else None)


def _records(preset: Preset) -> dict[str, dict[str, Any]]:
    """The index of the folder for the weights of a preset; empty, with a note, if another package's is damaged."""
    folder = _folder(preset)
    try:
        return index(folder) if folder else {}
    except ModelError as error:
        if folder == FOLDER:
            raise
        _tell_once(str(error))
        return {}


_tell_once = functools.cache(notice)


def is_trained(name: str) -> bool:
    """Whether the preset ``name`` has trained weights; False if there is no such preset."""
    if name in index():  # which takes no Keras
        return True
    preset = find_preset(name)
    return bool(preset and preset.name in _records(preset))


def entry(name: str) -> dict[str, Any]:
    """The index's record of one preset.

    Raises:
        UsageError: no such preset, or one without weights.
        ModelError: the preset has no trained weights.
    """
    preset = get_preset(name)
    preset.require_training()
    records = _records(preset)
    if preset.name not in records:
        raise ModelError(
            f"{name} has no trained weights yet. These have: {', '.join(_near(preset)) or 'none'}; `codec-zoo list` "
            f"shows all. To train it: `codec-zoo train {name}`."
        )
    return records[preset.name]


def _near(preset: Preset) -> list[str]:
    """At most three presets with trained weights: of the same paper first, then those whose classes share most."""

    def nearness(other: Preset) -> tuple[bool, int, float]:
        shared = set(preset.model.__mro__) & set(other.model.__mro__)
        alike = difflib.SequenceMatcher(None, preset.name, other.name).ratio()
        return other.paper == preset.paper, len(shared), alike

    trained = (other for other in known_presets() if is_trained(other.name))
    return [other.name for other in heapq.nlargest(3, trained, key=nearness)]


def create(preset: str, pretrained: bool = True) -> "CompressionModel":
    """Build the Keras model of a preset, on any Keras backend.

    Args:
        preset: its name, ``NAME`` or ``MODULE:NAME``.
        pretrained: with its trained weights; False: with fresh ones.

    Raises:
        UsageError: no such preset, or one that has no weights.
        ModelError: no trained weights, or the file's sha256 is not the index's.
    """
    if not pretrained:
        return get_preset(preset).create()
    record = entry(preset)
    path = weights_path(preset)
    if not path.exists() or hash_file(path) != record["sha256"]:
        raise ModelError(f"{path} is missing or damaged. Reinstall the package.")
    model = get_preset(preset).create()
    load(model, path)
    return model


def weights_path(name: str) -> Path:
    """Where the weights of a preset are published.

    Raises:
        UsageError: no such preset, or one of a package that names no folder for weights.
    """
    preset = get_preset(name)
    folder = _folder(preset)
    if folder is None:
        raise UsageError(
            f"{preset.name} is of the package {package_of(preset)}, which names no folder for trained weights "
            "(weights= in its Preset). Export the run, and use the folder: "
            f"`codec-zoo export {name} DIR --from-run RUN`, "
            f"`codec-zoo compress --model DIR/{preset.name}`."
        )
    return folder / f"{preset.name}.weights.h5"


def tables_path(name: str) -> Path:
    """Where the integer tables of a trained preset with entropy models are; see ``codec_zoo.export.tables``.

    Errors: :func:`weights_path`.
    """
    return weights_path(name).with_suffix("").with_suffix(".tables.npz")


def history(path: Path) -> list[dict[str, Any]]:
    """The runs that made a file of weights, first to last, as far as their records are known.

    Args:
        path: ``best.weights.h5`` in a run's folder, or published weights.

    Returns:
        Of each run what :data:`RUN` names; ``step`` is that of the weights that the next one started from.
    """
    if (path.parent / "run.json").exists():
        record = json.loads((path.parent / "run.json").read_text())
        if record["curve"]:
            record["step"] = _best(record)["step"]
    else:
        name = path.name.removesuffix(".weights.h5")
        published = index(path.parent)
        if name not in published:
            return []
        record = {"preset": name, **published[name]}
    *earlier, last = runs(record)
    return [*earlier, {name: last[name] for name in RUN}]


def runs(record: dict[str, Any]) -> list[dict[str, Any]]:
    """All runs behind a record of the index, first to last; the last is the record itself."""
    return [*record.get("earlier", []), record]


def steps(preset: Preset) -> int:
    """How many steps, over all runs, are behind the published weights of a preset; 0 where there are none."""
    return steps_of(_records(preset).get(preset.name))


def steps_of(record: dict[str, Any] | None) -> int:
    """How many steps, over all runs, are behind a record of the index; 0 for None."""
    return sum(run["step"] for run in runs(record)) if record else 0


def _best(record: dict[str, Any]) -> dict[str, float]:
    """The point of a run's held-out curve whose weights were kept."""
    return min(record["curve"], key=lambda point: point["loss"])


def publish(run: Path, below: str | None = None) -> str:
    """Put a run's best weights and provenance among the published ones.

    They go to a checkout's ``zoo/pretrained``, or, of a preset of another package, to the folder that it names.
    Our own come from committed code: both the run and this checkout. Outside a git checkout that is not known, and
    a note says so.

    Args:
        run: its folder.
        below: the preset whose published arrays the file leaves out where they are equal; None: the preset that the
            training of this one starts from, if any (``Preset.starts_from``).

    Returns:
        The preset's name, as ``get_preset`` takes it.

    Raises:
        ModelError: the folder holds no finished evaluation, or ``below`` has no weights.
        UsageError: the preset is of a package that names no folder for weights, or is ``below``; or code is not
            committed.
    """
    source, record_path = run / "best.weights.h5", run / "run.json"
    if not (source.exists() and record_path.exists()):
        raise ModelError(f"{run} holds no best.weights.h5 and run.json. Train until the first evaluation.")
    record = json.loads(record_path.read_text())
    preset = get_preset(record["preset"])
    target = weights_path(record["preset"])
    if below is not None:
        entry(below)  # refuses a preset without weights
        if weights_path(below) == target:
            raise UsageError(f"weights of {below} cannot stand on themselves. Name another preset.")
    if package_of(preset) == OWN_PACKAGE:
        _require_commit(run, record["commit"])
    records = index(target.parent)
    # What stands on the weights that are replaced keeps them, the highest first; coded files know it by its values.
    for upper in reversed(_standing_on(preset.name, records)):
        path = target.with_name(records[upper]["file"])
        with _whole(path) as whole:
            records[upper][BELOW] = pack(whole, path)
        records[upper]["sha256"] = hash_file(path)
    if below is None and preset.starts_from and is_trained(preset.starts_from):
        below = preset.starts_from
    stands_on = pack(source, target, significant_bits(preset), below)
    held_out = _best(record)
    records[preset.name] = {
        "file": target.name,
        "sha256": hash_file(target),
        **{key: value for key, value in record.items() if key != "preset"},
        BELOW: stands_on,
        "step": held_out["step"],
        "held_out": held_out,
    }
    write_atomic(target.with_name(INDEX), json.dumps(records, indent=1, sort_keys=True).encode() + b"\n")
    return record["preset"]


def _require_commit(run: Path, commit: str | None) -> None:
    """Raise ``UsageError`` where a run or this checkout has code that is not committed."""
    if commit and "-dirty" in commit:
        raise UsageError(
            f"{run} was trained by code, or from weights, that were not committed ({commit}). Commit them, train "
            "again, and publish that run."
        )
    # Weights that were just published may wait for their commit.
    changed = changed_files(FOLDER.parent)
    if changed := [file for file in changed or () if not file.startswith("zoo/pretrained/")]:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UsageError(
            f"code is not committed: {', '.join(changed[:3])}{more}. Commit it or put it aside (`git stash`), then "
            "publish again."
        )
    if commit is None:
        notice(f"{run} was trained outside a git checkout: its record names no commit.")


def _standing_on(name: str, records: dict[str, dict[str, Any]]) -> list[str]:
    """Presets whose files need the one of ``name``, each before those that need its own."""
    found = []
    for upper in [other for other, record in records.items() if record.get(BELOW) == name]:
        found += [upper, *_standing_on(upper, records)]
    return found


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
