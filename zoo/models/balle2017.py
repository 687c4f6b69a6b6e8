"""Factorized prior: Ballé et al. 2017, "End-to-end optimized image compression" (ICLR).

Reproduced: the nonlinear transform code of the paper, an analysis of 9×9, 5×5, 5×5 convolutions with strides 4, 2, 2
and GDN, its mirror as synthesis, a density learned for each channel. See ``codec_zoo.layered``: the model is a stack
of one layer without a hyperprior.

As in the code its author published later (TensorFlow Compression's ``bls2017.py``), the density is the smooth one of
Ballé 2018, appendix 6.1, instead of piecewise linear, no GDN stands next to the latents, and there are 128 maps; 192
at the three highest rates. The weights of the points are those of ``balle2018``, so that the two priors can be
compared; the paper itself has squared error only. Weights start from principal components.
"""

from codec_zoo.models.balle2018 import register_points
from codec_zoo.presets import Paper, Recipe

_PAPER = Paper(
    authors="Johannes Ballé, Valero Laparra, Eero P. Simoncelli",
    title="End-to-end optimized image compression",
    year=2017,
    url="https://arxiv.org/abs/1611.01704",
)

_RECIPE = Recipe(
    patch_size=256,
    batch_size=8,
    steps=1_000_000,
    learning_rate=1e-4,
    note="Adam 1e-4, lowered tenfold when the loss stalls; patches of 256×256, batch and steps as in balle2018.",
)


def _layer(point: int) -> dict:
    """More maps at the higher rates, as in the paper."""
    maps = 128 if point <= 5 else 192
    return {"maps": maps, "latents": maps, "hyper_maps": None}


register_points(_PAPER, _RECIPE, "balle2017-factorized", _layer)
