"""The cache of exported models heals itself; exports of the user are never touched."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codec_zoo.codecs.container import Bitstream
from codec_zoo.errors import CodecZooError, DamagedModelError, ModelError
from codec_zoo.export import runtime
from codec_zoo.files import cache_folder
from codec_zoo.presets import preset_id

PRESET, OTHER = "report2017-cnn-ae-ft", "fu2019-hybrid-s16-prelu"
CARD = "assets/model_card.json"


@pytest.fixture(scope="module")
def filled(tmp_path_factory, exports):
    """A cache with an export of packaged weights, and with what looks like a download."""
    cache = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEC_ZOO_CACHE", str(cache))
        runtime.export_to_cache(PRESET)
    shutil.copytree(exports / OTHER, cache / "models" / "0123456789abcdef" / OTHER)
    return cache


@pytest.fixture
def cache(filled, tmp_path, monkeypatch):
    """A copy of it, to be damaged."""
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    runtime.open_model.cache_clear()
    return shutil.copytree(filled, tmp_path / "cache")


@pytest.fixture
def folder(cache):
    return next(cache.glob(f"models/*/{PRESET}/1"))


def stream_of(folder: Path) -> Bitstream:
    card = runtime.read_card(folder)
    weights_id = bytes.fromhex(card["weights_sha256"])[:4]
    return Bitstream(preset_id(card["preset"]), weights_id, 8, 8, 3, (), 0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CARDS = {
    "renamed key": lambda text: text.replace(b'"preset"', b'"presets"'),
    "wrong digit": lambda text: text.replace(b'"weights_sha256": "', b'"weights_sha256": "x'),
    "list": lambda text: b"[" + text + b"]",
    "not UTF-8": lambda text: b"\xff" + text,
    "empty": lambda text: b"",
    "cut": lambda text: text[:100],
}


@pytest.mark.parametrize("damage", CARDS.values(), ids=CARDS)
def test_a_damaged_card_hinders_no_other_model(cache, folder, capsys, damage):
    download = next(cache.glob(f"models/*/{OTHER}/1"))
    stream = stream_of(download)
    path = folder / CARD
    path.write_bytes(damage(path.read_bytes()))
    assert runtime.find_model(stream).folder == download
    assert not folder.exists() and (folder.parent / "1.damaged" / "saved_model.pb").exists()
    runtime.find_model(stream)
    assert capsys.readouterr().err.count("note: ") == 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("saved_model.pb", cut),
        ("saved_model.pb", flip),
        ("variables/variables.data-00000-of-00001", flip),
        ("variables/variables.index", Path.unlink),
        (CARD, flip),
        ("assets.extra/files.json", cut),
        ("assets.extra/files.json", Path.unlink),
        ("assets.extra/files.json", lambda path: path.write_text("{}")),
    ],
)
def test_damaged_files_are_noticed(folder, capsys, name, damage):
    damage(folder / name)
    runtime.set_aside_if_damaged(folder)
    assert not folder.exists() and (folder.parent / "1.damaged").is_dir()
    error = capsys.readouterr().err
    assert error.startswith("note: ") and error.count("\n") == 1 and "Its next use makes it again." in error


def test_a_damaged_export_is_made_again(folder, capsys):
    sound = runtime.read_card(folder)
    stream = stream_of(folder)
    cut(folder / "saved_model.pb")
    assert runtime.find_model(stream).card == sound
    error = capsys.readouterr().err
    assert error.count("note: ") == 2 and "saved_model.pb cut or changed" in error and "about ten seconds" in error
    flip(folder / "saved_model.pb")
    runtime.set_aside_if_damaged(folder)  # what was set aside before makes room
    assert [path.name for path in folder.parent.iterdir()] == ["1.damaged"]


def test_a_damaged_download_is_set_aside(cache, capsys):
    download = next(cache.glob(f"models/*/{OTHER}/1"))
    stream = stream_of(download)
    cut(download / "saved_model.pb")
    with pytest.raises(ModelError, match=f"was damaged. Bring it again: `codec-zoo download {OTHER} --from URL`"):
        runtime.open_model(str(download))
    assert "set aside as 1.damaged" in capsys.readouterr().err
    assert not download.exists()
    assert runtime.find_model(stream).preset == OTHER  # the packaged weights are the same


def test_a_damaged_export_of_the_user_is_not_touched(exports, cache, tmp_path):
    folder = shutil.copytree(exports / OTHER, tmp_path / "mine") / "1"
    cut(folder / "saved_model.pb")
    before = tree(tmp_path / "mine")
    with pytest.raises(DamagedModelError, match=r"saved_model\.pb cut or changed\. Copy it again, or"):
        runtime.open_model(str(tmp_path / "mine"))
    assert tree(tmp_path / "mine") == before


def test_a_sound_export_that_does_not_load_stays(folder, monkeypatch):
    """For want of memory, say: it is not damaged."""
    import tensorflow as tf

    def fail(_):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    monkeypatch.setattr(tf.saved_model, "load", fail)
    with pytest.raises(ModelError, match=r"files are as they were exported .*no memory"):
        runtime.open_model(str(folder))
    assert folder.exists()


def test_two_processes_heal_at_once(folder):
    cut(folder / "saved_model.pb")
    program = [sys.executable, "-m", "codec_zoo.cli.main", "download", PRESET]
    both = [subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert {out for out, _ in results} == {f"{folder}\n"}  # nothing but the folder on stdout
    notes = "".join(err for _, err in results)
    assert notes.count("set aside") == notes.count(f"preparing {PRESET}") == 1
    runtime.check_export(folder)


def test_a_lock_that_a_killed_process_left(tmp_path, capsys):
    """The system frees it; while its holder lives, that is said."""
    path = tmp_path / "model"
    program = "import sys, time; from codec_zoo.export.runtime import locked\n"
    program += "from pathlib import Path\nwith locked(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    killer = subprocess.Popen(["sh", "-c", f"sleep 1.5; kill -9 {holder.pid}"])
    with runtime.locked(path):
        assert "waiting for another process" in capsys.readouterr().err
    holder.communicate()
    assert holder.returncode == -signal.SIGKILL and killer.wait() == 0
    assert Path(f"{path}.lock").exists()
    started = time.monotonic()
    with runtime.locked(path):
        assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CODEC_ZOO_CACHE": "/a", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/codec-zoo"),
        ({"CODEC_ZOO_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/codec-zoo"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/codec-zoo"),
        ({"CODEC_ZOO_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/codec-zoo"),
        ({}, None),
        ({"XDG_CACHE_HOME": "relative"}, None),
    ],
)
def test_where_the_cache_is(monkeypatch, environment, expected):
    for name in ("CODEC_ZOO_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "HOME" not in environment:  # nor an entry in passwd
        monkeypatch.setattr("pwd.getpwuid", lambda _: {}[0])
    if expected:
        assert str(cache_folder()) == expected
    else:
        with pytest.raises(CodecZooError, match="CODEC_ZOO_CACHE"):
            cache_folder()


def test_a_container_without_a_home(cache, folder, tmp_path):
    """A user without an entry in passwd, and without HOME: nothing is written to a folder called ``~``."""
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs the right to become another user")
    here = tmp_path / "here"
    here.mkdir()
    for path in (here, cache, tmp_path):
        path.chmod(0o777)
    for path in tmp_path.parents:
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o001)
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache.parent), "CODEC_ZOO_CACHE": ""}
    cache.rename(cache.with_name("codec-zoo"))
    nobody = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    program = [*nobody, Path(sys.executable).with_name("codec-zoo"), "download", PRESET]
    process = subprocess.run(program, env=environment, cwd=here, capture_output=True, text=True)
    expected = cache.with_name("codec-zoo") / folder.relative_to(cache)
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{expected}\n", "")
    assert not list(here.iterdir())


def test_a_cache_that_can_only_be_read(folder, cache, tmp_path, capsys):
    """Sound models of it run; a damaged one is passed over, and cannot be made again there."""
    if os.getuid() or subprocess.run(["mount", "--bind", cache, cache]).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        download = next(cache.glob(f"models/*/{OTHER}/1"))
        stream = stream_of(folder)
        (folder / CARD).write_bytes(b"")
        subprocess.run(["mount", "-o", "remount,ro,bind", cache], check=True)
        assert runtime.find_model(stream_of(download)).folder == download
        assert "passed over" in capsys.readouterr().err
        with pytest.raises(CodecZooError, match=r"Read-only file system\. .*another cache folder: CODEC_ZOO_CACHE"):
            runtime.find_model(stream)
    finally:
        subprocess.run(["umount", cache], check=True)


def test_a_folder_above_a_model_of_the_cache_is_no_damaged_model(cache, folder):
    for above in (folder.parents[1], folder.parents[2]):
        with pytest.raises(ModelError):
            runtime.open_model(str(above))
        assert folder.exists() and above.exists()
