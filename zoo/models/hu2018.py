"""CNN luma filter behind a codec: Hu et al. 2018, "Combine traditional compression method with convolutional neural
networks" (CVPR workshop, CLIC).

Reproduced: the filter of §3 (Fig. 3), its training on decoded luma (§4), and its use, §2: RGB → YCbCr 4:2:0 → codec →
filter on Y → chroma interpolation → RGB. The codec is a step of the harness (``codec_zoo.harness.codecs.svac``);
presets fix which, and at what quality the filter learned to mend it.

The 11 layers: seven 3×3 convolutions of 16, 14, 12, 11, 10, 9, 8 maps with ReLU, each fed by the one before, all of
them concatenated (80 maps); A1 (1×1, 24) on that; B1 (1×1, 8) and B2 (3×3, 8) on that; a 1×1 convolution of A1 and B2
together gives the residual. The paper names no activation behind A1, B1 and B2: they have ReLU, since without one the
layers would collapse into one. The last layer starts at zero: training starts from the codec's own picture; it counts
in units of 16 gray levels, about what it finds. Patches are cropped at random, not on a grid.

Beyond the paper: the decoder scales the residual by a strength that the encoder may choose for each picture (as the
neural filters of later video codecs do), so that no picture loses.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb
from codec_zoo.convolutions import Conv2D
from codec_zoo.entropy_models import FactorizedPrior
from codec_zoo.layers import DETAIL
from codec_zoo.metrics import Probe
from codec_zoo.model import LearnsAsOne, Signature
from codec_zoo.presets import Paper, Preset, Recipe, register

FEATURES = (16, 14, 12, 11, 10, 9, 8)
# Maps of less than this share of their layer's mean activation are dormant.
DORMANT = 0.1


@keras.saving.register_keras_serializable("codec_zoo")
class LumaFilter(LearnsAsOne, keras.Model):
    """Mends the luma of decoded pictures; see the module.

    Call: ``uint8`` or float ``[N, H, W, ≥ 1]``, 0 … 255, of which channel 0 is the decoded luma → float32
    ``[N, H, W, 1]`` on the same scale.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.features = [
            Conv2D(maps, 3, padding="same", activation="relu", name=f"feature{i}") for i, maps in enumerate(FEATURES)
        ]
        self.a1 = Conv2D(24, 1, activation="relu", name="a1")
        self.b1 = Conv2D(8, 1, activation="relu", name="b1")
        self.b2 = Conv2D(8, 3, padding="same", activation="relu", name="b2")
        self.last = Conv2D(1, 1, kernel_initializer="zeros", name="last")
        channels = 1
        for layer in self.features:
            layer.build((None, None, None, channels))
            channels = layer.filters
        for layer, channels in ((self.a1, sum(FEATURES)), (self.b1, sum(FEATURES)), (self.b2, 8), (self.last, 32)):
            layer.build((None, None, None, channels))
        self.build((None, None, None, 1))

    @property
    def stride(self) -> int:
        """Any size of patch will do."""
        return 1

    def build(self, input_shape=None):
        """Everything is built with the parts."""
        self.built = True

    def call(self, inputs, training=None):
        """Add the residual; see the class."""
        luma = ops.cast(inputs[..., :1], "float32")
        maps, found = luma / 255.0 - 0.5, []
        for layer in self.features:
            maps = layer(maps)
            found.append(maps)
        maps = ops.concatenate(found, axis=-1)
        maps = ops.concatenate([self.a1(maps), self.b2(self.b1(maps))], axis=-1)
        return luma + DETAIL * ops.cast(self.last(maps), "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean squared error (§4) on the 0 … 255 scale; ``x`` is ``[N, P, P, 2]``: decoded and true luma."""
        return ops.mean(ops.square(y_pred - ops.cast(x[..., 1:2], "float32")))

    @property
    def priors(self) -> dict[str, FactorizedPrior]:
        """None: the codec codes."""
        return {}

    def initialize(self, images: np.ndarray) -> None:
        """Nothing: training starts from the codec's picture, whatever the data."""

    def revive(self, images: np.ndarray, seed: int = 0) -> int:
        """Give dormant maps new weights (Sokar et al. 2023, "The dormant neuron phenomenon", ReDo).

        Training leaves many maps of the deeper layers behind ReLUs that hardly ever open. Such a map, of less than
        :data:`DORMANT` of its layer's mean activation, gets a random kernel and a bias with which half of the places
        are positive, as large as the other maps; what reads it starts at zero.

        Args:
            images: ``uint8 [N, P, P, 2]``: decoded and true luma.
            seed: of the kernels.

        Returns:
            How many maps were dormant.
        """
        random = np.random.default_rng(seed)
        maps, found, total = ops.cast(images[..., :1], "float32") / 255.0 - 0.5, [], 0
        starts = np.cumsum((0, *FEATURES))
        for i, layer in enumerate(self.features):
            readers = [(reader, 0) for reader in self.features[i + 1 : i + 2]]
            readers += [(self.a1, starts[i]), (self.b1, starts[i])]
            maps, count = _revive(layer, maps, readers, random)
            found.append(maps)
            total += count
        maps = ops.concatenate(found, axis=-1)
        for layer, inputs, readers in (
            (self.a1, maps, [(self.last, 0)]),
            (self.b1, maps, [(self.b2, 0)]),
            (self.b2, None, [(self.last, self.a1.filters)]),
        ):
            maps, count = _revive(layer, maps if inputs is None else inputs, readers, random)
            total += count
        return total

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """PSNR of luma, dB."""
        return {"psnr": float(10 * np.log10(255**2 / losses["loss"]))}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode`` and ``decode``, around the codec."""
        pictures = ("uint8", (None, None, None, 3))
        return {
            "encode": Signature(self.encode, {"images": pictures}),
            "decode": Signature(self.decode, {"ycbcr": pictures, "strength": ("float32", (None,))}),
        }

    def encode(self, images):
        """What the codec gets, and the paper's strength: ``uint8 [N, H, W, 3]`` RGB → ``ycbcr``, the same shape
        (``codec_zoo.color``), and ``strength``, float32 ``[N]`` of ones.
        """
        return {"ycbcr": rgb_to_ycbcr(images), "strength": ops.ones(ops.shape(images)[:1], "float32")}

    def decode(self, ycbcr, strength):
        """Filter Y of what the codec gave, chroma at full size: ``uint8 [N, H, W, 3]`` → ``images``, RGB.

        The filter's change of Y is multiplied by ``strength``, float32 ``[N]``: 1 as in the paper, 0 for none.
        """
        luma = ops.cast(ycbcr[..., :1], "float32")
        luma = luma + ops.reshape(strength, (-1, 1, 1, 1)) * (self(ycbcr) - luma)
        luma = ops.cast(ops.clip(ops.round(luma), 0, 255), "uint8")
        return {"images": ycbcr_to_rgb(ops.concatenate([luma, ycbcr[..., 1:]], axis=-1))}

    def probe(self, image: np.ndarray) -> Probe:
        """Filter one picture.

        Args:
            image: ``uint8 [H, W, 2]``: decoded and true luma.
        """
        mended = ops.convert_to_numpy(self(ops.convert_to_tensor(image[None])))[0]
        reconstruction = np.clip(np.round(mended), 0, 255).astype(np.uint8)
        error = float(np.mean(np.square(reconstruction.astype(np.float64) - image[..., 1:])))
        return Probe(original=image[..., 1:], reconstruction=reconstruction, bpp=None, loss=error, latents={})

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor: none of its own."""
        return super().get_config()


def _revive(layer, inputs, readers, random) -> tuple[Any, int]:
    """New weights for the dormant maps of one layer; see :meth:`LumaFilter.revive`.

    Args:
        layer: a convolution with ReLU.
        inputs: what it gets.
        readers: the convolutions that get its maps, and where these begin among their inputs.
        random: a NumPy generator.

    Returns:
        What the layer gives then, and how many maps were dormant.
    """
    maps = layer(inputs)
    active = ops.convert_to_numpy(ops.cast(maps, "float32"))
    means = active.mean((0, 1, 2))
    dormant = np.flatnonzero(means <= DORMANT * means.mean())
    if not len(dormant):
        return maps, 0
    kernel, bias = (ops.convert_to_numpy(value).copy() for value in (layer.kernel, layer.bias))
    fresh = random.normal(size=(*kernel.shape[:-1], len(dormant))).astype("float32")
    raw = ops.convert_to_numpy(ops.conv(ops.cast(inputs, "float32"), fresh, padding="same"))
    size = active[..., means > DORMANT * means.mean()].std() / raw.std((0, 1, 2))
    kernel[..., dormant], bias[dormant] = size * fresh, -size * np.median(raw, axis=(0, 1, 2))
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    for reader, start in readers:
        weights = ops.convert_to_numpy(reader.kernel).copy()
        weights[:, :, start + dormant] = 0
        reader.kernel.assign(weights)
    return layer(inputs), len(dormant)


_PAPER = Paper(
    authors="Jianhua Hu, Ming Li, Changsheng Xia, Yundong Zhang",
    title="Combine traditional compression method with convolutional neural networks",
    year=2018,
    url="https://openaccess.thecvf.com/CVPR2018_workshops/CVPR2018_W50",
)

_RECIPE = Recipe(
    patch_size=64,
    batch_size=32,
    steps=100_000,
    learning_rate=1e-3,
    note="§4: patches of 64×64 without overlap, squared error. Optimizer, rate, batch and steps are not given.",
)

# Codec and quality; the first is the paper's, at its rate (§4).
for _codec, _quality in (("svac", 48), ("svac", 44), ("svac", 52), ("jpeg-420", 20), ("bpg-ycbcr420", 36)):
    register(
        Preset(
            name=f"hu2018-filter-{_codec.removesuffix('-420').removesuffix('-ycbcr420')}-q{_quality}",
            paper=_PAPER,
            model=LumaFilter,
            config={},
            recipe=_RECIPE,
            # A place depends on this many pixels around it: seven 3×3 convolutions and B2.
            pipeline={"kind": "filter", "codec": _codec, "quality": _quality, "reach": len(FEATURES) + 1},
            reproduces="§5: gain over the codec" + ("" if _codec == "svac" else f" ({_codec}: beyond the paper)"),
        )
    )
