"""README.md and the pages for newcomers: every example runs and prints what the page says."""

import re
import subprocess

import pytest
from page_examples import ROOT, blocks, commands, filled, run, same
from PIL import Image

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


def test_a_command_has_one_output():
    """Slow examples run seldom: where a quick one has the same command, it shows that they are out of date."""
    outputs = {}
    for page in PAGES:
        for block in blocks((ROOT / page).read_text()):
            for command, output in commands(block.text) if block.language == "console" else ():
                assert outputs.setdefault(command, output) == output, (page, command)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_newcomer(tmp_path, monkeypatch):
    """The README's commands from the clone to the decompressed photograph, in a new environment."""
    first, *others = [block for block in blocks((ROOT / "README.md").read_text()) if block.language != "python"]
    assert first.language == "sh" and "https://…/codec-zoo.git" in first.text
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    lines = [first.text.replace("https://…/codec-zoo.git", f"file://{ROOT} codec-zoo")]
    lines += [command for block in others if block.language == "console" for command, _ in commands(block.text)]
    subprocess.run(["bash", "-euc", "\n".join(lines)], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "codec-zoo" / "parrots.png") as image:
        assert image.size == (768, 512)


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
