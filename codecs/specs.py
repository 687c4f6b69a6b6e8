"""From a codec's name to a codec: standard ones, and those around exported models.

A codec is written ``NAME[,KEY=VALUE…][:QUALITY]``, e.g. ``jpeg:75``, ``bpg-ycbcr444:32``,
``fu2019-hybrid-s16-prelu:32``, ``fu2019-hybrid-s16-prelu,mapping=shift,residual_codec=bpg-rgb444:28``.
NAME may also be the folder of an export, with or without its version. Its path may have commas and colons in it, as
in ``C:\\models`` or ``/data/a:b``: the longest beginning that is a folder is NAME. The name of a codec or a preset is
never a folder's: a folder of that name is written ``./NAME``.
"""

import difflib
import importlib
import inspect
import math
import os
import re
from typing import Any

from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.options import OPTIONS
from codec_zoo.codecs.standard import codec_qualities, get_codec, list_codecs
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.export.runtime import ExportedModel, open_model
from codec_zoo.presets import list_presets

# Kind → module and class, imported when asked for: standard codecs need no Keras.
_PIPELINES = {
    "blocks": ("blocks", "BlockCodec"),
    "filter": ("filtered", "FilteredCodec"),
    "hybrid": ("hybrid", "HybridCodec"),
    "layered": ("layered", "LayeredCodec"),
    "mixed": ("mixed", "MixedCodec"),
    "perceptron": ("pixel_predictor", "PerceptronCodec"),
}


def codec_for(model: ExportedModel, **options) -> ModelCodec:
    """The codec around a model: the pipeline that its card names.

    Args:
        model: an exported model.
        options: by the names in ``codec_zoo.codecs.options``, as values or texts; None where one is not given.

    Raises:
        ModelError: a pipeline that this version lacks.
        UsageError: options that the pipeline does not take, or values outside their range.
    """
    kind = model.card["pipeline"]["kind"]
    if kind not in _PIPELINES:
        raise ModelError(f"{model.where} needs the codec pipeline {kind!r}. Update codec-zoo.")
    known = _options_of(kind)
    if wrong := [name for name in options if name not in known]:
        words = " ".join(f"{_written(name)} {_whom_for(name)}." for name in wrong)
        raise UsageError(f"{words} {model.preset} takes {', '.join(map(_written, known)) or 'no options'}.")
    given = {name: OPTIONS[name].parse(value) for name, value in options.items() if value is not None}
    return _pipeline(kind)(model, **given)


def _pipeline(kind: str) -> type[Any]:
    """The class of a kind of codec around models."""
    module, name = _PIPELINES[kind]
    return getattr(importlib.import_module(f"codec_zoo.codecs.{module}"), name)


def _options_of(kind: str) -> list[str]:
    """What a pipeline takes beside the model."""
    return list(inspect.signature(_pipeline(kind)).parameters)[1:]


def _written(option: str) -> str:
    """An option as the command line has it, also one that does not exist."""
    return OPTIONS[option].flag if option in OPTIONS else f"--{option.replace('_', '-')}"


def _whom_for(option: str) -> str:
    """Which presets take an option: "is for report2017-*", in as few words as tell them from the others."""
    takes = {preset.name: option in _options_of(preset.pipeline["kind"]) for preset in list_presets()}
    found: dict[str, None] = {}
    for name in (name for name, taken in takes.items() if taken):
        parts = name.split("-")
        stems = ["-".join(parts[:count]) + "-" for count in range(1, len(parts))]
        alone = (stem for stem in stems if all(taken for other, taken in takes.items() if other.startswith(stem)))
        stem = next(alone, None)
        found[f"{stem}*" if stem else name] = None
    return f"is for {', '.join(found)}" if found else "is no option of any preset"


def split_spec(spec: str) -> tuple[str, dict[str, str], float | None]:
    """``NAME[,KEY=VALUE…][:QUALITY]`` → name, options, quality; see the module for which part is the name.

    Raises:
        UsageError: not of that form.
    """
    name = _name_in(spec)
    head, colon, tail = spec[len(name) :].rpartition(":")
    before, *pairs = (head if colon else tail).split(",")
    wrong = UsageError(f"a codec is written NAME[,KEY=VALUE…][:QUALITY], e.g. jpeg:75. Received: {spec!r}")
    if before:
        raise wrong
    try:
        quality = float(tail) if colon else None
        if quality is not None and not math.isfinite(quality):
            raise ValueError
        options = dict(pair.split("=", 1) for pair in pairs)
    except ValueError:
        raise wrong from None
    if options.keys() & {"quality", "model"}:
        raise wrong
    return name, options, quality


def _name_in(spec: str) -> str:
    """The name that ``spec`` begins with: of a codec or preset, or else the longest one of a folder that exists."""
    separators = [match.start() for match in re.finditer("[,:]", spec)]
    shortest = spec[: separators[0]] if separators else spec
    if shortest not in list_codecs() and shortest not in _known_names():  # presets take Keras
        for end in [len(spec), *reversed(separators)]:
            if os.path.isdir(spec[:end]):
                return spec[:end]
    return shortest


def _known_names() -> list[str]:
    return [*list_codecs(), *(preset.name for preset in list_presets())]


def name_of(spec: str) -> str:
    """``spec`` without its quality: what tables call the codec."""
    name, options, _ = split_spec(spec)
    return ",".join([name, *(f"{key}={value}" for key, value in options.items())])


def open_codec(spec: str) -> Codec:
    """The codec that ``spec`` names; see the module.

    Raises:
        UsageError: no such codec, preset, option or quality.
        ModelError: the preset is not trained.
    """
    name, options, quality = split_spec(spec)
    if name in list_codecs():
        if options:
            raise UsageError(f"{name} takes no options. Received: {', '.join(options)}")
        return get_codec(spec)
    known = _known_names()
    if name not in known and not os.path.isdir(name):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise UsageError(
            f"there is no codec, preset or folder called {name!r}."
            + (f" Did you mean {close[0]}?" if close else "")
            + f" Codecs: {', '.join(list_codecs())}; `codec-zoo list` shows the presets."
        )
    return codec_for(open_model(name), **options, **({} if quality is None else {"quality": quality}))


def qualities_of(spec: str) -> tuple[float | None, ...]:
    """The qualities to evaluate: the one in ``spec``, or those of the codec's rate–distortion curve."""
    name, options, quality = split_spec(spec)
    if quality is not None or options.get("layers") == "1" or options.keys() & {"target_bpp", "target_psnr"}:
        return (quality,)
    if name in list_codecs():
        return codec_qualities(name) or (None,)
    codec = open_codec(spec)
    return getattr(codec, "step", codec).qualities or (None,)
