"""From a codec's name to a codec: standard ones, and those around exported models.

A codec is written ``NAME[,KEY=VALUE…][:QUALITY]``, e.g. ``jpeg:75``, ``bpg-ycbcr444:32``,
``fu2019-hybrid-s16-prelu:32``, ``fu2019-hybrid-s16-prelu,mapping=shift,residual_codec=bpg-rgb444:28``.
NAME is a codec, or a preset: ``my-preset`` or, of any module that Python finds, ``package.module:my-preset``. A name
begins with a letter and a quality does not, so that ``package.module:my-preset:32`` has one meaning.

NAME may also be the folder of an export, with or without its version. Its path may have commas and colons in it, as
in ``C:\\models`` or ``/data/a:b``: the longest beginning that is a folder is NAME. The name of a codec or a preset is
never a folder's: a folder of that name is written ``./NAME``, one that is called as a preset in a module ``./a:b``.
"""

import math
import os
import re
from typing import Any

from codec_zoo.codecs.learned import LearnedCodec, options_of
from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.options import OPTIONS, flag
from codec_zoo.codecs.standard import codec_qualities, get_codec, list_codecs
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import UsageError, did_you_mean
from codec_zoo.export.runtime import ExportedModel, open_model
from codec_zoo.presets import find_preset, known_presets, start_with_module
from codec_zoo.stream import Stream


def codec_for(model: ExportedModel, **options: Any) -> ModelCodec:
    """The codec around a model: the learned one by its stream, or the pixel predictor, which has none.

    Args:
        model: an exported model.
        options: by the names in ``codec_zoo.codecs.options``, as values or texts; None where one is not given.

    Raises:
        UsageError: options that the model does not take, or values outside their range.
    """
    known = _options_of(model.stream)
    if wrong := [name for name in options if name not in known]:
        words = " ".join(f"{flag(name)} {_whom_for(name)}." for name in wrong)
        raise UsageError(f"{words} {model.preset} takes {', '.join(map(flag, known)) or 'no options'}.")
    # An option that no model of the zoo has is one of a choice: the model's codec checks it.
    given = {
        name: OPTIONS[name].parse(value) if name in OPTIONS else value
        for name, value in options.items()
        if value is not None
    }
    if model.stream is None:
        from codec_zoo.codecs.pixel_predictor import PerceptronCodec  # here, since it needs Keras

        return PerceptronCodec(model, **given)
    return LearnedCodec(model, **given)


def _options_of(stream: Stream | None) -> list[str]:
    """What a model's codec takes beside the model."""
    return options_of(stream) if stream else ["coding", "layers"]


def _whom_for(option: str) -> str:
    """Which presets take an option: "is for report2017-*", in as few words as tell them from the others."""
    takes = {preset.name: option in _options_of(preset.stream) for preset in known_presets()}
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
    if shortest not in list_codecs() and not find_preset(shortest):  # presets take Keras
        if qualified := start_with_module(spec):
            return qualified
        for end in [len(spec), *reversed(separators)]:
            if os.path.isdir(spec[:end]):
                return spec[:end]
    return shortest


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
    if not find_preset(name) and not os.path.isdir(name):
        known = [*list_codecs(), *(preset.name for preset in known_presets())]
        raise UsageError(
            f"there is no codec, preset or folder called {name!r}.{did_you_mean(name, known)}"
            f" Codecs: {', '.join(list_codecs())}; `codec-zoo list --all` shows the presets."
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
    return codec.qualities or (None,)


def curve_specs(spec: str, whole: bool = False) -> list[str]:
    """``spec`` at each point of its rate–distortion curve: at its qualities, or cut behind each of its layers.

    >>> curve_specs("jia2019-sae-mse-e1,search=10")
    ['jia2019-sae-mse-e1,layers=1,search=10', 'jia2019-sae-mse-e1,search=10']

    Args:
        spec: a codec. With a quality or a number of layers it is one point.
        whole: leave out files that are cut.
    """
    qualities = qualities_of(spec)
    name, options, quality = split_spec(spec)
    if qualities != (None,):
        return [spec if quality is not None else f"{spec}:{each:g}" for each in qualities if each is not None]
    if whole or name in list_codecs() or options.keys() & {"layers", "target_bpp", "target_psnr"}:
        return [spec]
    stream = getattr(open_codec(spec), "stream", None)
    cuts = range(1, stream.count if stream else 1)
    return [*(f"{name},layers={cut}{spec[len(name) :]}" for cut in cuts), spec]


def curve_of(codec: str) -> str:
    """The curve that the points of a codec (:func:`name_of`) are on: cut files are on that of their model.

    >>> curve_of("jia2019-sae-mse-e1,layers=1,search=10")
    'jia2019-sae-mse-e1,search=10'
    """
    return re.sub(r",layers=\d+(?=,|$)", "", codec)
