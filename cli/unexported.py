"""A model in training as codecs know models, so that held-out images become real files on any Keras backend."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.export import card as cards
from codec_zoo.export.runtime import ExportedModel
from codec_zoo.export.tables import build_tables, tables_of
from codec_zoo.presets import Preset
from codec_zoo.stream_coders import RangeCoder


class UnexportedModel(ExportedModel):
    """A Keras model that runs in this process, on Keras's backend, with tables of its weights as they stand.

    Args:
        preset: of the model.
        model: with its weights.
    """

    def __init__(self, preset: Preset, model: keras.Model):
        self._signatures = model.signatures
        card = cards.make_card(preset, model, 1, {}, self._signatures, counted=False)
        super().__init__(f"{preset.name} in training", card, tables_of(build_tables(model)))

    def _run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
        outputs = self._signatures[signature].function(**tensors)
        return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


def file_sizes(preset: Preset) -> Callable[[keras.Model], Callable[[np.ndarray], int]] | None:
    """How training learns the bytes of real files.

    Returns:
        A function of a model as it stands, which gives one of an image, ``uint8 [H, W, 3]``, which gives the bytes of
        its file. None for presets whose own ``evaluate_image`` gives the rate, for those of variable rate, which give
        the rate at several steps, and for those without one.
    """
    stream = preset.stream
    if stream is None or stream.step or not any(isinstance(latent.coder, RangeCoder) for latent in stream.latents):
        return None

    def measure(model: keras.Model) -> Callable[[np.ndarray], int]:
        codec = LearnedCodec(UnexportedModel(preset, model))
        return lambda image: len(codec.encode(image))

    return measure
