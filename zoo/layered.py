"""Learned transform codecs, alone (Ballé 2017, Ballé 2018) or stacked into layers (Jia 2019).

One layer codes what the layers below left over, r = x − x̂ of below (below the lowest: mid-gray):

    r ─▶ analysis ─▶ y ──────────────── round ─▶ ŷ ─▶ synthesis ─▶ r̂ ,  x̂ = x̂ of below + r̂
    [N,H,W,3]       [N,H/16,W/16,C]             │
                     │ |y|                 Gaussian, σ
                     ▼                          │
               hyper_analysis ─▶ z ─ round ─▶ hyper_synthesis        z: factorized prior
                            [N,H/64,W/64,M]

A layer without a hyperprior (Ballé 2017) has no z: y is under the factorized prior itself.

Training is in float32. The hyper-synthesis, on which a decoder's choice of tables hangs, also runs in exact
integer arithmetic (:meth:`HyperSynthesis.exact`): every machine, thread count and compiler gives the same tables.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import LearnsAsOne, Signature
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.entropy_models import (
    SCALE_MAX,
    SCALE_MIN,
    FactorizedPrior,
    UniformNoise,
    bits,
    gaussian_likelihood,
    round_straight_through,
    scale_table,
    scale_thresholds,
    to_scale,
)
from codec_zoo.layers import GDN, pad_to_multiple, sizes
from codec_zoo.metrics import MS_SSIM_SIDE, Probe, ms_ssim
from codec_zoo.stream import Latent, RangeCoder, Rows, Stream, StreamLayer

# Jia 2019, Fig. 2, after Ballé 2017: of the analysis, first layer first.
KERNELS, STRIDES = (9, 5, 5), (4, 2, 2)
# Factor of the maps inside the transforms at the start, while the pools of GDN are its own. On a Kodak picture at
# λ = 3, four stages, 128 and 192 maps, the start gives 39.9 dB with 0.25 and 26.0 dB with 1.
SMALL = 0.25
# As many patches as :meth:`LayeredAutoencoder.balance` measures maps on.
MEASURED = 8


def _reach(kernel: int, stride: int) -> int:
    """Pixels to the right of a place that a strided convolution with "same" padding looks at; fewer to the left."""
    return kernel - 1 - (kernel - stride) // 2


def analysis_transform(maps: int, latents: int, kernels: Sequence[int], strides: Sequence[int]) -> keras.Sequential:
    """Convolutions with GDN between: float ``[N, H, W, 3]`` → ``[N, H/s, W/s, latents]``."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, 3))]
    last = len(kernels) - 1
    for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        width = latents if i == last else maps
        layers.append(Conv2D(width, kernel, strides=stride, padding="same", name=f"conv{i}"))
        if i < last:
            layers.append(GDN(name=f"gdn{i}"))
    return keras.Sequential(layers, name="analysis")


def synthesis_transform(maps: int, latents: int, kernels: Sequence[int], strides: Sequence[int]) -> keras.Sequential:
    """Mirror of the analysis, with inverse GDN: float ``[N, h, w, latents]`` → ``[N, h·s, w·s, 3]``."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, latents))]
    for i in reversed(range(len(kernels))):
        width = maps if i else 3
        layers.append(Conv2DTranspose(width, kernels[i], strides=strides[i], padding="same", name=f"conv{i}"))
        if i:
            layers.append(GDN(inverse=True, name=f"igdn{i}"))
    return keras.Sequential(layers, name="synthesis")


def hyper_analysis(latents: int, maps: int) -> keras.Sequential:
    """|y| → z: float ``[N, h, w, latents]`` → ``[N, h/4, w/4, maps]`` (Ballé 2018, Fig. 4)."""
    return keras.Sequential(
        [
            keras.Input((None, None, latents)),
            Conv2D(maps, 3, padding="same", activation="relu", name="conv0"),
            Conv2D(maps, 5, strides=2, padding="same", activation="relu", name="conv1"),
            Conv2D(maps, 5, strides=2, padding="same", name="conv2"),
        ],
        name="hyper_analysis",
    )


@keras.saving.register_keras_serializable("codec_zoo")
class HyperSynthesis(keras.layers.Layer):
    """ẑ → for each latent, its standard deviation, as a row of the scale table (Ballé 2018, Fig. 4).

    Args:
        latents: channels of y.
        maps: channels of z.

    Call: float32 integers ``[N, h, w, maps]`` → float32 standard deviations ``[N, 4h, 4w, latents]``.
    """

    # Fixed point of the exact version: fractional bits of weights and of the values between layers.
    WEIGHT_BITS, VALUE_BITS = 14, 10
    # What values are clipped to, so that no sum passes 2^53 and every float64 sum is exact.
    MAX_HYPER_LATENT, MAX_VALUE = 2.0**15, 2.0**26

    def __init__(self, latents: int, maps: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.stages: list[Any] = [
            Conv2DTranspose(maps, 5, strides=2, padding="same", dtype="float32", name="conv0"),
            Conv2DTranspose(maps, 5, strides=2, padding="same", dtype="float32", name="conv1"),
            Conv2D(latents, 3, padding="same", dtype="float32", name="conv2"),
        ]
        self.latents = latents
        self.maps = maps

    def build(self, input_shape):
        """Build the parts, so that weights load before the first call."""
        for stage in self.stages:
            stage.build((None, None, None, self.maps))

    def call(self, inputs):
        """In float32; see the class."""
        first, second, last = self.stages
        return to_scale(last(ops.relu(second(ops.relu(first(inputs))))))

    def exact(self, hyper_latents):
        """In exact arithmetic: int32 ``[N, h, w, maps]`` → int32 ``[N, 4h, 4w, latents]``, 0 … 63.

        Integer weights and values are held in float64. Every product and every partial sum is an integer
        below 2^53 (:meth:`check_exact`), hence exact in whatever order a machine adds. JAX has float64 only with
        ``JAX_ENABLE_X64=1``; without it the result is good for estimates, not for files.
        """
        limit = self.MAX_HYPER_LATENT
        x = ops.clip(ops.cast(hyper_latents, "float64"), -limit, limit)
        fraction = 0  # fractional bits of x
        for i, stage in enumerate(self.stages):
            kernel, bias = self._integers(stage, fraction)
            if i < 2:
                x = ops.conv_transpose(x, kernel, strides=2, padding="same") + bias
                x = x * 2.0 ** (self.VALUE_BITS - fraction - self.WEIGHT_BITS)
                # ReLU and floor; not ops.floor, which gives float32 on some backends.
                x = ops.cast(ops.cast(ops.clip(x, 0.0, self.MAX_VALUE), "int64"), "float64")
                fraction = self.VALUE_BITS
            else:
                x = ops.conv(x, kernel, padding="same") + bias
        thresholds = np.round(scale_thresholds() * 2.0 ** (fraction + self.WEIGHT_BITS))
        rows = ops.searchsorted(thresholds, ops.reshape(x, (-1,)), side="right")
        return ops.reshape(ops.cast(rows, "int32"), ops.shape(x))

    def _integers(self, stage, fraction: int):
        """Kernel and bias of a stage as integers in float64, for inputs with ``fraction`` fractional bits."""
        kernel = ops.round(ops.cast(stage.kernel, "float64") * 2.0**self.WEIGHT_BITS)
        return kernel, ops.round(ops.cast(stage.bias, "float64") * 2.0 ** (self.WEIGHT_BITS + fraction))

    def check_exact(self) -> None:
        """Raise ``ValueError`` if a sum of :meth:`exact` could pass 2^53 with these weights."""
        largest, fraction = self.MAX_HYPER_LATENT, 0
        for i, stage in enumerate(self.stages):
            kernel, bias = (np.abs(ops.convert_to_numpy(value)) for value in self._integers(stage, fraction))
            inputs = (0, 1, 3) if i < 2 else (0, 1, 2)  # a transposed kernel is [h, w, out, in]
            worst = (kernel.sum(inputs) * largest + bias).max()
            if not worst < 2.0**53:
                raise ValueError(f"{self.name}: a sum may reach {worst:.3g}, beyond exact float64 integers.")
            largest, fraction = self.MAX_VALUE, self.VALUE_BITS

    def compute_output_shape(self, input_shape):
        """Four times the height and width, ``latents`` channels."""
        count, height, width, _ = input_shape
        return (count, height and 4 * height, width and 4 * width, self.latents)

    def get_config(self):
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("dtype", None)
        config.update(latents=self.latents, maps=self.maps)
        return config


@keras.saving.register_keras_serializable("codec_zoo")
class TransformCodec(keras.layers.Layer):
    """One layer: transforms, hyper-transforms and prior.

    Args:
        maps: channels inside the transforms.
        latents: channels of y.
        hyper_maps: channels of z; None: no hyperprior, y is under the factorized prior.
        kernels: kernel sides of the analysis, first layer first.
        strides: its strides.

    Call: float32 ``[N, H, W, 3]``, sides multiples of ``stride`` → reconstruction, the same shape; bits of y and
    z with noise, float32 ``[N]``.
    """

    def __init__(
        self,
        maps: int,
        latents: int,
        hyper_maps: int | None,
        kernels: Sequence[int] = KERNELS,
        strides: Sequence[int] = STRIDES,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.analysis = analysis_transform(maps, latents, kernels, strides)
        self.synthesis = synthesis_transform(maps, latents, kernels, strides)
        if hyper_maps:
            self.hyper_analysis = hyper_analysis(latents, hyper_maps)
            self.hyper_synthesis = HyperSynthesis(latents, hyper_maps, name="hyper_synthesis")
        self.prior = FactorizedPrior(name="prior")
        self.noise = UniformNoise(name="noise")
        self.maps = maps
        self.latents = latents
        self.hyper_maps = hyper_maps
        self.kernels = tuple(kernels)
        self.strides = tuple(strides)

    @property
    def stride(self) -> int:
        """Side of the picture over side of the smallest latent."""
        return (4 if self.hyper_maps else 1) * int(np.prod(self.strides))

    def build(self, input_shape=None):
        """Build what its parts have not built yet."""
        if self.hyper_maps:
            self.hyper_synthesis.build((None, None, None, self.hyper_maps))
        self.prior.build((None, None, None, self.hyper_maps or self.latents))

    def call(self, inputs, training=None):
        """With noise in the rate and straight-through rounding in the reconstruction; see the class."""
        y = ops.cast(self.analysis(inputs), "float32")
        if self.hyper_maps:
            z = ops.cast(self.hyper_analysis(ops.abs(y)), "float32")
            scale = self.hyper_synthesis(round_straight_through(z))
            spent = _total(bits(self.prior(self.noise(z)))) + _total(bits(gaussian_likelihood(self.noise(y), scale)))
        else:
            spent = _total(bits(self.prior(self.noise(y))))
        return ops.cast(self.synthesis(round_straight_through(y)), "float32"), spent

    def encode(self, inputs):
        """Float32 ``[N, H, W, 3]`` → y, z: int32 ``[N, h, w, C]``; z is None without a hyperprior."""
        y = ops.cast(self.analysis(inputs), "float32")
        z = ops.cast(ops.round(self.hyper_analysis(ops.abs(y))), "int32") if self.hyper_maps else None
        return ops.cast(ops.round(y), "int32"), z

    def decode(self, y):
        """int32 y → float32 ``[N, H, W, 3]``."""
        return ops.cast(self.synthesis(ops.cast(y, "float32")), "float32")

    def cross_entropy(self, y, z):
        """Bits of rounded latents under the tables that a decoder will use: float32 ``[N]``."""
        y = ops.cast(y, "float32")
        if not self.hyper_maps:
            return _total(bits(self.prior(y)))
        scale = ops.take(scale_table().astype("float32"), self.hyper_synthesis.exact(z))
        return _total(bits(self.prior(ops.cast(z, "float32")))) + _total(bits(gaussian_likelihood(y, scale)))

    def initialize(self, inputs: np.ndarray, step: float) -> None:
        """Start as a linear transform code of the data: principal components of blocks, stage by stage.

        Stage i merges the block of its stride into the principal components of what stage i − 1 gives; what the
        components leave free keeps a tenth of its random values. The synthesis is the transpose. The scales of y
        start as those of the data.

        Args:
            inputs: float32 ``[N, H, W, 3]``, sides multiples of ``stride``.
            step: standard deviation, in the units of ``inputs``, that becomes one quantisation step of y.
        """
        maps, last = inputs, len(self.strides) - 1
        for i, (kernel, stride) in enumerate(zip(self.kernels, self.strides, strict=True)):
            count, height, width, channels = maps.shape
            blocks = maps.reshape(count, height // stride, stride, width // stride, stride, channels)
            blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, stride * stride * channels)
            _, components = np.linalg.eigh(blocks.T @ blocks / len(blocks))
            out = self.latents if i == last else self.maps
            kept = min(out, components.shape[0])
            components = components[:, ::-1][:, :kept]
            # Inside, maps stay small: there GDN is almost linear and the transpose an inverse.
            gain = (1 / step if i == last else 1.0) * (SMALL if i == 0 else 1.0) / (SMALL if i == last else 1.0)
            first = (kernel - stride) // 2  # where "same" padding puts the block inside the kernel
            inside = slice(first, first + stride)
            for stage, factor in (
                (self.analysis.get_layer(f"conv{i}"), gain),
                (self.synthesis.get_layer(f"conv{i}"), 1 / gain),
            ):
                weights = 0.1 * ops.convert_to_numpy(stage.kernel)
                weights[..., :kept] = 0
                weights[inside, inside, :, :kept] = components.reshape(stride, stride, channels, kept)
                stage.kernel.assign(factor * weights)
            maps = np.zeros((count, height // stride, width // stride, out), np.float32)
            maps[..., :kept] = (blocks @ components).reshape(*maps.shape[:3], kept)
        if self.hyper_maps:
            scale = np.clip(maps.std((0, 1, 2)) / step, 2 * SCALE_MIN, SCALE_MAX)
            self.hyper_synthesis.stages[-1].bias.assign(scale + np.log(-np.expm1(-scale)))

    def balance(self, inputs: np.ndarray) -> None:
        """Scale the maps inside the transforms to a root mean square of 1, the pools of GDN against it.

        The codec stays the same. But where maps are small GDN is a linear map, and its pools are far from where they
        would not be: an optimizer moves each weight by about its rate, however little that changes.

        Args:
            inputs: float32 ``[N, H, W, 3]``, sides multiples of ``stride``.
        """
        latents = ops.round(ops.cast(self.analysis(inputs), "float32"))
        for network, maps in ((self.analysis, inputs), (self.synthesis, latents)):
            last = [layer for layer in network.layers if not isinstance(layer, GDN)][-1]
            before = 1.0  # what the maps are multiplied by already
            for stage in network.layers:
                maps = ops.cast(stage(maps), "float32")
                if isinstance(stage, GDN):
                    roots = ops.abs(stage.gamma_root) / before  # those below 0 have the same squares
                    stage.gamma_root.assign(ops.maximum(roots, GDN.OFF_DIAGONAL))
                    continue
                size = float(ops.convert_to_numpy(ops.sqrt(ops.mean(ops.square(maps)))))
                after = 1 / size if size and stage is not last else 1.0
                stage.kernel.assign(stage.kernel * (after / before))
                stage.bias.assign(stage.bias * after)
                before = after

    def compute_output_shape(self, input_shape):
        """Reconstruction and bits."""
        return input_shape, (input_shape[0],)

    def get_config(self):
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            maps=self.maps,
            latents=self.latents,
            hyper_maps=self.hyper_maps,
            kernels=self.kernels,
            strides=self.strides,
        )
        return config


def _total(values):
    """Sum over all but the batch axis."""
    return ops.sum(values, axis=(1, 2, 3))


@keras.saving.register_keras_serializable("codec_zoo")
class LayeredAutoencoder(LearnsAsOne, keras.Model):
    """A stack of :class:`TransformCodec` of which the top one trains, by D + λ·R (Jia 2019, Eq. 2 and 6).

    Args:
        layers: arguments of each layer's :class:`TransformCodec`, base first.
        rate_weights: λ of each layer: distortion that one bit a pixel is worth.
        distortion: ``"mse"``, squared error on the 0 … 255 scale, or ``"ms_ssim"``, 100 · (1 − MS-SSIM), which
            needs patches of 176 pixels or more.

    Call: ``uint8`` or float ``[N, H, W, 3]``, 0 … 255, sides multiples of ``stride`` → float32 reconstruction on
    the same scale, and the top layer's bits a pixel, float32 ``[N]``.
    """

    GRAY = 127.5

    def __init__(
        self, layers: Sequence[Mapping[str, Any]], rate_weights: Sequence[float], distortion: str = "mse", **kwargs
    ):
        super().__init__(**kwargs)
        if distortion not in ("mse", "ms_ssim"):
            raise ValueError(f"distortion must be 'mse' or 'ms_ssim'. Received: {distortion!r}")
        if len(rate_weights) != len(layers):
            raise ValueError(f"rate_weights has one λ for each layer. Received: {rate_weights!r}")
        self.codecs = [TransformCodec(**config, name=f"layer{i}") for i, config in enumerate(layers)]
        self.layer_configs = [dict(config) for config in layers]
        self.rate_weights = tuple(rate_weights)
        self.rate_share = 1.0  # of λ that counts; a recipe's rate_rise sets it
        self.distortion = distortion
        for codec in self.codecs:
            codec.build()
        for codec in self.codecs[:-1]:
            codec.trainable = False
        self.build((None, None, None, 3))

    @classmethod
    def make_stream(
        cls, layers: Sequence[Mapping[str, Any]], rate_weights: Sequence[float], distortion: str = "mse"
    ) -> Stream:
        """How files are coded; arguments of the constructor."""
        stacked = []
        for k, layer in enumerate(layers, 1):
            step = math.prod(layer.get("strides", STRIDES))
            hyper, channels = layer["hyper_maps"], layer["latents"]
            y = RangeCoder("y", Rows(f"entropy_parameters_{k}", (f"z{k}",))) if hyper else RangeCoder(f"y{k}")
            entries = [Latent(f"z{k}", RangeCoder(f"z{k}"), 4 * step, hyper)] if hyper else []
            entries.append(Latent(f"y{k}", y, step, channels))
            refine = f"search_{k}" if distortion == "mse" else None
            stacked.append(StreamLayer("latent", tuple(entries), f"decode_{k}", refine, checked=True))
        return Stream(tuple(stacked), step * (4 if hyper else 1))

    @property
    def receptive_field(self) -> dict[str, int]:
        """Start of a signature's name → pixels around a place that it looks at, in multiples of ``stride``."""
        encoded, decoded, rows = 0, 0, 0
        for i, codec in enumerate(self.codecs):
            step, reached = 1, 0
            for kernel, stride in zip(codec.kernels, codec.strides, strict=True):
                reached += _reach(kernel, stride) * step
                step *= stride
            hyper = (_reach(3, 1) + _reach(5, 2) + _reach(5, 2) * 2) * step if codec.hyper_maps else 0
            decoded, rows = reached, hyper
            # Each layer below was analysed and synthesised before.
            encoded = max(encoded, (2 * i + 1) * reached + hyper)
        fields = {"encode": encoded, "decode": decoded, "search": encoded, "entropy_parameters": rows}
        return {name: -(-pixels // self.stride) * self.stride for name, pixels in fields.items()}

    def adopt(self, lower: "LayeredAutoencoder") -> None:
        """Take over the layers of a trained, lower stack."""
        for mine, trained in zip(self.codecs, lower.codecs, strict=False):
            mine.set_weights(trained.get_weights())

    def initialize(self, images: np.ndarray) -> None:
        """Start the top layer from training patches (:meth:`TransformCodec.initialize`).

        Args:
            images: ``uint8 [N, P, P, 3]``.
        """
        # Where D + λR is least at high rates: D = Δ²/12 a sample falls by 2·ln 2·D for each bit (Gish 1968). At the
        # rates of these models most latents are zero, and three times coarser is better.
        squared_error = self.rate_weights[-1] * (1.0 if self.distortion == "mse" else 30.0)
        self.codecs[-1].initialize(self._residuals(images), 3 * np.sqrt(6 * squared_error / np.log(2)) / 255.0)

    def balance(self, images: np.ndarray) -> None:
        """Before training: scale the top layer's maps (:meth:`TransformCodec.balance`); the codec stays the same.

        Args:
            images: ``uint8 [N, P, P, 3]``, of which the first :data:`MEASURED` count.
        """
        self.codecs[-1].balance(self._residuals(images[:MEASURED]))

    def _residuals(self, images: np.ndarray) -> np.ndarray:
        """What the layers below leave over of patches, in units of 255: float32, the shape of ``images``."""
        below = np.concatenate([ops.convert_to_numpy(self._below(image[None])) for image in images])
        return (images.astype(np.float32) - below) / 255.0

    @property
    def stride(self) -> int:
        """Sides of pictures are padded to multiples of this."""
        return max(codec.stride for codec in self.codecs)

    def build(self, input_shape=None):
        """Everything is built with the parts."""
        self.built = True

    def _below(self, images):
        """What the layers below the top one reconstruct: float32, the shape of ``images``."""
        images = ops.cast(images, "float32")
        below = ops.full_like(images, self.GRAY)
        for codec in self.codecs[:-1]:
            y, _ = codec.encode((images - below) / 255.0)
            below = below + 255.0 * codec.decode(y)
        return ops.stop_gradient(below)

    def call(self, images, training=None):
        """Code and reconstruct; see the class."""
        below = self._below(images)
        residual, spent = self.codecs[-1]((ops.cast(images, "float32") - below) / 255.0, training=training)
        pixels = ops.cast(ops.shape(images)[1] * ops.shape(images)[2], "float32")
        return below + 255.0 * residual, spent / pixels

    def learn(self, learners, batch, step):
        """One step on the batch, with :attr:`rate_share` of λ."""
        weights = np.full(len(batch), self.rate_weights[-1] * self.rate_share, np.float32)
        return {"loss": learners[0].train_on_batch(batch, weights)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Distortion plus bits a pixel times their weights ``y``, float32 ``[N]``."""
        reconstruction, bpp = y_pred
        if self.distortion == "mse":
            distortion = ops.mean(ops.square(reconstruction - ops.cast(x, "float32")))
        else:
            distortion = 100.0 * (1.0 - ops.mean(ms_ssim(ops.cast(x, "float32"), reconstruction)))
        return distortion + ops.mean(ops.convert_to_tensor(y) * bpp)

    @property
    def priors(self) -> dict[str, FactorizedPrior]:
        """``z1``, ``z2`` …: the prior of each layer; ``y1`` … without a hyperprior."""
        return {f"{'z' if codec.hyper_maps else 'y'}{k}": codec.prior for k, codec in enumerate(self.codecs, 1)}

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Nothing beyond the loss, which mixes rate and distortion."""
        return {}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode``; ``entropy_parameters_k`` of a layer with z; ``decode_k`` from layers 1 … k; ``decode``."""
        latents = {f"y{k}": ("int32", (None, None, None, c.latents)) for k, c in enumerate(self.codecs, 1)}
        functions = {"encode": Signature(self.encode, {"images": ("uint8", (None, None, None, 3))})}
        for k, codec in enumerate(self.codecs, 1):
            if codec.hyper_maps:
                codec.hyper_synthesis.check_exact()
                functions[f"entropy_parameters_{k}"] = Signature(
                    lambda codec=codec, **z: {"indexes": codec.hyper_synthesis.exact(*z.values())},
                    {f"z{k}": ("int32", (None, None, None, codec.hyper_maps))},
                )
            wanted = {name: latents[name] for name in list(latents)[:k]}
            functions[f"decode_{k}"] = Signature(self.decode, {**wanted, "size": ("int32", (None, 2))})
        return {**functions, "decode": functions[f"decode_{len(self.codecs)}"]}

    def encode(self, images):
        """Picture to latents of all layers.

        Args:
            images: ``uint8 [N, H, W, 3]``, any sides from 1 up.

        Returns:
            ``y1``, ``z1`` (with a hyperprior), ``y2`` …: int32 ``[N, h, w, C]``; ``size``: ``int32 [N, 2]``, H and W
            of each.
        """
        padded = ops.cast(pad_to_multiple(images, self.stride), "float32")
        below = ops.full_like(padded, self.GRAY)
        coded: dict[str, Any] = {}
        for k, codec in enumerate(self.codecs, 1):
            y, z = codec.encode((padded - below) / 255.0)
            coded |= {f"y{k}": y} if z is None else {f"y{k}": y, f"z{k}": z}
            below = below + 255.0 * codec.decode(y)
        return {**coded, "size": sizes(images)}

    def decode(self, size, **latents):
        """Latents of the lowest layers to a picture.

        Args:
            size: ``int32 [N, 2]``, H and W, the same for the whole batch.
            latents: ``y1`` … ``yk``.

        Returns:
            ``images``: ``uint8 [N, H, W, 3]``.
        """
        pixels = self.GRAY + 255.0 * sum(
            codec.decode(y) for codec, y in zip(self.codecs, latents.values(), strict=False)
        )
        images = ops.cast(ops.clip(ops.round(pixels), 0, 255), "uint8")
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    @property
    def least_side(self) -> int:
        """Of patches and held-out pictures, pixels."""
        return MS_SSIM_SIDE if self.distortion == "ms_ssim" else 1

    def probe(self, image: np.ndarray) -> Probe:
        """Code one picture; ``bpp`` is the cross-entropy of all layers' rounded latents, of which files are within
        0.5 %: tables and range coder are the export's and the harness's.

        Args:
            image: ``uint8 [H, W, 3]``.
        """
        coded = self.encode(ops.convert_to_tensor(image[None]))
        spent = [
            float(ops.convert_to_numpy(codec.cross_entropy(coded[f"y{k}"], coded.get(f"z{k}")))[0])
            / (image.shape[0] * image.shape[1])
            for k, codec in enumerate(self.codecs, 1)
        ]
        latents = {f"y{k}": coded[f"y{k}"] for k in range(1, len(self.codecs) + 1)}
        reconstruction = ops.convert_to_numpy(self.decode(coded["size"], **latents)["images"])[0]
        if self.distortion == "mse":
            distortion = float(np.mean(np.square(reconstruction.astype(np.float64) - image)))
        else:
            distortion = 100.0 * (1.0 - float(ms_ssim(image[None], reconstruction[None])[0]))
        return Probe(
            original=image,
            reconstruction=reconstruction,
            bpp=sum(spent),
            loss=distortion + self.rate_weights[-1] * spent[-1],
            latents={name: ops.convert_to_numpy(value) for name, value in coded.items() if name != "size"},
        )

    def get_config(self):
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(layers=self.layer_configs, rate_weights=self.rate_weights, distortion=self.distortion)
        return config
