"""Scale hyperprior: Ballé et al. 2018, "Variational image compression with a scale hyperprior" (ICLR).

Reproduced: the architecture with the scale hyperprior (transforms of four 5×5 convolutions with GDN,
hyper-transforms, factorized prior of appendix 6.1) and both objectives, squared error and MS-SSIM. See
``codec_zoo.layered``: the model is a stack of one layer.

Ballé's objective is R + λ·D; here the weight multiplies the rate. The eight presets of each distortion stand for the
weights that the field uses (CompressAI's model zoo): 255²·D times 0.0018 … 0.18 for the squared error of pixels in
0 … 1, and 1 − MS-SSIM times 2.4 … 220. Differences: standard deviations come from a softplus with a bound of 0.11
rather than from a ReLU; in training the synthesis gets rounded latents with a straight-through gradient while the
rate gets noise; weights start from principal components (``TransformCodec.initialize``).
"""

from collections.abc import Callable

from codec_zoo.layered import LayeredAutoencoder
from codec_zoo.presets import Paper, Preset, Recipe, register

_PAPER = Paper(
    authors="Johannes Ballé, David Minnen, Saurabh Singh, Sung Jin Hwang, Nick Johnston",
    title="Variational image compression with a scale hyperprior",
    year=2018,
    url="https://arxiv.org/abs/1802.01436",
)

_RECIPE = Recipe(
    patch_size=256,
    batch_size=8,
    steps=1_000_000,
    learning_rate=1e-4,
    note="§4: Adam, 1e-4, crops of 256×256, batch 8, about a million steps; images from the web.",
)

# Distortion of the model → weight of the distortion beside bits a pixel, one a preset.
DISTORTION_WEIGHTS = {
    "mse": (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800),
    # Of 1 − MS-SSIM, where the model's distortion is a hundred times that.
    "ms_ssim": tuple(weight / 100 for weight in (2.40, 4.58, 8.73, 16.64, 31.73, 60.50, 115.37, 220.00)),
}


def register_points(paper: Paper, recipe: Recipe, stem: str, layer: Callable[[int], dict]) -> None:
    """Register ``STEM-DISTORTION-POINT`` for every weight; ``layer(point)`` gives the arguments of the one layer."""
    for distortion, weights in DISTORTION_WEIGHTS.items():
        for point, weight in enumerate(weights, 1):
            register(
                Preset(
                    name=f"{stem}-{distortion.replace('_', '-')}-{point}",
                    paper=paper,
                    model=LayeredAutoencoder,
                    config={"layers": [layer(point)], "rate_weights": [1 / weight], "distortion": distortion},
                    recipe=recipe,
                    reproduces=f"R-D curve on Kodak ({distortion.replace('_', '-').upper()}, point {point})",
                    significant_bits=7,
                )
            )


def _layer(point: int) -> dict:
    """More maps at the higher rates, as the paper has it."""
    maps, latents = (128, 192) if point <= 5 else (192, 320)
    return {
        "maps": maps,
        "latents": latents,
        "hyper_maps": maps,
        "kernels": (5, 5, 5, 5),
        "strides": (2, 2, 2, 2),
    }


register_points(_PAPER, _RECIPE, "balle2018-hyperprior", _layer)
