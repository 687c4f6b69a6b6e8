"""What the learned transform codes share: Ballé 2017, Ballé 2018, Minnen 2018, and the stacks of Jia 2019.

A :class:`TransformCoder` codes the residual r of an image, in units of 255 gray levels:

    r ─▶ analysis ─▶ y ─▶ quantise ─▶ ŷ ─▶ synthesis ─▶ r̂
    [N,H,W,3]   [N,H/s,W/s,C]         │
                                 entropy model

A :class:`RateDistortionModel` is a list of coders, base first: the base codes the image less mid-gray, each other one
the image less the reconstruction of the lower layers. A model of one layer is a coder that is its own only layer. The
top layer trains by D + λ·R.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Refinement, RefinementTask, Signature, TensorSpecs
from codec_zoo.entropy_models import FactorizedPrior, UniformNoise
from codec_zoo.initialization import normalize_activations, start_from_principal_components
from codec_zoo.layers.resampling import pad_to_multiple, sizes
from codec_zoo.metrics import MS_SSIM_SIDE, EvaluatedImage, ms_ssim, psnr_of_error
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, Stream, StreamLayer

# As many patches as :meth:`RateDistortionModel.normalize_activations` measures activations on.
MEASURED = 8


class RateDistortionModel(CompressionModel):
    """One or several layers of transform coding, of which the top one trains by D + λ·R (Jia 2019, Eq. 2 and 6).

    Args:
        rate_weights: λ of each layer: the distortion that one bit a pixel is worth.
        distortion: ``"mse"``, squared error on the 0 … 255 scale, or ``"ms_ssim"``, 100 · (1 − MS-SSIM), which
            needs patches of 176 pixels or more.

    Call: ``uint8`` or float ``[N, H, W, 3]``, 0 … 255, sides multiples of ``stride`` → float32 reconstruction on
    the same scale, and the top layer's bits a pixel, float32 ``[N]``.
    """

    GRAY = 127.5
    # Inputs that all signatures have beside images and latents; the coders' methods take them by name.
    dials: ClassVar[TensorSpecs] = {}
    rate_share: float = 1.0

    def __init__(self, rate_weights: Sequence[float], distortion: str = "mse", **kwargs: Any):
        super().__init__(**kwargs)
        if distortion not in ("mse", "ms_ssim"):
            raise ValueError(f"distortion must be 'mse' or 'ms_ssim'. Received: {distortion!r}")
        self.rate_weights = tuple(rate_weights)
        self.distortion = distortion

    def coders(self) -> Sequence["TransformCoder"]:
        """The layers, base first."""
        raise NotImplementedError

    def initialize(self, images: np.ndarray) -> None:
        """Start the top layer from principal components of training patches, ``uint8 [N, P, P, 3]``."""
        # Where D + λR is least at high rates: D = Δ²/12 a sample falls by 2·ln 2·D for each bit (Gish 1968). At the
        # rates of these models most latents are zero, and three times coarser is better.
        squared_error = self.rate_weights[-1] * (1.0 if self.distortion == "mse" else 30.0)
        step = 3 * np.sqrt(6 * squared_error / np.log(2)) / 255.0
        self.coders()[-1].start_from_residuals(self.residuals(images), step)

    def normalize_activations(self, images: np.ndarray) -> None:
        """Scale the channels inside the top layer's transforms, measured on the first 8 patches.

        Args:
            images: ``uint8 [N, P, P, 3]``.
        """
        top, residuals = self.coders()[-1], self.residuals(images[:MEASURED])
        latents = ops.round(ops.cast(top.analysis(residuals), "float32"))
        normalize_activations(top.analysis, residuals)
        normalize_activations(top.synthesis, latents)

    def residuals(self, images: np.ndarray) -> np.ndarray:
        """Patches less the reconstruction of the lower layers, in units of 255: float32, the shape of ``images``."""
        lower = np.concatenate([ops.convert_to_numpy(self._reconstruct_lower(image[None])) for image in images])
        return (images.astype(np.float32) - lower) / 255.0

    def _reconstruct_lower(self, images: Any) -> Any:
        """The reconstruction of all layers below the top one: float32, the shape of ``images``; mid-gray of none."""
        images = ops.cast(images, "float32")
        lower = ops.full_like(images, self.GRAY)
        for coder in self.coders()[:-1]:
            lower = lower + 255.0 * coder.reconstruct(coder.encode_residual((images - lower) / 255.0))
        return ops.stop_gradient(lower)

    def call(self, images: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Code and reconstruct with the rounding and the noise of training."""
        return self.code_images(images)

    def code_images(self, images: Any, **dials: Any) -> tuple[Any, Any]:
        """The same; ``dials``: of the top layer."""
        lower = self._reconstruct_lower(images)
        images = ops.cast(images, "float32")
        residual, spent = self.coders()[-1].code((images - lower) / 255.0, **dials)
        pixels = ops.cast(ops.shape(images)[1] * ops.shape(images)[2], "float32")
        reconstruction, bpp = lower + 255.0 * residual, sum(spent.values()) / pixels
        if self.recorder:
            k = len(self.coders())
            of_latents = {f"bpp_{name}{k}": ops.mean(value / pixels) for name, value in spent.items()}
            error = ops.mean(ops.square(reconstruction - images))
            self.record({"mse": error, "bpp": ops.mean(bpp), **of_latents})
        return reconstruction, bpp

    @property
    def recorded(self) -> tuple[str, ...]:
        """Bits a pixel of the top layer, of all its latents and of each; the errors; λ, and the terms of the loss."""
        k = len(self.coders())
        of_latents = (f"bpp_{name}{k}" for name in self.coders()[-1].latent_channels_of)
        return ("bpp", *of_latents, "mse", "loss_distortion", "loss_rate", "lambda")

    def scalars(self, means: Mapping[str, float]) -> dict[str, float]:
        """PSNR of the mean squared error, dB."""
        return {"psnr": psnr_of_error(means["mse"])} if "mse" in means else {}

    def learn(self, learners: Sequence[Any], batch: np.ndarray, step: int) -> dict[str, Any]:
        """Do one step on ``uint8 [N, P, P, 3]``, with the fraction ``rate_share`` of λ."""
        weights = np.full(len(batch), self.rate_weights[-1] * self.rate_share, np.float32)
        return {"loss": learners[0].train_on_batch(self.inputs_of(batch, step), weights)}

    def inputs_of(self, batch: np.ndarray, step: int) -> Any:
        """What :meth:`call` takes for patches, ``uint8 [N, P, P, 3]``, at a training step. Default: the patches."""
        return batch

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Distortion plus bits a pixel times their weights ``y``, float32 ``[N]``: a scalar."""
        distortions, rates = self.terms(x, *y_pred)
        weights = ops.convert_to_tensor(y)
        distortion, rate = ops.mean(distortions), ops.mean(weights * rates)
        self.record({"loss_distortion": distortion, "loss_rate": rate, "lambda": ops.mean(weights)})
        return distortion + rate

    def terms(self, inputs: Any, reconstruction: Any, bpp: Any) -> tuple[Any, Any]:
        """Of each image the distortion, and the rate that λ multiplies: float32 ``[N]`` each.

        Args:
            inputs: of :meth:`call`.
            reconstruction: its first output.
            bpp: its second output.
        """
        return self.distortions(inputs, reconstruction), bpp

    def distortions(self, images: Any, reconstruction: Any) -> Any:
        """Squared error, or 100 · (1 − MS-SSIM), of each image: float ``[N, H, W, 3]``, 0 … 255 → float32 ``[N]``."""
        images = ops.cast(images, "float32")
        if self.distortion == "mse":
            return ops.mean(ops.square(reconstruction - images), axis=(1, 2, 3))
        return 100.0 * (1.0 - ms_ssim(images, reconstruction))

    @property
    def min_side(self) -> int:
        """MS-SSIM needs 176 pixels."""
        return MS_SSIM_SIDE if self.distortion == "ms_ssim" else 1

    @property
    def priors(self) -> dict[str, FactorizedPrior]:
        """``z1``, ``z2`` …: the prior of each layer; ``y1`` … without a hyperprior."""
        return {f"{coder.prior_latent}{k}": coder.prior for k, coder in enumerate(self.coders(), 1)}

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode``; ``entropy_parameters_k`` of a layer with z; ``decode_k`` of layers 1 … k; ``decode`` of all.

        ``decode`` takes all outputs of ``encode``, ``decode_k`` only what it needs.
        """
        coded: TensorSpecs = {}
        further: dict[str, Signature] = {}
        for k, coder in enumerate(self.coders(), 1):
            further |= coder.table_signatures(k)
            inputs = {**self._decoder_inputs(k), "size": SIZE}
            further[f"decode_{k}"] = Signature(self.decode, inputs, {"images": IMAGES})
            coded = {**coded, **_latent_specs(k, coder, coder.latent_channels_of)}
        coded = {**coded, **self.dials, "size": SIZE}
        return {
            "encode": Signature(self.encode, {"images": IMAGES, **self.dials}, coded),
            **further,
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def _decoder_inputs(self, count: int) -> TensorSpecs:
        """The latents that the decoder of the first ``count`` layers takes, and the dials."""
        latents: TensorSpecs = {}
        for k, coder in enumerate(self.coders()[:count], 1):
            latents = {**latents, **_latent_specs(k, coder, coder.decoder_latents)}
        return {**latents, **self.dials}

    def encode(self, images: Any, **dials: Any) -> dict[str, Any]:
        """Images to the latents of all layers.

        Args:
            images: ``uint8 [N, H, W, 3]``, any sides from 1 up.
            dials: by the names in :attr:`dials`.

        Returns:
            ``y1``, ``z1`` (with a hyperprior), ``y2`` …: int32 ``[N, h, w, C]``; ``size``: ``int32 [N, 2]``, H and W
            of each; the dials.
        """
        padded = ops.cast(pad_to_multiple(images, self.stride), "float32")
        lower = ops.full_like(padded, self.GRAY)
        coded: dict[str, Any] = {}
        for k, coder in enumerate(self.coders(), 1):
            latents = coder.encode_residual((padded - lower) / 255.0, **dials)
            coded |= {f"{name}{k}": value for name, value in latents.items()}
            lower = lower + 255.0 * coder.reconstruct(latents, **dials)
        return {**coded, **{name: ops.convert_to_tensor(dials[name]) for name in self.dials}, "size": sizes(images)}

    def decode(self, size: Any, **inputs: Any) -> dict[str, Any]:
        """Latents of the lowest layers to images.

        Args:
            size: ``int32 [N, 2]``, H and W, the same for the whole batch.
            inputs: ``y1`` … ``yk``, int32 ``[N, h, w, C]``, and the dials; further latents of ``encode`` are ignored.

        Returns:
            ``images``: ``uint8 [N, H, W, 3]``.
        """
        dials = {name: inputs[name] for name in self.dials}
        residuals = [
            coder.reconstruct({name: inputs[f"{name}{k}"] for name in coder.decoder_latents}, **dials)
            for k, coder in enumerate(self.coders(), 1)
            if f"y{k}" in inputs
        ]
        pixels = self.GRAY + 255.0 * sum(residuals)
        images = ops.cast(ops.clip(ops.round(pixels), 0, 255), "uint8")
        return {"images": images[:, : size[0, 0], : size[0, 1]]}

    def windows(self) -> dict[str, list[Window]]:
        """Of ``encode``, ``entropy_parameters_k``, ``decode_k`` and ``decode``."""
        found: dict[str, list[Window]] = {"encode": []}
        residual, decoded = Window(), list[Window]()
        for k, coder in enumerate(self.coders(), 1):
            found["encode"] += [residual.then(latent) for latent in coder.latent_windows().values()]
            shown = coder.reconstruction_windows()
            residual = residual | residual.then(coder.latent_windows()["y"]).then(shown["y"])
            decoded += shown.values()
            found[f"decode_{k}"] = list(decoded)
            found |= coder.table_windows(k)
        return {**found, "decode": decoded}

    def refinements(self) -> list[Refinement]:
        """Of ``yk``, on the scale of the squared error; none where the distortion is another."""
        if self.distortion != "mse":
            return []
        return [self._refinement(k) for k in range(1, len(self.coders()) + 1)]

    def _refinement(self, k: int) -> Refinement:
        *lower, top = self.coders()[:k]

        def begin(images: Any, **inputs: Any) -> RefinementTask:
            dials = {name: inputs[name] for name in self.dials}
            reconstruction = ops.full_like(images, self.GRAY)
            for i, coder in enumerate(lower, 1):
                wanted = {name: inputs[f"{name}{i}"] for name in coder.decoder_latents}
                reconstruction = reconstruction + 255.0 * coder.reconstruct(wanted, **dials)
            target = (images - reconstruction) / 255.0
            coded = top.encode_residual(target, **dials)
            return RefinementTask(
                start=ops.cast(top.join(coded), "float32"),
                target=target,
                synthesis=lambda y: top.reconstruct({**coded, **top.split(y)}, **dials),
                rate=top.rate(coded, **dials),
                coded=lambda y: {f"{n}{k}": v for n, v in {**coded, **top.split(ops.cast(y, "int32"))}.items()},
                rate_weight=self.rate_weights[k - 1] * top.rate_factor(**dials),
            )

        return Refinement(begin, self._decoder_inputs(k - 1))

    def evaluate_image(self, image: np.ndarray, **dials: Any) -> EvaluatedImage:
        """Code one image. Its ``bpp`` is the cross-entropy of all layers' rounded latents.

        Files are within 0.5 % of it: tables are the export's, the range coder is the codecs'.

        Args:
            image: ``uint8 [H, W, 3]``.
            dials: by the names in :attr:`dials`.
        """
        coded = self.encode(ops.convert_to_tensor(image[None]), **dials)
        spent: dict[str, float] = {}
        for k, coder in enumerate(self.coders(), 1):
            latents = {name: coded[f"{name}{k}"] for name in coder.latent_channels_of}
            of_layer = {
                f"{name}{k}": float(ops.convert_to_numpy(bits)[0]) / (image.shape[0] * image.shape[1])
                for name, bits in coder.cross_entropies(latents, **dials).items()
            }
            spent |= of_layer
        factor = ops.convert_to_numpy(self.coders()[-1].rate_factor(**dials)).item()
        reconstruction = ops.convert_to_numpy(self.decode(**coded)["images"])[0]
        if self.distortion == "mse":
            distortion = float(np.mean(np.square(reconstruction.astype(np.float64) - image)))
        else:
            distortion = 100.0 * (1.0 - float(ms_ssim(image[None], reconstruction[None])[0]))
        return EvaluatedImage(
            original=image,
            reconstruction=reconstruction,
            bpp=sum(spent.values()),
            loss=distortion + self.rate_weights[-1] * factor * sum(of_layer.values()),
            latents={name: ops.convert_to_numpy(value) for name, value in coded.items() if name[-1].isdigit()},
            bpp_of_latents=spent,
        )


class TransformCoder(RateDistortionModel):
    """A model of one layer, which can also be a layer of a stack.

    A subclass has ``analysis``, ``synthesis`` (``codec_zoo.layers.gdn``) and ``prior``, calls
    :meth:`build_entropy_model` at the end of its constructor, and says what its entropy model is: :meth:`latents`,
    :meth:`train_latents`, :meth:`rate` and :meth:`cross_entropies`.

    Args:
        rate_weight: λ: the distortion that one bit a pixel is worth.
        distortion: ``"mse"`` or ``"ms_ssim"``.
        layer: number of this layer in its stack, from 0: the name scope of its entropy model's weights. Coded files
            carry a hash over these names.
    """

    # The latent that is under the factorized prior.
    prior_latent: ClassVar[str] = "y"
    # The latents that :meth:`reconstruct` needs.
    decoder_latents: ClassVar[tuple[str, ...]] = ("y",)
    weights_layout: ClassVar[Mapping[str, str]] = {
        "": "codecs/transform_codec",
        # As in the files of stacks of layers.
        "codecs/transform_codec/layers/factorized_prior": "codecs/transform_codec/prior",
        "codecs/transform_codec/layers/sequential_1": "codecs/transform_codec/synthesis",
    }

    analysis: keras.Sequential
    synthesis: keras.Sequential
    prior: FactorizedPrior

    def __init__(self, rate_weight: float = 1.0, distortion: str = "mse", layer: int = 0, **kwargs: Any):
        super().__init__([rate_weight], distortion, **kwargs)
        self.layer = layer

    def build_entropy_model(self, parts: Mapping[keras.layers.Layer, int]) -> None:
        """Build the layers of the entropy model under the name scope of this layer.

        Args:
            parts: layer → channels of its input.
        """
        with keras.name_scope(f"layer{self.layer}"):
            for part, channels in parts.items():
                part.build((None, None, None, channels))
        self.built = True

    def coders(self) -> Sequence["TransformCoder"]:
        """This layer alone."""
        return [self]

    @classmethod
    def make_stream(cls, distortion: str = "mse", **config: Any) -> Stream:
        """One layer."""
        layer = cls.make_stream_layer(1, distortion == "mse", **config)
        return Stream((layer,), max(latent.stride for latent in layer.latents))

    @classmethod
    def make_stream_layer(cls, k: int, refined: bool, *arguments: Any, **config: Any) -> StreamLayer:
        """Layer ``k`` of the files of a stack.

        Args:
            k: number of the layer, from 1.
            refined: whether the export has ``search_k``.
            arguments: of the constructor.
            config: arguments of the constructor by name, beside ``distortion``.
        """
        raise NotImplementedError

    @property
    def latent_channels_of(self) -> dict[str, int]:
        """Name of each latent, in the order of the files → its channels."""
        raise NotImplementedError

    @property
    def latent_stride(self) -> int:
        """Side of the image over side of y."""
        return int(window(self.analysis).step)

    @property
    def stride(self) -> int:
        """Side of the image over side of the smallest latent."""
        return int(max(latent.step for latent in self.latent_windows().values()))

    def latents(self, residual: Any) -> dict[str, Any]:
        """The latents before quantisation: float32 ``[N, H, W, 3]`` → name → float32 ``[N, h, w, C]``."""
        raise NotImplementedError

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """Quantise and count bits as in training.

        The rate sees noise (Ballé 2017, §III-B), the synthesis rounded latents with a straight-through gradient.

        Returns:
            ŷ, float32 ``[N, h, w, C]``; name of each latent → its bits, float32 ``[N]``.
        """
        raise NotImplementedError

    def rate(self, coded: Mapping[str, Any], **dials: Any) -> Callable[[Any], Any]:
        """y, float32 → bits of each value under the tables of the decoder, given the other coded latents."""
        raise NotImplementedError

    def rate_factor(self, **dials: Any) -> Any:
        """What λ is multiplied by: a number, or float32 ``[N, 1, 1, 1]``."""
        return 1.0

    def cross_entropies(self, coded: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """Bits of each int32 latent under the tables of the decoder: name → float32 ``[N]``."""
        raise NotImplementedError

    def quantise(self, latents: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """Latents → the integers that files hold, int32."""
        return {name: ops.cast(ops.round(value), "int32") for name, value in latents.items()}

    def encode_residual(self, residual: Any, **dials: Any) -> dict[str, Any]:
        """The integers that files hold: float32 ``[N, H, W, 3]`` → name → int32 ``[N, h, w, C]``."""
        return self.quantise(self.latents(residual), **dials)

    def join(self, coded: Mapping[str, Any]) -> Any:
        """Of coded latents, the integers that refinement moves: ``[N, h, w, C]``."""
        return coded["y"]

    def split(self, y: Any) -> dict[str, Any]:
        """The opposite of :meth:`join`: ``[N, h, w, C]`` → the latents by name."""
        return {"y": y}

    def reconstruct(self, coded: Mapping[str, Any], **dials: Any) -> Any:
        """Integer latents → the residual: float32 ``[N, H, W, 3]``."""
        return ops.cast(self.synthesis(ops.cast(coded["y"], "float32")), "float32")

    def code(self, residual: Any, **dials: Any) -> tuple[Any, dict[str, Any]]:
        """Reconstruct and count bits as in training: float32 ``[N, H, W, 3]``; latent → float32 ``[N]``."""
        decoded, spent = self.train_latents(self.latents(residual), **dials)
        return ops.cast(self.synthesis(decoded), "float32"), spent

    def start_from_residuals(self, residuals: np.ndarray, step: float) -> None:
        """Start as a linear transform code of ``residuals``, float32 ``[N, H, W, 3]`` (``codec_zoo.initialization``).

        Args:
            residuals: sides are multiples of the stride.
            step: the standard deviation of the residuals that becomes one quantisation step.
        """
        self.start_scales(start_from_principal_components(self.analysis, self.synthesis, residuals, step))

    def start_scales(self, scales: np.ndarray) -> None:
        """Start the entropy model at these standard deviations of y, float32 ``[C]``. Default: leave it."""

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(rate_weight=self.rate_weights[0], distortion=self.distortion, layer=self.layer)
        return config

    def table_signatures(self, k: int) -> dict[str, Signature]:
        """The signatures that choose the tables of layer ``k`` in a stack. Default: none, y has a table a channel."""
        return {}

    def latent_windows(self) -> dict[str, Window]:
        """Name of a latent → its window in the residual."""
        return {"y": window(self.analysis)}

    def reconstruction_windows(self) -> dict[str, Window]:
        """Name of a latent that the decoder needs → the window of the residual in it."""
        return {"y": window(self.synthesis).of_latents(self.latent_stride)}

    def table_windows(self, k: int) -> dict[str, list[Window]]:
        """The windows of each of :meth:`table_signatures` in its inputs. Default: none."""
        return {}


def _latent_specs(k: int, coder: TransformCoder, names: Iterable[str]) -> TensorSpecs:
    """Some latents of layer ``k``, as inputs of a signature."""
    return {f"{name}{k}": ("int32", (None, None, None, coder.latent_channels_of[name])) for name in names}


def latent_layer(k: int, refined: bool, *latents: Latent) -> StreamLayer:
    """Layer ``k`` of the files of a stack, with these latents in the order of decoding."""
    return StreamLayer("latent", latents, f"decode_{k}", f"search_{k}" if refined else None, checked=True)


def make_noise() -> UniformNoise:
    """The noise that stands for rounding in the rate of training."""
    return UniformNoise(name="noise")


def total(values: Any) -> Any:
    """Sum over all but the batch axis: ``[N, h, w, C]`` → ``[N]``."""
    return ops.sum(values, axis=(1, 2, 3))
