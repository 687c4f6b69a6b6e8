"""Hostile files with right checksums: refused at once, with the cause, before memory or time is spent."""

import json
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_zoo.codecs import bounds, container, fine_tuning, pixel_predictor, range_coder
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.learned import LearnedCodec, decode_plain
from codec_zoo.codecs.specs import open_codec
from codec_zoo.codecs.standard import bpg, get_codec, get_ycbcr_codec, hevc, jpegxl, pillow_formats, svac
from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.entropy_models import scale_table
from codec_zoo.errors import BitstreamError, ImageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.tables import Tables, build_tables
from codec_zoo.presets import get_preset, preset_id

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"
START = b"\x00\x00\x01"

# Decodes files one after the other, under the memory limit in front of each; says how each was refused, seconds,
# and MiB beyond what the process had.
_DECODE = """
import json, os, sys, time
from pathlib import Path
from codec_zoo.errors import CodecZooError
from codec_zoo.codecs import container
from codec_zoo.export.runtime import find_model
from codec_zoo.codecs.specs import codec_for

def size(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))

results = {}
for limit, path in zip(sys.argv[1::2], map(Path, sys.argv[2::2])):
    os.environ["CODEC_ZOO_MEMORY"] = limit
    data = path.read_bytes()
    codec = codec_for(find_model(container.read(data)))
    Path("/proc/self/clear_refs").write_text("5")
    before, started, answer = size("VmRSS"), time.monotonic(), "decoded"
    try:
        codec.decode(data)
    except CodecZooError as error:
        answer = str(error)
    results[path.stem] = answer, time.monotonic() - started, (size("VmHWM") - before) / 1024
print(json.dumps(results))
"""
REFUSALS = {
    "bomb_balle": "5 bytes are too few",
    "bomb_fu": "the limit is 1.00 GiB",
    "bomb_mlp": "10 bytes are too few",
    "bomb-mixed-4k": "the limit is 1.00 GiB",
    "bomb-mlp-thinmax": "1×16777215 pixels",
    "bomb-svac-eighth-4k": "bytes that no NAL unit has",
    "bpg-sps-override": "NAL units of types 32, 33, 34, 20",
    "weights-nan-unit": "of unit nan",
}


@pytest.fixture(scope="module")
def refusals():
    """What a process of its own makes of all files; most have to be refused without a limit of memory."""
    files = sorted(HOSTILE.glob("*.czoo"))
    assert {path.stem for path in files} == REFUSALS.keys()
    arguments = [word for path in files for word in ("1G" if "limit" in REFUSALS[path.stem] else "1T", str(path))]
    process = subprocess.run([sys.executable, "-c", _DECODE, *arguments], check=True, capture_output=True, text=True)
    assert "Warning" not in process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("name", REFUSALS)
def test_hostile_files_are_refused_at_once(refusals, name):
    message, seconds, mebibytes = refusals[name]
    assert REFUSALS[name] in message and seconds < 2 and mebibytes < 64


# === Entropy-coded data ===


@pytest.fixture(scope="module")
def gaussians():
    arrays = build_tables(get_preset("jia2019-sae-mse-base").create())
    return Tables(arrays["y.cdf"], arrays["y.offset"])


@given(st.integers(0, 63), st.integers(1, 60_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_string_of_the_coder_is_refused(gaussians, row, count, typical):
    """Not of the cheapest values there are, and not of values as the table expects them."""
    rows = np.full(count, row, np.int32)
    values = np.zeros(count, np.int32)
    if typical:
        values = np.rint(np.random.default_rng(row).normal(0, scale_table()[row], count)).astype(np.int32)
    string = range_coder.encode(values, rows, gaussians)
    least = count * gaussians.least_bits[row]
    bounds.check_string(len(string), least, count, 1)
    if not typical:  # and the bound is a sharp one: but for its slack
        assert least > 0.95 * 8 * len(string) - 16


def test_more_values_than_a_string_holds_are_refused(gaussians):
    for row in (20, 40, 63):
        string = range_coder.encode(np.zeros(5000, np.int32), np.full(5000, row, np.int32), gaussians)
        with pytest.raises(BitstreamError, match="too few"):
            bounds.check_string(len(string), 10_000 * gaussians.least_bits[row] + 200, 10_000, 1)


@pytest.mark.parametrize("spec", ["jia2019-sae-mse-e2", "balle2018-hyperprior-mse-3"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (640, 640)])
def test_flat_pictures_are_not_taken_for_bombs(spec, size):
    codec = open_codec(spec)
    for value in (0, 128, 255):
        picture = np.full((*size, 3), value, np.uint8)
        assert codec.decode(codec.encode(picture)).shape == picture.shape


@pytest.mark.parametrize("coding", ["range", "huffman"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (300, 300)])
def test_flat_planes_are_not_taken_for_bombs(coding, size):
    codec = open_codec(f"report2017-mlp,coding={coding}")
    for value in (0, 200):
        picture = np.full((*size, 1), value, np.uint8)
        assert np.array_equal(codec.decode(codec.encode(picture)), picture)


def rewrite(data, payloads=None, **header):
    """A file of the same model with other payloads or another header, and right checksums."""
    stream = container.read(data)
    name = next(name for name in NAMES if preset_id(name) == stream.preset_id)
    fields = {"width": stream.width, "height": stream.height, "channels": stream.channels, **header}
    layers = stream.layers if payloads is None else payloads
    return container.write(name, open_model(name).card["weights_sha256"], layers=layers, **fields)


NAMES = ["report2017-mlp", "report2017-cnn-ae-ft", "fu2019-hybrid-s16-prelu", "jia2019-sae-mse-e2"]


@pytest.mark.parametrize(
    "spec", ["jia2019-sae-mse-e2", "report2017-mlp", "report2017-mlp,coding=huffman", "report2017-cnn-ae-ft,tune=no"]
)
@pytest.mark.parametrize("size", [(16384, 16384), (2**24 - 1, 1), (1, 2**24 - 1), (5000, 3000)])
def test_other_sides_in_the_header_are_refused_at_once(spec, size, photo, monkeypatch):
    monkeypatch.setenv("CODEC_ZOO_MEMORY", "1T")
    codec = open_codec(spec)
    lie = rewrite(codec.encode(photo[:64, :96]), width=size[0], height=size[1])
    started = time.monotonic()
    with pytest.raises(BitstreamError):
        codec.decode(lie)
    assert time.monotonic() - started < 1


def test_a_plane_ends_where_its_code_does(photo):
    """A Huffman string with a bit less, a byte more, or a codeword more is damaged."""
    codec = open_codec("report2017-mlp,coding=huffman")
    data = codec.encode(photo[:16, :16, :1])
    (layer,) = container.read(data).layers
    assert layer.payload[1] == 0  # no weights: the bits stand at 2
    bits = int.from_bytes(layer.payload[2:6], "big")
    fewer = layer.payload[:2] + (bits - 1).to_bytes(4, "big") + layer.payload[6:]
    more = layer.payload[:2] + (bits + 8).to_bytes(4, "big") + layer.payload[6:] + b"\0"
    for payload in (fewer, more, layer.payload + b"\0", layer.payload[:-1]):
        with pytest.raises(BitstreamError, match="Huffman"):
            codec.decode(rewrite(data, [Layer(LayerKind.PLANE, payload)]))


def test_long_thin_pictures_are_refused_on_both_sides():
    codec = open_codec("report2017-mlp")
    strip = np.zeros((pixel_predictor.MAX_FRONTS // pixel_predictor.LAG + 2, 1, 1), np.uint8)
    with pytest.raises(ImageError, match="Cut the picture up"):
        codec.encode(strip)
    assert pixel_predictor._is_too_long(1, len(strip)) and not pixel_predictor._is_too_long(16384, 16384)


def test_weights_of_a_plane_compute_exactly_or_are_refused(photo):
    codec = open_codec("report2017-mlp")
    data = codec.encode(photo[:32, :32, :1])
    shapes = ((60, 16), 16, (16, 8), 8, (8, 1), 1)
    huge = [np.full(shape, 2.0**31 - 1) for shape in shapes]
    assert not pixel_predictor.is_exact(huge, 256)
    assert pixel_predictor.is_exact([np.full(shape, 4000.0) for shape in shapes], 511)
    payload = b"\1" + pixel_predictor._pack_weights(huge) + bytes(40)
    with pytest.raises(BitstreamError, match="too large to compute with exactly"):
        codec.decode(rewrite(data, [Layer(LayerKind.PLANE, payload)]))


@pytest.mark.parametrize("unit", [np.nan, np.inf, -np.inf, 3e38, 1e3, 0, -1e-3])
@pytest.mark.filterwarnings("error")
def test_changes_of_weights_are_bounded(unit):
    with pytest.raises(BitstreamError, match="of unit"):
        fine_tuning.read_weights(np.array(unit, ">f4").tobytes() + b"\x7f" * 387, 387)


def test_what_the_encoder_writes_is_within_the_bound():
    for largest in (0, 1e-9, 1, fine_tuning.MAX_CHANGE):
        change = np.linspace(-largest, largest, 387).astype(np.float32)
        read = fine_tuning.read_weights(fine_tuning.write_weights(change), 387)
        assert np.abs(read - change).max() <= largest / 200


# === HEVC ===


def picture_of(data):
    """The HEVC data of a BPG file, and where it starts."""
    picture = bpg.demux(data).picture
    assert data.endswith(picture)
    return len(data) - len(picture), hevc.split_nals(picture)


@pytest.mark.parametrize("spec", ["bpg-ycbcr444:34", "bpg-ycbcr420:40", "bpg-rgb444-10bit:40"])
def test_a_bpg_file_that_is_cut_is_found_out(spec, photo):
    """FFmpeg takes it for whole: another picture came out."""
    codec = get_codec(spec)
    data = codec.encode(photo[:96, :128])
    _, nals = picture_of(data)
    right = codec.decode(data)
    for length in range(len(data) - len(nals[-1]) + 4, len(data), 9):
        try:
            decoded = codec.decode(data[:length])
        except BitstreamError:
            continue
        assert length > len(data) - 3 and np.array_equal(decoded, right)  # the last bits may be zeros


@pytest.mark.parametrize("name", ["svac-half", "svac-eighth"])
def test_an_inter_frame_that_is_cut_is_found_out(name, photo):
    codec = get_codec(f"{name}:36")
    data = codec.encode(photo[:96, :128])
    for length in range(len(data) - 60, len(data) - 4, 5):
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])


def test_a_slice_that_ends_before_its_picture_is_found_out(photo):
    """What was not decoded would be shown as it lay in memory."""
    planes = [np.ascontiguousarray(plane) for plane in np.moveaxis(photo[:128, :128], 2, 0)]
    stream = hevc.encode(planes, "yuv444p", 40, 8)
    half = hevc.encode([np.ascontiguousarray(plane[:64]) for plane in planes], "yuv444p", 40, 8)
    sets = [nal for nal in hevc.split_nals(stream) if hevc.nal_type(nal) >= 32]
    (short,) = [nal for nal in hevc.split_nals(half) if hevc.nal_type(nal) < 32]
    with pytest.raises(BitstreamError, match="cut"):
        hevc.decode(START + START.join([*sets, short]), 128, 128)


def test_a_picture_is_one_slice_behind_one_parameter_set(photo):
    codec = get_codec("bpg-ycbcr444:40")
    data = codec.encode(photo[:64, :64])
    start, (pps, picture) = picture_of(data)
    stream = hevc.split_nals(get_codec("hevc-ycbcr444:40").encode(photo[:64, :64]))
    sps = next(nal for nal in stream if hevc.nal_type(nal) == hevc.SPS)
    sei = b"\x4e\x01\x05\x01\x00\x80"
    for units in (
        [pps] + 300 * [picture],
        [pps, picture, picture],
        [sps, pps, picture],
        [pps, pps, picture],
        [pps, sei, picture],
        [pps, picture, sei],
        [picture],
        [pps],
        [pps, b"\x02" + picture[1:]],
        [pps, picture + b"\0"],
        [pps, picture + bytes(8) + b"\1"],
    ):
        with pytest.raises(BitstreamError, match="NAL unit"):
            codec.decode(data[:start] + START.join(units))


def test_decoding_stops_at_the_second_frame(photo):
    stream = get_codec("hevc-ycbcr444:40").encode(photo[:64, :64])
    with pytest.raises(BitstreamError, match="more than 1 frames"):
        hevc.decode(40 * stream, 64, 64)


def test_the_pixels_that_bytes_can_hold(photo):
    """A flat picture of the coarsest quality is far from the bound; a tenth of its bytes are below it."""
    codec = get_codec("bpg-ycbcr444:51")
    flat = codec.encode(np.full((2048, 2048, 3), 90, np.uint8))
    assert 0.5 * bpg.MAX_PIXELS_PER_BYTE * len(flat) > 2048 * 2048
    claim = bpg.BPGFile(**{**bpg.demux(flat).__dict__, "width": 16000, "height": 16000})
    with pytest.raises(BitstreamError, match="which cannot be"):
        codec.decode(bpg.mux(claim))
    inter = get_codec("svac-half:63").encode(np.full((1024, 1024, 3), 90, np.uint8))
    small = int.from_bytes(inter[5:9], "big")
    assert svac.MAX_PIXELS_PER_BYTE * (len(inter) - 9 - small - 4) > 1024 * 1024


def test_chroma_is_coded_as_the_layer_says(photo):
    """4:2:0 where 4:4:4 belongs, 4:4:4 or RGB or 10 bits where 4:2:0 in 8 bits does."""
    picture = photo[:32, :48]
    coarse, codec = np.zeros((32, 48, 3), np.uint8), LearnedCodec(open_model("fu2019-hybrid-s16-prelu"))
    layer = codec.stream.layers[1]
    for spec in ("bpg-ycbcr444:30", "bpg-rgb444-10bit:30"):
        assert codec.add(coarse, layer, b"\2" + get_codec(spec).encode(picture)).shape == coarse.shape
    with pytest.raises(BitstreamError, match="4:4:4"):
        codec.add(coarse, layer, b"\2" + get_codec("bpg-ycbcr420:30").encode(picture))
    for spec in ("bpg-ycbcr444", "bpg-rgb444", "bpg-ycbcr444-10bit"):
        with pytest.raises(BitstreamError, match="4:2:0 in 8 bits"):
            get_ycbcr_codec("bpg-ycbcr420:30").decode_ycbcr(get_codec(f"{spec}:30").encode(picture))
        layer = Layer(LayerKind.PICTURE, b"\1" + b"\x40\0\0\0" + b"\x30" + get_codec(f"{spec}:30").encode(picture))
        file = container.write("p", "0" * 64, 48, 32, 3, [layer])
        with pytest.raises(BitstreamError, match="4:2:0 in 8 bits"):
            decode_plain(container.read(file))


# === JPEG XL ===


def test_all_jpeg_xl_files_of_this_program_pass(photo):
    """Photographs, flat, tiny, wide, text (of patches), gray; lossless and at the ends of the distances."""
    letters = np.zeros((7, 6), np.uint8)
    letters[1:6, 1:5] = np.random.default_rng(0).integers(0, 2, (5, 4)) * 255
    text = np.tile(letters, (30, 60))[..., None].repeat(3, 2)
    for picture in (photo[:70, :80], np.zeros((9, 300, 3), np.uint8), photo[:1, :1], text, photo[:300, :280]):
        for spec in ("jxl-lossless", "jxl:0.1", "jxl:1.6", "jxl:12", "jxl:25"):
            data = get_codec(spec).encode(picture)
            assert get_codec(spec).decode(data).shape == picture.shape
        gray = get_codec("jxl-lossless").encode(picture[..., :1])
        assert np.array_equal(get_codec("jxl-lossless").decode(gray), picture[..., :1])


@pytest.mark.parametrize("size", [(40, 60), (300, 300), (2100, 2100)])
def test_a_jpeg_xl_picture_ends_with_its_file(size, photo):
    codec = get_codec("jxl-lossless")
    picture = np.full((*size, 3), 60, np.uint8)
    picture[:40, :60] = photo[:40, :60] & 0xE0
    data = codec.encode(picture)
    assert np.array_equal(codec.decode(data), picture)
    assert jpegxl.check_codestream(data) == (max(size) < 2048)
    for lie in (data + b"\0", data + data, data[:-1], data[: len(data) // 2], data[:30]):
        with pytest.raises(BitstreamError):
            codec.decode(lie)


def test_jpeg_xl_of_other_kinds_is_refused(photo):
    picture = photo[:32, :48]
    encode = {"lossless": True, "effort": 3, "usecontainer": False, "numthreads": 1}
    frames = np.stack([picture, picture[::-1]])
    alpha = np.concatenate([picture, picture[..., :1]], axis=-1)
    for other in (frames, alpha, picture.astype(np.uint16) * 257, picture.astype(np.float32) / 255):
        data = bytes(imagecodecs.jpegxl_encode(other, **encode))
        with pytest.raises(BitstreamError):
            get_codec("jxl-lossless").decode(data)
    with pytest.raises(BitstreamError, match="starts with"):
        get_codec("jxl-lossless").decode(
            bytes(imagecodecs.jpegxl_encode(picture, **{**encode, "usecontainer": True}))
        )
    turned = bytearray(get_codec("jxl-lossless").encode(picture))
    assert turned[2] & 1  # a small size: its bits, then those of the metadata
    for bit in range(8 * 2 + 14, 8 * 2 + 40):
        mutant = bytearray(turned)
        mutant[bit // 8] ^= 1 << bit % 8
        try:
            decoded = get_codec("jxl-lossless").decode(bytes(mutant))
        except BitstreamError:
            continue
        assert decoded.shape == picture.shape


# === JPEG ===


@pytest.mark.parametrize("spec", ["jpeg-420:20", "jpeg-420:90", "jpeg:40"])
def test_a_jpeg_file_that_is_cut_is_found_out(spec, photo):
    """Even where a marker for its end is put behind the cut: libjpeg takes it for whole."""
    codec = get_codec(spec)
    data = codec.encode(photo[:96, :128])
    right = codec.decode(data)
    found = 0
    for length in range(len(data) // 2, len(data) - 2, 7):
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])
        try:
            decoded = codec.decode(data[:length] + b"\xff\xd9")
        except BitstreamError:
            found += 1
            continue
        # Progressive files are whole behind each of their scans.
        assert spec == "jpeg:40" or np.array_equal(decoded, right)
    assert found > 0.9 * (len(data) // 2 / 7)


def test_jpeg_of_other_kinds_is_refused(photo):
    picture = photo[:64, :64]
    codec, other = get_codec("jpeg-420:50"), get_codec("jpeg:50")
    data, progressive = codec.encode(picture), other.encode(picture)
    with pytest.raises(BitstreamError, match="segment that no file"):
        codec.decode(progressive)
    start = data.index(b"\xff\xda")
    scan = data[start:-2]
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    for decoder, lie, message in (
        (codec, data[:-2] + scan + data[-2:], "too many scans"),
        (other, progressive[:-2] + 500 * last + progressive[-2:], "too many scans"),
        (codec, data[:2] + adobe + data[2:], "FFEE"),
        (codec, data + data, "follow"),
        (codec, rgb_to_ycbcr(picture).tobytes(), "not a whole JPEG"),
    ):
        started = time.monotonic()
        with pytest.raises(BitstreamError, match=message):
            decoder.decode(lie)
        assert time.monotonic() - started < 1
    frame = data.index(b"\xff\xc0")
    huge = data[: frame + 5] + b"\x40\x00\x40\x00" + data[frame + 9 :]
    sampled = data[: frame + 11] + b"\x11" + data[frame + 12 :]
    for lie, message in ((huge, "cannot be"), (sampled, "components")):
        with pytest.raises(BitstreamError, match=message):
            get_codec("jpeg-420:50").decode(lie)


def test_flat_jpeg_files_are_within_the_bound():
    for channels in (1, 3):
        flat = np.full((2048, 2048, channels), 77, np.uint8)
        data = get_codec("jpeg-420:2").encode(flat)
        assert 0.6 * pillow_formats.MAX_PIXELS_PER_BYTE * len(data) < 2048 * 2048
        assert get_codec("jpeg-420:2").decode(data).shape == flat.shape
