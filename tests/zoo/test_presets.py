"""The registry: presets of the zoo, of installed packages, and of modules on the PYTHONPATH."""

import dataclasses
import json
import textwrap

import pytest

from codec_zoo import presets, weights
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.presets import get_preset, list_presets

OURS = "fu2019-hybrid-s16-prelu"


# The beginning of each module: a function that registers a preset of another name.
HEAD = f"""
import dataclasses
from pathlib import Path
from codec_zoo.presets import get_preset, register
def add(name, **fields):
    register(dataclasses.replace(get_preset("{OURS}"), name=name, **fields))
"""


@pytest.fixture
def site(package_site):
    """Make a module, of a package with an entry point or without, that this process finds."""

    def make(module: str, source: str, package: str | None = None) -> None:
        package_site(module, HEAD + textwrap.dedent(source), package)

    return make


def names():
    return {preset.name for preset in list_presets()}


def test_presets_of_an_installed_package_are_like_ours(site):
    before = names()
    site("theirs", "add('their-a'); add('their-b')", package="their-package")
    assert names() == before | {"their-a", "their-b"}
    assert get_preset("their-a") is get_preset("theirs:their-a")
    assert presets.package_of(get_preset("their-a")) == "their-package"
    assert presets.package_of(get_preset(OURS)) == presets.OWN_PACKAGE
    assert presets.qualified_name(get_preset("their-a")) == "theirs:their-a"
    assert presets.qualified_name(get_preset(OURS)) == OURS


def test_a_module_needs_no_installation(site):
    before = names()
    site("loose", "add('loose-a')")
    assert "loose-a" not in names()
    with pytest.raises(UsageError, match=r"no preset called 'loose-a'.*MODULE:NAME"):
        get_preset("loose-a")
    found = get_preset("loose:loose-a")
    assert presets.package_of(found) == "loose"
    assert names() == before | {"loose-a"} and get_preset("loose-a") is found
    with pytest.raises(UsageError, match=r"loose has no preset called 'b'\. It has loose-a\."):
        get_preset("loose:b")
    with pytest.raises(UsageError, match=r"no module called 'nowhere'.*PYTHONPATH"):
        get_preset("nowhere:b")
    with pytest.raises(UsageError, match=r"no module called 'loose\.deeper'"):
        get_preset("loose.deeper:b")
    assert get_preset(f"codec_zoo.models.fu2019:{OURS}") is get_preset(OURS)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("add('broken-a'); 1 / 0", "ZeroDivisionError: division by zero"),
        ("add('broken-a'); import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
        ("add('broken-a'); raise SystemExit('over')", "SystemExit: over"),
        (
            f"add('broken-a'); add('{OURS}')",
            f"two presets are called {OURS}: of codec_zoo.models.fu2019 and of broken",
        ),
        (
            "add('broken-a'); add('broken-b', trains=False)",
            "UsageError: broken-b in broken needs a stream and training",
        ),
        ("add('broken-a'); add('broken-b', config={'x': 1})", "TypeError: "),
        ("add('broken-a'); add('Broken_A')", "Received: 'Broken_A' in broken"),
    ],
)
def test_a_broken_package_is_left_out_with_one_note(site, capsys, source, said):
    before, ours = names(), get_preset(OURS)
    site("broken", source, package="broken-package")
    site("theirs", "add('their-a')", package="their-package")
    assert names() == names() == before | {"their-a"} and get_preset(OURS) is ours
    notes = capsys.readouterr().err
    assert notes.count("note: ") == 1 and said in notes, notes
    assert "the presets of the package broken-package are left out: broken does not import" in notes
    with pytest.raises(UsageError, match="broken does not import"):
        get_preset("broken:broken-a")


def test_our_own_presets_need_no_package_of_others(site, capsys):
    site("broken", "1 / 0", package="broken-package")
    assert get_preset(OURS).name == OURS and not capsys.readouterr().err


def test_two_presets_of_one_name_are_refused(site):
    site("first", "add('same-a')")
    site("second", "add('same-a')")
    get_preset("first:same-a")
    with pytest.raises(UsageError, match="two presets are called same-a: of first and of second"):
        get_preset("second:same-a")


def test_two_presets_of_one_id_are_refused(site):
    """Files name a preset by 4 bytes."""
    names = ("zutdocbjiv", "xvmxlgbdlh")
    assert presets.preset_id(names[0]) == presets.preset_id(names[1])
    site("first", f"add('{names[0]}')")
    site("second", f"add('{names[1]}')")
    get_preset(f"first:{names[0]}")
    same = presets.preset_id(names[0]).hex()
    with pytest.raises(UsageError, match=f"{names[0]} and {names[1]} have the same id in files, {same}"):
        get_preset(f"second:{names[1]}")


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a--b", "1a", "a.b", "a:b", "ä", "a b", "../a"])
def test_names_have_a_form(name):
    preset = dataclasses.replace(get_preset(OURS), name=name)
    with pytest.raises(UsageError, match="lower case"):
        presets.register(preset)


def test_a_preset_that_another_module_registers_for_it_is_its_own(site):
    """``register_points`` of Ballé 2018 is of use to others too."""
    site("helper", "def make(name):\n    add(name)\n")
    site("user", "import helper; helper.make('made-a')")
    assert presets.qualified_name(get_preset("user:made-a")) == "user:made-a"


def test_weights_of_another_package_are_in_its_folder(site, tmp_path):
    site("theirs", "add('their-a', weights=Path(__file__).parent / 'their_weights'); add('their-b')", "their-package")
    assert not weights.is_trained("their-a") and not weights.is_trained("their-b") and weights.is_trained(OURS)
    with pytest.raises(ModelError, match="no trained weights yet"):
        weights.entry("their-a")
    run = tmp_path / "run"
    run.mkdir()
    model = get_preset("their-a").create()
    weights.save(model, run / "best.weights.h5")
    record = dict.fromkeys(weights.RUN) | {"curve": [{"step": 7, "loss": 1.0}], "preset": "theirs:their-a"}
    write_record(run, record)
    ours = weights.index()
    assert weights.publish(run) == "theirs:their-a"
    folder = tmp_path / "their_weights"
    assert {path.name for path in folder.iterdir()} == {"index.json", "their-a.weights.h5"}
    assert weights.index() == ours and weights.index(folder).keys() == {"their-a"}
    assert weights.is_trained("their-a") and weights.steps(get_preset("their-a")) == 7
    assert weights.tables_path("their-a") == folder / "their-a.tables.npz"
    weights.create("theirs:their-a")
    assert [run["step"] for run in weights.history(folder / "their-a.weights.h5")] == [7]
    write_record(run, record | {"preset": "theirs:their-b"})
    with pytest.raises(UsageError, match=r"their-package, .* no folder.*export theirs:their-b DIR --from-run"):
        weights.publish(run)


def write_record(run, record):
    (run / "run.json").write_text(json.dumps(record))


def test_a_damaged_index_of_another_package_is_passed_over_with_a_note(site, tmp_path, capsys):
    site("theirs", "add('their-a', weights=Path(__file__).parent)", "their-package")
    (tmp_path / "index.json").write_text("{")
    for preset in list_presets():
        weights.steps(preset)
    assert not weights.is_trained("their-a")
    assert capsys.readouterr().err.count("index.json is damaged") == 1
