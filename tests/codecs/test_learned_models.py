"""Models that need no line outside their own file: a mean–scale hyperprior, and one of which a group of channels
chooses the tables of the next, compress and decompress by their streams alone.
"""

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.cli.unexported import UnexportedModel
from codec_zoo.codecs import container
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.contract import IMAGES, SIZE, CompressionModel, Signature
from codec_zoo.entropy_models import FactorizedPrior
from codec_zoo.errors import BitstreamError
from codec_zoo.layers.resampling import pad_to_multiple, sizes
from codec_zoo.presets import Paper, Preset, Recipe
from codec_zoo.receptive_field import chain, window
from codec_zoo.stream import Latent, Stream, StreamLayer
from codec_zoo.stream_coders import RangeCoder, Rows

CHANNELS, HYPER = 6, 4
# A value of y stands for 4 pixels, one of z for 8.
STEP, HYPER_STEP = 4, 8


def integers(channels):
    return "int32", (None, None, None, channels)


def enlarge(values):
    return ops.repeat(ops.repeat(values, 2, axis=1), 2, axis=2)


def rows_of(*values):
    """Rows of the table, 0 … 63, in integers: larger ones where neighbours are."""
    total = sum(ops.sum(ops.abs(value), axis=-1, keepdims=True) for value in values)
    return ops.clip(20 + total, 0, 63)


@keras.saving.register_keras_serializable("tests")
class MeanScale(CompressionModel):
    """y less its mean is coded; the decoder gets it and z, and adds the mean (Minnen et al. 2018)."""

    stride = HYPER_STEP

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.analysis = keras.layers.Conv2D(CHANNELS, 4, strides=4)
        self.hyper_analysis = keras.layers.Conv2D(HYPER, 2, strides=2)
        self.means = keras.layers.Conv2DTranspose(CHANNELS, 2, strides=2)
        self.synthesis = keras.layers.Conv2DTranspose(3, 4, strides=4)
        for layer, channels in (
            (self.analysis, 3), (self.hyper_analysis, CHANNELS), (self.means, HYPER), (self.synthesis, CHANNELS)
        ):  # fmt: skip
            layer.build((None, None, None, channels))
            layer.kernel.assign(layer.kernel * (0.05 if layer is self.analysis else 0.6))
        self.prior = FactorizedPrior(name="prior")
        self.prior.build((None, None, None, HYPER))
        self.built = True

    @classmethod
    def make_stream(cls):
        y = RangeCoder("y", Rows("rows", ("z",)))
        latents = Latent("z", RangeCoder("z"), HYPER_STEP, HYPER), Latent("y", y, STEP, CHANNELS)
        return Stream((StreamLayer("latent", latents, "decode", checked=True),), HYPER_STEP)

    @property
    def priors(self):
        return {"z": self.prior}

    def windows(self):
        means = window(self.means).of_latents(HYPER_STEP)
        return {
            "encode": [window(self.analysis), chain(self.analysis, self.hyper_analysis)],
            "rows": [means],
            "decode": [window(self.synthesis).of_latents(STEP), means.then(window(self.synthesis))],
        }

    @property
    def signatures(self):
        z, y = {"z": integers(HYPER)}, integers(CHANNELS)
        coded = {**z, "y": y, "size": SIZE}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "rows": Signature(lambda z: {"indexes": self.rows(z)}, z, {"indexes": y}),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def transform(self, images):
        y = self.analysis(ops.cast(pad_to_multiple(images, HYPER_STEP), "float32") - 128.0)
        return y, ops.cast(ops.round(self.hyper_analysis(ops.abs(y))), "int32")

    def rows(self, z):
        return ops.repeat(enlarge(rows_of(z)), CHANNELS, axis=-1)

    def mean(self, z):
        return self.means(ops.cast(z, "float32"))

    def encode(self, images):
        y, z = self.transform(images)
        return {"z": z, "y": ops.cast(ops.round(y - self.mean(z)), "int32"), "size": sizes(images)}

    def show(self, y, size):
        pixels = ops.clip(ops.round(self.synthesis(y) + 128.0), 0, 255)
        return {"images": ops.cast(pixels, "uint8")[:, : size[0, 0], : size[0, 1]]}

    def decode(self, z, y, size):
        return self.show(ops.cast(y, "float32") + self.mean(z), size)


@keras.saving.register_keras_serializable("tests")
class ChannelConditional(MeanScale):
    """Two groups of channels: the first chooses tables and mean of the second (Minnen and Singh 2020)."""

    HALF = CHANNELS // 2

    @classmethod
    def make_stream(cls):
        latents = (
            Latent("z", RangeCoder("z"), HYPER_STEP, HYPER),
            Latent("first", RangeCoder("y", Rows("rows", ("z",))), STEP, cls.HALF),
            Latent("second", RangeCoder("y", Rows("next_rows", ("z", "first"))), STEP, cls.HALF),
        )
        return Stream((StreamLayer("latent", latents, "decode", checked=True),), HYPER_STEP)

    def windows(self):
        found = super().windows()
        return {**found, "next_rows": found["rows"]}

    @property
    def signatures(self):
        z, half = {"z": integers(HYPER)}, integers(self.HALF)
        coded = {**z, "first": half, "second": half, "size": SIZE}
        return {
            "encode": Signature(self.encode, {"images": IMAGES}, coded),
            "rows": Signature(lambda z: {"indexes": self.rows(z)[..., : self.HALF]}, z, {"indexes": half}),
            "next_rows": Signature(self.next_rows, {**z, "first": half}, {"indexes": half}),
            "decode": Signature(self.decode, coded, {"images": IMAGES}),
        }

    def next_rows(self, z, first):
        return {"indexes": ops.repeat(rows_of(enlarge(z), first), self.HALF, axis=-1)}

    def mean_of_second(self, z, first):
        return self.mean(z)[..., self.HALF :] + 0.25 * ops.cast(first, "float32")

    def encode(self, images):
        y, z = self.transform(images)
        first = ops.cast(ops.round(y[..., : self.HALF]), "int32")
        second = ops.cast(ops.round(y[..., self.HALF :] - self.mean_of_second(z, first)), "int32")
        return {"z": z, "first": first, "second": second, "size": sizes(images)}

    def decode(self, z, first, second, size):
        second = ops.cast(second, "float32") + self.mean_of_second(z, first)
        return self.show(ops.concatenate([ops.cast(first, "float32"), second], axis=-1), size)


@pytest.fixture(scope="module", params=[MeanScale, ChannelConditional], ids=lambda model: model.__name__)
def model(request):
    keras.utils.set_random_seed(0)
    paper = Paper(authors="A. Uthor", title="A model", year=2026, url="https://example.org")
    preset = Preset("uthor2026-model", paper, request.param, {}, Recipe(64, 1, 1, 1e-4), "nothing")
    return UnexportedModel(preset, preset.create())


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (96, 131)])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_hold_the_latents(model, photo, size, channels):
    """The decoder shows what the model makes of the integers that it coded."""
    image = photo[: size[0], : size[1], :channels]
    codec = LearnedCodec(model)
    data = codec.encode(image)
    coded = model.run("encode", images=np.repeat(image, 3 // channels, axis=2)[None])
    expected = model.run("decode", **coded)["images"][0]
    decoded = codec.decode_layers(container.read(data), 1)
    assert decoded.shape == image.shape
    assert np.array_equal(decoded, expected) or channels == 1
    if size[0] > 90:
        assert len(data) < 0.6 * image.size
        last = list(coded)[-2]  # before the size
        assert len(np.unique(coded[last])) > 8


def test_tables_follow_the_values(model, photo):
    """Rows of many kinds, and the tiled choice is that of the whole image."""
    image = photo[:160, :200]
    whole, tiled = LearnedCodec(model, tile=128), LearnedCodec(model, tile=32)
    data = whole.encode(image)
    assert data == tiled.encode(image)
    stream = container.read(data)
    assert np.array_equal(whole.decode_layers(stream, 1), tiled.decode_layers(stream, 1))
    coded = model.run("encode", images=image[None])
    rows = next(latent.coder.rows for latent in reversed(model.stream.latents))
    indexes = model.run(rows.signature, **{name: coded[name] for name in rows.inputs})["indexes"]
    assert len(np.unique(indexes)) > 5


def test_damage_is_found(model, photo, mutants):
    codec = LearnedCodec(model)
    data = codec.encode(photo[:64, :96])
    for mutant in mutants(data, 60):
        with pytest.raises(BitstreamError):
            codec.decode_layers(container.read(mutant), 1)
