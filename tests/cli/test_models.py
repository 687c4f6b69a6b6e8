"""Commands about models."""

import json
import subprocess
import sys

import pytest

from codec_zoo import weights
from codec_zoo.cli.main import cli as commands
from codec_zoo.export import serving_config
from codec_zoo.harness import release
from codec_zoo.presets import DEFAULT_PRESET, OWN_PACKAGE, get_preset, list_presets

PRESET = "fu2019-hybrid-s16-prelu"


def test_list(cli):
    code, out, _ = cli("list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and PRESET in [row["preset"] for row in rows]
    assert next(row for row in rows if row["preset"] == PRESET)["trained_steps"] > 0
    assert [row["preset"] for row in rows if row["default"]] == [DEFAULT_PRESET]
    _, out, _ = cli("list")
    (default,) = (line for line in out.splitlines() if line.endswith("the default of compress"))
    assert default.startswith(f"{DEFAULT_PRESET} ")
    assert f"[default:{DEFAULT_PRESET}]" in "".join(cli("compress", "--help")[1].split())
    trained = {line.split()[0]: line.rpartition("trained: ")[2] for line in out.splitlines()}
    index = weights.index()["hu2018-filter-bpg-q36"]
    steps = sum(run["step"] for run in (index, *index["earlier"]))
    assert len(index["earlier"]) == 3 and trained["hu2018-filter-bpg-q36"] == f"{steps:,} steps"
    assert trained["report2017-mlp"] == "by each file"


def test_list_shows_what_compresses_and_all_the_rest(cli):
    shown, everything = (cli("list", "--json", *more) for more in ([], ["--all"]))
    rows, all_rows = ([json.loads(line) for line in out.splitlines()] for _, out, _ in (shown, everything))
    assert [row["preset"] for row in all_rows] == [preset.name for preset in list_presets()]
    assert rows == [row for row in all_rows if row["trained"]]
    assert {row["preset"] for row in rows} == {*weights.index(), "report2017-mlp"}
    assert {row["package"] for row in all_rows} == {"codec-zoo"}
    more = len(all_rows) - len(rows)
    assert shown[2] == f"note: {more} more presets have no trained weights yet: `codec-zoo list --all`.\n"
    assert not everything[2]
    assert "jia2019-sae-ms-ssim-e3" in cli("list", "--all")[1] and "not yet" not in cli("list")[1]


LIST = """
import sys
from codec_zoo.cli.main import run
run(["list", "--all", "--json"])
print("keras" in sys.modules)
"""


def test_list_imports_no_keras():
    """Keras and TensorFlow take two seconds; presets of another package need them (tests/test_example_package.py)."""
    process = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True)
    *lines, imported = process.stdout.splitlines()
    assert imported == "False"
    assert [json.loads(line) for line in lines] == [
        {
            "preset": preset.name,
            "package": OWN_PACKAGE,
            "paper": preset.paper.short,
            "reproduces": preset.reproduces,
            "trained": preset.trained,
            "trained_steps": weights.steps(preset) or None,
            "default": preset.name == DEFAULT_PRESET,
        }
        for preset in list_presets()
    ]


def test_cards_and_serving_as_json(tmp_path, monkeypatch, capsys):
    """What a program reads: each file that was written."""
    monkeypatch.setattr(release, "list_presets", lambda: [get_preset("report2017-cnn-ae")])
    assert commands.main(["cards", str(tmp_path), "--json"], standalone_mode=False) is None
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(tmp_path) and sorted(said["pages"]) == sorted(map(str, tmp_path.iterdir()))
    written = [tmp_path / "models.config", tmp_path / "monitoring.config"]
    monkeypatch.setattr(serving_config, "write_serving", lambda *arguments: written)
    assert commands.main(["serve-config", str(tmp_path), "--json"], standalone_mode=False) is None
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"file": str(path)} for path in written]


@pytest.mark.parametrize("mine", ["report2017-cnn-ae.md", "report2017-cnn-ae.svg", "README.md"])
def test_cards_replace_no_file_of_yours(here, tmp_path, monkeypatch, mine):
    monkeypatch.setattr(release, "list_presets", lambda: [get_preset("report2017-cnn-ae")])
    (tmp_path / mine).write_text("mine")
    code, _, err = here("cards", tmp_path)
    assert code == 2 and "--force" in err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    assert here("cards", tmp_path, "--force")[0] == 0
    assert here("cards", tmp_path)[0] == 0  # the folder is the command's own now
    monkeypatch.chdir(tmp_path)
    assert here("cards", ".")[0] == 0  # a dot is no empty name
