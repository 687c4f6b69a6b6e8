"""Scale hyperprior: Ballé et al. 2018, "Variational image compression with a scale hyperprior" (ICLR).

Reproduced: Fig. 4 (transforms of four 5×5 convolutions with GDN, hyper-transforms, factorized prior of appendix 6.1)
and the mean squared error objective. See ``codec_zoo.layered``: the model is a stack of one layer.

Ballé's objective is R + λ·D with λ per squared error on the 0 … 255 scale; here λ multiplies the rate. The eight
presets stand for the eight weights that the field uses, 255²·D times 0.0018 … 0.18, hence 1/0.0018 … 1/0.18.
Differences: standard deviations come from a softplus with a bound of 0.11 rather than from a ReLU, and in training
the synthesis gets rounded latents with a straight-through gradient while the rate gets noise.
"""

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

DISTORTION_WEIGHTS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)

for _number, _weight in enumerate(DISTORTION_WEIGHTS, 1):
    # §4: more maps at the higher rates.
    _maps, _latents = (128, 192) if _number <= 5 else (192, 320)
    register(
        Preset(
            name=f"balle2018-hyperprior-mse-{_number}",
            paper=_PAPER,
            model=LayeredAutoencoder,
            config={
                "layers": [
                    {
                        "maps": _maps,
                        "latents": _latents,
                        "hyper_maps": _maps,
                        "kernels": (5, 5, 5, 5),
                        "strides": (2, 2, 2, 2),
                    }
                ],
                "rate_weight": 1 / _weight,
            },
            recipe=_RECIPE,
            pipeline={"kind": "layered", "layers": 1, "stride": 64},
            reproduces=f"Fig. 10 (MSE, point {_number})",
        )
    )
