"""A filter of RGB behind BPG of any quality: the file is BPG's, the model mends it, and is optional."""

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.images import to_gray
from codec_zoo.codecs.learned import LearnedCodec, decode_plain
from codec_zoo.codecs.standard import get_codec
from codec_zoo.codecs.tiling import Tiles
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_model
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset

PRESET, BPG = "bpg-filter", "bpg-ycbcr444-10bit"
FULL = b"\x40\x40\x40"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Untrained, but one that changes images, at each QP in another way."""
    network = get_preset(PRESET).create()
    random = np.random.default_rng(0)
    for variable in (network.last.kernel, network.factors.kernel):
        variable.assign(random.normal(0, 0.02, variable.shape))
    directory = tmp_path_factory.mktemp("filter")
    export_model(PRESET, network, directory)
    return open_model(str(directory / PRESET))


@pytest.fixture(scope="module")
def trained():
    return open_model(PRESET)


def change_strengths(model, monkeypatch, change):
    """Let the model see other strengths than the file has."""
    run = model.run

    def changed(signature, **inputs):
        return run(
            signature, **{name: change(value) if name == "strengths" else value for name, value in inputs.items()}
        )

    monkeypatch.setattr(model, "run", changed)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3), (130, 203)])
@pytest.mark.parametrize("quality", [24, 40])
def test_the_file_is_bpgs(model, noise, size, quality):
    """The layer: a byte of the QP, three of strengths, the BPG file."""
    picture = noise(*size)
    codec = LearnedCodec(model, filter="on", quality=quality)
    stream = container.read(codec.encode(picture))
    (layer,) = stream.layers
    assert layer.kind == LayerKind.FILTERED
    bpg = get_codec(f"{BPG}:{quality}")
    assert layer.payload == bytes([quality]) + FULL + bpg.encode(picture)
    decoded = bpg.decode(layer.payload[4:])
    mended = LearnedCodec(model).decode_layers(stream, 1)  # whatever quality the decoder's own would be
    inputs = {"rgb": decoded[None], "quality": np.full((1, 1), quality, np.float32)}
    assert np.array_equal(mended, model.run("decode", **inputs, strengths=np.ones((1, 3), np.float32))["images"][0])
    plain = decode_plain(stream)
    assert np.array_equal(plain, decoded) and (size == (1, 1) or not np.array_equal(plain, mended))
    assert np.array_equal(LearnedCodec(model, filter="off").decode_layers(stream, 1), plain)


def test_the_strengths_are_the_best_there_are(trained, photo):
    """Better than none and than others far from them, and not worse than full ones."""
    model, picture = trained, photo[:96, :96]
    payload = container.read(LearnedCodec(model).encode(picture)).layers[0].payload
    best = np.frombuffer(payload[1:4], np.int8).astype(int)
    assert best.any() and np.abs(best).max() < 127

    def error(strengths):
        layer = Layer(LayerKind.FILTERED, payload[:1] + strengths.astype(np.int8).tobytes() + payload[4:])
        file = container.write(PRESET, model.card["weights_sha256"], 96, 96, 3, [layer])
        return np.mean(np.square(picture.astype(float) - LearnedCodec(model).decode(file)))

    assert error(best) < error(0 * best) and error(best) <= error(0 * best + 64)
    far = 60 * np.eye(3, dtype=int)
    assert all(error(best) < error(np.clip(best + step, -128, 127)) for step in (*far, *-far))
    assert error(0 * best) == np.mean(np.square(picture.astype(float) - get_codec(BPG + ":34").decode(payload[4:])))


def test_harm_is_left_out(trained, photo, monkeypatch):
    """Strengths that make the image worse are not for a file: decoders show BPG's."""
    model, picture = trained, photo[:96, :96]
    change_strengths(model, monkeypatch, lambda value: -value)
    data = LearnedCodec(model).encode(picture)
    stream = container.read(data)
    assert stream.layers[0].payload[1:4] == bytes(3)
    for choice in ("auto", "on", "off"):
        assert np.array_equal(LearnedCodec(model, filter=choice).decode(data), decode_plain(stream))


def test_qualities_and_targets(model, photo):
    picture = photo[:96, :128]
    sizes = [len(LearnedCodec(model, quality=quality).encode(picture)) for quality in (44, 34, 20, 5)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 4
    data = LearnedCodec(model, target_bpp=1.0).encode(picture)
    assert len(data) * 8 <= picture.shape[0] * picture.shape[1]
    data = LearnedCodec(model, target_psnr=36.0).encode(picture)
    assert psnr(picture, LearnedCodec(model).decode(data)) >= 36
    with pytest.raises(UsageError, match=BPG):
        LearnedCodec(model, quality=52)
    with pytest.raises(UsageError, match="--codec"):
        LearnedCodec(model, codec="jpeg-420")


def test_gray(model, photo):
    gray = photo[:40, :51, :1]
    data = LearnedCodec(model).encode(gray)
    shown = LearnedCodec(model).decode(data)
    assert shown.shape == gray.shape and psnr(gray, shown) > 28
    stream = container.read(data)
    decoded = get_codec(BPG + ":34").decode(stream.layers[0].payload[4:])
    assert np.array_equal(decode_plain(stream), to_gray(decoded))


def test_tiles_leave_no_seam(model, photo):
    picture = photo[:300, :333]
    same = {"quality": np.array([[30]], np.float32), "strengths": np.ones((1, 3), np.float32)}
    runs = [Tiles(model, 1, tile) for tile in (512, 96)]
    whole, tiled = (run.show("decode", {"rgb": picture}, 300, 333, **same) for run in runs)
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and np.mean(whole != tiled) < 1e-3


def test_errors(model, photo):
    data = LearnedCodec(model).encode(photo[:64, :64])
    payload = container.read(data).layers[0].payload
    for kind, lie in (
        (LayerKind.FILTERED, b""),
        (LayerKind.FILTERED, payload[:1]),
        (LayerKind.FILTERED, payload[:3]),
        (LayerKind.FILTERED, payload[:4]),
        (LayerKind.FILTERED, payload[:30]),
        (LayerKind.FILTERED, payload[1:]),
        (LayerKind.PICTURE, payload),
        (LayerKind.LATENT, payload),
    ):
        file = container.write(PRESET, model.card["weights_sha256"], 64, 64, 3, [Layer(kind, lie)])
        with pytest.raises(BitstreamError):
            LearnedCodec(model).decode(file)
        with pytest.raises((BitstreamError, UsageError)):
            decode_plain(container.read(file))
    other = container.write(PRESET, model.card["weights_sha256"], 64, 63, 3, [Layer(LayerKind.FILTERED, payload)])
    with pytest.raises(BitstreamError, match="another size"):
        LearnedCodec(model).decode(other)


def test_mutated_files(model, photo, refuses_mutants):
    refuses_mutants(LearnedCodec(model), photo)
