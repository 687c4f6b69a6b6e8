"""The hybrid codec through files: what the encoder promises, the decoder shows."""

import resource

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.residual import Mapping, beyond_clip, step
from codec_zoo.codecs.standard import get_codec
from codec_zoo.errors import BitstreamError, CodecZooError, ModelError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.harness.papers import fu2019
from codec_zoo.metrics import psnr

PRESET = "fu2019-hybrid-s16-prelu"


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (16, 16), (17, 33), (40, 300), (131, 90)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(model, photo, size, channels):
    picture = photo[100 : 100 + size[0], 200 : 200 + size[1], :channels]
    codec = LearnedCodec(model, quality=24)
    decoded = codec.decode(codec.encode(picture))
    assert decoded.shape == picture.shape and psnr(picture, decoded) > 30


@pytest.mark.parametrize("mapping", ["shift", "minmax", "clip"])
@pytest.mark.parametrize("residual_codec", ["bpg-ycbcr444", "bpg-rgb444", "bpg-ycbcr444-10bit"])
def test_the_decoder_does_what_the_encoder_did(model, photo, mapping, residual_codec):
    """Layer by layer, by hand, from the parts: equal to the last bit."""
    picture = photo[:128, :192]
    codec = LearnedCodec(model, quality=30, mapping=mapping, residual_codec=residual_codec)
    data = codec.encode(picture)
    compact = model.run("encode", images=picture[None])["compact"]
    size = np.array([[128, 192]], np.int32)
    coarse = model.run("decode", compact=compact, size=size)["images"][0].astype(np.int16)
    residual = picture - coarse
    chosen = Mapping.choose(mapping, int(residual.min()), int(residual.max()))
    step = get_codec(f"{residual_codec}:30")
    back = chosen.invert(step.decode(step.encode(chosen.apply(residual))))
    assert np.array_equal(codec.decode(data), np.clip(coarse + back, 0, 255))


def test_hard_edges_get_the_mapping_that_reaches_them(screenshot):
    """Clipped residuals keep text at one quality whatever the QP; the encoder sees it, and pays nothing elsewhere."""
    model = open_model(PRESET)

    def code(quality, mapping):
        data = LearnedCodec(model, quality=quality, mapping=mapping).encode(screenshot)
        return len(data), psnr(screenshot, LearnedCodec(model).decode(data))

    reached = []
    for quality in (0, 20, 36):
        size, chosen = code(quality, "auto")
        clipped, limit = code(quality, "clip")
        assert size < clipped and chosen > limit and limit < 25
        reached.append(chosen)
    assert reached[0] > 45 and reached[1] > 35


@pytest.mark.parametrize("number", [8, 13])
def test_photographs_keep_the_mapping_of_the_paper(kodak_paths, number):
    """The two of Kodak's whose residuals pass ±120 most, at the finest QP of the committed rows: bytes as before."""
    picture, model = read_image(kodak_paths[number - 1]), open_model(PRESET)
    auto, clip = (LearnedCodec(model, quality=22, mapping=mapping).encode(picture) for mapping in ("auto", "clip"))
    assert auto == clip


@pytest.mark.slow
@pytest.mark.parametrize("preset", fu2019.ABLATIONS)
def test_committed_rows_are_those_of_auto(kodak_paths, preset):
    """All of Kodak at the finest QP of the rows, where clipping weighs most, and so at the coarser ones."""
    model = open_model(preset)
    for path in kodak_paths:
        picture = read_image(path)
        codec = LearnedCodec(model, layers=1)
        assert beyond_clip(picture, codec.decode(codec.encode(picture))) < step(min(fu2019.QPS))


def test_more_bits_buy_more_quality(model, photo):
    results = []
    for options in ({"layers": 1}, {"quality": 40}, {"quality": 32}, {"quality": 24}):
        codec = LearnedCodec(model, **options)
        data = codec.encode(photo)
        results.append((len(data), psnr(photo, codec.decode(data))))
    assert results == sorted(results)


def test_cut_file_gives_the_base_layer(model, photo):
    picture = photo[:96, :96]
    data = LearnedCodec(model, quality=30).encode(picture)
    base = LearnedCodec(model, layers=1)
    expected = base.decode(base.encode(picture))
    end = 24 + 8 + len(container.read(data).layers[0].payload)
    for length in (end, end + 1, len(data) - 1):
        assert np.array_equal(base.decode(data[:length]), expected)
    with pytest.raises(BitstreamError, match="nothing to decode"):
        base.decode(data[: end - 1])
    assert np.array_equal(base.decode_layers(container.read(data), 1), expected)


def test_container_overhead(model, photo):
    data = LearnedCodec(model, quality=30).encode(photo)
    stream = container.read(data)
    assert len(data) - sum(len(layer.payload) for layer in stream.layers) <= 24 + 8 * len(stream.layers)
    # a payload adds the codec's id and the mapping's to the codecs' files
    assert stream.layers[0].payload[1:3] == b"\xff\x0a" and stream.layers[1].payload[1:5] == b"BPG\xfb"


def test_2000_mutated_files(model, photo):
    """No wrong picture without an error or a notice, no other exception, no memory beyond reason."""
    picture = photo[64:128, 64:160]
    codec = LearnedCodec(model, quality=34)
    data = codec.encode(picture)
    whole = codec.decode(data)
    coarse = codec.decode_layers(container.read(data), 1)
    random = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in range(2000):
        mutant = bytearray(data)
        for _ in range(int(random.integers(1, 4))):
            if not mutant:
                break
            kind = random.integers(4)
            at = int(random.integers(min(len(mutant), 60) if number % 2 else len(mutant)))
            if kind == 0:
                mutant[at] ^= 1 << int(random.integers(8))
            elif kind == 1:
                mutant[at : at + 1] = random.bytes(int(random.integers(1, 5)))
            elif kind == 2:
                del mutant[at : at + int(random.integers(1, 9))]
            else:
                del mutant[max(at, 1) :]
        if bytes(mutant) == data:
            continue
        try:
            stream = container.read(bytes(mutant))
            decoded = codec.decode(bytes(mutant))
        except CodecZooError:
            refused += 1
            continue
        assert stream.missing == 1 and np.array_equal(decoded, coarse)
    assert refused > 1000 and not np.array_equal(whole, coarse)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def forge(model, layers, width=96, height=64):
    card = model.card
    return container.write(card["preset"], card["weights_sha256"], width, height, 3, layers)


def test_lying_files_with_valid_checksums(model, photo):
    """Files that a program wrote on purpose: every claim is checked against the header."""
    codec = LearnedCodec(model, quality=34)
    layers = container.read(codec.encode(photo[:64, :96])).layers
    jxl = get_codec("jxl-lossless")
    large_base = b"\x01" + jxl.encode(np.zeros((2000, 2000, 3), np.uint8))
    large_residual = b"\x02" + get_codec("bpg-ycbcr444:40").encode(photo[:80, :96])
    residual = Layer(LayerKind.RESIDUAL, layers[1].payload)
    for forged, words in [
        ([residual], "base, then residual"),
        ([*layers, residual], "base, then residual"),
        ([Layer(LayerKind.BASE, b"")], "no base codec"),
        ([Layer(LayerKind.BASE, b"\x09abc")], "no base codec"),
        ([Layer(LayerKind.BASE, b"\x01abc")], "JPEG XL"),
        ([Layer(LayerKind.BASE, large_base)], "claims 2000×2000|2000×2000"),
        ([layers[0], Layer(LayerKind.RESIDUAL, b"")], "mapping"),
        ([layers[0], Layer(LayerKind.RESIDUAL, b"\x02abc")], "BPG"),
        ([layers[0], Layer(LayerKind.RESIDUAL, large_residual)], "96×80"),
    ]:
        with pytest.raises(BitstreamError, match=words):
            codec.decode(forge(model, forged))
    with pytest.raises(BitstreamError, match="has"):
        codec.decode(forge(model, layers, width=9600))


def test_files_of_other_models_are_refused(model, photo):
    data = LearnedCodec(model, layers=1).encode(photo[:32, :32])
    other = container.write("other", model.card["weights_sha256"], 32, 32, 3, container.read(data).layers)
    with pytest.raises(ModelError, match="another model"):
        LearnedCodec(model).decode(other)
    other = container.write(model.preset, "00" * 32, 32, 32, 3, container.read(data).layers)
    with pytest.raises(ModelError, match="other weights"):
        LearnedCodec(model).decode(other)


def test_options(model):
    for options in ({"mapping": "log"}, {"residual_codec": "jpeg"}, {"base_codec": "png"}):
        with pytest.raises(UsageError, match="Received"):
            LearnedCodec(model, quality=30, **options)


def test_tiles_leave_no_seam(model, photo):
    """The compact image and the coarse one, of odd sides, are those of the whole image."""
    picture = photo[:373, :501]
    whole, tiled = (LearnedCodec(model, layers=1, tile=tile) for tile in (1024, 128))
    data, other = whole.encode(picture), tiled.encode(picture)
    assert len(other) == pytest.approx(len(data), abs=20)
    differences = whole.decode(data).astype(int) - tiled.decode(data)
    assert np.abs(differences).max() <= 1 and np.mean(differences != 0) < 1e-3
