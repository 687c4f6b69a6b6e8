"""Export to SavedModel with stock TensorFlow ops only, and the proof that it loads anywhere.

A plain ``tf.Module`` is saved, not a Keras model: ``keras.export`` drops assets and stores every variable
twice. The written folder is the layout of TF Serving: ``<directory>/<preset>/<version>/``.

Beside the model's own signatures there is ``describe``: ``request`` (int32 ``[N]``, any) → ``card`` and ``tables``
(uint8 ``[N, bytes]``), the two assets, since a client of a server cannot read files there.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from codec_zoo import weights
from codec_zoo.contract import Signature
from codec_zoo.convolutions import BFloat16Products
from codec_zoo.errors import ModelError, needing_packages
from codec_zoo.export import card as cards
from codec_zoo.export.manifest import write_manifest
from codec_zoo.export.search import signatures
from codec_zoo.export.tables import TABLES, build_tables, save_tables
from codec_zoo.export.trace import trace
from codec_zoo.export.warmup import write_warmup
from codec_zoo.files import atomic_folder
from codec_zoo.presets import get_preset

Format = Literal["savedmodel", "onnx", "litert"]


def export_pretrained(
    name: str, directory: str | Path, version: int = 1, verify: bool = True, form: Format = "savedmodel"
) -> Path:
    """Export preset ``name`` with the zoo's trained weights; see :func:`export_model`."""
    training = weights.entry(name)
    shipped = weights.tables_path(name)
    stored = dict(np.load(shipped)) if shipped.exists() else None
    return export_model(name, weights.create(name), directory, version, training, verify, stored, form)


def export_model(
    name: str,
    model: keras.Model,
    directory: str | Path,
    version: int = 1,
    training: dict[str, Any] | None = None,
    verify: bool = True,
    tables: dict[str, np.ndarray] | None = None,
    form: Format = "savedmodel",
) -> Path:
    """Write ``model`` as ``<directory>/<name>/<version>/``, whole or not at all.

    Args:
        name: preset of the model, ``NAME`` or ``MODULE:NAME``; the folder is called ``NAME``.
        model: with its weights.
        directory: base folder.
        version: TF Serving's version number, 1 or more.
        training: provenance for the card.
        tables: the integer tables that were shipped with the weights; built anew otherwise.
        verify: run the result, a SavedModel in a fresh process without project code, and compare integers and pixels.
        form: of the files. Those of ``"onnx"`` lack ``search_k``, which follows gradients; those of ``"litert"`` have
            the transforms alone (:mod:`codec_zoo.export.litert_file`).

    Returns:
        The version's folder.

    Raises:
        ModelError: the export does not reproduce the model, or has an operation that ``form`` lacks.
        CodecZooError: the folder cannot be written.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError("export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow.")
    preset = get_preset(name)
    target = Path(directory) / preset.name / str(version)
    with tempfile.TemporaryDirectory() as scratch, atomic_folder(target) as folder:
        exported = signatures(model) if form == "savedmodel" else model.signatures
        if form == "litert":
            exported = {key: value for key, value in exported.items() if key.startswith(("encode", "decode"))}
        card = cards.make_card(preset, model, version, training or {}, exported)
        assets = _write_assets(Path(scratch), card, tables or build_tables(model))
        if form == "savedmodel":
            _write_saved_model(preset.name, model, exported, assets, folder)
            write_manifest(folder)
            if verify:
                verify_export(model, folder)
            return target
        (folder / "assets").mkdir()
        for file in assets.values():
            shutil.copy(file, folder / "assets")
        load = _write_converted(form, model, exported, folder)
        write_manifest(folder)
        if verify:
            _verify_converted(exported, load(folder))
    return target


def _write_assets(scratch: Path, card: dict[str, Any], tables: dict[str, np.ndarray]) -> dict[str, Path]:
    """Files of the card and, if there are any, the tables, by the names of their contents."""
    assets = {"card": scratch / cards.FILE}
    assets["card"].write_text(json.dumps(card, indent=1))
    if tables:
        assets["tables"] = scratch / TABLES
        save_tables(tables, assets["tables"])
    return assets


def _write_saved_model(
    name: str, model: keras.Model, exported: Mapping[str, Signature], assets: Mapping[str, Path], folder: Path
) -> None:
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    for key, file in assets.items():
        setattr(module, key, tf.saved_model.Asset(str(file)))
    described = {key: assets[key].read_bytes() if key in assets else b"" for key in ("card", "tables")}
    # Functions that were attributes of the module too would be saved twice.
    traced = {"describe": _trace_description(described).get_concrete_function()}
    traced |= {key: trace(signature).get_concrete_function() for key, signature in exported.items()}
    try:
        tf.saved_model.save(module, str(folder), {**traced, "serving_default": traced["encode"]})
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    # Not of `reconstruct`, whose weights have no batch of their own.
    warm = ((key, inputs) for key, inputs, _ in _samples(exported) if {len(v) for v in inputs.values()} == {2})
    write_warmup(folder, name, warm)


@needing_packages
def _write_converted(
    form: Format, model: keras.Model, exported: Mapping[str, Signature], folder: Path
) -> Callable[[Path], Callable[..., dict[str, np.ndarray]]]:
    """Write the graphs of another form than a SavedModel; what loads them is returned."""
    if form == "onnx":
        from codec_zoo.export.onnx_files import write_onnx
        from codec_zoo.export.runtime import OnnxModel

        write_onnx(exported, folder)
        return lambda folder: OnnxModel(folder).run
    from codec_zoo.export.litert_file import open_litert, write_litert

    write_litert(model, exported, folder)
    return open_litert


def _verify_converted(exported: Mapping[str, Signature], run: Callable[..., dict[str, np.ndarray]]) -> None:
    """Compare the values of an export with the model's, as :func:`verify_export` does."""
    for name, inputs, values in _samples(exported):
        got = run(name, **inputs)
        for key, value in values.items():
            if not _same(got[key], value, rounded=name.startswith("encode")):
                raise ModelError(f"the export gives other values of {name}.{key} than the model.")


def _trace_description(files: dict[str, bytes]) -> tf.types.experimental.PolymorphicFunction:
    """The ``tf.function`` of ``describe``; see the module."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="request")], autograph=False)
    def describe(request: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            name: tf.tile(tf.constant(np.frombuffer(data, np.uint8))[None], [tf.size(request), 1])
            for name, data in files.items()
        }

    return describe


def _samples(exported: Mapping[str, Signature]) -> Iterator[tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Each signature with inputs and the model's outputs, for two images of an odd size; ``encode`` first.

    Their gray levels are multiples of 16, so that the mean of 4×4 pixels, a latent of the plain GANs, is a whole
    number. The order of the additions would round a half up or down, and a search would go on from there.
    """
    y, x = np.mgrid[:75, :91]
    waves = [127 + 60 * np.sin(x / (5 + i)) + 60 * np.cos(y / (9 - i)) for i in range(3)]
    picture = np.stack(waves, axis=-1).astype(np.uint8) // 16 * 16
    given: dict[str, np.ndarray] = {
        "images": np.stack([picture, picture[::-1, ::-1]]),
        "rounds": np.ones(2, np.int32),
        "step": np.array([5, -9], np.int32),
    }
    for name, signature in exported.items():  # ``encode`` gives the others their inputs
        for key in signature.inputs.keys() - given.keys():
            dtype, shape = signature.inputs[key]
            sides = [side or 2 for side in shape]
            given[key] = (0.01 * np.sin(np.arange(math.prod(sides)))).reshape(sides).astype(dtype)
        inputs = {key: given[key] for key in signature.inputs}
        outputs = signature.function(**{key: tf.constant(value) for key, value in inputs.items()})
        values = {key: np.asarray(value) for key, value in outputs.items()}
        yield name, inputs, values
        if name == "encode":
            given |= values


# Runs with TensorFlow alone, isolated from this project and from Keras.
_PROBE = """
import sys
import numpy as np
import tensorflow as tf
given = {name: tf.constant(value) for name, value in np.load(sys.argv[2]).items()}
model = tf.saved_model.load(sys.argv[1])
got = {}
for name, function in model.signatures.items():
    outputs = function(**{key: given[key] for key in function.structured_input_signature[1]})
    got |= {f"{name}.{key}": value.numpy() for key, value in outputs.items()}
loaded = [name for name in sys.modules if name.split(".")[0] in ("codec_zoo", "tensorflow_compression")]
assert not loaded, loaded
np.savez(sys.argv[3], **got)
"""


def verify_export(model: keras.Model, folder: Path) -> None:
    """Check an export in a fresh process that has TensorFlow and none of our code.

    For two images of an odd size, every signature must give the values that ``model`` gives: integers exactly;
    samples (``uint8``) but for one level in one of a hundred, what ``encode`` rounds and ``search_k`` moves but for
    one value of a hundred, since TensorFlow fuses the ops of a loaded graph and so adds in another order; floats
    nearly. With products in bfloat16 it is one value of ten, since those roundings grow on the way.

    Raises:
        ModelError: it does not.
    """
    card = np.frombuffer((folder / "assets" / cards.FILE).read_bytes(), np.uint8)
    given = {"request": np.zeros(2, np.int32)}
    expected = {"describe.card": np.stack([card, card])}
    for name, inputs, values in _samples(signatures(model)):
        given |= inputs
        expected |= {f"{name}.{key}": value for key, value in values.items()}
    with tempfile.TemporaryDirectory() as scratch:
        given_file, outputs_file = Path(scratch) / "given.npz", Path(scratch) / "got.npz"
        np.savez(given_file, **given)  # type: ignore[arg-type]  # no array is called allow_pickle
        command = [sys.executable, "-I", "-c", _PROBE, str(folder), str(given_file), str(outputs_file)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise ModelError(f"the export does not load without project code: {process.stderr[-800:]}")
        with np.load(outputs_file) as got:
            for name, value in expected.items():
                rounded = name.startswith(("encode.", "search_"))
                if not _same(got[name], value, rounded, isinstance(model.dtype_policy, BFloat16Products)):
                    raise ModelError(f"the export gives other values of {name} than the model.")


def _same(got: np.ndarray, expected: np.ndarray, rounded: bool, coarse: bool = False) -> bool:
    """Equal, as far as :func:`verify_export` asks.

    Args:
        got: from the export.
        expected: from the model.
        rounded: latents, of which some may be rounded otherwise.
        coarse: of a model with products in bfloat16.
    """
    share = 0.1 if coarse else 0.01
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    if np.issubdtype(got.dtype, np.floating):
        return np.allclose(got, expected, rtol=1e-4, atol=1.0 if coarse else 1e-2)
    difference = np.abs(got.astype(int) - expected)
    if rounded:
        return np.mean(difference > 0) <= share
    if got.dtype == np.uint8:
        return difference.max() <= 1 and np.mean(difference > 0) <= share
    return not difference.any()
