"""Exported models as users have them: a card, tables, and signatures that run here or on a server."""

import contextlib
import functools
import hashlib
import importlib.util
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from codec_zoo import weights
from codec_zoo.errors import CodecZooError, DamagedModelError, MissingPackageError, ModelError, needing_packages
from codec_zoo.export import card as cards
from codec_zoo.export.card import Coded
from codec_zoo.export.manifest import check_files
from codec_zoo.export.tables import TABLES, Tables, load_tables
from codec_zoo.files import cache_folder, writing
from codec_zoo.notices import notice
from codec_zoo.presets import Preset, find_preset, get_preset, known_presets, onnx_alone, preset_id
from codec_zoo.stream import Stream
from codec_zoo.stream_json import parse, to_json

# Behind the name of a signature, in an export to ONNX.
ONNX_ENDING = ".onnx"
_OTHER_CACHE = "Free space, or name another cache folder: CODEC_ZOO_CACHE."


class ExportedModel:
    """What codecs need of an exported model, wherever it runs.

    Args:
        where: the model runs, for messages.
        card: the model card (see ``codec_zoo.export.card``).
        tables: for the range coder, by latent; empty for a model without entropy models.

    Attributes:
        seconds: spent in the model so far, the way to a server included.
    """

    def __init__(self, where: str, card: dict[str, Any], tables: dict[str, Tables]):
        self.where = where
        self.card = card
        self.tables = tables
        self.seconds = 0.0

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.card["preset"]

    @functools.cached_property
    def stream(self) -> Stream | None:
        """How its files are coded; None for the pixel predictor."""
        return parse(self.card["stream"]) if self.card["stream"] else None

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Call a signature with arrays; arrays come back."""
        started = time.perf_counter()
        outputs = self._run(signature, inputs)
        self.seconds += time.perf_counter() - started
        return outputs

    def _run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    @property
    def library(self) -> str | None:
        """What runs the model, with its version; None of what a server has."""
        return None

    def check_coded(self, stream: Coded) -> None:
        """Raise ``ModelError`` unless this model, with these weights, coded ``stream``."""
        if stream.preset_id != preset_id(self.preset):
            raise ModelError(
                f"the file was coded by another model than {self.preset}. Leave out --model, or name that model."
            )
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
            DamagedModelError: there is no model of this zoo, or some of its files are not as they were exported.
            ModelError: it is of another codec-zoo, or does not load.
        """
        import tensorflow as tf

        card = check_export(folder)
        tables = folder / "assets" / TABLES
        try:
            self._module = tf.saved_model.load(str(folder))  # which keeps the variables alive
            loaded = load_tables(tables) if tables.exists() else {}
        except MemoryError:
            raise
        except Exception as error:  # TensorFlow raises many kinds
            raise ModelError(
                f"{folder} does not load in TensorFlow {tf.__version__}, although its files are as they were "
                f"exported ({error}). Free memory, or export it again with this TensorFlow: `codec-zoo export`."
            ) from error
        super().__init__(str(folder), card, loaded)
        self.folder = folder

    @property
    def library(self) -> str | None:
        """TensorFlow."""
        return f"TensorFlow {version('tensorflow')}"

    def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        if signature not in self._module.signatures:
            raise ModelError(f"{self.where} has no signature {signature!r}. Export it again with this codec-zoo.")
        try:
            outputs = self._module.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
            return {name: value.numpy() for name, value in outputs.items()}
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            (cause, *_) = str(error).splitlines() or [""]
            raise ModelError(
                f"{self.where}: {signature} does not take what its card says ({cause}). Export the model again."
            ) from error


class OnnxModel(ExportedModel):
    """An export to ONNX, run in this process by ONNX Runtime, on the CPU.

    Attributes:
        folder: ``…/<preset>/<version>``.
    """

    def __init__(self, folder: Path):
        """Load ``folder``; a signature's graph when it is first called. Errors: :class:`LocalModel`."""
        card = check_export(folder)
        tables = folder / "assets" / TABLES
        super().__init__(str(folder), card, load_tables(tables) if tables.exists() else {})
        self.folder = folder
        self._sessions: dict[str, Any] = {}

    @property
    def library(self) -> str | None:
        """ONNX Runtime."""
        return f"ONNX Runtime {version('onnxruntime')}"

    @needing_packages
    def _run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        if signature not in self.card["signatures"]:
            raise ModelError(f"{self.where} has no signature {signature!r}. Export it again with this codec-zoo.")
        try:
            if signature not in self._sessions:
                self._sessions[signature] = onnxruntime.InferenceSession(
                    str(self.folder / f"{signature}{ONNX_ENDING}"), providers=["CPUExecutionProvider"]
                )
            values = self._sessions[signature].run(None, dict(inputs))
        except (errors.Fail, errors.InvalidArgument, errors.NotImplemented, errors.RuntimeException) as error:
            if "allocat" in str(error):
                raise MemoryError from error
            (cause, *_) = str(error).splitlines() or [""]
            raise ModelError(
                f"{self.where}: {signature} does not run in ONNX Runtime ({cause}). Export the model again."
            ) from error
        return dict(zip(self.card["outputs"][signature], values, strict=True))


def load_model(folder: Path) -> LocalModel | OnnxModel:
    """The exported model in ``folder``, in the runtime that its files are for. Errors: :class:`LocalModel`."""
    return OnnxModel(folder) if _is_onnx(folder) else LocalModel(folder)


def _is_onnx(folder: Path) -> bool:
    return (folder / f"encode{ONNX_ENDING}").exists()


class UntrainedModel(ExportedModel):
    """Stands for a preset whose files bring their own weights: there is nothing to load."""

    def __init__(self, preset: Preset):
        """Of a preset that does not train."""
        card = {
            "schema": cards.SCHEMA,
            "preset": preset.name,
            "weights_sha256": hashlib.sha256(b"").hexdigest(),
            "stream": to_json(preset.stream) if preset.stream else None,
            "receptive_field": {},
            "signatures": {},
            "outputs": {},
            "multiplications": {},
            "precision": "float32",
        }
        super().__init__(preset.name, card, {})


def read_card(folder: Path) -> dict[str, Any]:
    """The card of the SavedModel in ``folder``, checked.

    Raises:
        DamagedModelError: there is none, or it is damaged.
        ModelError: it is of another codec-zoo.
    """
    try:
        data = (folder / "assets" / cards.FILE).read_bytes()
    except OSError as error:
        raise DamagedModelError(
            f"{folder} is not an exported model of this zoo ({error.strerror}: assets/{cards.FILE})"
        ) from error
    return cards.parse_card(data, str(folder))


def check_export(folder: Path) -> dict[str, Any]:
    """The card of the SavedModel in ``folder``, if its files are as they were exported. Errors: :func:`read_card`."""
    card = read_card(folder)
    check_files(folder)
    return card


def coded(card: dict[str, Any], stream: Coded) -> bool:
    """Whether the model with this card, these weights, coded ``stream``."""
    weights_id = bytes.fromhex(card["weights_sha256"])[:4]
    return (stream.preset_id, stream.weights_id) == (preset_id(card["preset"]), weights_id)


def list_versions(base: Path) -> list[Path]:
    """The version folders of a model, oldest first."""
    return sorted((p for p in base.glob("*") if p.name.isdecimal() and p.is_dir()), key=lambda p: int(p.name))


@functools.lru_cache(maxsize=8)
def open_model(name_or_folder: str) -> ExportedModel:
    """Open an exported model; the models used last stay loaded, four at least.

    Args:
        name_or_folder: a preset (``NAME`` or ``MODULE:NAME``) with trained weights, exported into the cache on
            first use, or downloaded before; a preset that needs none; or the folder of an export, with or without
            its version. A folder that is called as a preset is written ``./NAME``.

    Raises:
        UsageError: neither a preset nor a folder.
        ModelError: no trained weights, or an export that is damaged or does not load.
        CodecZooError: the cache cannot be written.
    """
    preset = find_preset(name_or_folder)
    if preset:
        if not preset.trains:
            return UntrainedModel(preset)
        if not weights.is_trained(preset.name):
            downloaded = [folder for folder in cached_models() if folder.parent.name == preset.name]
            if downloaded:
                return open_model(str(max(downloaded, key=lambda folder: int(folder.name))))
    elif os.path.isdir(name_or_folder):
        path = Path(name_or_folder)
        folder = (list_versions(path) or [path])[-1]
        return _open_cached(folder) if _is_in_cache(folder) else load_model(folder)
    elif onnx_alone():
        return _open_cached(_find_onnx(name_or_folder))
    return open_model(str(export_to_cache(name_or_folder)))  # under its folder's name, as decoding finds it


def _find_onnx(name: str) -> Path:
    """The newest export of a preset to ONNX in the cache."""
    found = [folder for folder in cached_models() if folder.parent.name == name]
    if not found:
        raise ModelError(
            f"{MissingPackageError('tensorflow')} Or run an export to ONNX, which the cache does not have: where "
            f"TensorFlow is, `codec-zoo export {name} DIR --format onnx`. Then name the folder, --model DIR/{name}, "
            f"or copy it to {cache_folder() / 'models' / 'onnx' / name}."
        )
    return max(found, key=lambda folder: int(folder.name))


def _is_in_cache(folder: Path) -> bool:
    """Whether a folder is in the place of a model of the cache: ``models/*/PRESET/VERSION``."""
    try:
        models = (cache_folder() / "models").resolve()
    except CodecZooError:  # no cache
        return False
    return folder.name.isdecimal() and folder.resolve().parents[2:3] == (models,)


def _packaged_folder(preset: str) -> Path:
    """Where the export of a preset's packaged weights is cached. Errors: :func:`export_to_cache`."""
    record, name = weights.entry(preset), get_preset(preset).name
    return cache_folder() / "models" / f"{record['sha256'][:12]}-{cards.SCHEMA}" / name / "1"


def _is_packaged(folder: Path) -> bool:
    """Whether a folder of the cache is the export of weights that come with the package."""
    name = folder.parent.name
    return weights.is_trained(name) and folder.resolve() == _packaged_folder(name).resolve()


def _open_cached(folder: Path) -> LocalModel | OnnxModel:
    """Load a model of the cache; one that is damaged is set aside and, if its weights are packaged, made again.

    Raises:
        ModelError: it is damaged and was downloaded, or it is damaged again at once.
        CodecZooError: the cache cannot be written.
    """
    if _is_packaged(folder):
        folder = export_to_cache(folder.parent.name)
    else:
        set_aside_if_damaged(folder)
        if not folder.exists():
            raise ModelError(f"{folder} was damaged. {_remedy(folder)}")
    try:
        return load_model(folder)
    except DamagedModelError as error:
        raise ModelError(
            f"{error.cause}, although it was checked or made a moment ago: the disk may be failing. "
            "Name another cache folder: CODEC_ZOO_CACHE."
        ) from error


def set_aside_if_damaged(folder: Path) -> None:
    """Rename a model of the cache that is damaged to ``<version>.damaged``, with a note; nothing is removed but an
    earlier one of that name.

    Raises:
        CodecZooError: the cache cannot be written.
    """
    try:
        check_export(folder)
        return
    except ModelError:
        pass
    with locked(folder.parents[1]):
        if not folder.exists():
            return  # another process set it aside
        try:
            check_export(folder)  # which another process may have made again
            return
        except ModelError as error:
            cause = error.cause if isinstance(error, DamagedModelError) else str(error)
        aside = folder.with_name(f"{folder.name}.damaged")
        with writing(folder, _OTHER_CACHE):
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
    notice(f"{cause}. It is set aside as {aside.name}. {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    """How a model of the cache that was set aside comes back."""
    if _is_packaged(folder):
        return "Its next use makes it again."
    return f"Bring it again: `codec-zoo download {folder.parent.name} --from URL`."


def export_to_cache(name: str) -> Path:
    """The export of a preset's packaged weights in the cache, made on first use; one process at a time.

    Raises:
        UsageError: no such preset.
        ModelError: no trained weights.
        CodecZooError: the cache cannot be written.
    """
    folder = _packaged_folder(name)
    if os.path.exists(folder):  # it appeared whole, and a cache may be one that can only be read
        set_aside_if_damaged(folder)
    if not os.path.exists(folder):  # or may not be looked at
        with locked(folder.parents[1]):
            if not folder.exists():
                from codec_zoo.export.saved_model import export_pretrained

                notice(f"preparing {name} for its first use here (about ten seconds)")
                export_pretrained(name, folder.parents[1], verify=False)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, ``<path>.lock``; the system frees it when its holder dies.

    Raises:
        CodecZooError: the folder cannot be written.
    """
    lock = FileLock(f"{path}.lock")
    with writing(path, _OTHER_CACHE):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            notice(f"waiting for another process that is preparing {path}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cached_models() -> list[Path]:
    """Folders of the models in the cache that run here: exported there, or downloaded; SavedModels first.

    One whose card is damaged is set aside.
    """
    bases = (cache_folder() / "models").glob("*/*")
    usable = []
    for folder in [folder for base in bases if base.is_dir() for folder in list_versions(base)]:
        try:
            read_card(folder)
            usable.append(folder)
        except DamagedModelError as error:
            try:
                set_aside_if_damaged(folder)
            except CodecZooError:  # in a cache that can only be read
                notice(f"{error.cause}. It is passed over.")
        except ModelError:  # of another codec-zoo
            continue
    installed = {name: bool(importlib.util.find_spec(name)) for name in ("tensorflow", "onnxruntime")}
    runnable = [folder for folder in usable if installed["onnxruntime" if _is_onnx(folder) else "tensorflow"]]
    return sorted(runnable, key=_is_onnx)


def find_model(stream: Coded) -> ExportedModel:
    """The zoo's own model that coded ``stream``, or one that was downloaded.

    Raises:
        ModelError: none of them did.
    """
    damaged = None
    for folder in cached_models():
        if coded(read_card(folder), stream):
            try:
                return open_model(str(folder))
            except ModelError as error:  # packaged weights may be the same
                damaged = error
    for name in _coding_presets():
        if preset_id(name) == stream.preset_id:
            model = open_model(name)
            if damaged is None or coded(model.card, stream):
                model.check_coded(stream)
                return model
    raise damaged or ModelError(
        f"no trained preset of this zoo coded the file (preset id {stream.preset_id.hex()}). "
        "Name the export that did: --model DIR. What a codec coded under a filter also decodes with --no-filter."
    )


def _coding_presets() -> Iterator[str]:
    """Presets that code files. Other packages are imported only where none of the zoo's own trained ones will do."""
    yield from weights.index()
    yield from (preset.name for preset in known_presets() if preset.trained)
