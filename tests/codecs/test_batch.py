"""Files in, files out: where results go, what is never replaced, pipes, and batches that go on.

The preset report2017-mlp needs no model; pictures are of 12×16 pixels.
"""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.codecs import batch, container, transcoding
from codec_zoo.codecs.batch import Kind, Task, plan
from codec_zoo.codecs.image_files import image_paths
from codec_zoo.codecs.images import OUTPUT_FORMATS, encode_image, read_image
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.harness import report

CODED = Kind("a compressed picture", (".czoo",), ".czoo", image_paths)
DECODED = Kind("a decoded picture", tuple(OUTPUT_FORMATS), ".png", batch.find_coded, mark=".decoded")
MODEL = ("--model", "report2017-mlp")
LAYERS = [container.Layer(container.LayerKind.PLANE, bytes([i])) for i in range(3)]
ENCODER = transcoding.Encoder("report2017-mlp")
COMMAND = [str(Path(sys.executable).with_name("codec-zoo"))]


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def png(picture):
    return encode_image(picture, ".png")


@pytest.fixture(scope="module")
def czoo(png, tmp_path_factory):
    """A coded picture."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "a.png").write_bytes(png)
    transcoding.compress(ENCODER, Task(folder / "a.png", folder / "a.czoo", False))
    return (folder / "a.czoo").read_bytes()


@pytest.fixture
def stub():
    """A file of three layers, which inspect and truncate take."""
    return container.write("report2017-mlp", 64 * "0", 16, 12, 3, LAYERS)


@pytest.fixture
def folder(tmp_path, png, monkeypatch):
    """a.png, b.jpg (not a picture), sub/c.png, sub/.hidden.png, notes.txt; the working directory."""
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/c.png", "sub/.hidden.png"):
        (tmp_path / "photos" / name).write_bytes(png)
    for name in ("b.jpg", "notes.txt"):
        (tmp_path / "photos" / name).write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if not path.is_dir())


def targets(arguments, output, kind=CODED, force=False) -> dict[str, str]:
    return {str(task.source): str(task.target) for task in plan(arguments, output, force, kind)}


# === Where results go ===


def test_targets(folder):
    photos = "photos"
    assert targets(["photos/a.png"], None) == {"photos/a.png": "photos/a.czoo"}
    assert targets(["x.czoo", "y.png.czoo"], None, DECODED) == {
        "x.czoo": "x.decoded.png",
        "y.png.czoo": "y.png.decoded.png",
    }
    below = {"photos/a.png": "out/a.czoo", "photos/b.jpg": "out/b.czoo", "photos/sub/c.png": "out/sub/c.czoo"}
    assert targets([photos], "out") == below
    assert targets([photos, "photos/a.png", "./photos/b.jpg"], "out/") == below
    assert targets(["photos/**/*.[pj]*"], "out") == below
    assert targets(["photos/*.png"], "out") == {"photos/a.png": "out/a.czoo"}
    assert targets(["photos/a.png"], "photos/sub") == {"photos/a.png": "photos/sub/a.czoo"}
    assert targets(["x.czoo"], "photos", DECODED) == {"x.czoo": "photos/x.png"}
    assert targets(["photos/a.png"], "B.CZOO") == {"photos/a.png": "B.CZOO"}
    assert targets(["photos/a.png"], "/dev/null") == {"photos/a.png": "/dev/null"}
    for name in ("-", "/dev/stdin"):
        assert plan([name], None, False, CODED) == [Task(None, None, False)]
    assert plan(["-"], "a.czoo", False, CODED) == [Task(None, Path("a.czoo"), True)]
    for name in ("-", "/dev/stdout"):
        assert plan(["./-"], name, False, CODED) == [Task(Path("-"), None, False)]


def test_names_that_look_like_globs(folder, png):
    (folder / "photos" / "[1].png").write_bytes(png)
    assert targets(["photos/[1].png"], None) == {"photos/[1].png": "photos/[1].czoo"}


@pytest.mark.parametrize(
    ("arguments", "output", "kind", "words"),
    [
        (["photos/a.png"], "out.png", CODED, "written as .czoo"),
        (["photos/a.png"], "out", CODED, "for a folder out/"),
        (["x.czoo"], "x.czoo", DECODED, "written as .png"),
        (["x.czoo"], "x.jpg", DECODED, "written as .png"),
        (["photos/a.png", "photos/b.jpg"], "o.png", CODED, "several inputs go to a folder"),
        (["photos"], "o.czoo", CODED, "several inputs go to a folder"),
        (["photos/*"], "photos/a.png", CODED, "several inputs go to a folder"),
        (["photos"], "-", CODED, "standard output takes one file"),
        (["-", "photos/a.png"], None, CODED, "Name it alone"),
        (["-"], "photos", CODED, "-o FILE"),
        (["photos/*.gif"], None, CODED, "no file matches"),
        (["photos/sub"], None, DECODED, r"no \.czoo files"),
    ],
)
def test_refused_before_the_work(folder, arguments, output, kind, words):
    with pytest.raises(UsageError, match=words):
        plan(arguments, output, False, kind)


def test_inputs_with_the_same_output_are_refused_alone(folder, png):
    (folder / "photos" / "a.jpg").write_bytes(png)
    tasks = plan(["photos"], None, True, CODED)
    assert [str(task.source) for task in tasks if task.clash] == ["photos/a.jpg", "photos/a.png"]
    with pytest.raises(UsageError, match=r"a\.czoo.*-o FILE"):
        batch.check(next(task for task in tasks if task.clash))


# === What is replaced ===


def test_only_what_is_named_or_forced_is_replaced(folder, czoo, picture):
    """The original beside the file stays, whatever the command."""
    original = (folder / "photos" / "a.png").read_bytes()
    coded = folder / "photos" / "a.czoo"
    coded.write_bytes(czoo)
    [task] = plan(["photos/a.czoo"], None, False, DECODED)
    transcoding.decompress(transcoding.Decoder(), task)
    assert np.array_equal(read_image(folder / "photos" / "a.decoded.png"), picture)
    assert (folder / "photos" / "a.png").read_bytes() == original
    for output in (None, "photos"):  # a.decoded.png, a.png
        [task] = plan(["photos/a.czoo"], output, False, DECODED)
        with pytest.raises(UsageError, match="--force"):
            transcoding.decompress(transcoding.Decoder(), task)
        [task] = plan(["photos/a.czoo"], output, True, DECODED)
        task.target.write_bytes(b"")
        transcoding.decompress(transcoding.Decoder(), task)
        assert np.array_equal(read_image(task.target), picture)
    [task] = plan(["photos/a.czoo"], "photos/a.decoded.png", False, DECODED)
    transcoding.decompress(transcoding.Decoder(), task)
    with pytest.raises(UsageError, match="--force"):
        transcoding.compress(ENCODER, plan(["photos/a.png"], None, False, CODED)[0])
    assert coded.read_bytes() == czoo


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_truncate_does_not_destroy_its_input(cli, tmp_path, stub, link):
    (tmp_path / "a.czoo").write_bytes(stub)
    link(tmp_path / "a.czoo", tmp_path / "b.czoo")
    for output in ("a.czoo", "b.czoo"):
        code, _, err = cli("truncate", tmp_path / "a.czoo", "--layers", 1, "-o", tmp_path / output)
        assert code == 2 and "overwritten by its own result" in err
    code, _, err = cli("truncate", tmp_path / "a.czoo", "--layers", 1, "-o", tmp_path / "x.png")
    assert code == 2 and "written as .czoo" in err
    assert (tmp_path / "a.czoo").read_bytes() == stub and names(tmp_path) == ["a.czoo", "b.czoo"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(folder):
    """Not after a minute of it."""
    missing = transcoding.Encoder("no such preset")
    for output, words in ((300 * "x" + ".czoo", "shorter name"), ("photos/a.png/a.czoo", "Not a directory")):
        [task] = plan(["photos/a.png"], output, False, CODED)
        with pytest.raises(CodecZooError, match=words):
            transcoding.compress(missing, task)


@pytest.mark.parametrize(("suffix", "channels"), [(".pgm", 3), (".ppm", 1)])
def test_a_format_that_contradicts_the_picture_is_refused(picture, suffix, channels):
    with pytest.raises(CodecZooError, match=r"\.pnm"):
        encode_image(picture[..., :channels], suffix)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_image(picture, ".pnm")))), picture)


# === Batches ===


def test_a_batch_goes_on(cli, folder, png):
    (folder / "out" / "sub").mkdir(parents=True)
    (folder / "out" / "sub" / "c.czoo").write_text("precious")
    code, out, err = cli("compress", "photos", "photos/no.png", "-o", "out", *MODEL, "--json")
    assert code == 1 and [json.loads(line)["output"] for line in out.splitlines()] == ["out/a.czoo"]
    lines = err.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["photos/b.jpg", "photos/sub/c.png:"]
    assert "not a picture" in lines[0] and "--force" in lines[1] and "no file photos/no.png" in lines[2]
    assert lines[3:] == ["error: 3 of 4 files failed; the others are done."]
    assert (folder / "out" / "sub" / "c.czoo").read_text() == "precious"
    code, out, err = cli("decompress", "out/**/*.czoo", "-o", "back", "--format", "bmp")
    assert code == 1 and "back/a.bmp: 16×12, 3 layers" in out and "out/sub/c.czoo: this is not" in err
    assert names(folder / "back") == ["a.bmp"]


def test_a_usage_error_starts_nothing(cli, folder):
    code, _, err = cli("compress", "photos", "-o", "out", *MODEL, "-q", 20)
    assert code == 2 and "--quality is for" in err and not (folder / "out").exists()


def test_several_processes_write_the_same_files(cli, folder, czoo):
    code, out, err = cli("compress", "photos", "-o", "out", *MODEL, "--workers", 2)
    assert code == 1 and "1 of 3 files failed" in err and len(out.splitlines()) == 2
    assert [(folder / "out" / name).read_bytes() for name in ("a.czoo", "sub/c.czoo")] == [czoo, czoo]
    assert names(folder / "out") == ["a.czoo", "sub/c.czoo"]


def test_a_bug_in_one_file_does_not_end_the_others(folder):
    tasks = plan(["photos/*.*"], "out", False, CODED)

    def work(task):
        return {}[str(task.source)] if task.source.suffix == ".txt" else task.source.name

    failures = []
    results = batch.run(work, tasks, 1, "working", lambda task, error: failures.append((task.source.name, error)))
    assert {result for _, result in results} == {"a.png", "b.jpg"}
    [(name, error)] = failures
    assert name == "notes.txt" and isinstance(error, KeyError)


def test_a_bar_on_a_terminal_leaves_the_results_to_a_pipe(folder):
    """The bar is on standard error; lines of results stay in standard output."""
    terminal, theirs = pty.openpty()
    command = [*COMMAND, "decompress", "photos/a.png", "photos/b.jpg"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(terminal, 10_000):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.communicate()[0] == b"" and process.returncode == 1
    assert "decompressing" in shown.decode() and "2/2" in shown.decode()


# === Pipes ===


def pipe(*arguments, stdin=b"", **options):
    process = subprocess.run([*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, **options)
    assert b"Traceback" not in process.stderr, process.stderr
    return process


def test_through_pipes(tmp_path, png, picture, czoo):
    coded = pipe("compress", "-", *MODEL, "--json", stdin=png)
    assert coded.returncode == 0 and coded.stdout == czoo
    said = json.loads(coded.stderr)
    assert (said["input"], said["output"], said["bytes"]) == ("standard input", "standard output", len(czoo))
    decoded = pipe("decompress", "-", stdin=czoo)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(decoded.stdout))), picture)
    assert b"standard output: 16" in decoded.stderr
    assert pipe("decompress", "-", "-o", tmp_path / "a.bmp", stdin=czoo).returncode == 0
    assert np.array_equal(read_image(tmp_path / "a.bmp"), picture)
    assert not Path("-").exists()


def test_truncate_and_inspect_through_pipes(stub):
    cut = pipe("truncate", "-", "--layers", 2, "-o", "-", stdin=stub)
    assert cut.returncode == 0 and cut.stdout == container.truncate(stub, 2)
    seen = json.loads(pipe("inspect", "-", "--json", stdin=cut.stdout).stdout)
    assert (seen["bytes"], seen["missing_layers"]) == (len(cut.stdout), 1)
    failed = pipe("inspect", "-", stdin=b"else")
    assert failed.returncode == 2 and b"standard input: this is not" in failed.stderr
    full = pipe("truncate", "-", "--layers", 1, "-o", "/dev/full", stdin=stub)
    assert full.returncode == 1 and b"No space left" in full.stderr


def test_a_full_standard_output_is_told(stub):
    with open("/dev/full", "wb") as sink:
        command = [*COMMAND, "truncate", "-", "--layers", "1", "-o", "-"]
        process = subprocess.run(command, input=stub, stdout=sink, stderr=subprocess.PIPE)
    assert process.returncode == 1 and process.stderr.count(b"\n") == 1 and b"No space left" in process.stderr


def test_fifos(tmp_path, png, czoo, stub):
    """A FIFO can be read once, and is written into."""
    os.mkfifo(tmp_path / "in.png")
    os.mkfifo(tmp_path / "out")
    received = []
    threads = [
        threading.Thread(target=lambda: (tmp_path / "in.png").write_bytes(png)),
        threading.Thread(target=lambda: received.append((tmp_path / "out").read_bytes())),
    ]
    for thread in threads:
        thread.start()
    transcoding.compress(ENCODER, plan([str(tmp_path / "in.png")], str(tmp_path / "out"), False, CODED)[0])
    for thread in threads:
        thread.join()
    assert received == [czoo] and (tmp_path / "out").is_fifo()


def test_no_binary_data_to_a_terminal(stub, tmp_path):
    (tmp_path / "a.czoo").write_bytes(stub)
    terminal, theirs = pty.openpty()
    command = [*COMMAND, "truncate", str(tmp_path / "a.czoo"), "--layers", "1", "-o", "-"]
    process = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.close(terminal)
    assert process.returncode == 2 and b"standard output is a terminal" in process.stderr


def test_a_reader_that_leaves_early_ends_the_command_quietly():
    with subprocess.Popen([*COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_more_layers_than_there_are_is_said(capsys, tmp_path, czoo):
    (tmp_path / "a.czoo").write_bytes(czoo)
    task = Task(tmp_path / "a.czoo", tmp_path / "a.png", False)
    assert transcoding.decompress(transcoding.Decoder(layers=4), task)["layers"] == 3
    assert "has no more than 3 layers" in capsys.readouterr().err


def test_warnings_of_libraries_are_not_shown(tmp_path, png):
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, warnings; atexit.register(lambda: warnings.warn('of a library'))"
    )
    for debug, shown in (("", False), ("1", True)):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CODEC_ZOO_DEBUG": debug}
        process = pipe("inspect", tmp_path / "a.png", env=environment)
        assert (b"of a library" in process.stderr) == shown


# === Other commands ===


def test_other_commands_replace_no_file_of_somebody_else(cli, tmp_path):
    (tmp_path / "report2017-cnn-ae" / "1").mkdir(parents=True)
    for name in ("README.md", "docker-compose.yml", "report.html"):
        (tmp_path / name).write_text("mine")
    for arguments in (
        ("cards", tmp_path),
        ("serve-config", tmp_path, "report2017-cnn-ae"),
        ("export", "report2017-cnn-ae", tmp_path),
        ("reproduce", "fu2019", "--output", tmp_path),
    ):
        code, _, err = cli(*arguments)
        assert code == 2 and "--force" in err, err
    assert names(tmp_path) == ["README.md", "docker-compose.yml", "report.html"]
    assert f"<title>{report.TITLE}</title>" == report.MARK
    assert "<title>{{ title }}</title>" in (report.ASSETS / "page.html.j2").read_text()
    code, _, err = cli("evaluate", "jpeg:10", "--output", tmp_path / "rows.png")
    assert code == 2 and "JSON lines" in err
