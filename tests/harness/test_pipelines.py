"""How codecs are written, folders of exports with commas and colons in their paths included."""

import pytest
from PIL import Image

from codec_zoo.errors import UsageError
from codec_zoo.harness import evaluation
from codec_zoo.harness.exported import UntrainedModel, open_model
from codec_zoo.harness.hybrid import HybridCodec
from codec_zoo.harness.pipelines import name_of, open_codec, qualities_of, split_spec

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
        ("a:b,c=d:7", ("a:b,c=d:7", {}, None)),
        ("a:b,c=d:7:28", ("a:b,c=d:7", {}, 28)),
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
    absolute = f"{folders}/{spec}"
    if expected[0] in ("a", "a:b,c=d:7", "C:\\models"):
        assert split_spec(absolute) == (f"{folders}/{expected[0]}", *expected[1:])


@pytest.mark.parametrize("spec", ["jpeg:high", "a,shift", "a,quality=3", "a:b:c", ":", "jpeg:75,x=1", "jpeg:7,x=1:3"])
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
        assert isinstance(open_codec(f"./{name}:28"), HybridCodec)
        assert open_model(f"./{name}").preset == PRESET


def test_such_a_folder_is_measured(folders, noise):
    Image.fromarray(noise(32, 32)).save("a.png")
    spec = "./a:b,c=d:7,mapping=shift"
    assert qualities_of(spec) == HybridCodec.qualities
    row = evaluation.measure(f"{spec}:28", folders / "a.png")
    assert (row["codec"], row["quality"]) == (spec, 28)
    assert row["weights_sha256"] == evaluation.weights_of(spec)
