"""Files as they are written: whole or not at all, in place of what was named and of nothing else."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.files import LOCK, SCRATCH, atomic_folder, atomic_path, check_place, write_atomic

# Writes into the folder argv[1] as argv[2] says, tells that it began, and waits.
WRITER = """
import sys
from codec_zoo.files import atomic_folder, atomic_path
with {kind}(sys.argv[1]) as temporary:
    target = temporary / "part" if {kind} is atomic_folder else temporary
    target.write_bytes(b"x" * 100_000)
    print("begun", flush=True)
    sys.stdin.read()
"""
WRITE = "import sys; from codec_zoo.files import write_atomic; write_atomic(sys.argv[1], b'whole')"


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_writer(path, kind="atomic_path"):
    command = [sys.executable, "-c", WRITER.format(kind=kind), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    return process


def write_elsewhere(path):
    """Write in a fresh process, which looks through the folder."""
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True)


def test_a_new_file_obeys_the_umask_an_existing_one_keeps_its_mode(tmp_path):
    write_atomic(tmp_path / "sub" / "new", b"1")
    assert mode(tmp_path / "sub" / "new") == 0o640 and mode(tmp_path / "sub") == 0o750
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_bytes(b"")
    assert mode(tmp_path / "folder") == 0o750 and mode(tmp_path / "folder" / "a") == 0o640
    for path, kept in ((tmp_path / "sub" / "new", 0o600), (tmp_path / "folder", 0o700)):
        path.chmod(kept)
    write_atomic(tmp_path / "sub" / "new", b"2")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "sub" / "new").read_bytes() == b"2" and mode(tmp_path / "sub" / "new") == 0o600
    assert names(tmp_path / "folder") == [] and mode(tmp_path / "folder") == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_an_existing_file_keeps_its_owner(tmp_path):
    write_atomic(tmp_path / "a", b"1")
    os.chown(tmp_path / "a", 1234, 4321)
    write_atomic(tmp_path / "a", b"2")
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (1234, 4321)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anything")
def test_a_file_that_may_not_be_written_stays(tmp_path):
    write_atomic(tmp_path / "a", b"1")
    (tmp_path / "a").chmod(0o400)
    with pytest.raises(CodecZooError, match="may write"):
        write_atomic(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_what_exists_stays_unless_it_is_replaced(tmp_path):
    write_atomic(tmp_path / "a", b"1", replace=False)
    (tmp_path / "lost").symlink_to("nowhere")
    for name in ("a", "lost"):
        with pytest.raises(UsageError, match="--force"):
            write_atomic(tmp_path / name, b"2", replace=False)
    # another process was faster
    with pytest.raises(UsageError, match="--force"), atomic_path(tmp_path / "b", replace=False) as temporary:
        temporary.write_bytes(b"slow")
        (tmp_path / "b").write_bytes(b"fast")
    assert (tmp_path / "a").read_bytes() == b"1" and (tmp_path / "b").read_bytes() == b"fast"
    assert names(tmp_path) == ["a", "b", "lost"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path):
    write_atomic(tmp_path / "a", b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    check_place(tmp_path / "a")
    check_place(tmp_path / "new" / "folders" / "b", replace=False)
    assert names(tmp_path) == ["a", "folder", "loop"]
    for path, words in (("a", "--force"), ("folder", "--force"), ("a/b", "Not a directory"), (300 * "x", "shorter")):
        with pytest.raises(CodecZooError, match=words):
            check_place(tmp_path / path, replace=False)
    for path, words in (("folder", "Name a file"), ("loop", "symbolic link")):
        with pytest.raises(CodecZooError, match=words):
            check_place(tmp_path / path)
    if os.getuid():
        with pytest.raises(CodecZooError, match="may write"):
            check_place("/nowhere/a")


def test_of_a_link_the_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    (tmp_path / "chain").symlink_to("link")
    write_atomic(tmp_path / "link", b"1")  # leads to nothing yet
    (tmp_path / "there" / "file").chmod(0o604)
    write_atomic(tmp_path / "chain", b"2")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "chain").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"2" and mode(tmp_path / "there" / "file") == 0o604
    (tmp_path / "folder").symlink_to("there")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "x").write_bytes(b"")
    assert (tmp_path / "folder").is_symlink() and names(tmp_path / "there") == ["x"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CodecZooError, match="cannot write"):
        write_atomic(tmp_path / "loop", b"")
    assert names(tmp_path) == ["chain", "folder", "link", "loop", "there"]


def test_the_other_hard_link_keeps_its_contents(tmp_path):
    write_atomic(tmp_path / "a", b"1")
    os.link(tmp_path / "a", tmp_path / "b")
    write_atomic(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2" and (tmp_path / "b").read_bytes() == b"1"


def test_fifos_and_devices_are_written_into(tmp_path):
    fifo, data = tmp_path / "fifo", os.urandom(300_000)
    os.mkfifo(fifo, 0o622)
    before, received = fifo.stat(), []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    write_atomic(fifo, data)
    reader.join()
    assert received == [data]
    assert (fifo.stat().st_ino, fifo.stat().st_mode) == (before.st_ino, before.st_mode)

    before = os.stat("/dev/null")
    write_atomic("/dev/null", data)
    assert (os.stat("/dev/null").st_ino, os.stat("/dev/null").st_mode) == (before.st_ino, before.st_mode)
    with pytest.raises(CodecZooError, match="No space left on device"):
        write_atomic("/dev/full", data)
    assert names(tmp_path) == ["fifo"]


def test_a_reader_that_ends_early_is_told(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = threading.Thread(target=lambda: open(tmp_path / "fifo", "rb").close())
    reader.start()
    with pytest.raises(CodecZooError, match="reader ended"):
        write_atomic(tmp_path / "fifo", bytes(10_000_000))
    reader.join()


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CodecZooError, match=r"Is a directory\. Name a file"):
        write_atomic(tmp_path / "folder", b"")
    write_atomic(tmp_path / "file", b"1")
    with pytest.raises(CodecZooError, match="Not a directory"), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(CodecZooError, match="Not a directory"):
        write_atomic(tmp_path / "file" / "a", b"")
    assert (tmp_path / "file").read_bytes() == b"1"


def test_names_of_any_length(tmp_path):
    for name in (255 * "x", 127 * "é" + "x", "x" + 250 * "." + "czoo"):
        write_atomic(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"
    with atomic_folder(tmp_path / (255 * "y")), atomic_folder(tmp_path / (254 * "y")):
        pass
    for context in (atomic_path, atomic_folder):
        with pytest.raises(CodecZooError, match=r"too long.*shorter name"), context(tmp_path / (256 * "x")):
            pass


@pytest.mark.parametrize("kind", [atomic_path, atomic_folder])
def test_what_fails_leaves_nothing(tmp_path, kind):
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "old").write_bytes(b"1")
    target = tmp_path / ("a" if kind is atomic_folder else "b")
    with pytest.raises(ZeroDivisionError), kind(target) as temporary:
        assert temporary.parent.name.endswith(SCRATCH)
        raise ZeroDivisionError
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["old"]


@pytest.mark.parametrize("kind", ["atomic_path", "atomic_folder"])
def test_what_a_killed_process_left_is_removed(tmp_path, kind):
    killed, live = start_writer(tmp_path / "a", kind), start_writer(tmp_path / "b", kind)
    assert len(names(tmp_path)) == 2
    killed.kill()
    killed.communicate()
    write_elsewhere(tmp_path / "c")
    assert len(names(tmp_path)) == 2 and (tmp_path / "c").read_bytes() == b"whole"
    live.communicate(timeout=10)  # it was not disturbed
    assert live.returncode == 0 and names(tmp_path) == ["b", "c"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_stands_still_keeps_its_file(tmp_path, number):
    writer = start_writer(tmp_path / "a")
    writer.send_signal(signal.SIGSTOP)
    [scratch] = tmp_path.iterdir()
    os.utime(scratch, (0, 0))  # for years
    write_elsewhere(tmp_path / "b")
    assert scratch.exists()
    writer.send_signal(number)
    writer.send_signal(signal.SIGCONT)
    writer.communicate()
    write_elsewhere(tmp_path / "b")
    assert names(tmp_path) == ["b"]


def test_another_machines_file_is_removed_after_a_day(tmp_path):
    """Its locks may not reach this machine; one without a machine's name is not locked yet."""
    for age, stays in ((3600, True), (25 * 3600, False)):
        made = []
        for name, machine in (("other", "another machine"), ("begun", "")):
            made.append(tmp_path / f".{name}{SCRATCH}")
            made[-1].mkdir(exist_ok=True)
            (made[-1] / LOCK).write_text(machine)
        made.append(tmp_path / f".bare{SCRATCH}")
        made[-1].mkdir(exist_ok=True)
        for scratch in made:
            os.utime(scratch, (time.time() - age,) * 2)
        write_elsewhere(tmp_path / "a")
        assert [scratch.exists() for scratch in made] == 3 * [stays]


def test_a_folder_survives_between_the_two_steps_of_its_replacement(tmp_path):
    """Killed when the old folder has gone and the new one has not come."""
    script = f"""
import os, pathlib
from codec_zoo.files import atomic_folder
rename = pathlib.Path.rename
pathlib.Path.rename = lambda self, target: os._exit(9) if self.name == "new" else rename(self, target)
with atomic_folder({str(tmp_path / "a")!r}):
    pass
"""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious").write_bytes(b"1")
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert not (tmp_path / "a").exists()
    write_elsewhere(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"] and names(tmp_path / "a") == ["precious"]
