"""The pages of docs/: links and anchors lead somewhere, examples run, named options and presets exist, it builds."""

import fnmatch
import importlib.util
import os
import re
import subprocess
import sys
import zlib

import nbformat
import pytest
from markdown.extensions.toc import slugify
from page_examples import ROOT, blocks, commands, run, same
from PIL import Image

import codec_zoo
from codec_zoo.cli.main import cli as group
from codec_zoo.codecs import container
from codec_zoo.codecs.options import OPTIONS
from codec_zoo.presets import list_presets

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# test_readme.py runs the examples of the first three, test_example_package.py those of own-model.md.
ELSEWHERE = {"get-started.md", "choose-a-model.md", "app.md", "own-model.md"}
RUN = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE and {"console", "python"} & {b.language for b in blocks(page.read_text())}
]
QUICK = {"bitstream.md", "streams.md"}
GOLDEN = ROOT / "tests" / "data" / "golden"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- links ----------------------------------------------------------------------------------------------------------


def prose(text):
    """A page without its blocks of code and inline code."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text):
    """The anchors of a page's headings that the site and GitHub both make."""
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    ):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).replace("`", "")
        github = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        if slugify(plain, "-") == github:
            found.add(github)
    return found


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_and_anchors(page, hooks):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            text = target.read_text().replace(hooks.COMMANDS, hooks.command_reference())
            assert anchor in anchors(text), link


def test_anchors_of_headings():
    assert anchors("# Bounds and checks\n```\n# no\n```\n## 1: base\n### `a` [b](c.md)\n") == {
        "bounds-and-checks",
        "1-base",
        "a-b",
    }


# --- examples -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, kodak_paths):
    """What the pages take for granted: the checkout's data, ``photo.png``, ``photos/train`` and ``photos/val``."""
    for name in ("datasets", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "photo.png").symlink_to(kodak_paths[22])
    for i, path in enumerate(kodak_paths[:5]):
        target = tmp_path / "photos" / ("val" if i > 2 else "train") / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((100, 100, 420, 420)).save(target)
    return tmp_path


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[] if page.name in QUICK else pytest.mark.slow, id=page.name) for page in RUN]
)
@pytest.mark.timeout(1800)
def test_examples_run(page, folder, tmp_path_factory, request):
    text, places = page.read_text(), {}
    if "localhost:8500" in text:
        server, serving = (request.getfixturevalue(name) for name in ("server", "serving"))
        places = {
            "localhost:8500": f"localhost:{server.grpc_port}",
            "localhost:8501": f"localhost:{server.rest_port}",
        }
        (folder / "models").symlink_to(serving / "models")
    cache = tmp_path_factory.getbasetemp() / "readme_cache"
    for block in blocks(text):
        examples = {"console": list(commands(block.text)), "python": [(block.text, "")]}.get(block.language, [])
        for code, expected in examples:
            for here, there in places.items():
                code = code.replace(here, there)
            got = run(block.language, code, folder, cache)
            assert not expected or same(expected, got), f"{page.name}, line {block.line}: {code}\n{got}"


def test_there_are_examples():
    assert {page.name for page in RUN} >= QUICK | {"serving.md", "train.md", "python-api.md", "command-line.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_name_their_language(page):
    """``console`` and ``python`` run; ``sh`` and ``py`` need what no test has: a network, other machines, hours."""
    text = page.read_text()
    known = {"console", "python", "sh", "py", "text", "toml", "json"}
    assert {block.language for block in blocks(text)} <= known
    assert text.count("```") == 2 * len(blocks(text))


# --- names ----------------------------------------------------------------------------------------------------------

OWN = [page for page in PAGES if page.name not in ("get-started.md", "choose-a-model.md")]


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)
def test_options_and_presets_exist(page):
    spellings = {option for command in group.commands.values() for each in command.params for option in each.opts}
    spellings |= {
        option for command in group.commands.values() for each in command.params for option in each.secondary_opts
    }
    spellings |= {"--help", "--version"}
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        if not re.match(r"(pip|git|python|grep|tail|head|docker|jupyter) |.*direct_|make |--setup_file", code):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) <= spellings, code
    assert not unknown_presets(page.read_text())


def unknown_presets(text):
    """The names and patterns in a text that are written as a preset's and mean none."""
    names = {preset.name for preset in list_presets()}
    found = re.findall(r"(?<![\w/.-])(?:balle|fu|hu|jia|jiang|minnen|report|zhao)20\d\d-[\w*-]+", text)
    return {name for name in found if not fnmatch.filter(names, name)}


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_presets_of_notebooks_exist(notebook):
    assert not unknown_presets("\n".join(cell["source"] for cell in nbformat.read(notebook, as_version=4).cells))


def test_keys_of_codecs_exist():
    for page in OWN:
        for key in re.findall(r"`[\w:-]+(?:-\w+)+,(\w+)=", page.read_text()):
            assert key in OPTIONS, (page.name, key)


# --- the bitstream --------------------------------------------------------------------------------------------------


def test_worked_example():
    """Every value in the table of docs/bitstream.md is that of the file."""
    page = (DOCS / "bitstream.md").read_text()
    section = page.split("## A worked example")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (?:`([0-9a-f ]+?)(?: …)?`)? ?\|", section, re.MULTILINE)
    data = (GOLDEN / "hyperprior.czoo").read_bytes()
    assert len(rows) == 14
    for offset, digits in rows:
        start = int(offset)
        assert data[start:].startswith(bytes.fromhex(digits)), offset
    assert data[20:24] == zlib.crc32(data[:20]).to_bytes(4, "big")
    assert data[28:32] == zlib.crc32(data[:20] + b"\0" + data[24:28] + data[32:]).to_bytes(4, "big")
    assert data[6:10] == zlib.crc32(b"balle2018-hyperprior-mse-3").to_bytes(4, "big")
    assert data[36] == 74 and len(data) - (37 + 74) == 641


def test_golden_files_have_every_kind():
    streams = [container.read(path.read_bytes()) for path in GOLDEN.glob("*.czoo")]
    kinds = {layer.kind for stream in streams for layer in stream.layers}
    assert kinds == set(container.LayerKind)
    page = (DOCS / "bitstream.md").read_text()
    for kind in container.LayerKind:
        assert f"### {kind.value}: {kind.name.lower()}\n" in page


# --- the site -------------------------------------------------------------------------------------------------------


def test_reference_has_every_option(hooks):
    text = hooks.command_reference()
    for name, command in group.commands.items():
        part = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in part, (name, option)


def test_navigation_leaves_out_what_is_absent(hooks):
    nav = [{"A": "index.md"}, {"B": "absent.md"}, {"C": [{"D": "models/"}, {"E": "absent/"}]}]
    first, second = hooks._expand(nav)
    assert first == {"A": "index.md"}
    ((cards,),) = ([*entry.values()] for entry in second["C"])
    assert cards[0] == "models/README.md" and len(cards) == 1 + len(list_presets())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning, as of a link that leads nowhere, is an error."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", target],
        check=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    return target


@pytest.mark.slow
def test_site_is_built(site):
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists() or page.name == "README.md", page
    api = (site / "python-api.html").read_text()
    for name in set(codec_zoo.__all__) - {"__version__"}:
        assert f'id="codec_zoo.{name}"' in api, name


@pytest.mark.slow
def test_site_needs_no_other_server(site):
    """No font, script, style or picture of another host."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        tags = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*>", page.read_text())
        outside = [tag for tag in tags if re.search(r'(?:src|href)="(?:https?:)?//', tag)]
        assert not [tag for tag in outside if 'rel="canonical"' not in tag], (page, outside)
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//", styles)


@pytest.mark.slow
def test_site_in_a_browser(site, browser):
    """No page is wider than a phone or asks for another server; the search finds; prompts are not copied."""
    page, asked = browser.new_page(viewport={"width": 375, "height": 780}), []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, path
    page.goto((site / "command-line.html").as_uri())
    button = page.locator(".language-console button").first
    button.dispatch_event("click")
    page.wait_for_selector(".md-dialog--active")
    assert page.evaluate("getComputedStyle(document.querySelector('.gp')).userSelect") == "none"
    page.evaluate("document.querySelector('.language-console code').setAttribute('data-md-copying', '')")
    assert page.locator(".language-console code").first.inner_text().startswith("codec-zoo ")
    page.goto((site / "index.html").as_uri())
    page.set_viewport_size({"width": 1280, "height": 900})
    page.fill(".md-search__input", "checksum")
    page.wait_for_selector(".md-search-result__link", timeout=120_000)
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
