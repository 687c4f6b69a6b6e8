"""The command `codec-zoo app` before it serves; the page is in tests/harness/test_app_page.py."""

import sys

from codec_zoo.cli.main import run


def test_without_gradio_the_remedy_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(["app"]) == 1
    assert "pip install 'codec-zoo[app]'" in capsys.readouterr().err
