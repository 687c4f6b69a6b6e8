"""The rates at which the field trains models of one rate: presets ``STEM-DISTORTION-POINT``.

Papers have R + λ·D; here the weight multiplies the rate. The eight points of each distortion are the weights of
CompressAI's model zoo: 255²·D times 0.0018 … 0.18 for the squared error of pixels in 0 … 1, and 1 − MS-SSIM times
2.4 … 220.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.transform_coding import TransformCoder

# Distortion of the model → weight of the distortion beside bits a pixel, one a preset.
DISTORTION_WEIGHTS = {
    "mse": (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800),
    # Of 1 − MS-SSIM, where the model's distortion is a hundred times that.
    "ms_ssim": tuple(weight / 100 for weight in (2.40, 4.58, 8.73, 16.64, 31.73, 60.50, 115.37, 220.00)),
}


def register_rate_points(
    stem: str,
    paper: Paper,
    recipe: Recipe,
    model: type[TransformCoder],
    config: Callable[[int], Mapping[str, Any]],
    mse_points: Collection[int] = range(1, 9),
) -> None:
    """Register a preset for each distortion and weight.

    Args:
        stem: of the presets' names.
        paper: source.
        recipe: of all of them.
        model: the class.
        config: point, 1 … 8 → the constructor's arguments beside rate weight and distortion.
        mse_points: the points of the squared error that have presets.
    """
    for distortion, weights in DISTORTION_WEIGHTS.items():
        for point, weight in enumerate(weights, 1):
            if distortion == "mse" and point not in mse_points:
                continue
            register(
                Preset(
                    name=f"{stem}-{distortion.replace('_', '-')}-{point}",
                    paper=paper,
                    model=model,
                    config={**config(point), "rate_weight": 1 / weight, "distortion": distortion},
                    recipe=recipe,
                    significant_bits=7,
                    reproduces=f"R-D curve on Kodak ({distortion.replace('_', '-').upper()}, point {point})",
                )
            )
