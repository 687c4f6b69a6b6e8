"""How codecs are written, folders with commas and colons in their paths included, and the options of models' codecs:
each is used, or refused by its name.
"""

import fnmatch
import re
import types

import pytest
from PIL import Image

from codec_zoo.codecs import options as records
from codec_zoo.codecs import specs
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.residual import MAPPINGS
from codec_zoo.codecs.specs import (
    _options_of,
    codec_for,
    curve_of,
    curve_specs,
    name_of,
    open_codec,
    qualities_of,
    split_spec,
)
from codec_zoo.codecs.standard import default_quality, get_codec, list_codecs
from codec_zoo.errors import UsageError
from codec_zoo.export.runtime import UntrainedModel, open_model
from codec_zoo.harness import evaluation
from codec_zoo.harness.rows import describe_codec
from codec_zoo.presets import get_preset, list_presets

PRESET = "fu2019-hybrid-s16-prelu"


@pytest.fixture
def folders(tmp_path, monkeypatch, exports):
    """A working directory with exports under odd names."""
    names = ("a:b,c=d:7", "C:\\models", "a", "jpeg", "report2017-mlp")
    for name in names:
        (tmp_path / name).symlink_to(exports / PRESET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("jpeg:75", ("jpeg", {}, 75)),
        ("png", ("png", {}, None)),
        (f"{PRESET},mapping=shift,residual_codec=x:28", (PRESET, {"mapping": "shift", "residual_codec": "x"}, 28)),
        ("zhao2018-mixed,codec=jpeg:75:28", ("zhao2018-mixed", {"codec": "jpeg:75"}, 28)),
        ("./a:b,c=d:7", ("./a:b,c=d:7", {}, None)),
        ("./a:b,c=d:7:28", ("./a:b,c=d:7", {}, 28)),
        ("a:b,c=d:7", ("a:b", {"c": "d"}, 7)),  # the preset b of a module a
        ("a:my-preset", ("a:my-preset", {}, None)),  # though there is a folder a
        ("a.b_2:my-preset:28", ("a.b_2:my-preset", {}, 28)),
        ("a.b:p,search=2,codec=jpeg:75:1e1", ("a.b:p", {"search": "2", "codec": "jpeg:75"}, 10)),
        ("./a:b,c=d:7,mapping=shift:28", ("./a:b,c=d:7", {"mapping": "shift"}, 28)),
        ("a:28", ("a", {}, 28)),
        ("a,mapping=shift", ("a", {"mapping": "shift"}, None)),
        ("C:\\models", ("C:\\models", {}, None)),
        ("C:\\models,mapping=shift:28", ("C:\\models", {"mapping": "shift"}, 28)),
        ("./jpeg:28", ("./jpeg", {}, 28)),
    ],
)
def test_what_is_the_name(folders, spec, expected):
    assert split_spec(spec) == expected
    assert name_of(spec) == (spec if expected[2] is None else spec.rpartition(":")[0])
    folder = expected[0].removeprefix("./")
    if folder in ("a", "a:b,c=d:7", "C:\\models"):
        assert split_spec(f"{folders}/{spec.removeprefix('./')}") == (f"{folders}/{folder}", *expected[1:])


@pytest.mark.parametrize(
    "spec",
    ["jpeg:high", "a,shift", "a,quality=3", "a:b:c", "a:b:high", "a.b:", "a:b,c", ":", "jpeg:75,x=1", "jpeg:7,x=1:3"],
)
def test_malformed(folders, spec):
    with pytest.raises(UsageError, match="Received: "):
        split_spec(spec)


def test_what_is_neither_name_nor_folder(folders):
    for spec in ("", ",", "nowhere/a:28", "x" * 5000, "a\0b"):
        with pytest.raises(UsageError):
            open_codec(spec)
        with pytest.raises(UsageError):
            open_model(spec)


def test_a_name_is_never_a_folder(folders):
    assert open_codec("jpeg:75").name == "jpeg"
    assert isinstance(open_model("report2017-mlp"), UntrainedModel)
    for name in ("jpeg", "report2017-mlp"):
        assert isinstance(open_codec(f"./{name}:28"), LearnedCodec)
        assert open_model(f"./{name}").preset == PRESET


def test_such_a_folder_is_measured(folders, noise):
    Image.fromarray(noise(32, 32)).save("a.png")
    spec = "./a:b,c=d:7,mapping=shift"
    assert qualities_of(spec) == (44, 40, 36, 32, 28, 24, 20)
    row = evaluation.measure_file(f"{spec}:28", folders / "a.png")
    assert (row["codec"], row["quality"]) == (spec, 28)
    assert row["weights_sha256"] == describe_codec(spec)["weights_sha256"]


def test_a_curve_has_its_qualities_or_the_cuts_behind_its_layers(folders, monkeypatch):
    assert curve_specs("jpeg:75") == ["jpeg:75"]
    assert curve_specs("webp") == [f"webp:{quality:g}" for quality in qualities_of("webp")]
    assert curve_specs("./a:b,c=d:7")[:2] == ["./a:b,c=d:7:44", "./a:b,c=d:7:40"]  # hybrids have a dial
    assert curve_specs("./a:b,c=d:7,layers=1") == ["./a:b,c=d:7,layers=1"]
    layered = "jia2019-sae-mse-e2"
    opened = types.SimpleNamespace(qualities=(), stream=get_preset(layered).stream)
    monkeypatch.setattr(specs, "open_codec", lambda spec: opened)
    cuts = curve_specs(f"{layered},search=5")
    assert cuts == [f"{layered},layers=1,search=5", f"{layered},layers=2,search=5", f"{layered},search=5"]
    assert {curve_of(name_of(spec)) for spec in cuts} == {f"{layered},search=5"}
    assert curve_specs(layered, whole=True) == [layered]
    assert curve_specs(f"{layered},layers=2") == [f"{layered},layers=2"]
    assert curve_specs(f"{layered},target_bpp=0.5") == [f"{layered},target_bpp=0.5"]


# A value for each option, and the kinds of files whose models take it.
ALL = {"base", "blocks", "filtered", "latent", "picture", "representation", "variable"}
OPTIONS = {
    "layers": (1, {"base", "blocks", "latent", "plane"}),
    "target_bpp": (0.5, ALL),
    "target_psnr": (30.0, ALL),
    "search": (0, {"blocks", "latent", "variable"}),
    "quality": (20.0, {"base", "filtered", "picture", "representation", "variable"}),
    "codec": ("bpg-ycbcr444", {"picture"}),
    "resolution": ("auto", {"representation"}),
    "coding": ("x", {"blocks", "plane"}),
    "overlap": (4, {"blocks"}),
    "tune": ("yes", {"blocks"}),
    "mapping": ("minmax", {"base"}),
    "residual_codec": ("bpg-rgb444", {"base"}),
    "base_codec": ("jxl-lossless", {"base"}),
    "filter": ("on", {"filtered", "picture"}),
    "tile": (1024, ALL - {"blocks"}),
}
# What presets of a kind that takes an option say no to, each by its name.
REFUSED = {
    ("blocks", "coding"): "--coding .* one of fixed, jxl",
    ("plane", "coding"): "--coding .* range or huffman",
}


def kind_of(stream):
    if stream is None:
        return "plane"
    if stream.step:
        return "variable"
    return "blocks" if stream.block else stream.layers[0].kind


def model(name):
    return UntrainedModel(get_preset(name))


def test_the_table_has_every_option():
    assert records.OPTIONS.keys() == OPTIONS.keys()


def test_every_option_of_a_codec_has_a_record():
    """What constructors take and what the command line offers are the same."""
    taken = {name for preset in list_presets() for name in _options_of(preset.stream)}
    assert taken == OPTIONS.keys()


def test_help_names_presets_that_take_the_option():
    names = [preset.name for preset in list_presets()]
    for record in records.OPTIONS.values():
        for pattern in re.findall(r"[a-z]+20\d\d(?:-[a-z0-9*]+)+", f"{record.group} {record.help}"):
            found = fnmatch.filter(names, pattern)
            assert found, pattern
            for name in found:
                assert OPTIONS[record.name][1] >= {kind_of(get_preset(name).stream)}, (record.name, name)


@pytest.mark.parametrize(
    ("option", "values", "refused"),
    [
        ("layers", {1: 1, "2": 2}, ("0", 0, -1, "1.5", 1.5, "x", "", None)),
        ("layers", {"9" * 19: int("9" * 19)}, ("9" * 20, "9" * 5000)),
        ("tile", {"16": 16}, ("1", "15", "9" * 5000)),
        ("search", {"10000": 10000}, ("10001", "99999999999", "9" * 5000)),
        ("overlap", {"0": 0, 16: 16}, ("17", "-1", "nan")),
        ("target_bpp", {"0.5": 0.5, 1: 1.0}, ("0", -1, "nan", "inf", "x", [])),
        ("quality", {"-3": -3.0, "0.25": 0.25}, ("nan", "inf", "x")),
        ("mapping", {"clip": "clip"}, ("CLIP", "x", 3)),
        ("codec", {"svac": "svac"}, ("", 3)),
    ],
)
def test_values_are_of_their_type(option, values, refused):
    record = records.OPTIONS[option]
    for text, value in values.items():
        parsed = record.parse(text)
        assert parsed == value and type(parsed) is record.kind
    for text in refused:
        with pytest.raises(UsageError, match=f"{record.flag} is {re.escape(record.range)}. Received: "):
            record.parse(text)


def test_choices_are_those_of_the_codec():
    assert records.OPTIONS["mapping"].choices == ("auto", *MAPPINGS)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_works_or_is_refused_by_name(option):
    """Every preset; one that does not take the option names presets that do."""
    value, kinds = OPTIONS[option]
    written = f"--{option.replace('_', '-')}"
    for preset in list_presets():
        kind, tuned = kind_of(preset.stream), preset.stream is not None and preset.stream.layers[-1].tuned
        words = REFUSED.get((kind, option))
        if kind not in kinds:
            words = f"{written} is for "
        elif option.startswith("target") and preset.stream.count == 1 and not preset.stream.dial:
            words = f"{written} chooses how many layers"
        elif option == "tune":
            words = "would be asked a thousand times" if tuned else "--tune is for report2017-cnn-ae-ft"
        if words is None:
            # Fine-tuning needs the model itself.
            codec_for(model(preset.name), **{option: value}, **({"tune": "no"} if tuned else {}))
            continue
        with pytest.raises(UsageError, match=words):
            codec_for(model(preset.name), **{option: value})


def test_presets_that_take_an_option_are_named_in_short():
    for preset, option, words in [
        ("fu2019-hybrid-s8-relu", {"overlap": 4}, "--overlap is for report2017-cnn-*, report2017-gan-*. "),
        (
            "fu2019-hybrid-s8-relu",
            {"search": 1},
            "balle2017-*, balle2018-*, jia2019-*, minnen2018-*, report2017-cnn-*, report2017-gan-*. ",
        ),
        (
            "jia2019-sae-mse-e1",
            {"mapping": "clip"},
            "--mapping is for fu2019-*. jia2019-sae-mse-e1 takes --layers, ",
        ),
        (
            "report2017-mlp",
            {"nonsense": 1},
            "--nonsense is no option of any preset. report2017-mlp takes --coding, --l",
        ),
    ]:
        with pytest.raises(UsageError) as caught:
            codec_for(model(preset), **option)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "preset, options, words",
    [
        ("fu2019-hybrid-s16-prelu", {"quality": 52}, "-q of fu2019-hybrid-s16-prelu is for bpg-ycbcr444: .* 0 … 51"),
        ("fu2019-hybrid-s16-prelu", {"quality": 31.9999999}, "whole number"),
        ("fu2019-hybrid-s16-prelu", {"layers": 1, "quality": 30}, "leaves out the residual layer, and with it -q"),
        ("fu2019-hybrid-s16-prelu", {"layers": 1, "mapping": "clip"}, "with it --mapping"),
        ("fu2019-hybrid-s16-prelu", {"residual_codec": "bpg-ycbcr420"}, "--residual-codec of .* is one of"),
        ("hu2018-filter-svac-q48", {"quality": 64}, "-q of hu2018-filter-svac-q48 is for svac: .* 0 … 63"),
        ("hu2018-filter-svac-q48", {"codec": "jpeg-420", "quality": 0}, "is for jpeg-420: .* 1 … 100"),
        ("hu2018-filter-svac-q48", {"codec": "webp"}, "--codec of .* is one of svac"),
        ("zhao2018-mixed", {"quality": 101}, "-q of zhao2018-mixed is for jpeg-420: .* 1 … 100"),
        ("zhao2018-mixed", {"quality": 10, "target_bpp": 1}, "-q and --target-bpp both say"),
        ("jia2019-sae-mse-e2", {"layers": 1, "target_psnr": 30}, "--layers and --target-psnr both say"),
        ("jia2019-sae-mse-e2", {"target_bpp": 1, "target_psnr": 30}, "--target-bpp and --target-psnr both say"),
        ("jia2019-sae-mse-e2", {"layers": 4}, "--layers of jia2019-sae-mse-e2 .* 1 … 3"),
        ("report2017-cnn-ae", {"overlap": 3}, "--overlap of report2017-cnn-ae is 0, 4 … 16"),
    ],
)
def test_what_an_option_cannot_be(preset, options, words):
    """By the option that the user gave and its range; not two that exclude each other."""
    with pytest.raises(UsageError, match=words):
        codec_for(model(preset), **options)


def test_a_codec_says_all_its_options():
    """With their defaults, as rows of measurements name them."""
    codec = codec_for(model("fu2019-hybrid-s16-prelu"), mapping="clip")
    assert codec.options == {
        "quality": 32, "layers": 2, "base_codec": "jxl-lossless",
        "residual_codec": "bpg-ycbcr444", "mapping": "clip", "tile": 1024,
    }  # fmt: skip
    assert codec_for(model("zhao2018-mixed")).options["resolution"] == "auto"
    assert codec_for(model("report2017-cnn-ae-ft"), tune="no").options["tune"] is False


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "x"])
def test_targets_are_positive_numbers(value):
    for preset in ("zhao2018-mixed", "jia2019-sae-mse-e2", "hu2018-filter-svac-q48"):
        for option in ("target_bpp", "target_psnr"):
            with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is a number above 0. Received"):
                codec_for(model(preset), **{option: value})


@pytest.mark.parametrize("spec", ["jpeg:nan", "zhao2018-mixed:inf", "fu2019-hybrid-s16-prelu:-inf"])
def test_qualities_in_names_are_finite(spec):
    for use in (open_codec, qualities_of):
        with pytest.raises(UsageError, match=r"NAME\[,KEY=VALUE…\]"):
            use(spec)


def test_a_quality_belongs_to_its_codec():
    """Behind another codec than in training, without a quality: the middle of that codec's curve."""
    for options, quality in [
        ({}, 48),
        ({"codec": "svac"}, 48),
        ({"codec": "jpeg-420"}, default_quality("jpeg-420")),
        ({"codec": "bpg-ycbcr444"}, 32),
        ({"codec": "jpeg-420", "quality": 20.0}, 20),
    ]:
        codec = codec_for(model("hu2018-filter-svac-q48"), **options)
        assert codec.quality == quality


@pytest.mark.parametrize("name", list_codecs())
def test_a_standard_codec_says_its_own_range(name):
    """Not that of JPEG."""
    if name in ("flif", "jpeg-bm3d"):
        pytest.skip("may not be installed")
    with pytest.raises(UsageError, match=f"{name}:1000.*(Received: 1000|takes no quality)") as caught:
        get_codec(f"{name}:1000")
    assert "jpeg:75" not in str(caught.value)
