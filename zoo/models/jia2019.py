"""Scalable auto-encoder: Jia et al. 2019, "Layered Image Compression using Scalable Auto-encoder" (MIPR).

Reproduced: Fig. 1–2, §II (base and four enhancement layers, each with its own hyperprior of Ballé 2018), §III
(λ and maps of Table II, training layer by layer with the layers below frozen). See ``codec_zoo.layered`` for the
networks and the way of the data.

A preset is the stack up to one layer: ``jia2019-sae-mse-e2`` holds base, e1 and e2, trains e2, and starts from the
weights of ``jia2019-sae-mse-e1``. One file of it decodes at every layer.

Where the paper is silent or we differ:

- **No GDN behind the last convolution** of the analysis, nor before the first of the synthesis, as in the code the
  authors built on (TensorFlow Compression's bls2017).
- **Quantisation in training**: noise for the rate, straight-through rounding for the synthesis. In trials this
  gained over noise in both.
- **Hyper-transforms** have as many maps as the layer's latents.
"""

from codec_zoo.layered import LayeredAutoencoder
from codec_zoo.presets import Paper, Preset, Recipe, register

_PAPER = Paper(
    authors="Chuanmin Jia, Zhaoyi Liu, Yao Wang, Siwei Ma, Wen Gao",
    title="Layered Image Compression using Scalable Auto-encoder",
    year=2019,
    url="https://arxiv.org/abs/1904.00553",
)

_RECIPE = Recipe(
    patch_size=256,
    batch_size=8,
    steps=1000 * 5500 // 8,
    learning_rate=1e-4,
    note="Table I: 1,000 epochs of 5,500 patches of 256×256, batch 8, Adam 1e-4 (1e-3 for the entropy model).",
)

# Table II: name, λ for MSE, maps.
LAYERS = (("base", 3000, 48), ("e1", 1000, 48), ("e2", 300, 96), ("e3", 100, 144), ("e4", 30, 192))

for _count in range(1, len(LAYERS) + 1):
    _name, _rate_weight, _ = LAYERS[_count - 1]
    register(
        Preset(
            name=f"jia2019-sae-mse-{_name}",
            paper=_PAPER,
            model=LayeredAutoencoder,
            config={
                "layers": [{"maps": m, "latents": m, "hyper_maps": m} for _, _, m in LAYERS[:_count]],
                "rate_weight": _rate_weight,
            },
            recipe=_RECIPE,
            pipeline={"kind": "layered", "layers": _count, "stride": 64},
            reproduces=f"Table III, Fig. 3 (MSE, {_name})",
            starts_from=f"jia2019-sae-mse-{LAYERS[_count - 2][0]}" if _count > 1 else None,
        )
    )
