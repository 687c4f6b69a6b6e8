"""Files of block auto-encoders: any size, both codings, overlap, steps, fine-tuning, damage."""

import contextlib

import keras
import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.blocks import Blocks
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_model
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset

STEPS, TUNED, THUMBNAIL = "report2017-cnn-rnn-ae", "report2017-cnn-ae-ft", "report2017-gan-w"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained, one of each kind: three steps, a decoder that is fine-tuned, 8-bit thumbnails."""
    directory = tmp_path_factory.mktemp("blocks")
    keras.utils.set_random_seed(0)
    for name in (STEPS, TUNED, THUMBNAIL):
        export_model(name, get_preset(name).create(), directory, verify=name == TUNED)
    return {name: open_model(str(directory / name)) for name in (STEPS, TUNED, THUMBNAIL)}


@pytest.mark.parametrize("name", [STEPS, TUNED, THUMBNAIL])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 70)])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_codings_decode_alike(models, noise, name, size, channels):
    picture = noise(*size)[..., :channels]
    decoded = {}
    for coding in ("fixed", "jxl"):
        codec = LearnedCodec(models[name], coding=coding, overlap=8, tune="no")
        data = codec.encode(picture)
        decoded[coding] = codec.decode(data)
        assert decoded[coding].shape == picture.shape and decoded[coding].dtype == np.uint8
    assert np.array_equal(decoded["fixed"], decoded["jxl"])


def test_a_block_has_1536_bits(models, photo):
    """16:1, as the report counts: without headers."""
    for name, model in models.items():
        stream = container.read(LearnedCodec(model, coding="fixed", tune="no").encode(photo[:64, :96]))
        assert sum(len(layer.payload) - 2 for layer in stream.layers) * 8 == 6 * 1536, name


@pytest.mark.parametrize("overlap", [0, 4, 16])
@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 65), (100, 47)])
def test_cut_and_blend_are_inverse(noise, overlap, size):
    picture = noise(*size)
    blocks = Blocks(None, 32, overlap)
    pieces = blocks.cut(picture)
    assert pieces.shape[1:] == (32, 32, 3)
    assert np.array_equal(blocks.blend([pieces], *size), picture)
    parts = [blocks.cut(picture, start, start + 2) for start in range(0, len(pieces), 2)]
    assert np.array_equal(np.concatenate(parts), pieces)
    assert np.array_equal(blocks.blend(parts, *size), picture)


def test_overlap_fades():
    """Two flat blocks: a ramp between them, not a step."""
    flat = np.stack([np.full((32, 32, 1), value, np.uint8) for value in (0, 170)])
    row = Blocks(None, 32, 16).blend([flat], 32, 48)[0, :, 0].astype(int)
    assert row[0] == 0 and row[-1] == 170 and np.abs(np.diff(row)).max() <= 11
    assert np.abs(np.diff(Blocks(None, 32).blend([flat], 32, 64)[0, :, 0].astype(int))).max() == 170


def test_a_file_of_steps_decodes_cut_short(models, photo):
    codec = LearnedCodec(models[STEPS])
    picture = photo[:64, :64]
    data = codec.encode(picture)
    whole = codec.decode(data)
    stages = [codec.decode(container.truncate(data, count)) for count in (1, 2, 3)]
    assert np.array_equal(stages[2], whole)
    assert not np.array_equal(stages[0], stages[1])
    assert np.array_equal(codec.decode(LearnedCodec(models[STEPS], layers=2).encode(picture)), stages[1])


@pytest.mark.parametrize("coding", ["fixed", "jxl"])
def test_a_searched_file_is_better_and_no_longer(photo, coding):
    model = open_model("report2017-cnn-rnn-ae")
    picture = photo[:70, :100]
    plain, searched = LearnedCodec(model, coding=coding), LearnedCodec(model, coding=coding, search=4)
    files = [codec.encode(picture) for codec in (plain, searched)]
    assert psnr(picture, plain.decode(files[1])) > psnr(picture, plain.decode(files[0])) + 0.15
    assert coding == "jxl" or len(files[1]) == len(files[0])
    first = LearnedCodec(model, coding=coding, search=4, layers=1).encode(picture)
    assert container.read(first).layers[0] == container.read(files[1]).layers[0]


def test_fine_tuning_gains_and_is_optional(models, photo):
    """387 bytes of weights; the picture is nearer with them, and decodes without."""
    picture = photo[128:256, 128:256]
    codec = LearnedCodec(models[TUNED])
    data = codec.encode(picture)
    kinds = [layer.kind for layer in container.read(data).layers]
    assert kinds == [LayerKind.LATENT, LayerKind.WEIGHTS]
    assert len(container.read(data).layers[1].payload) == 4 + 387
    without = codec.decode(container.truncate(data, 1))
    assert np.array_equal(without, LearnedCodec(models[TUNED], tune="no").decode(container.truncate(data, 1)))
    assert psnr(picture, codec.decode(data)) > psnr(picture, without) + 1


def test_damage_is_named(models, photo):
    """Payloads that no encoder makes."""
    model, random = models[TUNED], np.random.default_rng(5)
    codec = LearnedCodec(model)
    head = (model.card["preset"], model.card["weights_sha256"], 40, 40, 3)
    for coding in ("jxl", "fixed"):
        layers = container.read(LearnedCodec(model, coding=coding).encode(photo[:40, :40])).layers
        for _ in range(60):
            payloads = [bytearray(layer.payload) for layer in layers]
            payload = payloads[random.integers(len(payloads))]
            payload[random.integers(min(8, len(payload)))] = random.integers(256)
            del payload[int(random.integers(len(payload) // 2, len(payload) + 1)) :]
            damaged = [Layer(layer.kind, bytes(p)) for layer, p in zip(layers, payloads, strict=True)]
            with contextlib.suppress(BitstreamError):
                assert codec.decode(container.write(*head, damaged)).shape == (40, 40, 3)
    for kinds in ([LayerKind.WEIGHTS], [LayerKind.LATENT, LayerKind.LATENT], [LayerKind.BASE]):
        with pytest.raises(BitstreamError, match="not those of"):
            codec.decode(container.write(*head, [Layer(kind, b"\0\0") for kind in kinds]))


def test_wrong_use_is_named(models):
    for options, message in (
        ({"coding": "zip"}, "one of fixed, jxl"),
        ({"overlap": 17}, "0, 4 … 16"),
        ({"overlap": 3}, "0, 4 … 16"),
        ({"tune": "maybe"}, "--tune is yes or no"),
        ({"layers": 4}, "--layers .* 1 … 3"),
    ):
        with pytest.raises(UsageError, match=message):
            LearnedCodec(models[STEPS], **options)
