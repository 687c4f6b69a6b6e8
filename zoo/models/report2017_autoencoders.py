"""Auto-encoders for blocks of 32×32 pixels: the student report "Image compression using deep learning"
(about 2017; its repository and its figures are gone).

    image ─▶ encoder ─▶ round to `bits` ─▶ latents ─▶ decoder ─▶ image
    [N,H,W,3]                         [N,H/4,W/4,C]              [N,H,W,3]

Reproduced: §4.1 and §6.2 (CNN-AE, CNN-RNN-AE, CNN-AE-FT). All at 16:1: a block of 24,576 bits becomes 1,536. The GANs
of the report are in ``report2017_gans``, its lossless predictor in ``report2017_predictor``.

The layers are in lost figures. Here are the simplest that satisfy each number of the text:

- **Latents** of 8×8×4 values of 6 bits (Fig. 6): 1,536 bits.
- **Encoder**: convolutions with two max-poolings, a sigmoid at the end.
- **Decoder of CNN-AE**: "~1300 weights", unpooling is bilinear: 3×3 convolutions 4 → 8 → 10 → 3, 1,299 weights.
- **Decoder of CNN-AE-FT**, "shallower": 4 → 6 → 3, 387 weights.
- **CNN-RNN-AE**: the network of Fig. 6 again on the remaining error, "3 recursive steps". At 16:1 in all a step has
  512 bits, so its latents have 2 bits. The steps share their weights, but for a gain each.

Rounding passes its gradient.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Refinement, RefinementTask, Signature, TensorSpecs
from codec_zoo.convolutions import Conv2D
from codec_zoo.entropy_models import round_straight_through
from codec_zoo.layers.resampling import DOUBLE, double, pad_to_multiple, sizes
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, Stream, StreamLayer, WeightChange
from codec_zoo.stream_coders import Alternative, Choice, FixedBits, LosslessImage

# Side of a block, and of a block over that of its latents.
BLOCK, STRIDE = 32, 4

# === Layers ===


def convolution(channels: int, name: str, activation: str | None = "relu", **options: Any) -> keras.layers.Layer:
    """A 3×3 convolution with "same" padding."""
    return Conv2D(channels, 3, padding="same", activation=activation, name=name, **options)


def encoder(latent_channels: int) -> keras.Sequential:
    """Five 3×3 convolutions, max-pooling behind the second and the fourth, a sigmoid."""
    pool = keras.layers.MaxPooling2D
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            convolution(32, "conv0"),
            convolution(32, "conv1"),
            pool(name="pool0"),
            convolution(64, "conv2"),
            convolution(64, "conv3"),
            pool(name="pool1"),
            convolution(latent_channels, "conv4", "sigmoid"),
        ],
        name="encoder",
    )


def decoder(latent_channels: int, widths: Sequence[int]) -> keras.Sequential:
    """3×3 convolutions with ReLU, three channels at the end; bilinear unpooling before each of the last two."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, latent_channels))]
    for i, width in enumerate((*widths, 3)):
        if len(widths) - i < 2:  # two unpoolings, as late as possible
            layers.append(Unpool(name=f"unpool{i}"))
        layers.append(convolution(width, f"conv{i}", "relu" if i < len(widths) else None))
    return keras.Sequential(layers, name="decoder")


@keras.saving.register_keras_serializable("codec_zoo")
class Unpool(keras.layers.Layer):
    """Bilinear interpolation to twice the sides."""

    def call(self, inputs: Any) -> Any:
        """``[N, H, W, C]`` → ``[N, 2H, 2W, C]``."""
        return double(inputs)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Twice the sides, where they are known."""
        return (input_shape[0], *(side and 2 * side for side in input_shape[1:3]), input_shape[3])


@window.register(Unpool)
def _window(layer: Unpool) -> Window:
    return DOUBLE


# === Models ===


def block_stream(channels: int, bits: int, steps: int = 1, tuned: int = 0) -> Stream:
    """How files of blocks are coded: a layer for each step, and one for changes of ``tuned`` weights."""
    coding = Choice(
        "coding",
        "jxl",
        (Alternative("fixed", FixedBits(bits), 0), Alternative("jxl", LosslessImage("jxl-lossless", bits), 1)),
    )
    layers = [
        StreamLayer("latent", (Latent(f"latents{k}", coding, STRIDE, channels),), f"decode_{k}", f"search_{k}")
        for k in range(1, steps + 1)
    ]
    if tuned:
        layers.append(StreamLayer("weights", (WeightChange("change", tuned),), "reconstruct"))
    return Stream(tuple(layers), STRIDE, BLOCK)


class BlockModel(CompressionModel):
    """Base class of the report's networks for blocks; they bring ``analyse``, ``synthesise`` and their windows.

    Attributes:
        bits: of a latent.
        channels: of the latents.
        steps: how often the image, then the remaining error, is coded.
    """

    bits: int
    channels: int
    steps: int = 1

    def analyse(self, images: Any, lower: Sequence[Any] = ()) -> Any:
        """Latents of the next step.

        Args:
            images: float ``[N, H, W, 3]``, 0 … 1, sides multiples of 4.
            lower: latents of the steps before.

        Returns:
            Float ``[N, H/4, W/4, C]``, 0 … 1, rounded to the levels.
        """
        raise NotImplementedError

    def synthesise(self, latents: Sequence[Any], training: bool | None = None) -> Any:
        """Latents of the first steps, 0 … 1 → float ``[N, H, W, 3]``, about 0 … 1."""
        raise NotImplementedError

    def analysis_window(self) -> Window:
        """The window of latents in the images."""
        raise NotImplementedError

    def synthesis_window(self) -> Window:
        """The window of images in the latents."""
        raise NotImplementedError

    @property
    def levels(self) -> int:
        """The largest latent, as an integer."""
        return 2**self.bits - 1

    def quantise(self, latents: Any) -> Any:
        """0 … 1 to the nearest of the levels, still 0 … 1; the gradient passes."""
        return round_straight_through(latents * self.levels) / self.levels

    @property
    def stride(self) -> int:
        """Side of the image over side of the latents."""
        return STRIDE

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode``; ``decode_k`` of the first k steps, ``decode`` of all."""
        coded = {**self._latents(self.steps), "size": SIZE}
        functions = {"encode": Signature(self.encode, {"images": IMAGES}, coded)}
        for count in range(1, self.steps + 1):
            signature = Signature(self.decode, {**self._latents(count), "size": SIZE}, {"images": IMAGES})
            functions[f"decode_{count}"] = functions["decode"] = signature
        return functions

    def _latents(self, count: int) -> TensorSpecs:
        """The latents of the first steps, as inputs of a signature."""
        return {f"latents{i}": ("uint8", (None, None, None, self.channels)) for i in range(1, count + 1)}

    def windows(self) -> dict[str, list[Window]]:
        """Of ``encode``, ``decode_k`` and ``decode``."""
        analysed, shown = self.analysis_window(), self.synthesis_window()
        missing, encoded = Window(), []
        for _ in range(self.steps):
            encoded.append(missing.then(analysed))
            missing = missing | encoded[-1].then(shown)
        decoded = [shown.of_latents(STRIDE)]
        steps = {f"decode_{k}": decoded for k in range(1, self.steps + 1)}
        return {"encode": encoded, **steps, "decode": decoded}

    def refinements(self) -> list[Refinement]:
        """Of ``latentsk``, on the squared error alone: their length is fixed."""
        return [
            Refinement(functools.partial(self._begin, k), self._latents(k - 1), levels=self.levels)
            for k in range(1, self.steps + 1)
        ]

    def _begin(self, k: int, images: Any, **latents: Any) -> RefinementTask:
        target = images / 255.0
        lower = [self.from_integers(latents[f"latents{i}"]) for i in range(1, k)]
        return RefinementTask(
            start=self.analyse(target, lower),
            target=target,
            synthesis=lambda values: ops.clip(self.synthesise([*lower, values]), 0.0, 1.0),
            rate=None,
            coded=lambda values: {f"latents{k}": self.to_integers(values)},
        )

    def encode(self, images: Any) -> dict[str, Any]:
        """``uint8 [N, H, W, 3]`` → ``latents1`` …: ``uint8 [N, ⌈H/4⌉, ⌈W/4⌉, C]``; ``size``: ``int32 [N, 2]``."""
        padded = ops.cast(pad_to_multiple(images, STRIDE), "float32") / 255.0
        latents: list[Any] = []
        for _ in range(self.steps):
            latents.append(self.analyse(padded, latents))
        coded = {f"latents{i}": self.to_integers(values) for i, values in enumerate(latents, 1)}
        return {**coded, "size": sizes(images)}

    def to_integers(self, latents: Any) -> Any:
        """0 … 1 → ``uint8``, 0 … :attr:`levels`."""
        return ops.cast(ops.round(latents * self.levels), "uint8")

    def from_integers(self, latents: Any) -> Any:
        """Inverse of :meth:`to_integers`: float32."""
        return ops.cast(latents, "float32") / self.levels

    def decode(self, size: Any, **latents: Any) -> dict[str, Any]:
        """Inverse of :meth:`encode`, from the latents of the first steps: ``images``, ``uint8 [N, H, W, 3]``."""
        given = [self.from_integers(latents[f"latents{i + 1}"]) for i in range(len(latents))]
        return {"images": to_pixels(self.synthesise(given))[:, : size[0, 0], : size[0, 1]]}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Code an image; the loss is the squared error of its pixels, the rate that of latents of fixed length."""
        coded = self.encode(image[None])
        decoded = ops.convert_to_numpy(self.decode(**coded)["images"])[0]
        latents = {name: ops.convert_to_numpy(value) for name, value in coded.items() if name != "size"}
        return EvaluatedImage(
            original=image,
            reconstruction=decoded,
            bpp=sum(value.size for value in latents.values()) * self.bits / (image.shape[0] * image.shape[1]),
            loss=float(np.mean(np.square(decoded.astype(np.float64) - image))),
            latents=latents,
        )


def to_pixels(images: Any) -> Any:
    """float, about 0 … 1 → ``uint8``."""
    return ops.cast(ops.clip(ops.round(ops.cast(images, "float32") * 255.0), 0, 255), "uint8")


@keras.saving.register_keras_serializable("codec_zoo")
class BlockAutoencoder(BlockModel):
    """CNN-AE, CNN-RNN-AE with several steps, CNN-AE-FT with a narrow decoder.

    Args:
        latent_channels: of the latents.
        bits: of a latent.
        decoder_widths: channels of the decoder's convolutions but for the last.
        steps: see :class:`BlockModel`.
        tuned: whether files bring changes of the decoder's weights; of models with one step.

    Call: ``uint8 [N, H, W, 3]`` → the training loss: squared error in units of the full range, mean over steps.
    """

    def __init__(
        self,
        latent_channels: int,
        bits: int,
        decoder_widths: Sequence[int],
        steps: int = 1,
        tuned: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder(latent_channels)
        self.decoder = decoder(latent_channels, decoder_widths)
        self.tuned = tuned
        self.channels, self.bits, self.steps = latent_channels, bits, steps
        self.decoder_widths = tuple(decoder_widths)
        # The remaining error is small: it is enlarged before it is coded, and reduced again after the decoder.
        self.gains = [
            self.add_weight(shape=(), initializer=keras.initializers.Constant(1.0 + 3.0 * i), name=f"gain{i}")
            for i in range(1, steps)
        ]
        self.built = True

    @classmethod
    def make_stream(
        cls, latent_channels: int, bits: int, decoder_widths: Sequence[int], steps: int = 1, tuned: bool = False
    ) -> Stream:
        """How files are coded; arguments of the constructor."""
        widths = (latent_channels, *decoder_widths, 3)
        weights = sum((9 * inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))
        return block_stream(latent_channels, bits, steps, weights if tuned else 0)

    def analyse(self, images: Any, lower: Sequence[Any] = ()) -> Any:
        """Encode the images, or the remaining error times its gain."""
        return self._analyse(images, self.synthesise(lower) if lower else None, len(lower))

    def _analyse(self, images: Any, decoded: Any, step: int) -> Any:
        """Rounded latents of a step; ``decoded`` is the reconstruction of the steps before."""
        shown = images if step == 0 else (images - decoded) * self.gains[step - 1] + 0.5
        return self.quantise(ops.cast(self.encoder(shown), "float32"))

    def _add(self, decoded: Sequence[Any], latents: Any, step: int) -> Any:
        shown = ops.cast(self.decoder(latents), "float32")
        return shown if step == 0 else decoded[-1] + (shown - 0.5) / self.gains[step - 1]

    def synthesise(self, latents: Sequence[Any], training: bool | None = None) -> Any:
        """Add the outputs of all steps."""
        decoded: list[Any] = []
        for step, values in enumerate(latents):
            decoded.append(self._add(decoded, values, step))
        return decoded[-1]

    def analysis_window(self) -> Window:
        """Of the encoder."""
        return window(self.encoder)

    def synthesis_window(self) -> Window:
        """Of the decoder."""
        return window(self.decoder)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Compute the training loss, a scalar."""
        pixels = ops.cast(images, "float32") / 255.0
        decoded: list[Any] = []
        for step in range(self.steps):
            latents = self._analyse(pixels, decoded[-1] if step else None, step)
            decoded.append(self._add(decoded, latents, step))
        return sum(ops.mean(ops.square(pixels - shown)) for shown in decoded) / self.steps

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Pass on the output of :meth:`call`."""
        return y_pred

    @property
    def signatures(self) -> dict[str, Signature]:
        """Also ``reconstruct``, for a decoder that is fine-tuned to an image."""
        functions = super().signatures
        if self.tuned:
            inputs: TensorSpecs = {**self._latents(1), "change": ("float32", (self.tuned_weights,))}
            pictures: TensorSpecs = {"pictures": ("float32", (None, None, None, 3))}
            functions["reconstruct"] = Signature(self.reconstruct, inputs, pictures)
        return functions

    @property
    def tuned_weights(self) -> int:
        """How many weights the decoder has."""
        return sum(int(np.prod(weight.shape)) for weight in self.decoder.weights)

    def reconstruct(self, latents1: Any, change: Any) -> dict[str, Any]:
        """Decode with other weights.

        Args:
            latents1: the output of :meth:`encode`.
            change: an addend of the decoder's weights, float32, in their order.

        Returns:
            ``pictures``: float32 ``[N, 4h, 4w, 3]``, about 0 … 255, not rounded.
        """
        values = self.from_integers(latents1)
        start = 0
        for layer in self.decoder.layers:
            if not layer.weights:
                values = layer(values)
                continue
            kernel, bias = layer.weights
            for_kernel, for_bias = int(np.prod(kernel.shape)), int(np.prod(bias.shape))
            kernel = kernel + ops.reshape(change[start : start + for_kernel], kernel.shape)
            bias = bias + change[start + for_kernel : start + for_kernel + for_bias]
            start += for_kernel + for_bias
            values = layer.activation(ops.conv(values, kernel, padding="same") + bias)
        return {"pictures": values * 255.0}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            latent_channels=self.channels,
            bits=self.bits,
            decoder_widths=self.decoder_widths,
            steps=self.steps,
            tuned=self.tuned,
        )
        return config


# === Presets ===

PAPER = Paper(
    authors="Suryateja, Dheeraj, Hari Charaith",
    title="Image compression using deep learning",
    year=2017,
)
NOTE = "50,000 CIFAR-10 images; batch and number of steps are not given."
_AE = Recipe(32, 64, 100_000, 1e-5, note=f"§6.2: Adam, 1e-5, squared error. {NOTE}")


def register_blocks(name: str, model: type[BlockModel], config: Mapping[str, Any], recipe: Recipe, row: str) -> None:
    """Register a preset of the report's Tables 2 and 3, ``row``."""
    reproduces = f"Tables 2 and 3, {row}"
    register(
        Preset(
            f"report2017-{name}", PAPER, model, config, recipe, reproduces, data="rgb-unscaled", significant_bits=7
        )
    )


_CNN = {"latent_channels": 4, "bits": 6, "decoder_widths": (8, 10)}
register_blocks("cnn-ae", BlockAutoencoder, _CNN, _AE, "CNN-AE")
register_blocks("cnn-rnn-ae", BlockAutoencoder, {**_CNN, "bits": 2, "steps": 3}, _AE, "CNN-RNN-AE")
register_blocks("cnn-ae-ft", BlockAutoencoder, {**_CNN, "decoder_widths": (6,), "tuned": True}, _AE, "CNN-AE-FT")
