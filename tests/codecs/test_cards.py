"""Cards of strangers' models: a codec follows them, or says in one error what it cannot follow."""

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.specs import codec_for
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.export.runtime import ExportedModel
from codec_zoo.export.tables import Tables
from codec_zoo.stream import Latent, Residual, Stream, StreamLayer
from codec_zoo.stream_coders import Alternative, Choice, FixedBits, ImageCodec, LosslessImage, RangeCoder, Raw, Rows
from codec_zoo.stream_json import to_json

INPUTS = {"encode": {"images": ["uint8", [None, None, None, 3]]}}


class Small(ExportedModel):
    """Codes every n-th pixel; in NumPy. ``changes``: other signatures."""

    def __init__(self, stream, tables=None, receptive_field=None, **changes):
        inputs = {latent.name: ["uint8", [None, None, None, 3]] for latent in stream.latents}
        card = {
            "preset": "small",
            "weights_sha256": 64 * "0",
            "stream": to_json(stream),
            "receptive_field": receptive_field or {},
            "signatures": {**INPUTS, "decode": {**inputs, "size": ["int32", [None, 2]]}},
        }
        super().__init__("DIR/small/1", card, tables or {})
        self.step, self.calls = stream.latents[0].stride, 0
        self.functions = {"encode": self.encode, "decode": self.decode, **changes}

    def encode(self, images):
        height, width = (-(-side // self.step) * self.step for side in images.shape[1:3])
        padded = np.pad(
            images, ((0, 0), (0, height - images.shape[1]), (0, width - images.shape[2]), (0, 0)), mode="edge"
        )
        return {"y": padded[:, :: self.step, :: self.step]}

    def decode(self, y, size):
        shown = y.repeat(self.step, axis=1).repeat(self.step, axis=2)
        return {"images": shown[:, : size[0, 0], : size[0, 1]].astype(np.uint8)}

    def _run(self, signature, inputs):
        self.calls += 1
        return self.functions[signature](**inputs)


def stream_of(coder, *layers, stride=4):
    base = StreamLayer("latent", (Latent("y", coder, stride, 3),), "decode")
    return Stream((base, *layers), stride)


def test_a_sound_one(photo):
    codec = LearnedCodec(Small(stream_of(LosslessImage("png"))))
    image = photo[:30, :45]
    assert np.array_equal(codec.decode_layers(container.read(codec.encode(image)), 1)[::4, ::4], image[::4, ::4])


@pytest.mark.parametrize(
    "coder",
    [
        LosslessImage("jpg"),
        LosslessImage("jpeg"),
        ImageCodec("nothing"),
        ImageCodec("png"),
        ImageCodec("flif", ycbcr=True),
        ImageCodec("webp", ycbcr=True),
        ImageCodec("jxl"),
    ],
)
def test_codecs_that_no_file_can_have_inside(coder):
    """Unknown; lossy in a lossless place or the other way round; without YCbCr; without whole qualities."""
    for coders in (coder, Choice("codec", "a", (Alternative("a", FixedBits(8)), Alternative("b", coder)))):
        with pytest.raises(ModelError, match=rf"^DIR/small/1 .*{coder.codec}"):
            LearnedCodec(Small(stream_of(coders)))


def test_a_quality_of_the_card_that_its_codec_does_not_have():
    model = Small(stream_of(ImageCodec("jpeg-420", quality=500)))
    with pytest.raises(ModelError, match=r"^DIR/small/1 .*jpeg-420.*1 … 100"):
        LearnedCodec(model)
    with pytest.raises(UsageError, match="-q of small"):
        LearnedCodec(Small(stream_of(ImageCodec("jpeg-420", quality=50))), quality=500)


@pytest.mark.parametrize("codec", ["bpg-ycbcr444", "jpeg", "jpeg-420", "svac"])
def test_residuals_through_any_codec_with_a_dial(photo, codec):
    image = photo[:64, :96]
    model = Small(stream_of(LosslessImage("png"), StreamLayer("residual", (Residual(ImageCodec(codec)),))))
    file = container.read(LearnedCodec(model).encode(image))
    mended = LearnedCodec(model).decode_layers(file, 2)
    base = LearnedCodec(model).decode_layers(file, 1)
    assert np.square(mended - image.astype(int)).mean() < np.square(base - image.astype(int)).mean()
    assert LearnedCodec(model, target_psnr=28).encode(image)


def zeros(*shape, dtype="int32"):
    return lambda **inputs: {"y": np.zeros((1, *shape), dtype), "indexes": np.zeros((1, *shape), dtype)}


TABLES = {"y": Tables(np.array([-16, 0, 2**15, 2**16] * 2, np.int32), np.zeros(2, np.int32))}


@pytest.mark.parametrize(
    ("coder", "encode", "words"),
    [
        (LosslessImage("png"), zeros(4, 4, 3, dtype="uint8"), r"gives y \[4, 4, 3\]"),
        (LosslessImage("png"), zeros(8, 12, 4, dtype="uint8"), r"\[8, 12, 4\]"),
        (LosslessImage("png"), zeros(8, 12, 3), r"y as int32 .* uint8"),
        (FixedBits(8), zeros(8, 12, 3, dtype="float32"), r"y as float32 .* uint8"),
        (Raw("int16"), zeros(8, 12, 3), r"y as int32 .* int16"),
        (ImageCodec("jpeg"), zeros(8, 12, 3, dtype="float64"), r"y as float64 .* uint8"),
        (RangeCoder("y"), zeros(8, 12, 3, dtype="float32"), r"y as float32 .* int32"),
        (RangeCoder("y"), zeros(8, 12, 3), r"tables that it does not have"),
        (RangeCoder("x"), zeros(8, 12, 3), r"no tables 'x'"),
    ],
)
def test_what_a_model_gives_is_what_its_card_says(photo, coder, encode, words):
    codec = LearnedCodec(Small(stream_of(coder), TABLES, encode=encode))
    with pytest.raises(ModelError, match=words):
        codec.encode(photo[:32, :48])


@pytest.mark.parametrize("shape", [(8, 12, 1), (1, 1, 3), (4, 6, 3)])
def test_rows_have_the_shape_of_their_values(photo, shape):
    z, y = Latent("z", Raw("int32"), 4, 3), Latent("y", RangeCoder("y", Rows("rows", ("z",))), 4, 3)
    stream = Stream((StreamLayer("latent", (z, y), "decode"),), 4)
    values = np.zeros((1, 8, 12, 3), np.int32)
    model = Small(stream, TABLES, encode=lambda images: {"y": values, "z": values}, rows=zeros(8, 12, 3))
    data = LearnedCodec(model).encode(photo[:32, :48])
    model.functions["rows"] = zeros(*shape)
    with pytest.raises(ModelError, match="gives indexes"):
        LearnedCodec(model).encode(photo[:32, :48])
    with pytest.raises(ModelError, match="gives indexes"):
        LearnedCodec(model).decode_layers(container.read(data), 1)


def test_decoded_images_have_the_size_of_the_file(photo):
    model = Small(stream_of(LosslessImage("png")))
    data = LearnedCodec(model).encode(photo[:32, :48])
    model.functions["decode"] = lambda y, size: {"images": np.zeros((1, 32, 40, 3), np.uint8)}
    with pytest.raises(ModelError, match=r"gives images \[32, 40, 3\]"):
        LearnedCodec(model).decode_layers(container.read(data), 1)


@pytest.mark.parametrize("stride", [24, 3, 1500])
def test_tiles_of_any_stride(photo, stride):
    """The default tile is a multiple of the stride: the file is that of the whole image."""
    image = np.tile(photo, (4, 4, 1))[:1700, :2900]
    fields = {"encode": 0, "decode": 0}
    whole = LearnedCodec(Small(stream_of(LosslessImage("png"), stride=stride)))
    tiled = LearnedCodec(Small(stream_of(LosslessImage("png"), stride=stride), receptive_field=fields))
    assert tiled.tile % stride == 0
    file = container.read(whole.encode(image))
    assert file == container.read(tiled.encode(image))
    assert np.array_equal(whole.decode_layers(file, 1), tiled.decode_layers(file, 1))


def test_a_receptive_field_beyond_the_image_takes_it_once(photo):
    """Not as often as there are tiles."""
    model = Small(stream_of(LosslessImage("png")), receptive_field={"encode": 10**9, "decode": 10**9})
    codec = LearnedCodec(model, tile=64)
    codec.encode(photo[:256, :300])
    assert model.calls == 1


def test_options_of_choices_of_their_own(photo):
    """A choice may have an option that no model of the zoo has."""
    png, raw = Alternative("png", LosslessImage("png"), 0), Alternative("raw", Raw("uint8"), 1)
    coders = Choice("flavour", "png", (png, raw))
    model = Small(stream_of(coders))
    image = photo[:32, :48]
    assert len(codec_for(model, flavour="raw").encode(image)) != len(codec_for(model).encode(image))
    for value in ("sweet", 3, ""):
        with pytest.raises(UsageError, match="--flavour of small is one of png, raw"):
            codec_for(model, flavour=value)


def test_refined_layers_for_a_target(photo):
    """Each number of layers that is tried has the refined latents of its layers."""
    layers = tuple(
        StreamLayer("latent", (Latent(name, Raw("uint8"), 4, 3),), "decode", f"refine_{name}") for name in ("y", "z")
    )
    model = Small(Stream(layers, 4))
    model.functions["refine_y"] = lambda images, rounds: model.encode(images)
    model.functions["refine_z"] = lambda images, rounds, y: {"z": y}
    model.functions["decode"] = lambda y, size, z=None: model.decode(y, size)
    images = INPUTS["encode"]
    model.card["signatures"] |= {"refine_y": images, "refine_z": {**images, "y": ["uint8", [None, None, None, 3]]}}
    codec = LearnedCodec(model, search=1, target_psnr=90)
    assert len(container.read(codec.encode(photo[:32, :48])).layers) == 2
