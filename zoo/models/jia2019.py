"""Scalable auto-encoder: Jia et al. 2019, "Layered Image Compression using Scalable Auto-encoder" (MIPR).

    image ─▶ − ─▶ ScaleHyperprior, layer 0 ─▶ r̂0 ──┐                       image: [N,H,W,3]
             └ mid-gray                             + ─▶ x̂0 = mid-gray + r̂0
    image ─▶ − ─▶ ScaleHyperprior, layer 1 ─▶ r̂1 ──┐                       yk: [N,H/16,W/16,Ck]
             └ x̂0                                   + ─▶ x̂1 = x̂0 + r̂1
    …                                                                       zk: [N,H/64,W/64,Mk]

Reproduced: Fig. 1–2, §II (base and four enhancement layers, each with its own hyperprior of Ballé 2018), §III
(λ and channels of Table II, training layer by layer with the lower layers frozen).

A preset is the stack up to one layer: ``jia2019-sae-mse-e2`` holds base, e1 and e2, trains e2, and starts from the
weights of ``jia2019-sae-mse-e1``. One file of it decodes at every layer.

Where the paper is silent or we differ:

- **No GDN behind the last convolution** of the analysis, nor before the first of the synthesis, as in the code the
  authors built on (TensorFlow Compression's bls2017).
- **Quantisation in training**: noise for the rate, straight-through rounding for the synthesis.
- **Start**: principal components of the training patches (``codec_zoo.initialization``) instead of random weights.
- **λ** multiplies bits a pixel here. The authors' multiplied bits a sample, a third of that, as the rates of their
  decoded images are (``codec_zoo.harness.papers.jia2019``): from layer to layer the images' mean squared error
  falls by 999, 422, 121 and 30 a bit a sample, near Table II's λ. So their files take 1.7 to 2.8 times our bits.
- **MS-SSIM's scale**: Eq. 3 with 1 − MS-SSIM as it is and λ = 50 would be least at no rate at all. It is multiplied
  by 100 here: the slopes between the authors' points ask for about 45 (base) to 200 (e1), of bits a sample. With 50 a
  bit a pixel our base has about their rate (0.12 bits a pixel, theirs 0.10). With 30 our e1 had next to nothing to
  add, so the enhancement layers have the λ a bit a pixel that equals Table II's λ a bit a sample, a third of it.
- **Hyper-transforms** have as many channels as the layer's latents; e4's have half as many, or they would be more
  than half of its weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from codec_zoo.models.balle2018 import ScaleHyperprior
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.stream import Stream
from codec_zoo.transform_coding import RateDistortionModel

# Fig. 2, after Ballé 2017: of the analysis, first layer first.
TRANSFORMS = {"kernels": (9, 5, 5), "strides": (4, 2, 2)}

# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class ScalableAutoencoder(RateDistortionModel):
    """A stack of scale hyperpriors, each on the residual of the lower layers; the top one trains.

    Args:
        layers: arguments of each layer's :class:`ScaleHyperprior`, base first.
        rate_weights: λ of each layer: the distortion that one bit a pixel is worth.
        distortion: ``"mse"`` or ``"ms_ssim"``, as in :class:`codec_zoo.transform_coding.RateDistortionModel`.

    Call: see :class:`codec_zoo.transform_coding.RateDistortionModel`.
    """

    weights_layout: ClassVar[Mapping[str, str]] = {"codecs/scale_hyperprior": "codecs/transform_codec"}

    def __init__(
        self,
        layers: Sequence[Mapping[str, Any]],
        rate_weights: Sequence[float],
        distortion: str = "mse",
        **kwargs: Any,
    ):
        super().__init__(rate_weights, distortion, **kwargs)
        if len(rate_weights) != len(layers):
            raise ValueError(f"rate_weights has one λ for each layer. Received: {rate_weights!r}")
        self.codecs = [
            ScaleHyperprior(**{**TRANSFORMS, **config}, layer=i, name=f"layer{i}") for i, config in enumerate(layers)
        ]
        self.layer_configs = [dict(config) for config in layers]
        for lower in self.codecs[:-1]:
            lower.trainable = False
        self.built = True

    @classmethod
    def make_stream(
        cls, layers: Sequence[Mapping[str, Any]], rate_weights: Sequence[float], distortion: str = "mse"
    ) -> Stream:
        """A layer of files for each layer of the stack."""
        stacked = [
            ScaleHyperprior.make_stream_layer(k, distortion == "mse", **{**TRANSFORMS, **config})
            for k, config in enumerate(layers, 1)
        ]
        return Stream(tuple(stacked), max(latent.stride for layer in stacked for latent in layer.latents))

    def coders(self) -> list[ScaleHyperprior]:
        """The layers, base first."""
        return self.codecs

    @property
    def stride(self) -> int:
        """Side of the image over side of the smallest latent."""
        return max(codec.stride for codec in self.codecs)

    def load_lower_layers(self, lower: keras.Model) -> None:
        """Take over the layers of a trained, lower stack."""
        for mine, trained in zip(self.codecs, lower.codecs, strict=False):
            mine.set_weights(trained.get_weights())

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(layers=self.layer_configs, rate_weights=self.rate_weights, distortion=self.distortion)
        return config


# === Presets ===

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

# Table II: name, λ for MSE, λ for MS-SSIM (see above), channels; channels of the hyper-transforms.
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
        _layers = [{"channels": c, "latent_channels": c, "hyper_channels": h} for *_, c, h in LAYERS[:_count]]
        _stack = f"jia2019-sae-{_distortion.replace('_', '-')}"
        register(
            Preset(
                name=f"{_stack}-{_name}",
                paper=_PAPER,
                model=ScalableAutoencoder,
                config={"layers": _layers, "rate_weights": _weights, "distortion": _distortion},
                recipe=_RECIPE,
                significant_bits=7,
                reproduces=f"Table III, Fig. {_figure} ({_name})",
                starts_from=f"{_stack}-{LAYERS[_count - 2][0]}" if _count > 1 else None,
            )
        )
