"""Declarations of files: what is sound goes through JSON and back, what is not names its field."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_zoo.filter_layers import picture_layer
from codec_zoo.presets import get_preset, list_presets
from codec_zoo.stream import Latent, Quality, Residual, Stream, StreamLayer, Strengths, WeightChange
from codec_zoo.stream_coders import Alternative, Choice, FixedBits, ImageCodec, LosslessImage, RangeCoder, Raw, Rows
from codec_zoo.stream_json import parse, to_json

words = st.text("abcxyz_0123456789", min_size=1, max_size=8).map("n{}".format)
counts = st.integers(1, 512)
image_codecs = st.builds(
    ImageCodec,
    codec=words,
    quality=st.none() | st.floats(0, 100),
    qualities=st.lists(st.integers(0, 100), max_size=3).map(tuple),
)
plain_coders = st.one_of(
    st.builds(RangeCoder, words),
    st.builds(LosslessImage, words, st.integers(1, 8)),
    st.builds(FixedBits, st.integers(1, 8)),
    st.builds(Raw, st.sampled_from(["uint8", "float32"])),
)


@st.composite
def choices(draw, coders, option, strides=()):
    """``strides``: of alternatives that have signatures of their own."""
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(0, 255), min_size=len(names), max_size=len(names), unique=True) | st.none())
    own = (st.sampled_from(["", "_low"]), st.sampled_from([None, *strides])) if strides else (st.just(""), st.none())
    found = tuple(
        Alternative(name, draw(coders), numbers and numbers[i], *map(draw, own)) for i, name in enumerate(names)
    )
    return Choice(option, draw(st.sampled_from([*names, "auto"])), found)


@st.composite
def streams(draw):
    """Layers of latents, each under rows from any before it; a residual or changes of weights on top."""
    stride, layers, known = draw(st.sampled_from([1, 4, 16])), [], []
    several, mended = draw(st.booleans()), draw(st.booleans())
    for number in range(draw(st.integers(2, 3)) if several else 1):
        entries = []
        if mended:
            count = draw(st.integers(1, 255))
            full, planes = draw(st.integers(1, count)), draw(st.sampled_from([1, 3]))
            entries.append(Strengths(f"s{number}", draw(words), count, 64, 8, full, planes))
        for _ in range(1 if mended or not several else draw(st.integers(1, 2))):
            strides = () if several else (stride,)
            coder = draw(plain_coders | choices(plain_coders, f"o{len(known)}", strides))
            if known and draw(st.booleans()):
                inputs = tuple(draw(st.lists(st.sampled_from(known), min_size=1, unique=True)))
                coder = RangeCoder(draw(words), Rows(draw(words), inputs))
            known.append(f"v{len(known)}")
            entries.append(Latent(known[-1], coder, stride, 3 if mended else draw(counts)))
        layers.append(
            StreamLayer("latent", tuple(entries), draw(words), draw(st.none() | words), draw(st.booleans()))
        )
    # Blocks have neither rows nor strengths.
    whole = any("Rows(" in str(layer) or "Strengths(" in str(layer) for layer in layers)
    block = None if whole else draw(st.sampled_from([None, 16, 32]))
    if block and not several and draw(st.booleans()):
        layers.append(StreamLayer("weights", (WeightChange(draw(words), draw(counts)),), draw(words)))
    elif draw(st.booleans()):
        layers.append(StreamLayer("residual", (Residual(draw(image_codecs | choices(image_codecs, "r"))),)))
    return Stream(tuple(layers), stride, block)


@given(streams())
@settings(max_examples=100, deadline=None)
def test_json_and_back(stream):
    assert parse(json.loads(json.dumps(to_json(stream)))) == stream


@pytest.mark.parametrize(
    "preset", [preset for preset in list_presets() if preset.trains], ids=lambda preset: preset.name
)
def test_streams_of_presets(preset):
    """Known without building the model, and the model itself agrees."""
    stream = preset.stream
    assert parse(json.loads(json.dumps(to_json(stream)))) == stream
    assert stream.latents and len(stream.suffixes) == (2 if preset.name.startswith("zhao") else 1)


def test_the_pixel_predictor_has_none():
    assert get_preset("report2017-mlp").stream is None


HYBRID = to_json(get_preset("fu2019-hybrid-s16-prelu").stream)
LAYERED = to_json(get_preset("jia2019-sae-mse-e1").stream)
FILTER = to_json(get_preset("hu2018-filter-svac-q48").stream)
BLOCKS = to_json(get_preset("report2017-cnn-ae-ft").stream)


def at(data, path):
    for key in path:
        data = data[key]
    return data


@pytest.mark.parametrize(
    "sound, path, value, words",
    [
        (HYBRID, ["stride"], "16", r"stream\.stride is no int"),
        (HYBRID, ["stride"], True, r"stream\.stride is no int"),
        (HYBRID, ["stride"], -16, r"stream\.stride is 1 … 4096"),
        (HYBRID, ["stride"], 8, r"stream\.compact has a stride that does not divide 8"),
        (HYBRID, ["layers"], {}, r"stream\.layers is no list"),
        (HYBRID, ["layers"], [], r"stream\.layers are 1 … 15"),
        (HYBRID, ["layers", 0], None, r"stream\.layers\[0\] is no record"),
        (HYBRID, ["layers", 0, "type"], "Layer", r"stream\.layers\[0\]\.type is none of StreamLayer"),
        (HYBRID, ["layers", 0, "kind"], "plane", r"stream\.layers\[0\]\.kind is none of base, "),
        (HYBRID, ["layers", 0, "entries"], [], r"stream\.layers\[0\]\.entries is empty"),
        (HYBRID, ["layers", 0, "decode"], None, r"stream\.layers\[0\]\.decode is there, unless"),
        (HYBRID, ["layers", 0, "entries", 0, "name"], "size", r"stream\.layers\[0\]\.entries\[0\]\.name is that of"),
        (HYBRID, ["layers", 0, "entries", 0, "channels"], 0, r"entries\[0\]\.channels is 1 … 65536"),
        (HYBRID, ["layers", 0, "entries", 0, "coder", "default"], "png", r"coder\.default is no alternative"),
        (HYBRID, ["layers", 0, "entries", 0, "coder", "alternatives", 1, "number"], 1, "numbers of their own"),
        (HYBRID, ["layers", 0, "entries", 0, "coder", "alternatives", 1, "number"], 256, r"\[1\]\.number is 0 … 255"),
        (HYBRID, ["layers", 0, "entries", 0, "coder", "alternatives", 1, "number"], None, "have a number, or none"),
        (HYBRID, ["layers", 0, "entries", 0, "coder", "alternatives", 1, "name"], "auto", r"\[1\]\.name is taken"),
        (HYBRID, ["layers", 1, "entries", 0, "coder", "alternatives", 0, "coder", "ycbcr"], True, "codes RGB images"),
        (LAYERED, ["layers", 0, "entries", 1, "coder", "rows", "inputs"], ["z2"], "y1 has rows of values"),
        (LAYERED, ["layers", 0, "entries", 1, "coder", "rows", "inputs"], [], r"rows\.inputs is empty"),
        (LAYERED, ["layers", 0, "entries", 1, "coder", "rows"], {}, r"rows\.type is none of Rows"),
        (LAYERED, ["layers", 1, "entries", 0, "name"], "z1", r"stream\.z1 is there twice"),
        (LAYERED, ["layers", 0, "checked"], 1, r"checked is no bool"),
        (FILTER, ["layers", 0, "entries", 0, "unit"], 128, r"unit is 1 … 127"),
        (FILTER, ["layers", 0, "entries", 1, "coder", "alternatives", 0, "coder", "quality"], 1e999, "no float"),
        (BLOCKS, ["block"], 0, r"stream\.block is 1 … 510"),
        (BLOCKS, ["layers", 0, "entries", 0, "coder", "alternatives", 0, "coder", "bits"], 9, r"bits are 1 … 8"),
        (BLOCKS, ["layers", 1, "entries", 0, "count"], 0, r"count is 1 … 4096"),
    ],
)  # fmt: skip
def test_damage_names_the_field(sound, path, value, words):
    damaged = copy.deepcopy(sound)
    at(damaged, path[:-1])[path[-1]] = value
    with pytest.raises(ValueError, match=words):
        parse(damaged)


Y = Latent("y", RangeCoder("y"), 16, 3)
RGB = Latent("rgb", ImageCodec("bpg-ycbcr444"), 1, 3)
PLAIN = StreamLayer("latent", (Y,), "decode")
STRENGTHS = Strengths("strengths", "changes", 4, 64, 8)
CHANGE = StreamLayer("weights", (WeightChange("change", 100),), "reconstruct")
SMALL, LARGE = (Alternative(name, RangeCoder("y"), None, f"_{name}") for name in ("small", "large"))


def coded(name, *alternatives, option="flavour"):
    return Latent(name, Choice(option, alternatives[0].name, alternatives), 16, 3)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: StreamLayer("picture", (STRENGTHS,), "decode"), "strengths are of a layer with one latent"),
        (lambda: StreamLayer("picture", (STRENGTHS, Y, Latent("z", RangeCoder("z"), 16, 3)), "decode"), "one latent"),
        (lambda: StreamLayer("picture", (STRENGTHS, Latent("y", RangeCoder("y"), 16, 4)), "decode"), "of 3 channels"),
        (lambda: StreamLayer("picture", (STRENGTHS, STRENGTHS, Y), "decode"), "strengths are of a layer"),
        (lambda: StreamLayer("weights", (Y, WeightChange("change", 100)), "decode"), "changes of weights are one"),
        (lambda: Stream((PLAIN, CHANGE), 16), "changes of weights are the last layer behind one of blocks"),
        (lambda: Stream((PLAIN, StreamLayer("latent", (Latent("z", RangeCoder("z"), 16, 3),), "d"), CHANGE), 16, 32),
         "changes of weights are the last layer"),
        (lambda: Stream((PLAIN, CHANGE, CHANGE), 16, 32), "change is there twice"),
        (lambda: Stream((StreamLayer("latent", (coded("y", SMALL), coded("z", LARGE)), "decode"),), 16),
         "alternatives of flavour are other ones"),
        (lambda: Stream((StreamLayer("latent", (coded("y", SMALL), Latent("z", RangeCoder("z"), 16, 3)), "d"),), 16),
         "signatures or a stride of its own, which takes a stream of one latent"),
        (lambda: Stream((StreamLayer("latent", (coded("y", Alternative("a", Raw("int8"), stride=32)),), "d"),), 16),
         "stride that does not divide 16"),
        (lambda: Stream((StreamLayer("latent", (coded("y", SMALL, option="layers"),), "decode"),), 16), "option"),
        (lambda: Stream((StreamLayer("latent", (Y, Latent("z", RangeCoder("z"), 10**9, 3)), "decode"),), 10**9),
         "stride is 1 … 4096"),
        (lambda: Latent("z", RangeCoder("z"), 1, 10**9), "channels is 1 … 65536"),
        (lambda: Strengths("strengths", "changes", 10**9, 1, 1), "count is 1 … 255"),
        (lambda: WeightChange("change", 10**9), "count is 1 … 4096"),
        (lambda: WeightChange("images", 100), "name is that of another input"),
        (lambda: Strengths("size", "changes", 4, 64, 8), "name is that of another input"),
        (lambda: Strengths("strengths", "changes", 4, 64, 8, full=5), "full is 1 … 4"),
        (lambda: Strengths("strengths", "changes", 4, 64, 8, planes=2), "planes are 1 or 3"),
        (lambda: StreamLayer("filtered", (Quality("quality"), Y), "decode"), "quality is of a layer with an image"),
        (lambda: StreamLayer("filtered", (Quality("a"), Quality("b"), RGB), "decode"), "quality is of a layer"),
        (lambda: Quality("rounds"), "name is that of another input"),
        (lambda: Stream((StreamLayer("picture", (Strengths("y", "d", 4, 64, 8), Y), "d"),), 16), "y is there twice"),
    ],
)  # fmt: skip
def test_what_no_codec_can_do(make, words):
    """Declarations of sound fields that do not fit together, or of any size, name the fault before a file does."""
    with pytest.raises(ValueError, match=words):
        make()


def test_alternatives_with_and_without_signatures_of_their_own():
    plain = Alternative("plain", RangeCoder("y"))
    assert Stream((StreamLayer("latent", (coded("y", plain, LARGE),), "decode"),), 16).suffixes == ("", "_large")


def test_fields_are_all_there_and_no_others():
    for path in ([], ["layers", 0], ["layers", 0, "entries", 0, "coder"]):
        damaged = copy.deepcopy(HYBRID)
        del at(damaged, path)[next(key for key in at(damaged, path) if key != "type")]
        with pytest.raises(ValueError, match=" lacks "):
            parse(damaged)
        damaged = copy.deepcopy(HYBRID)
        at(damaged, path)["more"] = 1
        with pytest.raises(ValueError, match="has unknown more"):
            parse(damaged)


def test_fields_that_came_later_may_be_missing():
    """Cards of exports that were made before: their streams mean what they meant."""
    older = copy.deepcopy(FILTER)
    for field in ("full", "planes"):
        del older["layers"][0]["entries"][0][field]
    assert parse(older) == get_preset("hu2018-filter-svac-q48").stream


def test_one_lossy_image_codec_at_most():
    with pytest.raises(ValueError, match="one lossy image codec"):
        Stream((picture_layer("svac"), StreamLayer("residual", (Residual(ImageCodec("bpg-ycbcr444")),))), 1)
