"""Lossless prediction of pixels: the student report "Image compression using deep learning" (about 2017; its
repository and its figures are gone), §3.

    60 known pixels around a pixel ─▶ 2 hidden layers ─▶ its prediction ─▶ error ─▶ range coder
    [N,60]                            16, 8              [N,1]

Reproduced: §3.1 and §6.1. The network learns each image while it codes it (``codec_zoo.codecs.pixel_predictor``):
there are no trained weights.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import CompressionModel, Signature
from codec_zoo.models.report2017_autoencoders import PAPER
from codec_zoo.presets import Preset, Recipe, register

# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class LosslessPredictor(CompressionModel):
    """The perceptron of §3.1 and §6.1: from 60 known pixels to the next pixel, by squared error.

    The 60 are the five rows above, five pixels to both sides, and five pixels to the left. Fig. 3 being lost, two
    hidden layers. Inputs and outputs are differences from the mean of the left and the upper neighbour, so
    that a flat region is predicted without any weight; the last ReLU of the report is the clipping to the range of
    pixels, in ``codec_zoo.codecs.pixel_predictor``.

    Args:
        hidden: widths of the hidden layers.

    Call: float ``[N, 60]`` → ``[N, 1]``.
    """

    def __init__(self, hidden: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        widths = (*self.hidden, 1)
        self.stack = [
            keras.layers.Dense(width, "relu" if i < len(self.hidden) else None, name=f"dense{i}")
            for i, width in enumerate(widths)
        ]
        for layer, inputs in zip(self.stack, (60, *widths), strict=False):
            layer.build((None, inputs))
        self.built = True

    @classmethod
    def make_stream(cls, hidden: Sequence[int]) -> None:
        """None: the network is part of its codec (``codec_zoo.codecs.pixel_predictor``)."""
        return

    def call(self, differences: Any, training: bool | None = None) -> Any:
        """Predict the difference of the next pixel."""
        for layer in self.stack:
            differences = layer(differences)
        return differences

    @property
    def signatures(self) -> dict[str, Signature]:
        """Empty: it is not exported."""
        return {}

    def start_linear(self, weights: np.ndarray) -> None:
        """Start as the linear predictor with these 60 weights, which two units of each layer carry, by sign."""
        for i, layer in enumerate(self.stack):
            kernel = ops.convert_to_numpy(layer.kernel)
            if i == 0:
                kernel[:, :2] = np.stack([weights, -weights], axis=1)
            else:
                kernel[:2] = 0
                kernel[2:, :2] = 0
                kernel[:2, :2] = [[1, 0], [0, 1]] if i < len(self.hidden) else [[1], [-1]]
            if i == len(self.hidden):
                kernel[2:] = 0
            layer.kernel.assign(kernel)
            layer.bias.assign(np.zeros(layer.bias.shape))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(hidden=self.hidden)
        return config


# === Presets ===

register(
    Preset(
        name="report2017-mlp",
        paper=PAPER,
        model=LosslessPredictor,
        config={"hidden": (16, 8)},
        recipe=Recipe(1, 1024, 800, 5e-3, note="§6.1: squared error, for each image anew; no more is said."),
        reproduces="Table 1, MLP",
        trains=False,
    )
)
