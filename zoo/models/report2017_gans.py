"""GANs for blocks of 32×32 pixels: the student report "Image compression using deep learning" (about 2017; its
repository and its figures are gone).

    image ─▶ encoder, or mean of 4×4 ─▶ round to `bits` ─▶ latents ─▶ generator ─▶ image ─▶ discriminator
    [N,H,W,3]                                         [N,H/4,W/4,C]             [N,H,W,3]     [N,H/8,W/8,1]

Reproduced: §4.2 and §6.3 (GAN, GAN-AE, each with the Wasserstein and the DCGAN loss), at 16:1: a block of 24,576 bits
becomes 1,536. The auto-encoders of the report are in ``report2017_autoencoders``, whose files these have.

The layers are in lost figures. Here are the simplest that satisfy each number of the text:

- **Latents** of the plain GAN: the image reduced to 8×8×3 values of 8 bits, 1,536 bits.
- **Generator** (Fig. 9): residual blocks with batch normalisation and ReLU, convolutions, and two transposed ones of
  stride 2. The plain GAN's adds to the bilinearly enlarged thumbnail.
- **Discriminator**: four convolutions.

Where the text contradicts itself or is silent: λ2 = 10 weighs the error and λ1 = 1 the adversarial loss, since
"when we increase λ2, MSE error decreased as that term directly minimizes MSE" (Eq. 1 has them the other way round).
Both are taken of images in −1 … 1. One step of the critic for each of the generator; rounding passes its gradient.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from codec_zoo.contract import Learner
from codec_zoo.convolutions import Conv2D, Conv2DTranspose
from codec_zoo.layers.resampling import DOUBLE, double
from codec_zoo.models.report2017_autoencoders import (
    NOTE,
    STRIDE,
    BlockModel,
    block_stream,
    convolution,
    encoder,
    register_blocks,
)
from codec_zoo.presets import Recipe
from codec_zoo.receptive_field import Window, chain, pooling, window
from codec_zoo.stream import Stream

# Weights of the critic stay within ± this (WGAN).
CLIP = 0.01
# λ1 and λ2.
ADVERSARIAL_WEIGHT, ERROR_WEIGHT = 1.0, 10.0

# === Layers ===


@keras.saving.register_keras_serializable("codec_zoo")
class NormalisedResidualBlock(keras.layers.Layer):
    """Two times (batch normalisation, ReLU, 3×3 convolution), added to the input (He et al. 2016)."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.norms = [keras.layers.BatchNormalization(name=f"norm{i}") for i in range(2)]
        self.convolutions = [convolution(channels, f"conv{i}", None) for i in range(2)]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build the parts, so that weights load before the first call."""
        for layer in (*self.norms, *self.convolutions):
            layer.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """``[N, H, W, channels]`` → the same shape."""
        values = inputs
        for norm, layer in zip(self.norms, self.convolutions, strict=True):
            values = layer(ops.relu(norm(values, training=training)))
        return inputs + values

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(channels=self.channels)
        return config


@window.register(NormalisedResidualBlock)
def _window(layer: NormalisedResidualBlock) -> Window:
    return chain(*layer.convolutions)


def generator(latent_channels: int, widths: Sequence[int] = (64, 32, 16)) -> keras.Sequential:
    """Residual blocks at each of three sizes, transposed convolutions between; three channels in the end."""
    layers: list[keras.layers.Layer] = [
        keras.Input((None, None, latent_channels)),
        convolution(widths[0], "first", None),
    ]
    for i, width in enumerate(widths):
        if i:
            layers.append(Conv2DTranspose(width, 4, strides=2, padding="same", name=f"up{i}"))
        layers.append(NormalisedResidualBlock(width, name=f"block{i}"))
    layers += [
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(name="relu"),
        convolution(3, "last", None, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01)),
    ]
    return keras.Sequential(layers, name="generator")


def discriminator(widths: Sequence[int] = (32, 64, 128)) -> keras.Sequential:
    """4×4 convolutions of stride 2 with leaky ReLU, and one to a single channel: how true each place looks."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, 3))]
    for i, width in enumerate(widths):
        layers.append(Conv2D(width, 4, strides=2, padding="same", name=f"conv{i}"))
        layers.append(keras.layers.LeakyReLU(0.2, name=f"relu{i}"))
    return keras.Sequential([*layers, Conv2D(1, 4, padding="same", name="last")], name="discriminator")


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class CompressionGAN(BlockModel):
    """GAN (a thumbnail is the latent) and GAN-AE (an encoder makes it).

    Args:
        adversarial: ``"w"`` (Wasserstein, the critic's weights clipped) or ``"dc"`` (DCGAN's cross-entropy).
        error: ``"l1"`` or ``"l2"``.
        latent_channels: of the encoder's latents; 0 for the plain GAN.
        bits: of a latent.
    """

    def __init__(self, adversarial: str, error: str, latent_channels: int, bits: int, **kwargs: Any):
        super().__init__(**kwargs)
        if adversarial not in ("w", "dc") or error not in ("l1", "l2"):
            raise ValueError(f"adversarial must be w or dc, error l1 or l2. Received: {adversarial!r}, {error!r}")
        self.adversarial, self.error, self.bits = adversarial, error, bits
        self.latent_channels = latent_channels
        self.encoder = encoder(latent_channels) if latent_channels else None
        self.channels = latent_channels or 3
        self.generator = generator(self.channels)
        self.discriminator = discriminator()
        self.built = True

    @classmethod
    def make_stream(cls, adversarial: str, error: str, latent_channels: int, bits: int) -> Stream:
        """How files are coded; arguments of the constructor."""
        return block_stream(latent_channels or 3, bits)

    def analyse(self, images: Any, lower: Sequence[Any] = ()) -> Any:
        """Encode the images, or take the means of 4×4 pixels."""
        # Without its strides Keras's pooling fails on JAX.
        small = self.encoder(images) if self.encoder else ops.average_pool(images, STRIDE, STRIDE, padding="valid")
        return self.quantise(ops.cast(small, "float32"))

    def synthesise(self, latents: Sequence[Any], training: bool | None = None) -> Any:
        """Generate the images; the plain GAN adds to the enlarged thumbnail."""
        (values,) = latents
        start = 0.5 if self.encoder else double(double(values))
        return start + ops.cast(self.generator(values - 0.5, training=training), "float32")

    def analysis_window(self) -> Window:
        """Of the encoder, or of the means."""
        return window(self.encoder) if self.encoder else pooling(STRIDE, STRIDE)

    def synthesis_window(self) -> Window:
        """Of the generator, and of the enlarged thumbnail."""
        generated = window(self.generator)
        return generated if self.encoder else generated | DOUBLE.then(DOUBLE)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """``uint8 [N, H, W, 3]`` → the decoded images, float32, 0 … 1."""
        return self.synthesise([self.analyse(ops.cast(images, "float32") / 255.0)], training=training)

    def learners(self) -> list[keras.Model]:
        """The critic, and the generator with the encoder."""
        coders = [self.encoder, self.generator] if self.encoder else [self.generator]
        return [
            Learner(self, [self.discriminator], self._critic_loss, name="discriminator"),
            Learner(self, coders, self._generator_loss, name="generator"),
        ]

    def learn(self, learners: Sequence[Any], batch: np.ndarray, step: int) -> dict[str, Any]:
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

    def _judge(self, images: Any) -> Any:
        """0 … 1 → how true the critic finds each place."""
        return ops.cast(self.discriminator(2.0 * images - 1.0), "float32")

    def _says(self, judgement: Any, true: bool) -> Any:
        """The loss of a critic who should find the images true, or not."""
        sign = -1.0 if true else 1.0
        return ops.mean(sign * judgement if self.adversarial == "w" else ops.softplus(sign * judgement))

    def _critic_loss(self, given: Mapping[str, Any]) -> Any:
        images = ops.cast(given["images"], "float32") / 255.0
        made = ops.stop_gradient(self(given["images"], training=True))
        return self._says(self._judge(images), True) + self._says(self._judge(made), False)

    def _generator_loss(self, given: Mapping[str, Any]) -> Any:
        made = self(given["images"], training=True)
        difference = 2.0 * (made - ops.cast(given["images"], "float32") / 255.0)
        error = ops.mean(ops.abs(difference) if self.error == "l1" else ops.square(difference))
        return ADVERSARIAL_WEIGHT * self._says(self._judge(made), True) + ERROR_WEIGHT * error

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.update(
            adversarial=self.adversarial,
            error=self.error,
            latent_channels=self.latent_channels,
            bits=self.bits,
        )
        return config


# === Presets ===

_W = Recipe(32, 64, 200_000, 2e-5, optimizer="rmsprop", note=f"§6.3: RMSProp, 2e-5, weights clipped to ±0.01. {NOTE}")
_DC = Recipe(32, 64, 200_000, 2e-4, beta_1=0.5, note=f"§6.3: Adam, 2e-4, β 0.5. {NOTE}")


for _adversarial, _recipe in (("w", _W), ("dc", _DC)):
    _config = {"adversarial": _adversarial, "error": "l2", "latent_channels": 0, "bits": 8}
    register_blocks(f"gan-{_adversarial}", CompressionGAN, _config, _recipe, f"GAN {_adversarial.upper()}")
    for _error in ("l1", "l2"):
        register_blocks(
            f"gan-ae-{_error}-{_adversarial}",
            CompressionGAN,
            {**_config, "error": _error, "latent_channels": 4, "bits": 6},
            _recipe,
            f"GAN-AE({_error.upper()}, {_adversarial.upper()})",
        )
