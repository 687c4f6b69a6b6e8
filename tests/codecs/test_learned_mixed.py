"""Representations in JPEG: real files, colour and gray, both resolutions, the switch between them, damage."""

import io

import numpy as np
import pytest
from PIL import Image

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_model
from codec_zoo.metrics import psnr
from codec_zoo.models.zhao2018 import MixedResolution

PRESET = "zhao2018-mixed"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Narrow and untrained: JPEG of resampled pictures."""
    branch = {"qualities": (5, 10), "channels": 4}
    network = MixedResolution({"low": {**branch, "scale": 2}, "high": {**branch, "scale": 1}})
    directory = tmp_path_factory.mktemp("mixed")
    export_model(PRESET, network, directory)
    return open_model(str(directory / PRESET))


@pytest.mark.parametrize("resolution", ["low", "high"])
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3), (130, 203)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(model, noise, resolution, size, channels):
    picture = noise(*size)[..., :channels]
    codec = LearnedCodec(model, quality=90, resolution=resolution)
    decoded = codec.decode(codec.encode(picture))
    assert decoded.shape == picture.shape
    if resolution == "high" and channels == 1:
        assert psnr(picture, decoded) > 28


def test_the_layer_holds_a_jpeg_file(model, photo):
    for resolution, scale in (("low", 2), ("high", 1)):
        payload = (
            container.read(LearnedCodec(model, quality=20, resolution=resolution).encode(photo)).layers[0].payload
        )
        image = Image.open(io.BytesIO(payload[1:]))
        assert payload[0] == scale and image.format == "JPEG" and image.size == (768 // scale, 512 // scale)
    gray = container.read(LearnedCodec(model, quality=20, resolution="low").encode(photo[..., :1])).layers[0].payload
    assert Image.open(io.BytesIO(gray[1:])).mode == "L"


def test_the_switch_is_the_better_of_both(model, photo):
    """Low at low rates, high at high ones; never worse than either alone."""
    picture = photo[64:448, 64:576, :1]
    chosen = []
    for target in (0.12, 3.0):
        files = {
            name: LearnedCodec(model, resolution=name, target_bpp=target).encode(picture)
            for name in ("low", "high", "auto")
        }
        quality = {name: psnr(picture, LearnedCodec(model).decode(data)) for name, data in files.items()}
        assert all(8 * len(data) <= target * picture.size for data in files.values())
        assert quality["auto"] == max(quality.values())
        chosen.append(container.read(files["auto"]).layers[0].payload[0])
    assert chosen == [2, 1]
    sizes = {
        name: len(LearnedCodec(model, resolution=name, target_psnr=30).encode(picture))
        for name in ("low", "high", "auto")
    }
    assert sizes["auto"] <= sizes["high"]
    tiny = LearnedCodec(model, target_bpp=1e-9).encode(picture)
    assert len(tiny) == min(
        len(LearnedCodec(model, quality=1, resolution=name).encode(picture)) for name in ("low", "high")
    )


def test_a_target_needs_few_decodings(model, photo, monkeypatch):
    """One of each branch for a rate; a bisection for a PSNR, with a line for each."""
    picture = photo[64:192, 64:256, :1]
    decoded, lines, run = [], [], model.run
    monkeypatch.setattr(model, "run", lambda name, **inputs: decoded.append(name) or run(name, **inputs))

    def code(**target):
        codec = LearnedCodec(model, **target)
        codec.progress = lines.append
        decoded.clear(), lines.clear()
        data = codec.encode(picture)
        return data, sorted(name for name in decoded if name.startswith("decode"))

    data, names = code(target_bpp=0.5)
    assert names == ["decode_high", "decode_low"] and len(lines) == 2 and 8 * len(data) <= 0.5 * picture.size
    data, names = code(target_psnr=30)
    assert len(names) == len(lines) <= 14 and "resolution low, jpeg-420 " in lines[0]
    assert 30 <= psnr(picture, LearnedCodec(model).decode(data)) < 30.5
    others = [
        LearnedCodec(model, quality=q, resolution=branch).encode(picture)
        for q in (3, 6, 9, 12, 20)
        for branch in ("low", "high")
    ]
    smaller = [psnr(picture, LearnedCodec(model).decode(other)) for other in others if len(other) < len(data)]
    assert smaller and max(smaller) < 30
    data, _ = code(target_psnr=99)
    finest = [LearnedCodec(model, quality=100, resolution=branch).encode(picture) for branch in ("low", "high")]
    assert data == max(finest, key=lambda file: psnr(picture, LearnedCodec(model).decode(file)))


def test_errors(model, photo):
    for options in (
        {"resolution": "x"},
        {"quality": 0},
        {"quality": 3.5},
        {"quality": 10, "target_bpp": 1},
        {"target_psnr": "x"},
    ):
        with pytest.raises(UsageError):
            LearnedCodec(model, **options)
    card, payload = (
        model.card,
        container.read(LearnedCodec(model, quality=20).encode(photo[:64, :64])).layers[0].payload,
    )
    for width, channels, kind, lie in (
        (64, 3, LayerKind.REPRESENTATION, b""),
        (64, 3, LayerKind.REPRESENTATION, b"\x03" + payload[1:]),
        (64, 3, LayerKind.REPRESENTATION, payload[:40]),
        (60, 3, LayerKind.REPRESENTATION, payload),
        (64, 1, LayerKind.REPRESENTATION, payload),
        (64, 3, LayerKind.PICTURE, payload),
    ):
        data = container.write(card["preset"], card["weights_sha256"], width, 64, channels, [Layer(kind, lie)])
        with pytest.raises(BitstreamError):
            LearnedCodec(model).decode(data)


def test_mutated_files(model, photo, refuses_mutants):
    refuses_mutants(LearnedCodec(model, quality=20), photo)


@pytest.mark.parametrize("resolution", ["low", "high"])
def test_tiles_leave_no_seam(photo, resolution):
    """Also at odd sides, which low resolution pads."""
    trained, picture = open_model(PRESET), photo[:203, :231]
    whole, tiled = (LearnedCodec(trained, resolution=resolution, tile=tile) for tile in (512, 96))
    data = whole.encode(picture)
    assert len(tiled.encode(picture)) == pytest.approx(len(data), abs=20)
    differences = whole.decode(data).astype(int) - tiled.decode(data)
    assert np.abs(differences).max() <= 1 and np.mean(differences != 0) < 1e-3
