"""Auto-encoders and GANs for blocks of 32×32 pixels: the student report "Image compression using deep learning"
(about 2017; its repository and its figures are gone).

    picture ─▶ analysis ─▶ round to `bits` ─▶ latents, 1/4 of the sides
    picture ◀─ synthesis ◀───────────────────┘

Reproduced: §4.1 and §6.2 (CNN-AE, CNN-RNN-AE, CNN-AE-FT), §4.2 and §6.3 (GAN, GAN-AE, each with the Wasserstein and
the DCGAN loss). All at 16:1: a block of 24,576 bits becomes 1,536. Also §3: the lossless predictor, which learns each
picture in ``codec_zoo.codecs.pixel_predictor``.

The layers are in lost figures. Here is the simplest that satisfies each number of the text:

- **Latents** of 8×8×4 values of 6 bits (Fig. 6), or, of the plain GAN, the picture reduced to 8×8×3 values of 8 bits:
  1,536 bits both.
- **Encoder**: convolutions with two max-poolings, a sigmoid at the end.
- **Decoder of CNN-AE**: "~1300 weights", unpooling is bilinear: 3×3 convolutions 4 → 8 → 10 → 3, 1,299 weights.
- **Decoder of CNN-AE-FT**, "shallower": 4 → 6 → 3, 387 weights.
- **CNN-RNN-AE**: the network of Fig. 6 again on what is missing, "3 recursive steps". At 16:1 in all a step has
  512 bits, so its latents have 2 bits. The steps share their weights, but for a gain each.
- **Generator** (Fig. 9): residual blocks with batch normalisation and ReLU, convolutions, and two transposed ones of
  stride 2. The plain GAN's adds to the bilinearly enlarged thumbnail.
- **Discriminator**: four convolutions.

Where the text contradicts itself or is silent: λ2 = 10 weighs the error and λ1 = 1 the adversarial loss, since
"when we increase λ2, MSE error decreased as that term directly minimizes MSE" (Eq. 1 has them the other way round).
Both are taken of pictures in −1 … 1. One step of the critic for each of the generator; rounding passes its gradient.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import Learner, LearnsAsOne, Signature
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.entropy_models import FactorizedPrior, round_straight_through
from codec_zoo.layers import double, pad_to_multiple, sizes
from codec_zoo.metrics import Probe
from codec_zoo.presets import Paper, Preset, Recipe, register
from codec_zoo.stream import Alternative, Choice, FixedBits, Latent, LosslessImage, Stream, StreamLayer, WeightChange

# Side of a block, and of a block over that of its latents.
BLOCK, STRIDE = 32, 4
# Weights of the critic stay within ± this (WGAN).
CLIP = 0.01
# λ1 and λ2.
ADVERSARIAL_WEIGHT, ERROR_WEIGHT = 1.0, 10.0


def make_stream(channels: int, bits: int, steps: int = 1, tuned: int = 0) -> Stream:
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


class BlockModel:
    """What the models of this family share; they bring ``analyse`` and ``synthesise``.

    Attributes:
        bits: of a latent.
        channels: maps of the latents.
        steps: how often the picture, then what is missing, is coded.
    """

    bits: int
    channels: int
    steps: int = 1

    def analyse(self, pictures, below: Sequence = ()):
        """Latents of the next step.

        Args:
            pictures: float ``[N, H, W, 3]``, 0 … 1, sides multiples of 4.
            below: latents of the steps before.

        Returns:
            Float ``[N, H/4, W/4, C]``, 0 … 1, rounded to the levels.
        """
        raise NotImplementedError

    def synthesise(self, latents: Sequence, training=None):
        """Latents of the first steps, 0 … 1 → float ``[N, H, W, 3]``, about 0 … 1."""
        raise NotImplementedError

    @property
    def levels(self) -> int:
        """The largest latent, as an integer."""
        return 2**self.bits - 1

    def quantise(self, latents):
        """0 … 1 to the nearest of the levels, still 0 … 1; the gradient passes."""
        return round_straight_through(latents * self.levels) / self.levels

    @property
    def stride(self) -> int:
        """Patches are multiples of this."""
        return STRIDE

    @property
    def priors(self) -> dict[str, FactorizedPrior]:
        """None: latents have a fixed length, or go through an image codec."""
        return {}

    def initialize(self, images: np.ndarray) -> None:
        """Nothing."""

    @property
    def signatures(self) -> dict[str, Signature]:
        """``encode``; ``decode_k`` of the first k steps, ``decode`` of all."""
        functions = {"encode": Signature(self.encode, {"images": ("uint8", (None, None, None, 3))})}
        for count in range(1, self.steps + 1):
            inputs = {f"latents{i}": ("uint8", (None, None, None, self.channels)) for i in range(1, count + 1)}
            signature = Signature(self.decode, {**inputs, "size": ("int32", (None, 2))})
            functions[f"decode_{count}"] = functions["decode"] = signature
        return functions

    def encode(self, images):
        """``uint8 [N, H, W, 3]`` → ``latents1`` …: ``uint8 [N, ⌈H/4⌉, ⌈W/4⌉, C]``; ``size``: ``int32 [N, 2]``."""
        pictures = ops.cast(pad_to_multiple(images, STRIDE), "float32") / 255.0
        latents: list = []
        for _ in range(self.steps):
            latents.append(self.analyse(pictures, latents))
        coded = {f"latents{i}": self.to_integers(values) for i, values in enumerate(latents, 1)}
        return {**coded, "size": sizes(images)}

    def to_integers(self, latents):
        """0 … 1 → ``uint8``, 0 … :attr:`levels`."""
        return ops.cast(ops.round(latents * self.levels), "uint8")

    def from_integers(self, latents):
        """Inverse of :meth:`to_integers`: float32."""
        return ops.cast(latents, "float32") / self.levels

    def decode(self, size, **latents):
        """Inverse of :meth:`encode`, from the latents of the first steps: ``images``, ``uint8 [N, H, W, 3]``."""
        given = [self.from_integers(latents[f"latents{i + 1}"]) for i in range(len(latents))]
        return {"images": to_pixels(self.synthesise(given))[:, : size[0, 0], : size[0, 1]]}

    def probe(self, image: np.ndarray) -> Probe:
        """Code a picture; the loss is the squared error of its pixels, the rate that of latents of fixed length."""
        coded = self.encode(image[None])
        decoded = ops.convert_to_numpy(self.decode(**coded)["images"])[0]
        latents = {name: ops.convert_to_numpy(value) for name, value in coded.items() if name != "size"}
        return Probe(
            original=image,
            reconstruction=decoded,
            bpp=sum(value.size for value in latents.values()) * self.bits / (image.shape[0] * image.shape[1]),
            loss=float(np.mean(np.square(decoded.astype(np.float64) - image))),
            latents=latents,
        )

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Nothing beyond the losses."""
        return {}


def to_pixels(pictures):
    """float, about 0 … 1 → ``uint8``."""
    return ops.cast(ops.clip(ops.round(ops.cast(pictures, "float32") * 255.0), 0, 255), "uint8")


def _convolution(maps: int, name: str, activation: str | None = "relu", **options) -> keras.layers.Layer:
    return Conv2D(maps, 3, padding="same", activation=activation, name=name, **options)


def encoder(latents: int) -> keras.Sequential:
    """Five 3×3 convolutions, max-pooling behind the second and the fourth, a sigmoid."""
    pool = keras.layers.MaxPooling2D
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            _convolution(32, "conv0"),
            _convolution(32, "conv1"),
            pool(name="pool0"),
            _convolution(64, "conv2"),
            _convolution(64, "conv3"),
            pool(name="pool1"),
            _convolution(latents, "conv4", "sigmoid"),
        ],
        name="encoder",
    )


def decoder(latents: int, maps: Sequence[int]) -> keras.Sequential:
    """3×3 convolutions with ReLU and bilinear unpooling between the first three; three channels at the end."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, latents))]
    for i, width in enumerate((*maps, 3)):
        if len(maps) - i < 2:  # two unpoolings, as late as possible
            layers.append(Unpool(name=f"unpool{i}"))
        layers.append(_convolution(width, f"conv{i}", "relu" if i < len(maps) else None))
    return keras.Sequential(layers, name="decoder")


@keras.saving.register_keras_serializable("codec_zoo")
class Unpool(keras.layers.Layer):
    """Bilinear interpolation to twice the sides."""

    def call(self, inputs):
        """``[N, H, W, C]`` → ``[N, 2H, 2W, C]``."""
        return double(inputs)

    def compute_output_shape(self, input_shape):
        """Twice the sides, where they are known."""
        return (input_shape[0], *(side and 2 * side for side in input_shape[1:3]), input_shape[3])


@keras.saving.register_keras_serializable("codec_zoo")
class BlockAutoencoder(BlockModel, LearnsAsOne, keras.Model):
    """CNN-AE, CNN-RNN-AE with several steps, CNN-AE-FT with a narrow decoder.

    Args:
        latents: maps of the latents.
        bits: of a latent.
        decoder_maps: widths of the decoder's convolutions but for the last.
        steps: see :class:`BlockModel`.
        tuned: whether files bring changes of the decoder's weights; of models with one step.

    Call: ``uint8 [N, H, W, 3]`` → the training loss: squared error in units of the full range, mean over steps.
    """

    def __init__(
        self,
        latents: int,
        bits: int,
        decoder_maps: Sequence[int],
        steps: int = 1,
        tuned: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder(latents)
        self.decoder = decoder(latents, decoder_maps)
        self.tuned = tuned
        self.channels, self.bits, self.decoder_maps, self.steps = latents, bits, tuple(decoder_maps), steps
        # What is missing is small: it is enlarged before it is coded, and reduced again behind the decoder.
        self.gains = [
            self.add_weight(shape=(), initializer=keras.initializers.Constant(1.0 + 3.0 * i), name=f"gain{i}")
            for i in range(1, steps)
        ]
        self.built = True

    @classmethod
    def make_stream(
        cls, latents: int, bits: int, decoder_maps: Sequence[int], steps: int = 1, tuned: bool = False
    ) -> Stream:
        """How files are coded; arguments of the constructor."""
        widths = (latents, *decoder_maps, 3)
        weights = sum((9 * inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))
        return make_stream(latents, bits, steps, weights if tuned else 0)

    def analyse(self, pictures, below=()):
        """See :class:`BlockModel`."""
        return self._analyse(pictures, self.synthesise(below) if below else None, len(below))

    def _analyse(self, pictures, decoded, step):
        """Rounded latents of a step, behind which the picture was ``decoded`` so far."""
        shown = pictures if step == 0 else (pictures - decoded) * self.gains[step - 1] + 0.5
        return self.quantise(ops.cast(self.encoder(shown), "float32"))

    def _add(self, decoded, latents, step):
        shown = ops.cast(self.decoder(latents), "float32")
        return shown if step == 0 else decoded[-1] + (shown - 0.5) / self.gains[step - 1]

    def synthesise(self, latents, training=None):
        """See :class:`BlockModel`."""
        decoded: list = []
        for step, values in enumerate(latents):
            decoded.append(self._add(decoded, values, step))
        return decoded[-1]

    def call(self, images, training=None):
        """The loss; see the class."""
        pictures = ops.cast(images, "float32") / 255.0
        decoded: list = []
        for step in range(self.steps):
            latents = self._analyse(pictures, decoded[-1] if step else None, step)
            decoded.append(self._add(decoded, latents, step))
        return sum(ops.mean(ops.square(pictures - picture)) for picture in decoded) / self.steps

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What ``call`` gave."""
        return y_pred

    @property
    def signatures(self) -> dict[str, Signature]:
        """Also ``reconstruct``, for a decoder that is fine-tuned to a picture."""
        functions = super().signatures
        if self.tuned:
            inputs = {
                "latents1": ("uint8", (None, None, None, self.channels)),
                "change": ("float32", (self.tuned_weights,)),
            }
            functions["reconstruct"] = Signature(self.reconstruct, inputs)
        return functions

    @property
    def tuned_weights(self) -> int:
        """How many weights the decoder has."""
        return sum(int(np.prod(weight.shape)) for weight in self.decoder.weights)

    def reconstruct(self, latents1, change):
        """Decode with other weights.

        Args:
            latents1: as :meth:`encode` gives them.
            change: what is added to the decoder's weights, float32, in their order.

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
        config.update(latents=self.channels, bits=self.bits, decoder_maps=self.decoder_maps, steps=self.steps)
        config.update(tuned=self.tuned)
        return config


@keras.saving.register_keras_serializable("codec_zoo")
class NormalisedResidualBlock(keras.layers.Layer):
    """Two times (batch normalisation, ReLU, 3×3 convolution), added to the input (He et al. 2016)."""

    def __init__(self, maps: int, **kwargs):
        super().__init__(**kwargs)
        self.maps = maps
        self.norms = [keras.layers.BatchNormalization(name=f"norm{i}") for i in range(2)]
        self.convolutions = [_convolution(maps, f"conv{i}", None) for i in range(2)]

    def build(self, input_shape):
        """Build the parts, so that weights load before the first call."""
        for layer in (*self.norms, *self.convolutions):
            layer.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        """``[N, H, W, maps]`` → the same shape."""
        values = inputs
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            values = convolution(ops.relu(norm(values, training=training)))
        return inputs + values

    def compute_output_shape(self, input_shape):
        """Shape in, shape out."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(maps=self.maps)
        return config


def generator(latents: int, maps: Sequence[int] = (64, 32, 16)) -> keras.Sequential:
    """Residual blocks at each of three sizes, transposed convolutions between; three channels in the end."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, latents)), _convolution(maps[0], "first", None)]
    for i, width in enumerate(maps):
        if i:
            layers.append(Conv2DTranspose(width, 4, strides=2, padding="same", name=f"up{i}"))
        layers.append(NormalisedResidualBlock(width, name=f"block{i}"))
    layers += [
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(name="relu"),
        _convolution(3, "last", None, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01)),
    ]
    return keras.Sequential(layers, name="generator")


def discriminator(maps: Sequence[int] = (32, 64, 128)) -> keras.Sequential:
    """4×4 convolutions of stride 2 with leaky ReLU, and one to a single map: how true each place looks."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, 3))]
    for i, width in enumerate(maps):
        layers.append(Conv2D(width, 4, strides=2, padding="same", name=f"conv{i}"))
        layers.append(keras.layers.LeakyReLU(0.2, name=f"relu{i}"))
    return keras.Sequential([*layers, Conv2D(1, 4, padding="same", name="last")], name="discriminator")


@keras.saving.register_keras_serializable("codec_zoo")
class CompressionGAN(BlockModel, keras.Model):
    """GAN (a thumbnail is the latent) and GAN-AE (an encoder makes it).

    Args:
        adversarial: ``"w"`` (Wasserstein, the critic's weights clipped) or ``"dc"`` (DCGAN's cross-entropy).
        error: ``"l1"`` or ``"l2"``.
        latents: maps of the encoder's latents; 0 for the plain GAN.
        bits: of a latent.
    """

    def __init__(self, adversarial: str, error: str, latents: int, bits: int, **kwargs):
        super().__init__(**kwargs)
        if adversarial not in ("w", "dc") or error not in ("l1", "l2"):
            raise ValueError(f"adversarial must be w or dc, error l1 or l2. Received: {adversarial!r}, {error!r}")
        self.adversarial, self.error, self.latents, self.bits = adversarial, error, latents, bits
        self.encoder = encoder(latents) if latents else None
        self.channels = latents or 3
        self.generator = generator(self.channels)
        self.discriminator = discriminator()
        self.built = True

    @classmethod
    def make_stream(cls, adversarial: str, error: str, latents: int, bits: int) -> Stream:
        """How files are coded; arguments of the constructor."""
        return make_stream(latents or 3, bits)

    def analyse(self, pictures, below=()):
        """See :class:`BlockModel`."""
        # Without its strides Keras's pooling fails on JAX.
        small = (
            self.encoder(pictures) if self.encoder else ops.average_pool(pictures, STRIDE, STRIDE, padding="valid")
        )
        return self.quantise(ops.cast(small, "float32"))

    def synthesise(self, latents, training=None):
        """See :class:`BlockModel`."""
        (values,) = latents
        start = 0.5 if self.encoder else double(double(values))
        return start + ops.cast(self.generator(values - 0.5, training=training), "float32")

    def call(self, images, training=None):
        """``uint8 [N, H, W, 3]`` → float32, what the decoder shows, 0 … 1."""
        return self.synthesise([self.analyse(ops.cast(images, "float32") / 255.0)], training=training)

    def learners(self) -> list[keras.Model]:
        """The critic, and the generator with the encoder."""
        coders = [self.encoder, self.generator] if self.encoder else [self.generator]
        return [
            Learner(self, [self.discriminator], self._critic_loss, name="discriminator"),
            Learner(self, coders, self._generator_loss, name="generator"),
        ]

    def learn(self, learners: Sequence[keras.Model], batch: np.ndarray, step: int) -> dict[str, Any]:
        """Critic and generator take turns.

        Args:
            learners: compiled.
            batch: ``uint8 [N, P, P, 3]``.
            step: number of the step; the critic's are the even ones.
        """
        learner = learners[step % 2]
        loss = learner.train_on_batch({"images": np.asarray(batch)})
        if learner is learners[0] and self.adversarial == "w":
            for weight in self.discriminator.trainable_variables:
                weight.assign(ops.clip(weight, -CLIP, CLIP))
        return {f"loss_{learner.name}": loss}

    def _judge(self, pictures):
        """0 … 1 → how true the critic finds each place."""
        return ops.cast(self.discriminator(2.0 * pictures - 1.0), "float32")

    def _says(self, judgement, true: bool):
        """The loss of a critic who should find the pictures true, or not."""
        sign = -1.0 if true else 1.0
        return ops.mean(sign * judgement if self.adversarial == "w" else ops.softplus(sign * judgement))

    def _critic_loss(self, given):
        pictures = ops.cast(given["images"], "float32") / 255.0
        made = ops.stop_gradient(self(given["images"], training=True))
        return self._says(self._judge(pictures), True) + self._says(self._judge(made), False)

    def _generator_loss(self, given):
        made = self(given["images"], training=True)
        difference = 2.0 * (made - ops.cast(given["images"], "float32") / 255.0)
        error = ops.mean(ops.abs(difference) if self.error == "l1" else ops.square(difference))
        return ADVERSARIAL_WEIGHT * self._says(self._judge(made), True) + ERROR_WEIGHT * error

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(adversarial=self.adversarial, error=self.error, latents=self.latents, bits=self.bits)
        return config


PAPER = Paper(
    authors="Suryateja, Dheeraj, Hari Charaith",
    title="Image compression using deep learning",
    year=2017,
    url="https://github.com/sakurusurya2000/Project",
)
_NOTE = "50,000 CIFAR-10 pictures; batch and number of steps are not given."
_AE = Recipe(32, 64, 100_000, 1e-5, note=f"§6.2: Adam, 1e-5, squared error. {_NOTE}")
_W = Recipe(
    32, 64, 200_000, 2e-5, optimizer="rmsprop", note=f"§6.3: RMSProp, 2e-5, weights clipped to ±0.01. {_NOTE}"
)
_DC = Recipe(32, 64, 200_000, 2e-4, beta_1=0.5, note=f"§6.3: Adam, 2e-4, β 0.5. {_NOTE}")


def _register(name: str, model: type, config: dict, recipe: Recipe, row: str) -> None:
    reproduces = f"Tables 2 and 3, {row}"
    register(
        Preset(
            f"report2017-{name}", PAPER, model, config, recipe, reproduces, data="rgb-unscaled", significant_bits=7
        )
    )


_CNN = {"latents": 4, "bits": 6, "decoder_maps": (8, 10)}
_register("cnn-ae", BlockAutoencoder, _CNN, _AE, "CNN-AE")
_register("cnn-rnn-ae", BlockAutoencoder, {**_CNN, "bits": 2, "steps": 3}, _AE, "CNN-RNN-AE")
_register("cnn-ae-ft", BlockAutoencoder, {**_CNN, "decoder_maps": (6,), "tuned": True}, _AE, "CNN-AE-FT")
for _adversarial, _recipe in (("w", _W), ("dc", _DC)):
    _config = {"adversarial": _adversarial, "error": "l2", "latents": 0, "bits": 8}
    _register(f"gan-{_adversarial}", CompressionGAN, _config, _recipe, f"GAN {_adversarial.upper()}")
    for _error in ("l1", "l2"):
        _register(
            f"gan-ae-{_error}-{_adversarial}",
            CompressionGAN,
            {**_config, "error": _error, "latents": 4, "bits": 6},
            _recipe,
            f"GAN-AE({_error.upper()}, {_adversarial.upper()})",
        )


@keras.saving.register_keras_serializable("codec_zoo")
class LosslessPredictor(keras.Model):
    """The perceptron of §3.1 and §6.1: from 60 known pixels around it to a pixel, by squared error.

    The 60 are the five rows above, five pixels to both sides, and five pixels to the left. Fig. 3 being lost, two
    hidden layers. What goes in and comes out are differences from the mean of the left and the upper neighbour, so
    that a flat region is predicted without any weight; the last ReLU of the report is the clipping to the range of
    pixels, in ``codec_zoo.codecs.pixel_predictor``.

    Args:
        hidden: widths of the hidden layers.

    Call: float ``[N, 60]`` → ``[N, 1]``.
    """

    def __init__(self, hidden: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        widths = (*self.hidden, 1)
        self.stack = [
            keras.layers.Dense(width, "relu" if i < len(self.hidden) else None, name=f"dense{i}")
            for i, width in enumerate(widths)
        ]
        for layer, inputs in zip(self.stack, (60, *widths), strict=False):
            layer.build((None, inputs))
        self.built = True

    def call(self, differences, training=None):
        """Predict; see the class."""
        for layer in self.stack:
            differences = layer(differences)
        return differences

    @property
    def signatures(self) -> dict[str, Signature]:
        """None: it is not exported."""
        return {}

    def start_linear(self, weights: np.ndarray) -> None:
        """Start as the linear predictor with these 60 weights, which two units of each layer carry, by sign."""
        for i, layer in enumerate(self.stack):
            kernel = ops.convert_to_numpy(layer.kernel)
            if i == 0:
                kernel[:, :2] = np.stack([weights, -weights], axis=1)
            else:
                kernel[:2] = 0
                kernel[2:, :2] = 0
                kernel[:2, :2] = [[1, 0], [0, 1]] if i < len(self.hidden) else [[1], [-1]]
            if i == len(self.hidden):
                kernel[2:] = 0
            layer.kernel.assign(kernel)
            layer.bias.assign(np.zeros(layer.bias.shape))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(hidden=self.hidden)
        return config


register(
    Preset(
        name="report2017-mlp",
        paper=PAPER,
        model=LosslessPredictor,
        config={"hidden": (16, 8)},
        recipe=Recipe(1, 1024, 800, 5e-3, note="§6.1: squared error, for each picture anew; no more is said."),
        reproduces="Table 1, MLP",
        trains=False,
    )
)
