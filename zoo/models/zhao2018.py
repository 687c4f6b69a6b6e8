"""Mixed-resolution codec around JPEG: Zhao et al. 2018, "Mixed-resolution image representation and compression with
convolutional neural networks" (arXiv 1802.01447).

    image ─▶ description (FDNN) ─▶ Y ─▶ JPEG ─▶ Z ─▶ post (PPNN) ─▶ image
    [N,H,W,1]                 [N,H/s,W/s,1]                       [N,H,W,1]
                                   └──▶ virtual (VCNN) ──▶ the same, with a gradient

Reproduced: §2.2 (networks), §2.1 (L1 content and gradient-difference losses, SSIM loss), §2.3 (alternating training).
A model has a *branch* for low resolution (half the sides) and one for high; each learns for the JPEG qualities of its
rates (§3.2). Jiang's method (``jiang2017``) trains the description through the post network itself, by squared error,
as if there were no codec; it is here with Zhao's networks, as in Zhao's comparison.

Where the paper is silent or we differ:

- **Luma only** goes through the networks, as in the paper. Colour images: chroma is halved with luma where the
  branch is low, coded by the same JPEG file (4:2:0), and interpolated.
- **Start.** Each network adds to a resampled image (means of 2×2, bilinear), and its last layer starts at zero:
  training starts from JPEG of the resampled image, which is also the paper's first representation (§2.3).
- **One branch for several qualities**, in turn, instead of a network for each: two sevenths of the weights.
- **Alternation**: post, virtual, description, a hundred steps each, over and over.
- ∇ in Eq. 3 is the difference to the right and lower neighbour. SSIM has the Gaussian window of its authors.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from PIL import Image

from codec_zoo.color import rgb_to_ycbcr, ycbcr_to_rgb
from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Learner, Signature, TensorSpecs
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.layers import DETAIL
from codec_zoo.layers.resampling import DOUBLE, double, pad_to_multiple, sizes
from codec_zoo.metrics import EvaluatedImage, ssim
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import Window, pooling, window
from codec_zoo.stream import Latent, Stream, StreamLayer
from codec_zoo.stream_coders import Alternative, Choice, ImageCodec

# Steps for each network in turn.
TURN = 100
# Squared error that a bit a pixel is worth on JPEG's curve at these rates, to choose the best weights.
RATE_WEIGHT = 300.0


# === Layers ===


def _pass_on(shape: Sequence[int], dtype: Any = None) -> Any:
    """Kernel that starts as the identity with a little noise: features of the first layer reach the last at once."""
    kernel = keras.initializers.HeNormal()(shape, dtype) * 0.25
    identity = np.zeros(shape, "float32")
    identity[shape[0] // 2, shape[1] // 2] = np.eye(shape[2], shape[3])
    return kernel + ops.convert_to_tensor(identity, dtype)


def convolutions(name: str, first: int, channels: int, inner: int, stride: int = 1) -> list[keras.layers.Layer]:
    """A 9×9 (or ``first``) and ``inner`` 3×3 convolutions with ReLU; the first of those has the stride."""
    kernels_strides = [(first, 1), *((3, stride if i == 0 else 1) for i in range(inner))]
    return [
        Conv2D(
            channels,
            kernel,
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer=_pass_on if i else "he_normal",
            name=f"{name}{i}",
        )
        for i, (kernel, strides) in enumerate(kernels_strides)
    ]


def last_layer(name: str, kernel: int, scale: int = 1) -> keras.layers.Layer:
    """The layer that gives one channel, of ``scale`` times the sides; it starts at zero."""
    if scale == 1:
        return Conv2D(1, kernel, padding="same", kernel_initializer="zeros", name=name)
    return Conv2DTranspose(1, kernel, strides=scale, padding="same", kernel_initializer="zeros", name=name)


def fdnn(channels: int, scale: int) -> keras.Sequential:
    """Feature description network (§2.2): eight convolutions, the second with stride ``scale``."""
    layers = [*convolutions("conv", 9, channels, 6, scale), last_layer("conv7", 9)]
    return keras.Sequential([keras.Input((None, None, 1)), *layers], name="description")


def ppnn(channels: int, scale: int, name: str = "post") -> keras.Sequential:
    """Post-processing network (§2.2): seven convolutions, then a 9×9 (de)convolution."""
    layers = [*convolutions("conv", 9, channels, 6), last_layer("conv7", 9, scale)]
    return keras.Sequential([keras.Input((None, None, 1)), *layers], name=name)


@keras.saving.register_keras_serializable("codec_zoo")
class Branch(keras.layers.Layer):
    """The networks of one resolution.

    Args:
        scale: 2 for low resolution, 1 for high.
        qualities: of JPEG, for which it learns.
        method: of training: ``"virtual"`` (Zhao) or ``"jiang"``.
        channels: inside the networks.
    """

    # Whether ``post`` gets the representation at the size of the image.
    upscales_first: ClassVar[bool] = False

    def __init__(
        self, scale: int, qualities: Sequence[int], method: str = "virtual", channels: int = 128, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if scale not in (1, 2):
            raise ValueError(f"the scale must be 1 or 2. Received: {scale}")
        if method not in ("virtual", "jiang"):
            raise ValueError(f"method must be virtual or jiang. Received: {method!r}")
        self.description, self.post = self.make_networks(channels, scale)
        if method == "virtual":
            self.virtual = ppnn(channels, scale, "virtual")
        self.scale = scale
        self.qualities = tuple(qualities)
        self.method = method
        self.channels = channels
        self.built = True

    def make_networks(self, channels: int, scale: int) -> tuple[keras.Sequential, keras.Sequential]:
        """The description and the post network."""
        return fdnn(channels, scale), ppnn(channels, scale)

    def represent(self, luma: Any, training: bool = False) -> Any:
        """Y of an image: float32 ``[N, H, W, 1]``, 0 … 255, sides multiples of the scale → ``[N, H/s, W/s, 1]``."""
        luma = ops.cast(luma, "float32")
        small = ops.average_pool(luma, self.scale, self.scale, padding="valid") if self.scale > 1 else luma
        detail = self.description(luma / 255.0 - 0.5, training=training)
        return ops.clip(small + DETAIL * ops.cast(detail, "float32"), 0.0, 255.0)

    def restore(self, representation: Any, network: Any = None, training: bool = False) -> Any:
        """A representation, coded or not → luma, float32 ``[N, H, W, 1]``; by ``post`` or another network."""
        network = network or self.post
        large = self.upscale(representation)
        given = large if self.upscales_first else ops.cast(representation, "float32")
        return large + DETAIL * ops.cast(network(given / 255.0 - 0.5, training=training), "float32")

    def upscale(self, representation: Any) -> Any:
        """s(·): bilinear, to the size of the image; float32."""
        representation = ops.cast(representation, "float32")
        return double(representation) if self.scale == 2 else representation

    def represent_window(self) -> Window:
        """The window of the representation in the image."""
        return window(self.description) | pooling(self.scale, self.scale)

    def restore_window(self) -> Window:
        """The window of the image in the representation."""
        upscaled = DOUBLE if self.scale == 2 else Window()
        post = upscaled.then(window(self.post)) if self.upscales_first else window(self.post)
        return (upscaled | post).of_latents(self.scale)

    def losses_of(self) -> list[tuple[keras.layers.Layer, Any]]:
        """In the order of training: the network that learns, and its loss of named inputs."""
        losses = [(self.post, self._post_loss)]
        if self.method == "virtual":
            losses.append((self.virtual, self._virtual_loss))
        return [*losses, (self.description, self._description_loss)]

    def _distance(self, wanted: Any, got: Any) -> Any:
        """L (Eq. 2 and 3) of Zhao, or Jiang's squared error, of images in 0 … 255."""
        difference = (ops.cast(wanted, "float32") - got) / 255.0
        if self.method != "virtual":
            return ops.mean(ops.square(difference))
        down = ops.mean(ops.abs(difference[:, 1:] - difference[:, :-1]))
        right = ops.mean(ops.abs(difference[:, :, 1:] - difference[:, :, :-1]))
        return ops.mean(ops.abs(difference)) + down + right

    def _post_loss(self, given: Mapping[str, Any]) -> Any:
        """Z → X."""
        return self._distance(given["picture"], self.restore(given["coded"], training=True))

    def _virtual_loss(self, given: Mapping[str, Any]) -> Any:
        """Y → the output of post for Z."""
        wanted = ops.stop_gradient(self.restore(given["coded"]))
        return self._distance(wanted, self.restore(given["representation"], self.virtual, training=True))

    def _description_loss(self, given: Mapping[str, Any]) -> Any:
        """X → Y, judged behind the virtual codec, or, by Jiang, behind post as if nothing were coded."""
        representation = self.represent(given["picture"], training=True)
        if self.method != "virtual":
            return self._distance(given["picture"], self.restore(representation))
        loss = self._distance(given["picture"], self.restore(representation, self.virtual))
        similar = ssim(ops.cast(given["picture"], "float32") / 255.0, self.upscale(representation) / 255.0, 1.0)
        return loss + 1.0 - ops.mean(similar)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(scale=self.scale, qualities=self.qualities, method=self.method, channels=self.channels)
        return config


def code_gray(picture: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """``uint8 [H, W, 1]`` through JPEG: the decoded image, and the bytes of the file."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0]).save(file, "JPEG", quality=quality, optimize=True)
    return np.asarray(Image.open(file))[..., None], file.tell()


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class MixedResolution(CompressionModel):
    """Representations for JPEG at one or two resolutions.

    Args:
        branches: name → arguments of its :class:`Branch`.
    """

    branch_class: ClassVar[type[Branch]] = Branch

    def __init__(self, branches: Mapping[str, Mapping[str, Any]], **kwargs: Any):
        super().__init__(**kwargs)
        self.branches = [self.branch_class(**config, name=name) for name, config in branches.items()]
        self.branch_configs = {name: dict(config) for name, config in branches.items()}
        self.built = True

    @classmethod
    def make_stream(cls, branches: Mapping[str, Mapping[str, Any]]) -> Stream:
        """How files are coded; arguments of the constructor."""
        jpeg = ImageCodec("jpeg-420", quality=10, qualities=(5, 10, 20, 40), ycbcr=True, gray=True)
        scales = {name: branch["scale"] for name, branch in branches.items()}
        resolutions = tuple(Alternative(name, jpeg, scale, f"_{name}", scale) for name, scale in scales.items())
        stride = max(scales.values())
        latent = Latent("representation", Choice("resolution", "auto", resolutions), stride, channels=3)
        return Stream((StreamLayer("representation", (latent,), decode="decode"),), stride)

    @property
    def stride(self) -> int:
        """The largest scale."""
        return max(branch.scale for branch in self.branches)

    def call(self, images: Any, training: bool | None = None) -> list[Any]:
        """Luma, float or ``uint8 [N, H, W, 1]`` → the restored luma of each branch, without a codec."""
        return [branch.restore(branch.represent(images)) for branch in self.branches]

    def learners(self) -> list[keras.Model]:
        """Of each branch: post, virtual, description."""
        return [
            Learner(branch, [layer], loss, name=f"{branch.name}_{layer.name}")
            for branch in self.branches
            for layer, loss in branch.losses_of()
        ]

    def learn(self, learners: Sequence[Any], batch: np.ndarray, step: int) -> dict[str, Any]:
        """Branches and networks take turns; representations are really coded. The loss is named after both.

        Args:
            learners: compiled.
            batch: ``uint8 [N, P, P, 1]``, luma; a high branch beside a low one gets the middle quarter of each
                patch, for representations of the same size.
            step: number of the step.
        """
        turn = step // TURN % len(learners)
        branch = learners[turn].model
        side = batch.shape[1] * branch.scale // self.stride
        start = (batch.shape[1] - side) // 2
        given = {"picture": np.asarray(batch)[:, start : start + side, start : start + side]}
        if learners[turn] is not learners[-1] and learners[turn + 1].model is branch:  # all but the description
            representation = ops.convert_to_numpy(branch.represent(given["picture"]))
            quality = branch.qualities[step % len(branch.qualities)]
            rounded = np.round(representation).astype(np.uint8)
            given["coded"] = np.stack([code_gray(picture, quality)[0] for picture in rounded])
            given["representation"] = representation
        return {f"loss_{learners[turn].name}": learners[turn].train_on_batch(given)}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode_NAME`` and ``decode_NAME`` of each branch; ``encode`` and ``decode`` of the first."""
        functions = {}
        coded: TensorSpecs = {"representation": IMAGES, "size": SIZE}
        for name, branch in self._by_suffix().items():
            functions[f"encode{name}"] = Signature(
                lambda images, branch=branch: self.encode(images, branch), {"images": IMAGES}, coded
            )
            functions[f"decode{name}"] = Signature(
                lambda representation, size, branch=branch: self.decode(representation, size, branch),
                coded,
                {"images": IMAGES},
            )
        return functions

    def _by_suffix(self) -> dict[str, Branch]:
        """Suffix of ``encode`` and ``decode`` → branch."""
        return {"": self.branches[0], **{f"_{branch.name}": branch for branch in self.branches}}

    def windows(self) -> dict[str, list[Window]]:
        """Of all signatures."""
        branches = self._by_suffix().items()
        return {f"encode{name}": [branch.represent_window()] for name, branch in branches} | {
            f"decode{name}": [branch.restore_window()] for name, branch in branches
        }

    def encode(self, images: Any, branch: Branch) -> dict[str, Any]:
        """The input of JPEG.

        Args:
            images: ``uint8 [N, H, W, 3]`` RGB.
            branch: of which resolution.

        Returns:
            ``representation``: ``uint8 [N, h, w, 3]``, Y, Cb, Cr; ``size``: ``int32 [N, 2]``, H and W.
        """
        ycbcr = ops.cast(pad_to_multiple(rgb_to_ycbcr(images), branch.scale), "float32")
        chroma = ycbcr[..., 1:]
        if branch.scale > 1:
            chroma = ops.average_pool(chroma, branch.scale, branch.scale, padding="valid")
        representation = ops.concatenate([branch.represent(ycbcr[..., :1]), chroma], axis=-1)
        return {"representation": ops.cast(ops.round(representation), "uint8"), "size": sizes(images)}

    def decode(self, representation: Any, size: Any, branch: Branch) -> dict[str, Any]:
        """Inverse of :meth:`encode`, from the output of JPEG: ``images``, ``uint8 [N, H, W, 3]`` RGB."""
        values = ops.concatenate(
            [branch.restore(representation[..., :1]), branch.upscale(representation[..., 1:])], axis=-1
        )
        images = ycbcr_to_rgb(ops.cast(ops.clip(ops.round(values), 0, 255), "uint8"))
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Code an image by each branch at the middle one of its qualities, through real JPEG.

        The loss is the mean over branches of squared error + 300 · bpp; the rest is of the first branch.

        Args:
            image: ``uint8 [H, W, 1]``, luma.
        """
        height, width = (side - side % self.stride for side in image.shape[:2])
        image = image[:height, :width]
        losses, shown = [], []
        for branch in self.branches:
            representation = np.round(ops.convert_to_numpy(branch.represent(image[None]))).astype(np.uint8)
            coded, size = code_gray(representation[0], branch.qualities[len(branch.qualities) // 2])
            restored = np.clip(np.round(ops.convert_to_numpy(branch.restore(coded[None]))), 0, 255).astype(np.uint8)[
                0
            ]
            bpp = 8 * size / (height * width)
            losses.append(float(np.mean(np.square(restored.astype(np.float64) - image))) + RATE_WEIGHT * bpp)
            shown.append((restored, bpp))
        return EvaluatedImage(
            original=image,
            reconstruction=shown[0][0],
            bpp=shown[0][1],
            loss=float(np.mean(losses)),
            latents={},
        )

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(branches=self.branch_configs)
        return config


# === Presets ===

_PAPER = Paper(
    authors="Lijun Zhao, Huihui Bai, Feng Li, Anhong Wang, Yao Zhao",
    title="Mixed-resolution image representation and compression with convolutional neural networks",
    year=2018,
    url="https://arxiv.org/abs/1802.01447",
)
RECIPE = Recipe(
    patch_size=160,
    batch_size=16,
    steps=120_000,
    learning_rate=1e-4,
    schedule="halving",
    note="§3.1: 3,200 patches of 160×160 from 400 pictures of 180×180, Adam 1e-4, half from 3/5 of the steps on, a "
    "quarter from 4/5. Batch and steps are not given.",
)
_LOW, _HIGH = {"scale": 2, "qualities": (5, 10, 20)}, {"scale": 1, "qualities": (10, 20, 30, 40)}

for _name, _branches, _shows in (
    ("zhao2018-mixed", {"low": _LOW, "high": _HIGH}, "Fig. 2 (proposed)"),
    (
        "zhao2018-jiang",
        {name: {**branch, "method": "jiang"} for name, branch in (("low", _LOW), ("high", _HIGH))},
        "Fig. 2 (Jiang's, mixed)",
    ),
):
    register(
        Preset(
            name=_name,
            paper=_PAPER,
            model=MixedResolution,
            config={"branches": _branches},
            recipe=RECIPE,
            reproduces=_shows,
            data="luma",
        )
    )
