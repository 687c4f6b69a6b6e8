"""``codec-zoo demo``: its arguments, an interrupt, and the whole of it."""

import re
from pathlib import Path

import pytest

from codec_zoo.cli.main import run
from codec_zoo.codecs.images import write_image
from codec_zoo.harness import demo
from codec_zoo.harness.results import Table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch):
    """What the command asks for; nothing is measured."""
    calls = []

    def record(pictures, folder, target_bpp, workers, background):
        calls.append((pictures, folder, target_bpp, background))
        table = Table("Results", "", ("codec", "dB"), [("ours", "30.00")])
        return demo.Demo(folder / demo.PAGE, table, [Table("a", "", ("codec", "bytes"), [("ours", "1,000")])])

    monkeypatch.setattr(demo, "run", record)
    return calls


def test_default_pictures_and_what_comes_next(calls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["demo"]) == 0
    ((pictures, folder, target_bpp, background),) = calls
    assert [source.stem for source, _ in pictures] == list(demo.PICTURES) and background is None
    assert all(target == Path("demo_output/originals") / source.name for source, target in pictures)
    assert (folder, target_bpp) == (Path("demo_output"), 0.25)
    out, err = capsys.readouterr()
    assert "ours   30.00" in out and "ours   1,000" in out
    assert (tmp_path / "demo_output/index.html").as_uri() in err and "codec-zoo compress photo.jpg" in err


def test_own_pictures(calls, tmp_path, photo):
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True, parents=True)
        write_image(tmp_path / "in" / name, photo[:16, :16])
    arguments = ["demo", tmp_path / "in", "-o", tmp_path / "out", "--target-bpp", 0.5, "--background", "white"]
    assert run(list(map(str, arguments))) == 0
    ((pictures, folder, target_bpp, background),) = calls
    assert [target.relative_to(folder).as_posix() for _, target in pictures] == [
        "originals/a.png",
        "originals/deep/b.png",
    ]
    assert (folder, target_bpp, background) == (tmp_path / "out", 0.5, (255, 255, 255))


def test_what_is_refused(calls, tmp_path, photo, capsys):
    write_image(tmp_path / "a.png", photo[:16, :16])
    write_image(tmp_path / "a.bmp", photo[:16, :16])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / demo.PAGE).write_text("<title>Mine</title>")
    for arguments, words in (
        ([tmp_path / "a.png", tmp_path / "a.bmp", "-o", tmp_path / "new"], "a.png"),
        (["-", "-o", tmp_path / "new"], "standard input"),
        ([tmp_path / "a.png", "-o", tmp_path / "out"], "--force"),
        ([tmp_path / "a.png", "--target-bpp", "0"], "above 0"),
    ):
        assert run(["demo", *map(str, arguments)]) == 2, arguments
        assert words in capsys.readouterr().err
    assert calls == [] and not (tmp_path / "new").exists()
    assert run(["demo", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--force"]) == 0


def test_a_picture_that_is_not_there(tmp_path, capsys):
    assert run(["demo", str(tmp_path / "none.png"), "-o", str(tmp_path / "new")]) == 2
    assert "none.png" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_an_interrupt_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", stop)
    assert run(["demo", "-o", str(tmp_path / "out")]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_make_demo_calls_it():
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert "codec-zoo demo --output $(OUTPUT)" in recipe


@pytest.mark.slow
def test_the_whole(cli, tmp_path, photo):
    """All models and codecs on a small picture, in two processes, and again."""
    write_image(tmp_path / "a.png", photo[100:228, 100:260])
    arguments = ("demo", tmp_path / "a.png", "-o", tmp_path / "out", "--workers", 2)
    code, out, err = cli(*arguments)
    assert code == 0 and "Codec Zoo" in out and "AVIF" in out, err
    assert demo.MARK in (tmp_path / "out" / demo.PAGE).read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "files").rglob("*")}
    code, again, err = cli(*arguments)
    assert code == 0 and again == out and "are in" in err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "files").rglob("*")} == before
