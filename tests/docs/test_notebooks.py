"""The notebooks run from the first cell to the last, and their committed outputs are small and of a whole run."""

import re

import nbformat
import pytest
from page_examples import ROOT

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_two():
    assert [path.name for path in NOTEBOOKS] == ["compress-and-compare.ipynb", "train-and-export.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs(path):
    """A failure here: `jupyter execute --inplace notebooks/NAME.ipynb` runs a notebook and keeps its outputs."""
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
    assert not re.search(r"/(work|home|tmp|root|Users)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links and not [link for link in links if not (path.parent / link).exists()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, tmp_path_factory, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "readme_cache"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [output.text for cell in code_cells(notebook) for output in cell.outputs if "text" in output]
    assert any(re.search(r"\d\d\.\d\d dB", text) for text in printed)
