"""Scalable auto-encoder: Jia et al. 2019, "Layered Image Compression using Scalable Auto-encoder" (MIPR).

Reproduced: Fig. 1–2, §II (base and four enhancement layers, each with its own hyperprior of Ballé 2018), §III
(λ and maps of Table II, training layer by layer with the layers below frozen). See ``codec_zoo.layered`` for the
networks and the way of the data.

A preset is the stack up to one layer: ``jia2019-sae-mse-e2`` holds base, e1 and e2, trains e2, and starts from the
weights of ``jia2019-sae-mse-e1``. One file of it decodes at every layer.

Where the paper is silent or we differ:

- **No GDN behind the last convolution** of the analysis, nor before the first of the synthesis, as in the code the
  authors built on (TensorFlow Compression's bls2017).
- **Quantisation in training**: noise for the rate, straight-through rounding for the synthesis.
- **Start**: principal components of the training patches (``TransformCodec.initialize``) instead of random weights.
- **λ** multiplies bits a pixel here. The authors' multiplied bits a sample, a third of that, as the rates of their
  decoded pictures are (``codec_zoo.harness.papers.jia2019``): from layer to layer the pictures' mean squared error
  falls by 999, 422, 121 and 30 a bit a sample, near Table II's λ. So their files take 1.7 to 2.8 times our bits.
- **MS-SSIM's scale**: Eq. 3 with 1 − MS-SSIM as it is and λ = 50 would be least at no rate at all. It is multiplied
  by 100 here: the slopes between the authors' points ask for about 45 (base) to 200 (e1), of bits a sample. With 50 a
  bit a pixel our base has about their rate (0.12 bits a pixel, theirs 0.10). With 30 our e1 had next to nothing to
  add, so the enhancement layers have what Table II's λ a bit a sample is a bit a pixel, a third of it.
- **Hyper-transforms** have as many maps as the layer's latents; e4's have half as many, or they would be more than
  half of its weights.
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

# Table II: name, λ for MSE, λ for MS-SSIM (see above), maps; maps of the hyper-transforms.
LAYERS = (
    ("base", 3000.0, 50.0, 48, 48),
    ("e1", 1000.0, 30.0 / 3, 48, 48),
    ("e2", 300.0, 10.0 / 3, 96, 96),
    ("e3", 100.0, 0.5 / 3, 144, 144),
    ("e4", 30.0, None, 192, 96),
)

for _count, (_name, *_) in enumerate(LAYERS, 1):
    for _distortion, _column, _figure in (("mse", 1, 3), ("ms_ssim", 2, 4)):
        _weights = [layer[_column] for layer in LAYERS[:_count]]
        if _weights[-1] is None:
            continue
        _layers = [{"maps": m, "latents": m, "hyper_maps": h} for *_, m, h in LAYERS[:_count]]
        _stack = f"jia2019-sae-{_distortion.replace('_', '-')}"
        register(
            Preset(
                name=f"{_stack}-{_name}",
                paper=_PAPER,
                model=LayeredAutoencoder,
                config={"layers": _layers, "rate_weights": _weights, "distortion": _distortion},
                recipe=_RECIPE,
                reproduces=f"Table III, Fig. {_figure} ({_name})",
                starts_from=f"{_stack}-{LAYERS[_count - 2][0]}" if _count > 1 else None,
                significant_bits=7,
            )
        )
