"""README.md and the pages for newcomers: every example runs and prints what the page says."""

import re

import pytest
from page_examples import ROOT, blocks, commands, filled, run, same

PAGES = ("README.md", "docs/get-started.md", "docs/choose-a-model.md")


@pytest.mark.parametrize(
    "page, slow",
    [
        ("README.md", False),
        ("docs/get-started.md", False),
        pytest.param("docs/get-started.md", True, marks=pytest.mark.slow),
        pytest.param("docs/choose-a-model.md", True, marks=pytest.mark.slow),
    ],
)
def test_examples(page, slow, tmp_path, tmp_path_factory):
    """The quick examples of a page; or all of them, since a slow one may need the files of one before it.

    A failure here after a change of the default model: `python tests/docs/page_examples.py PAGE` writes the outputs.
    """
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    cache = tmp_path_factory.getbasetemp() / "readme_cache"
    for block in blocks((ROOT / page).read_text()):
        if block.slow and not slow:
            continue
        if block.language == "python":
            run("python", block.text, tmp_path, cache)
        if block.language == "console":
            for command, expected in commands(block.text):
                got = run("console", command, tmp_path, cache)
                assert same(expected, got), f"{page}, line {block.line}: {command}\n{got}"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) + re.findall(r'(?:src|href)="([^"#]+)', text)
    local = [link for link in links if "://" not in link]
    assert local
    assert not [link for link in local if not ((ROOT / page).parent / link).exists()]


def test_claims_name_tests_that_exist():
    claims = re.findall(r"\[Test\]\((\S+)\):\s+`(\w+)`", (ROOT / "README.md").read_text())
    assert len(claims) >= 3
    for path, name in claims:
        assert f"def {name}(" in (ROOT / path).read_text(), (path, name)


def test_what_is_an_example():
    page = "a\n```console\n$ x -q\n1,234 bytes\n$ y\n```\n<!-- slow -->\n```python\nz\n```\n"
    console, program = blocks(page)
    assert list(commands(console.text)) == [("x -q", "1,234 bytes\n"), ("y", "")]
    assert (console.line, console.slow) == (2, False) and (program.text, program.slow) == ("z\n", True)
    assert filled(page, lambda command: f"{command}!\n").startswith("a\n```console\n$ x -q\nx -q!\n$ y\ny!\n```\n")


@pytest.mark.parametrize(
    "got, equal",
    [
        ("a.czoo: 1,234 bytes, 0.181 bpp, weights 29b09c85", True),
        ("a.czoo: 1,240 bytes, 0.182 bpp, weights 29b09c85", True),
        ("a.czoo: 1,300 bytes, 0.181 bpp, weights 29b09c85", False),
        ("a.czoo: 1,234 bytes, 0.181 bpp, weights 29b09c86", False),
        ("b.czoo: 1,234 bytes, 0.181 bpp, weights 29b09c85", False),
    ],
)
def test_outputs_are_compared_by_words_and_by_numbers(got, equal):
    assert same("a.czoo: 1,234 bytes, 0.181 bpp, weights 29b09c85", got) == equal
