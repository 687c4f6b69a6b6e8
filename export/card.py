"""The model card: what a SavedModel says of itself, as JSON in its assets."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from codec_zoo.errors import DamagedModelError, ModelError
from codec_zoo.presets import OWN_PACKAGE, Preset, is_name, package_of
from codec_zoo.stream import Quality, Stream, StreamLayer, Strengths, WeightChange
from codec_zoo.stream_coders import RangeCoder, Rows, alternatives_of
from codec_zoo.stream_json import parse, to_json

if TYPE_CHECKING:
    import keras

    from codec_zoo.contract import Signature, TensorSpecs

SCHEMA = 11
FILE = "model_card.json"
# The fields of a card.
_FORM: dict[str, Any] = {
    "preset": str,
    "version": int,
    "paper": {"authors": str, "title": str, "year": int, "url": str},
    "reproduces": str,
    "licence": str,
    "parameters": int,
    "weights_sha256": str,
    "stream": dict,
    "receptive_field": dict,
    "signatures": dict,
    "outputs": dict,
    "multiplications": dict,
    "precision": str,
    "training": dict,
}


class Coded(Protocol):
    """What a file says of the model that coded it."""

    @property
    def preset_id(self) -> bytes:
        """:func:`codec_zoo.presets.preset_id` of the preset."""

    @property
    def weights_id(self) -> bytes:
        """The first 4 bytes of the SHA-256 of its weights."""


def hash_weights(model: "keras.Model") -> str:
    """SHA-256 over names, shapes and float32 values of all weights: what a coded file is tied to."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = weight.numpy().astype("<f4")
        digest.update(f"{weight.path}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def make_card(
    preset: Preset,
    model: "keras.Model",
    version: int,
    training: Mapping[str, Any],
    signatures: Mapping[str, "Signature"],
    counted: bool = True,
) -> dict[str, Any]:
    """The card of an exported model.

    Args:
        preset: what was trained.
        model: with its weights.
        version: of the export.
        training: provenance, as in the weights index; empty for fresh weights.
        signatures: that are exported.
        counted: whether the card has multiplications, for which TensorFlow traces the signatures.
    """
    from codec_zoo.receptive_field import receptive_fields  # here, since cards are read without Keras

    products: dict[str, int] = {}
    if counted:
        from codec_zoo.export.multiplications import multiplications  # here, since training needs no TensorFlow

        products = multiplications({k: v for k, v in signatures.items() if not k.startswith("search_")})
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
        "licence": preset.licence or ("Apache-2.0" if package_of(preset) == OWN_PACKAGE else "not stated"),
        "parameters": int(model.count_params()),
        "weights_sha256": hash_weights(model),
        "stream": to_json(_without_missing(preset.stream, signatures)) if preset.stream else None,
        "receptive_field": receptive_fields(model),
        "signatures": {name: _to_lists(signature.inputs) for name, signature in signatures.items()},
        "outputs": {name: _to_lists(signature.outputs) for name, signature in signatures.items()},
        "multiplications": products,
        "precision": model.dtype_policy.name,
        "training": {key: value for key, value in training.items() if key not in ("file", "sha256")},
    }


def _without_missing(stream: Stream, signatures: Mapping[str, "Signature"]) -> Stream:
    """A stream whose layers are refined only where the export can."""
    layers = (replace(layer, refine=layer.refine if layer.refine in signatures else None) for layer in stream.layers)
    return replace(stream, layers=tuple(layers))


def _to_lists(tensors: "TensorSpecs") -> dict[str, list[Any]]:
    return {name: [dtype, list(shape)] for name, (dtype, shape) in tensors.items()}


def parse_card(data: bytes, where: str) -> dict[str, Any]:
    """The card in ``data``, checked: its fields have the types that :func:`make_card` gives them.

    Args:
        data: JSON.
        where: the model is, for messages.

    Raises:
        DamagedModelError: not JSON, or a field is missing or of another type.
        ModelError: the card is of another schema.
    """
    try:
        card = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedModelError(f"the card in {where} is not JSON ({error})") from error
    schema = card.get("schema") if isinstance(card, dict) else None
    if type(schema) is not int:
        raise DamagedModelError(f"the card in {where} has no schema")
    if schema != SCHEMA:
        raise ModelError(
            f"the card in {where} has another schema than {SCHEMA}: {schema}. Export it again with this codec-zoo."
        )
    if missing := _FORM.keys() - card.keys():
        raise DamagedModelError(f"the card in {where} lacks {', '.join(sorted(missing))}")
    wrong = _misfits(card, _FORM)
    if not wrong:
        try:
            stream = parse(card["stream"])
        except ValueError as error:
            raise DamagedModelError(f"the card in {where} is damaged: {error}") from error
        if not re.fullmatch("[0-9a-f]{64}", card["weights_sha256"]):
            wrong.append("weights_sha256")
        if not is_name(card["preset"]):
            wrong.append("preset")
        for field in ("signatures", "outputs"):
            wrong += [f"{field}.{name}" for name, tensors in card[field].items() if not _are_tensors(tensors)]
        for field in ("receptive_field", "multiplications"):
            wrong += [f"{field}.{name}" for name, n in card[field].items() if type(n) is not int or n < 0]
        wrong = wrong or _wrong_signatures(stream, card["signatures"])
        wrong = wrong or [f"outputs.{name}" for name in sorted(card["signatures"].keys() ^ card["outputs"].keys())]
    if wrong:
        raise DamagedModelError(f"the card in {where} has other {', '.join(wrong)} than a card can have")
    return card


def _misfits(value: Any, form: Any, name: str = "") -> list[str]:
    """The parts of ``value`` that have another type than ``form``, or are numbers below 1."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return [name.rstrip(".")]
        return [found for key in form for found in _misfits(value.get(key), form[key], f"{name}{key}.")]
    fits = type(value) is form and (form is not int or value > 0)
    return [] if fits else [name.rstrip(".")]


def _wrong_signatures(stream: Stream, signatures: dict[str, Any]) -> list[str]:
    """The signatures that a stream needs and that are missing, or whose inputs are not those that it has for them."""
    wrong: list[str] = []

    def check(name: str, known: Mapping[str, int | None], needed: Iterable[str] = ()) -> None:
        """``known``: inputs that the stream has, with the length of their last axis."""
        if name not in signatures:
            wrong.append(f"signatures.{name}")
            return
        inputs = signatures[name]
        wrong.extend(f"signatures.{name}.{key}" for key in needed if key not in inputs)
        for key, (_, shape) in inputs.items():
            if key not in known or (known[key] is not None and (not shape or shape[-1] != known[key])):
                wrong.append(f"signatures.{name}.{key}")

    known: dict[str, int | None] = {"step": None} if stream.step else {}
    for suffix in stream.suffixes:
        check(f"encode{suffix}", {"images": 3, **known}, ["images", *known])
    for layer in stream.layers:
        if layer.refine:
            check(layer.refine, {"images": 3, "rounds": None, **known}, ["images", "rounds"])
        for latent in layer.latents:
            for alternative in alternatives_of(latent.coder):
                if isinstance(alternative.coder, RangeCoder) and isinstance(rows := alternative.coder.rows, Rows):
                    inputs = [name for name in known if name in (*rows.inputs, "step")]
                    check(rows.signature, {name: known[name] for name in inputs}, rows.inputs)
            known[latent.name] = latent.channels
        for entry in layer.entries:
            if isinstance(entry, Strengths):
                check(entry.signature, {**known, **_qualities(layer)})
        if layer.decode:
            added = _added_by(layer)
            for suffix in stream.suffixes:
                check(f"{layer.decode}{suffix}", {"size": 2, **known, **added}, added)
    return wrong


def _added_by(layer: StreamLayer) -> dict[str, int | None]:
    """Inputs of its ``decode`` that a layer has beside latents."""
    counts = {entry.name: entry.count for entry in layer.entries if isinstance(entry, Strengths | WeightChange)}
    return {**counts, **_qualities(layer)}


def _qualities(layer: StreamLayer) -> dict[str, int | None]:
    """The input that is the quality of a layer's image codec."""
    return {entry.name: 1 for entry in layer.entries if isinstance(entry, Quality)}


def _are_tensors(tensors: Any) -> bool:
    """Whether these are a signature's inputs or outputs: names with a data type and a shape each."""
    if not isinstance(tensors, dict):
        return False
    for description in tensors.values():
        match description:
            case [str(), [*sides]] if all(side is None or type(side) is int for side in sides):
                continue
        return False
    return True
