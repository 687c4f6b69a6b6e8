"""CNN luma filter behind a codec: Hu et al. 2018, "Combine traditional compression method with convolutional neural
networks" (CVPR workshop, CLIC).

    image ─▶ Y, Cb, Cr ─▶ codec ─▶ Y ─▶ filter ─▶ residual F(Y), 3 corrections ─▶ × strengths ─▶ + ─▶ image
    [N,H,W,3]                      [N,H,W,1]        [N,H,W,4]                                     Y

Reproduced: the filter of §3 (Fig. 3), its training on decoded luma (§4), and its use, §2: RGB → YCbCr 4:2:0 → codec →
filter on Y → chroma interpolation → RGB. The codec is a step around the network (``codec_zoo.codecs.standard.svac``);
presets fix which, and at what quality, the filter learned for.

The 11 layers: seven 3×3 convolutions of 16, 14, 12, 11, 10, 9, 8 channels with ReLU, each fed by the one before, all
of them concatenated (80 channels); A1 (1×1, 24) on that; B1 (1×1, 8) and B2 (3×3, 8) on that; a 1×1 convolution of A1
and B2 together gives the residual. The paper names no activation behind A1, B1 and B2: they have ReLU, since without
one the layers would collapse into one. The last layer starts at zero: training starts from the decoded image itself;
it counts in units of 16 gray levels, about the size of the residual. Patches are cropped at random, not on a grid.

Beyond the paper: the encoder may choose for each image how strong the residual is (as the neural filters of later
video codecs do), and mixes in three corrections, further 1×1 convolutions of the input of the last layer. So no image
loses, and the filter fits each a little better than all. Strengths of (1, 0, 0, 0) are the paper's filter.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb
from codec_zoo.contract import IMAGES, CompressionModel, Signature, TensorSpecs
from codec_zoo.convolutions import Conv2D
from codec_zoo.filter_layers import FILTER_CHANGES, FILTER_STEPS, FILTER_UNIT, picture_layer
from codec_zoo.layers import DETAIL
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import Window, chain
from codec_zoo.stream import Stream

FEATURES = (16, 14, 12, 11, 10, 9, 8)
# Changes of luma beside the paper's.
CORRECTIONS = FILTER_CHANGES - 1
# Channels of less than this share of their layer's mean activation are dormant.
DORMANT = 0.1


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class LumaFilter(CompressionModel):
    """Adds a learned residual to the luma of decoded images.

    Call: ``uint8`` or float ``[N, H, W, ≥ 1]``, 0 … 255, of which channel 0 is the decoded luma Y → float32
    ``[N, H, W, 1 + CORRECTIONS]``, changes of luma on that scale: the paper's residual F(Y), then the corrections.
    """

    resets_dormant_channels: ClassVar[bool] = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.features = [
            Conv2D(channels, 3, padding="same", activation="relu", name=f"feature{i}")
            for i, channels in enumerate(FEATURES)
        ]
        self.a1 = Conv2D(24, 1, activation="relu", name="a1")
        self.b1 = Conv2D(8, 1, activation="relu", name="b1")
        self.b2 = Conv2D(8, 3, padding="same", activation="relu", name="b2")
        self.last = Conv2D(1, 1, kernel_initializer="zeros", name="last")
        small = keras.initializers.RandomNormal(stddev=0.03)  # so that strengths span many steps of a byte
        self.corrections = Conv2D(CORRECTIONS, 1, kernel_initializer=small, name="corrections")
        channels = 1
        for layer in self.features:
            layer.build((None, None, None, channels))
            channels = layer.filters
        for layer, channels in ((self.a1, sum(FEATURES)), (self.b1, sum(FEATURES)), (self.b2, 8)):
            layer.build((None, None, None, channels))
        for layer in (self.last, self.corrections):
            layer.build((None, None, None, self.a1.filters + self.b2.filters))
        self.built = True

    @classmethod
    def make_stream(cls, codec: str, quality: float) -> Stream:
        """How files are coded: the codec that the filter was trained for, and its quality."""
        return Stream((picture_layer(codec, quality),), stride=1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Compute the changes of luma, in gray levels."""
        values, found = ops.cast(inputs[..., :1], "float32") / 255.0 - 0.5, []
        for layer in self.features:
            values = layer(values)
            found.append(values)
        values = ops.concatenate(found, axis=-1)
        values = ops.concatenate([self.a1(values), self.b2(self.b1(values))], axis=-1)
        changes = ops.concatenate([self.last(values), self.corrections(values)], axis=-1)
        return DETAIL * ops.cast(changes, "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Mean squared error (§4) on the 0 … 255 scale: three quarters that of the paper's filter, a quarter that
        with the best strengths for each patch; ``x`` is ``[N, P, P, 2]``: decoded and true luma.
        """
        pair = ops.cast(x, "float32")
        missing = pair[..., 1:] - pair[..., :1]
        mixed = missing - mix(y_pred, ops.stop_gradient(best_strengths(y_pred, missing)))
        return ops.mean(3 * ops.square(missing - y_pred[..., :1]) + ops.square(mixed)) / 4

    def reset_dormant_channels(self, images: np.ndarray, seed: int = 0) -> int:
        """Give dormant channels new weights (Sokar et al. 2023, "The dormant neuron phenomenon", ReDo).

        Training leaves many channels of the deeper layers behind ReLUs that hardly ever open. Such a channel, of less
        than :data:`DORMANT` of its layer's mean activation, gets a random kernel and a bias with which half of the
        places are positive, as large as the other channels; the layers that read it start at zero.

        Args:
            images: ``uint8 [N, P, P, 2]``: decoded and true luma.
            seed: of the kernels.

        Returns:
            How many channels were dormant.
        """
        random = np.random.default_rng(seed)
        values, found, total = ops.cast(images[..., :1], "float32") / 255.0 - 0.5, [], 0
        starts = np.cumsum((0, *FEATURES))
        for i, layer in enumerate(self.features):
            readers = [(reader, 0) for reader in self.features[i + 1 : i + 2]]
            readers += [(self.a1, starts[i]), (self.b1, starts[i])]
            values, count = _reset(layer, values, readers, random)
            found.append(values)
            total += count
        values = ops.concatenate(found, axis=-1)
        for layer, inputs, readers in (
            (self.a1, values, [(self.last, 0), (self.corrections, 0)]),
            (self.b1, values, [(self.b2, 0)]),
            (self.b2, None, [(self.last, self.a1.filters), (self.corrections, self.a1.filters)]),
        ):
            values, count = _reset(layer, values if inputs is None else inputs, readers, random)
            total += count
        return total

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """PSNR of luma, dB."""
        return {"psnr": float(10 * np.log10(255**2 / losses["loss"]))}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode`` and ``decode``, around the codec, and ``changes``, for which an encoder finds strengths."""
        strengths = 1 + CORRECTIONS
        coded: TensorSpecs = {"ycbcr": IMAGES, "strengths": ("float32", (None, strengths))}
        changes: TensorSpecs = {"changes": ("uint8", (None, None, None, strengths))}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "changes": Signature(self.changes, {"ycbcr": IMAGES}, changes),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def windows(self) -> dict[str, list[Window]]:
        """Of the colour transform alone, and of the filter."""
        mended = chain(*self.features, self.b1, self.b2)  # the longest of all ways
        return {"encode": [Window()], "changes": [mended], "decode": [mended]}

    def encode(self, images: Any) -> dict[str, Any]:
        """The input of the codec, and the paper's strengths: ``uint8 [N, H, W, 3]`` RGB → ``ycbcr``, the same shape
        (``codec_zoo.color``), and ``strengths``, float32 ``[N, 1 + CORRECTIONS]``: 1, then zeros.
        """
        paper = ops.one_hot(ops.zeros(ops.shape(images)[:1], "int32"), 1 + CORRECTIONS, dtype="float32")
        return {"ycbcr": rgb_to_ycbcr(images), "strengths": paper}

    def changes(self, ycbcr: Any) -> dict[str, Any]:
        """The factors of the strengths, of decoded images: ``uint8 [N, H, W, 3]`` → ``changes``, ``uint8
        [N, H, W, 1 + CORRECTIONS]``: the output of :meth:`call` in steps of 1/:data:`FILTER_STEPS` around 128.
        """
        steps = 128 + ops.round(FILTER_STEPS * self(ycbcr))
        return {"changes": ops.cast(ops.clip(steps, 0, 255), "uint8")}

    def decode(self, ycbcr: Any, strengths: Any) -> dict[str, Any]:
        """Filter Y of decoded images, chroma at full size: ``uint8 [N, H, W, 3]`` → ``images``, RGB.

        The changes of Y are multiplied by ``strengths``, float32 ``[N, 1 + CORRECTIONS]``, and added; zeros change
        nothing.
        """
        luma = ops.cast(ycbcr[..., :1], "float32") + mix(self(ycbcr), strengths)
        luma = ops.cast(ops.clip(ops.round(luma), 0, 255), "uint8")
        return {"images": ycbcr_to_rgb(ops.concatenate([luma, ycbcr[..., 1:]], axis=-1))}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Filter one image with the best strengths for it; the loss is that of training.

        Args:
            image: ``uint8 [H, W, 2]``: decoded and true luma.
        """
        pair = ops.convert_to_tensor(image[None])
        changes = self(pair)
        luma = ops.cast(pair, "float32")
        mended = luma[..., :1] + mix(changes, best_strengths(changes, luma[..., 1:] - luma[..., :1]))
        reconstruction = np.clip(np.round(ops.convert_to_numpy(mended)[0]), 0, 255).astype(np.uint8)
        loss = float(self.compute_loss(x=pair, y_pred=changes))
        return EvaluatedImage(original=image[..., 1:], reconstruction=reconstruction, bpp=None, loss=loss, latents={})


def mix(changes: Any, strengths: Any) -> Any:
    """Changes ``[N, H, W, K]`` times strengths ``[N, K]``, added: ``[N, H, W, 1]``."""
    return ops.sum(changes * strengths[:, None, None], axis=-1, keepdims=True)


def best_strengths(changes: Any, missing: Any) -> Any:
    """Strengths with which the changes come closest to the missing luma.

    Args:
        changes: float32 ``[N, H, W, K]``.
        missing: float32 ``[N, H, W, 1]``: true luma less decoded.

    Returns:
        float32 ``[N, K]``: of least squares, then in steps of 1/:data:`FILTER_UNIT` within a signed byte.
    """
    products = ops.einsum("nhwi,nhwj->nij", changes, changes)
    ridge = 1e-6 * (1 + ops.einsum("nii->n", products))  # where changes are alike, or none
    products = products + ridge[:, None, None] * ops.eye(changes.shape[-1])
    strengths = ops.solve(products, ops.einsum("nhwi,nhwj->nij", changes, missing))[..., 0]
    return ops.clip(ops.round(FILTER_UNIT * strengths), -128, 127) / FILTER_UNIT


def _reset(
    layer: Conv2D, inputs: Any, readers: Sequence[tuple[Any, int]], random: np.random.Generator
) -> tuple[Any, int]:
    """New weights for the dormant channels of one layer; see :meth:`LumaFilter.reset_dormant_channels`.

    Args:
        layer: a convolution with ReLU.
        inputs: of the layer.
        readers: the convolutions that read its channels, and where these begin among their inputs.
        random: a NumPy generator.

    Returns:
        The output of the layer then, and how many channels were dormant.
    """
    values = layer(inputs)
    active = ops.convert_to_numpy(ops.cast(values, "float32"))
    means = active.mean((0, 1, 2))
    dormant = np.flatnonzero(means <= DORMANT * means.mean())
    if not len(dormant):
        return values, 0
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


# === Presets ===

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

# Codec, its name in the preset's, and quality; the first is the paper's, at its rate (§4).
for _codec, _short, _quality in (
    ("svac", "svac", 48),
    ("svac", "svac", 44),
    ("svac", "svac", 52),
    ("jpeg-420", "jpeg", 20),
    ("bpg-ycbcr420", "bpg", 36),
    ("bpg-ycbcr444", "bpg444", 34),
):
    register(
        Preset(
            name=f"hu2018-filter-{_short}-q{_quality}",
            paper=_PAPER,
            model=LumaFilter,
            config={},
            recipe=_RECIPE,
            inner=(_codec, _quality),
            data="decoded-luma",
            significant_bits=7,
            reproduces="§5: gain over the codec" + ("" if _codec == "svac" else f" ({_codec}: beyond the paper)"),
        )
    )
