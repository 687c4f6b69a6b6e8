"""A filter behind a codec: the file is the codec's, the model mends it, and is optional."""

import numpy as np
import pytest

from codec_zoo import color
from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.learned import LearnedCodec, decode_plain
from codec_zoo.codecs.standard import get_ycbcr_codec
from codec_zoo.codecs.tiling import Tiles
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_model
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset

PRESET = "hu2018-filter-svac-q48"
# The paper's filter, as files and as the model have it.
PAPER = np.array([64, 0, 0, 0], np.int8)
FIRST = np.array([[1, 0, 0, 0]], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Untrained, but one that changes pictures."""
    network = get_preset(PRESET).create()
    network.last.kernel.assign(np.random.default_rng(0).normal(0, 3.0, network.last.kernel.shape))
    directory = tmp_path_factory.mktemp("filter")
    export_model(PRESET, network, directory)
    return open_model(str(directory / PRESET))


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (130, 203)])
def test_the_file_is_the_codecs(model, noise, size):
    picture = noise(*size)
    codec = LearnedCodec(model, filter="on")
    stream = container.read(codec.encode(picture))
    (layer,) = stream.layers
    step = get_ycbcr_codec("svac:48")
    assert layer.payload == b"\x01\x40\0\0\0" + step.encode_ycbcr(color.rgb_to_ycbcr(picture))
    ycbcr = step.decode_ycbcr(layer.payload[5:])
    mended = codec.decode_layers(stream, 1)
    assert np.array_equal(mended, model.run("decode", ycbcr=ycbcr[None], strengths=FIRST)["images"][0])
    plain = decode_plain(stream)
    assert np.array_equal(plain, color.ycbcr_to_rgb(ycbcr)) and (size == (1, 1) or not np.array_equal(plain, mended))
    assert np.array_equal(LearnedCodec(model, filter="off").decode_layers(stream, 1), plain)


@pytest.fixture(scope="module")
def trained():
    return open_model(PRESET)


def luma_error(picture, shown):
    difference = color.rgb_to_ycbcr(picture)[..., 0].astype(float) - color.rgb_to_ycbcr(shown)[..., 0]
    return np.mean(np.square(difference))


def test_the_strengths_are_the_best_there_are(trained, photo):
    """What the encoder chooses is better than the paper's filter, than none, and than what is near it."""
    picture = photo[:96, :96]
    paper, chosen = LearnedCodec(trained, filter="on").encode(picture), LearnedCodec(trained).encode(picture)
    payloads = [container.read(data).layers[0].payload for data in (paper, chosen)]
    assert payloads[0][5:] == payloads[1][5:] and payloads[0][1:5] == PAPER.tobytes()
    best = np.frombuffer(payloads[1][1:5], np.int8)
    assert best.any() and (best != PAPER).any() and np.abs(best.astype(int)).max() < 127

    def error(strengths):
        layer = Layer(LayerKind.PICTURE, b"\x01" + strengths.astype(np.int8).tobytes() + payloads[1][5:])
        file = container.write(trained.card["preset"], trained.card["weights_sha256"], 96, 96, 3, [layer])
        return luma_error(picture, LearnedCodec(trained).decode(file))

    assert error(best) < min(error(0 * best), error(PAPER))
    # Luma is rounded: the next step may be as good, but not one far off.
    far = 40 * np.eye(4, dtype=int)
    assert all(error(best) < error(np.clip(best + step, -128, 127)) for step in (*far, *-far))
    plain = LearnedCodec(trained, filter="off").decode(chosen)
    assert error(0 * best) == luma_error(picture, plain)


def test_harm_is_left_out(trained, photo, monkeypatch):
    """Strengths that make luma worse are not for a file, whatever least squares say: decoders show the codec's."""
    picture, run = photo[:96, :96], trained.run

    def mirrored(signature, **inputs):
        return run(signature, **{key: -value if key == "strengths" else value for key, value in inputs.items()})

    monkeypatch.setattr(trained, "run", mirrored)
    data = LearnedCodec(trained).encode(picture)
    stream = container.read(data)
    assert not any(stream.layers[0].payload[1:5])
    for choice in ("auto", "on", "off"):
        assert np.array_equal(LearnedCodec(trained, filter=choice).decode(data), decode_plain(stream))


def test_other_codecs_and_qualities(model, photo):
    picture = photo[:96, :96]
    sizes = []
    for options in (
        {},
        {"quality": 30},
        {"codec": "jpeg-420", "quality": 48},
        {"codec": "svac-half", "quality": 40},
        {"codec": "bpg-ycbcr444", "quality": 30},
    ):
        codec = LearnedCodec(model, **options)
        data = codec.encode(picture)
        sizes.append(len(data))
        assert LearnedCodec(model).decode(data).shape == picture.shape
    assert len(set(sizes)) == 5
    gray = photo[:40, :50, :1]
    assert LearnedCodec(model).decode(LearnedCodec(model).encode(gray)).shape == gray.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3), (130, 203)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_behind_bpg_444(model, noise, size, channels):
    picture = noise(*size)[..., :channels]
    codec = LearnedCodec(model, quality=20, codec="bpg-ycbcr444")
    decoded = codec.decode(codec.encode(picture))
    assert decoded.shape == picture.shape and psnr(picture, decoded) > 30


def test_tiles_leave_no_seam(model, photo):
    picture = photo[:300, :333]
    runs = [Tiles(model, 1, tile) for tile in (512, 96)]
    whole, tiled = (run.show("decode", {"ycbcr": picture}, 300, 333, strengths=FIRST) for run in runs)
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and np.mean(whole != tiled) < 1e-4


def test_errors(model, photo):
    for options in ({"codec": "webp"}, {"filter": "maybe"}, {"quality": 99}):
        with pytest.raises(UsageError):
            LearnedCodec(model, **options)
    card, data = model.card, LearnedCodec(model).encode(photo[:64, :64])
    payload = container.read(data).layers[0].payload
    gray = get_ycbcr_codec("jpeg-420:50").encode_ycbcr(photo[:64, :64, :1])
    for kind, lie in (
        (LayerKind.PICTURE, b"\x05" + PAPER.tobytes() + gray),
        (LayerKind.PICTURE, b""),
        (LayerKind.PICTURE, payload[:1]),
        (LayerKind.PICTURE, payload[:4]),
        (LayerKind.PICTURE, payload[:5]),
        (LayerKind.PICTURE, b"\x63" + payload[1:]),
        (LayerKind.PICTURE, payload[:20]),
        (LayerKind.LATENT, payload),
    ):
        file = container.write(card["preset"], card["weights_sha256"], 64, 64, 3, [Layer(kind, lie)])
        with pytest.raises(BitstreamError):
            LearnedCodec(model).decode(file)
        with pytest.raises((BitstreamError, UsageError)):
            decode_plain(container.read(file))
    other_size = container.write(
        card["preset"], card["weights_sha256"], 64, 63, 3, [Layer(LayerKind.PICTURE, payload)]
    )
    with pytest.raises(BitstreamError, match="another size"):
        LearnedCodec(model).decode(other_size)
    latents = container.write(card["preset"], card["weights_sha256"], 64, 64, 3, [Layer(LayerKind.LATENT, payload)])
    with pytest.raises(UsageError, match="no-filter"):
        decode_plain(container.read(latents))


def test_mutated_files(model, photo, refuses_mutants):
    refuses_mutants(LearnedCodec(model), photo)
