"""What tests of pages share: a reader of HTML, and a report. The browser is the fixture of all tests."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.harness.evaluation import evaluate
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.report import write_report
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict


class Elements(HTMLParser):
    """All elements with their attributes, and the text of scripts; fails where tags do not match."""

    VOID = ("meta", "input", "br", "img", "hr", "link")

    def __init__(self, path: Path):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)

    def all(self, tag, **wanted):
        return [a for t, a in self.found if t == tag and all(a.get(key) == value for key, value in wanted.items())]

    def loads_nothing(self):
        """No element asks for anything outside of the page."""
        for tag, attributes in self.found:
            for name in ("src", "srcset", "data", "action", "poster", "background"):
                assert name not in attributes, (tag, attributes)
            assert attributes.get("href", "#").startswith("#")
        assert not self.all("link")
        (policy,) = self.all("meta", **{"http-equiv": "Content-Security-Policy"})
        assert policy["content"].startswith("default-src 'none'; script-src 'sha256-")
        assert "http" not in policy["content"]


@pytest.fixture(scope="session")
def elements():
    """Reads a page."""
    return Elements


@pytest.fixture(scope="session")
def two_crops(tmp_path_factory, kodak_paths):
    """Two pieces of photographs, large enough for MS-SSIM."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for source in (kodak_paths[2], kodak_paths[22]):
        paths.append(folder / source.name)
        Image.open(source).crop((200, 100, 400, 290)).save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def section(two_crops):
    """A paper with one of everything, measured."""
    specs = ("jpeg:30", "webp:40")
    rows = evaluate(specs, two_crops)
    mean = {spec: [np.mean([r[key] for r in rows if r["spec"] == spec]) for key in ("bpp", "psnr")] for spec in specs}
    curves = [Curve(spec, [tuple(mean[spec]), (2.0, 40.0)]) for spec in specs]
    return Section(
        paper="test2020",
        title="Tester 2020: A paper",
        verdicts=[
            Verdict("WebP beats JPEG (Table 1)", "+1 dB", "+2 dB", "reproduced"),
            Verdict("claim", "", "0", "not reached"),
        ],
        tables=[Table("Table 1: numbers", "With **care**.", ("codec", "PSNR, dB"), [("a", "9.5"), ("b", "10.25")])],
        charts=[Chart("test-rd", "Figure 1", "PSNR, dB", [*curves, *published_curves("kodak", "psnr")], "A note.")],
        rows=rows,
        shown=specs,
    )


@pytest.fixture(scope="session")
def report_page(section, two_crops, tmp_path_factory):
    """The report of that paper."""
    return write_report([section], two_crops, tmp_path_factory.mktemp("report"))
