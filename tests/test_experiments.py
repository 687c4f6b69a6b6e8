"""The pages of experiments are made from committed data, and every script is described."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))
PAGES = ROOT / "docs" / "experiments"


@pytest.fixture(scope="module")
def history():
    """The script that writes the tables of runs."""
    spec = importlib.util.spec_from_file_location("training_history", ROOT / "experiments" / "training_history.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_runs_are_made_from_the_committed_file(history):
    for page in history.PRESETS:
        text = (PAGES / f"{page}.md").read_text()
        assert text.count(history.BEGIN) == text.count(history.END) == 1
        assert text == history.page_with_table(page), "run: python experiments/training_history.py"
        assert f"({page}.md)" in (PAGES / "index.md").read_text()


def test_every_script_is_described():
    described = (ROOT / "experiments" / "README.md").read_text()
    assert SCRIPTS and [path.name for path in SCRIPTS if f"`{path.name}`" not in described] == []


def test_pages_name_scripts_that_exist():
    for path in [*PAGES.glob("*.md"), *(ROOT / "docs" / "results").glob("*.md")]:
        words = path.read_text().replace("`", " ").replace(")", " ").split()
        named = {word for word in words if word.startswith("experiments/") and word.endswith(".py")}
        assert {name for name in named if not (ROOT / name).exists()} == set(), path
