"""The rates at which the field trains models, and the presets ``STEM-DISTORTION-vbr`` of one network for all of them.

Papers have R + λ·D; here the weight multiplies the rate. The eight points of each distortion are the weights of
CompressAI's model zoo: 255²·D times 0.0018 … 0.18 for the squared error of pixels in 0 … 1, and 1 − MS-SSIM times
2.4 … 220.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.transform_coding import TransformCoder

# Distortion of the model → weight of the distortion beside bits a pixel at each point.
DISTORTION_WEIGHTS = {
    "mse": (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800),
    # Of 1 − MS-SSIM, where the model's distortion is a hundred times that.
    "ms_ssim": tuple(weight / 100 for weight in (2.40, 4.58, 8.73, 16.64, 31.73, 60.50, 115.37, 220.00)),
}
# The point whose rate weight a model of variable rate has at k = 0.
VARIABLE_RATE_POINTS = {"mse": 4, "ms_ssim": 5}


def objective(distortion: str, point: int) -> dict[str, Any]:
    """The constructor's arguments ``rate_weight`` and ``distortion`` of a point, 1 … 8."""
    return {"rate_weight": 1 / DISTORTION_WEIGHTS[distortion][point - 1], "distortion": distortion}


def register_variable_rate(
    stem: str,
    paper: Paper,
    recipe: Recipe,
    model: type[TransformCoder],
    config: Mapping[str, Any],
    distortions: Iterable[str] = tuple(VARIABLE_RATE_POINTS),
) -> None:
    """Register a preset of variable rate for each distortion.

    Args:
        stem: of the presets' names.
        paper: source.
        recipe: of all of them.
        model: the class.
        config: the constructor's arguments beside rate weight and distortion.
        distortions: ``"mse"``, ``"ms_ssim"``.
    """
    for distortion in distortions:
        called = distortion.replace("_", "-")
        register(
            Preset(
                name=f"{stem}-{called}-vbr",
                paper=paper,
                model=model,
                config={**config, **objective(distortion, VARIABLE_RATE_POINTS[distortion])},
                recipe=dataclasses.replace(
                    recipe, note=f"{recipe.note} A random quantisation step an image (Cui 2021)."
                ),
                significant_bits=7,
                reproduces=f"R-D curve on Kodak ({called.upper()}), one network",
            )
        )
