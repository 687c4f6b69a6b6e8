"""The program as a user meets it: help, messages, exit codes; never a traceback."""

import os
import subprocess
import time

import pytest
from PIL import Image

from codec_zoo.cli.main import run
from codec_zoo.codecs.images import write_image

PRESET = "fu2019-hybrid-s16-prelu"


def test_help_is_instant(cli):
    cli("--help")
    started = time.monotonic()
    code, out, _ = cli("--help")
    assert time.monotonic() - started < 1.5  # 0.1 s on an idle machine
    assert code == 0
    for command in [
        "list",
        "train",
        "export",
        "compress",
        "decompress",
        "inspect",
        "evaluate",
        "publish",
        "download",
    ]:
        assert command in out


def test_mistakes(exports, tmp_path, photo, capsys):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    good = tmp_path / "good.png"
    Image.fromarray(photo[:32, :32]).save(good)
    foreign = tmp_path / "foreign.czoo"
    foreign.write_bytes(good.read_bytes())
    damaged = tmp_path / "damaged"
    for split, data in (("train", good.read_bytes()), ("val", good.read_bytes()[:100])):
        (damaged / split).mkdir(parents=True)
        (damaged / split / ("b.png" if split == "val" else "a.png")).write_bytes(data)
    model = ["--model", str(exports / PRESET)]
    for arguments, words, code in [
        (["compress", tmp_path / "nothing.png", *model], "no file", 2),
        (["compress", text, *model], "not a picture", 2),
        (["compress", good, "-q", "99", *model], "QP", 2),
        (["compress", good, "-q", "inf", *model], "--quality is a finite number", 2),
        (["compress", good, "--server-version", "2", *model], "give --server too", 2),
        (["compress", good, "--timeout", "nan", *model], "not a finite number", 2),
        (["compress", good, "-q", "32", "--search", "5", *model], "--search is for balle2017-*", 2),
        (["compress", good, "--filter", "on", *model], "--filter is for bpg-*, hu2018-*", 2),
        (["compress", good, "--tile", "0"], "--tile is a whole number, 16 or more. Received: '0'", 2),
        (["compress", good, "--mapping", "x", *model], "--mapping is one of auto, shift, minmax, clip.", 2),
        (["compress", tmp_path / "damaged" / "none*", *model], "no file matches", 2),
        (["compress", good, "-o", tmp_path / f"{300 * 'x'}.czoo", *model], "File name too long", 1),
        (["compress", good, "-o", good, *model], "is written as .czoo", 2),
        (["compress", good, "-o", "/proc/nowhere/a.czoo", *model], "cannot write", 1),
        (["compress", good, "--model", "fu2019-hybrid-s16-prelo"], PRESET, 2),
        (["compress", good, "--model", tmp_path], "not an exported model", 1),
        (["compress", good, "--residual-codec", "png", *model], "residual", 2),
        (["decompress", foreign], f"{foreign}: this is not a .czoo file", 2),
        (["decompress", tmp_path / "nothing.czoo"], "cannot read", 2),
        (["inspect", foreign], f"{foreign}: this is not a .czoo file", 2),
        (["truncate", foreign, "--layers", "1", "-o", tmp_path / "a.czoo"], "that `codec-zoo compress` wrote", 2),
        (["evaluate", "jpg"], "Did you mean jpeg", 2),
        (["evaluate", "jpeg:x"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:nan"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:101"], "1 … 100", 2),
        (["evaluate", f"{PRESET},quality=32"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:10", "--anchor", "jpeg:10"], "without a quality: jpeg.", 2),
        (["evaluate", "jpeg:10", "--figure", "x.xyz"], "PNG, SVG or PDF", 2),
        (["evaluate", "jpeg:10", "--output", tmp_path], "not a file of rows", 2),
        (["evaluate", "jpeg:50", "--pictures", tmp_path / "none"], "no such folder", 2),
        (["evaluate"], "Missing argument 'CODEC...'", 2),
        (["export", "nothing", tmp_path], "no preset", 2),
        (["train", PRESET, "--data", tmp_path / "none"], "no such folder", 2),
        (["train", PRESET, "--data", damaged, "--patch-size", 64, "--logs", tmp_path / "damaged"], "b.png", 2),
        (["train", PRESET, "--resume", "--logs", tmp_path / "logs"], "no run to resume", 2),
        (["nonsense"], "No such command", 2),
    ]:
        status, err = run(list(map(str, arguments))), capsys.readouterr().err
        assert (status, words in err, "Traceback" in err) == (code, True, False), (arguments, status, err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "foreign.czoo", "good.png", "text.png"]


def test_names_of_files_may_be_anything(cli, exports, tmp_path, photo):
    picture = os.fsencode(tmp_path) + b"/caf\xe9.png"
    write_image(tmp_path / "a.png", photo[:32, :32])
    os.rename(tmp_path / "a.png", picture)
    arguments = ["compress", os.fsdecode(picture), "--model", exports / PRESET]
    code, out, err = cli(*arguments, PYTHONIOENCODING="utf-8:strict")
    assert code == 0 and "caf\\udce9.czoo" in out, err


def test_pictures_on_a_full_disk(cli, exports, photo, tmp_path):
    """/dev/full stands for it: writing fails with ENOSPC, and nothing half-written stays."""
    good = tmp_path / "good.png"
    Image.fromarray(photo[:32, :32]).save(good)
    small = tmp_path / "small"
    small.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", small]).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (small / "filler").write_bytes(b"x" * 4096)
        code, _, err = cli("compress", good, "-o", small / "a.czoo", "--model", exports / PRESET)
        assert code == 1 and "No space left" in err
        assert [path.name for path in small.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", small], check=True)
