"""Pages of results: what they have, and that the committed ones are what the rows give."""

import shutil
from pathlib import Path

import pytest

from codec_zoo.errors import UsageError
from codec_zoo.harness import reproduce, results
from codec_zoo.harness.results import Chart, Section, Table, Verdict

DOCS = Path(__file__).parents[2] / "docs"


def section(paper: str, verdict: str = "reproduced") -> Section:
    return Section(
        paper=paper,
        title=f"Tester et al. 2020: {paper}",
        verdicts=[
            Verdict("It is better (Fig. 1)", "+1 dB", "+2 dB", verdict, main=True),
            Verdict("Minor", "", "", verdict),
        ],
        tables=[Table("Table 1", "A note.", ("codec", "dB"), [("a", "1.5")])],
        charts=[Chart("kodak-psnr", "Fig. 1", "dB", [])],
        rows=[],
        shown=[],
        further=[("With more bits", "+3 dB")],
        notes="We do it otherwise.",
        training=Table("Training", "", ("preset", "steps"), [("a", "10")]),
        pictures={"kodak": "the 24 pictures of Kodak", "clic": "CLIC"},
    )


def test_page_of_a_paper_has_all_of_it():
    page = results.paper_page(section("one2020"))
    for words in (
        "# Tester et al. 2020: one2020\n",
        "| It is better (Fig. 1) | +1 dB | +2 dB | reproduced |",
        "*Not measured*: we did not measure the claim.",
        "We do it otherwise.",
        "| With more bits | +3 dB |",
        "![Fig. 1](../one2020/kodak-psnr.svg)",
        "### Table 1\n\nA note.\n",
        "`codec-zoo reproduce one2020 --output docs --picture-set clic=DIR`",
        "### Training",
    ):
        assert words in page
    assert page.count("\n# ") == 0, "one title"


def test_summary_has_the_main_claims_of_all_papers(tmp_path):
    with pytest.raises(UsageError, match="codec-zoo reproduce all"):
        results.summary_table(tmp_path)
    order = ("one2020", "two2020")
    results.record_verdicts([section("two2020")], tmp_path, order)
    results.record_verdicts([section("one2020", "not reached")], tmp_path, order)
    results.record_verdicts([section("two2020", "ordering holds")], tmp_path, order)
    lines = results.summary_table(tmp_path).splitlines()
    assert lines[0] == "| paper | claim | the paper | ours | verdict |"
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["not reached |", "ordering holds |"]
    index = results.index_page(tmp_path)
    assert "| [Tester et al. 2020: one2020](one2020.md) | 0 | 0 | 2 | 0 |" in index and "| Minor |" in index


def test_committed_index_is_what_the_verdicts_give():
    folder = DOCS / "results"
    assert (folder / "README.md").read_text() == results.index_page(folder)
    for record in results.read_verdicts(folder):
        verdicts = [Verdict(**verdict) for verdict in record["verdicts"]]
        assert results.verdict_table(verdicts).markdown(2) in (folder / f"{record['paper']}.md").read_text()
    assert {record["paper"] for record in results.read_verdicts(folder)} == set(reproduce.PAPERS)


@pytest.mark.slow
@pytest.mark.parametrize("paper", reproduce.PAPERS)
def test_committed_page_is_what_the_rows_give(paper, tmp_path):
    """Nothing is measured for it: a row that is missing, or of another version, would change the page."""
    for name in reproduce.PAPERS:
        if (DOCS / name).exists():
            shutil.copytree(DOCS / name, tmp_path / name)
    page = results.paper_page(reproduce.section_of(paper, tmp_path, {}, 1))
    assert page == (DOCS / "results" / f"{paper}.md").read_text()
