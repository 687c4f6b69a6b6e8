"""What tests of pages share: a reader of HTML. The browser is the fixture of all tests."""

from html.parser import HTMLParser
from pathlib import Path

import pytest


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
