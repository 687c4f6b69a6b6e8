"""From a codec's name to a codec: standard ones, and those around exported models.

A codec is written ``NAME[,KEY=VALUE…][:QUALITY]``, e.g. ``jpeg:75``, ``bpg-ycbcr444:32``,
``fu2019-hybrid-s16-prelu:32``, ``fu2019-hybrid-s16-prelu,mapping=shift,residual_codec=bpg-rgb444:28``.
NAME may also be the folder of an export.
"""

import difflib
import importlib
import inspect
from pathlib import Path
from typing import Any

from codec_zoo.errors import ModelError, UsageError
from codec_zoo.harness.codecs import codec_qualities, get_codec, list_codecs
from codec_zoo.harness.codecs.base import Codec
from codec_zoo.harness.exported import ExportedModel, open_model
from codec_zoo.harness.model_codec import ModelCodec
from codec_zoo.presets import list_presets

# Kind → module and class, imported when asked for: standard codecs need no Keras.
_PIPELINES = {
    "blocks": ("blocks", "BlockCodec"),
    "filter": ("filtered", "FilteredCodec"),
    "hybrid": ("hybrid", "HybridCodec"),
    "layered": ("layered", "LayeredCodec"),
    "mixed": ("mixed", "MixedCodec"),
    "perceptron": ("perceptron", "PerceptronCodec"),
}


def codec_for(model: ExportedModel, **options) -> ModelCodec:
    """The codec around a model: the pipeline that its card names.

    Raises:
        ModelError: a pipeline that this version lacks.
        UsageError: options that the pipeline does not take.
    """
    kind = model.card["pipeline"]["kind"]
    if kind not in _PIPELINES:
        raise ModelError(f"{model.where} needs the codec pipeline {kind!r}. Update codec-zoo.")
    module, name = _PIPELINES[kind]
    pipeline: type[Any] = getattr(importlib.import_module(f"codec_zoo.harness.{module}"), name)
    known = list(inspect.signature(pipeline).parameters)[1:]
    if wrong := [option for option in options if option not in known]:
        raise UsageError(f"{model.preset} does not take these options: {', '.join(wrong)}.")
    return pipeline(model, **options)


def split_spec(spec: str) -> tuple[str, dict[str, str], float | None]:
    """``NAME[,KEY=VALUE…][:QUALITY]`` → name, options, quality.

    Raises:
        UsageError: not of that form.
    """
    head, colon, tail = spec.rpartition(":")
    name, *pairs = (head if colon else spec).split(",")
    wrong = UsageError(f"a codec is written NAME[,KEY=VALUE…][:QUALITY], e.g. jpeg:75. Received: {spec!r}")
    try:
        quality = float(tail) if colon else None
        options = dict(pair.split("=", 1) for pair in pairs)
    except ValueError:
        raise wrong from None
    if options.keys() & {"quality", "model"}:
        raise wrong
    return name, options, quality


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
    known = [*list_codecs(), *(preset.name for preset in list_presets())]
    if name not in known and not Path(name).is_dir():
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
    known = codec_qualities(name) if name in list_codecs() else type(open_codec(spec)).qualities
    return known or (None,)
