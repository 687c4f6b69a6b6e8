"""The model card: what a SavedModel says of itself, as JSON in its assets."""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from codec_zoo.errors import DamagedModelError, ModelError
from codec_zoo.presets import Preset, list_presets

if TYPE_CHECKING:
    import keras

    from codec_zoo.contract import Signature

SCHEMA = 8
FILE = "model_card.json"
# The fields of a card. `pipeline` has the form of its preset's pipeline.
_FORM: dict[str, Any] = {
    "preset": str,
    "version": int,
    "paper": {"authors": str, "title": str, "year": int, "url": str},
    "reproduces": str,
    "licence": str,
    "parameters": int,
    "weights_sha256": str,
    "pipeline": dict,
    "signatures": dict,
    "training": dict,
}


class Coded(Protocol):
    """What a file says of the model that coded it."""

    @property
    def preset_id(self) -> bytes:
        """:func:`preset_id` of the preset."""

    @property
    def weights_id(self) -> bytes:
        """The first 4 bytes of the SHA-256 of its weights."""


def preset_id(name: str) -> bytes:
    """The 4 bytes that stand for a preset's name in a file: its CRC-32, big-endian."""
    return struct.pack(">I", zlib.crc32(name.encode()))


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


def parse_card(data: bytes, where: str) -> dict[str, Any]:
    """The card in ``data``, checked: its fields have the types that :func:`make_card` gives them.

    Args:
        data: JSON.
        where: the model is, for messages.

    Raises:
        DamagedModelError: not JSON, or a field is missing or of another type.
        ModelError: the card is of another schema, or of a preset that this version lacks.
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
        presets = {preset.name: preset for preset in list_presets()}
        if card["preset"] not in presets:
            raise ModelError(f"the card in {where} names an unknown preset, {card['preset']!r}. Update codec-zoo.")
        pipeline = presets[card["preset"]].pipeline
        wrong = _misfits(card["pipeline"], _form(pipeline), "pipeline.")
        if not wrong and card["pipeline"]["kind"] != pipeline["kind"]:
            wrong.append("pipeline.kind")
        if not re.fullmatch("[0-9a-f]{64}", card["weights_sha256"]):
            wrong.append("weights_sha256")
        wrong = wrong or _wrong_signatures(card)
    if wrong:
        raise DamagedModelError(f"the card in {where} has other {', '.join(wrong)} than a card can have")
    return card


def _form(value: Any) -> Any:
    """The form of a preset's pipeline: the type of each value."""
    return {key: _form(item) for key, item in value.items()} if isinstance(value, Mapping) else type(value)


def _misfits(value: Any, form: Any, name: str = "") -> list[str]:
    """The parts of ``value`` that have another type than ``form``, or are numbers below 1."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return [name.rstrip(".")]
        return [found for key in form for found in _misfits(value.get(key), form[key], f"{name}{key}.")]
    fits = type(value) is form and (form is not int or value > 0)
    return [] if fits else [name.rstrip(".")]


def _wrong_signatures(card: dict[str, Any]) -> list[str]:
    """The signatures in a card that are malformed, or that its codec needs and that are missing."""
    signatures, pipeline = card["signatures"], card["pipeline"]
    wrong = [f"signatures.{name}" for name, inputs in signatures.items() if not _are_inputs(inputs)]
    wrong += [f"signatures.{name}" for name in ("encode", "decode") if name not in signatures]
    if wrong:
        return wrong
    # Inputs of which codecs read the number of channels.
    read = []
    if pipeline["kind"] == "layered":
        for k in range(1, pipeline["layers"] + 1):
            read.append(("decode", f"y{k}"))
            if f"entropy_parameters_{k}" in signatures:
                read.append((f"entropy_parameters_{k}", f"z{k}"))
    elif pipeline["kind"] == "blocks" and pipeline["tuned"]:
        read.append(("reconstruct", "change"))
    for name, key in read:
        _, shape = signatures.get(name, {}).get(key, [None, []])
        if not shape or not shape[-1]:
            wrong.append(f"signatures.{name}.{key}")
    return wrong


def _are_inputs(inputs: Any) -> bool:
    """Whether these are a signature's inputs: names with a data type and a shape each."""
    if not isinstance(inputs, dict):
        return False
    for description in inputs.values():
        match description:
            case [str(), [*sides]] if all(side is None or type(side) is int for side in sides):
                continue
        return False
    return True
