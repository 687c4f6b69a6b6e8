"""Workers end with their parent, whatever ends it; they need nothing of the parent's program."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from codec_zoo.codecs import batch, transcoding
from codec_zoo.codecs.processes import WorkerError, in_processes
from codec_zoo.errors import CodecZooError
from codec_zoo.files import atomic_path

# A command of `codec-zoo`'s that calls a function of this module.
COMMAND = """
import sys
sys.path.insert(0, {folder!r})
import test_processes
from codec_zoo.cli import main as cli
from codec_zoo.codecs import processes

@cli.cli.command()
def work():
    for _ in processes.in_processes(test_processes.{function}, {tasks}, {workers}, "working", lambda *_: None):
        print("one is done", flush=True)

sys.argv[1:] = ["work"]
cli.main()
"""


def hash_for_long(rounds):
    """In C, where no signal handler of Python's runs."""
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", rounds)


def write_slowly(path, seconds):
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        time.sleep(seconds)


def sleep_as_beam_does(seconds):
    try:
        time.sleep(seconds)
    except BaseException as error:
        raise RuntimeError(f"{type(error)} [while running 'Compress']") from error


def fail(text):
    raise RuntimeError(text)


def end_by(number):
    os.kill(os.getpid(), number)


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail_strangely(one):
    raise Unpicklable(one, "two")


LOADED = []


def compress_and_count(encoder, task):
    """Compress a picture; the process, and how many models it has loaded."""
    import tensorflow as tf

    if not LOADED:
        load = tf.saved_model.load
        tf.saved_model.load = lambda folder: LOADED.append(folder) or load(folder)
    transcoding.compress(encoder, task)
    return os.getpid(), len(LOADED)


@pytest.fixture
def start():
    """Start a Python program as a shell does: in a process group, with pipes, and with Python's own handlers."""
    started = []

    def run(code: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def start_work(start, function: str, tasks: list, workers: int = 2) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """The process and its workers, at work, one task done."""
    folder = str(Path(__file__).parent)
    process = start(COMMAND.format(folder=folder, function=function, tasks=tasks, workers=workers))
    assert process.stdout.readline() == "one is done\n", process.communicate()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == (workers if workers > 1 else 0)
    return process, children


def check_ended(process, workers, status: int) -> str:
    """All are gone, the pipes are closed, and one line says why; returns standard error."""
    _, err = process.communicate(timeout=8)  # returns when nobody holds the pipes
    assert process.returncode == status, err
    assert psutil.wait_procs(workers, timeout=3)[1] == []
    assert "Traceback" not in err
    assert err.count("interrupted") == (status > 0), err
    return err


@pytest.mark.parametrize("receiver", ["group", "parent"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_processes(start, receiver, number, status):
    process, workers = start_work(start, "hash_for_long", [(1,), (10**9,), (10**9,), (10**9,)])
    (os.killpg if receiver == "group" else os.kill)(process.pid, number)
    assert check_ended(process, workers, status).endswith("interrupted\n")


def test_signals_that_come_twice_do_not_disturb_the_end(start):
    """`timeout` signals its child, then the group."""
    process, workers = start_work(start, "hash_for_long", [(1,), (10**9,), (10**9,)])
    process.terminate()
    time.sleep(0.2)
    process.terminate()
    check_ended(process, workers, 143)


def test_code_of_a_library_is_not_waited_for(start):
    """With one worker the codec runs in the caller; Python's handlers run when it returns."""
    process, _ = start_work(start, "hash_for_long", [(1,), (10**9,)], workers=1)
    process.terminate()
    check_ended(process, [], 143)


def test_an_interrupt_that_a_library_makes_an_error(start):
    process, _ = start_work(start, "sleep_as_beam_does", [(0,), (60,)], workers=1)
    process.terminate()
    check_ended(process, [], 143)


def test_workers_end_with_a_parent_that_was_killed(start):
    process, workers = start_work(start, "hash_for_long", [(1,), (10**9,), (10**9,)])
    process.kill()
    check_ended(process, workers, -signal.SIGKILL)


@pytest.mark.parametrize(
    ("workers", "number", "status"), [(1, signal.SIGTERM, 143), (2, signal.SIGTERM, 143), (2, signal.SIGKILL, -9)]
)
def test_a_file_that_was_being_written_is_removed(start, tmp_path, workers, number, status):
    tasks = [(f"{tmp_path}/{name}", 60 * (name != "a")) for name in "abc"]
    process, children = start_work(start, "write_slowly", tasks, workers)
    until = time.monotonic() + 5
    while len(list(tmp_path.iterdir())) < 1 + workers and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    check_ended(process, children, status)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_evaluate_ends_with_all_its_processes(start, tmp_path):
    """The real thing: real pictures, an encoder in C, and nothing left of what was measured but its rows."""
    from codec_zoo.harness.rows import read_rows  # here, since workers import this module

    rows = tmp_path / "rows.jsonl"
    arguments = ["evaluate", "avif", "--limit", "4", "--workers", "2", "--output", str(rows)]
    process = start(f"import sys; sys.argv[1:] = {arguments}; from codec_zoo.cli.main import main; main()")
    until = time.monotonic() + 120
    while not (rows.exists() and rows.stat().st_size):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) == 2
    process.terminate()
    err = check_ended(process, workers, 143)
    assert f"in {rows}; the same command goes on" in err and 0 < len(read_rows(rows)) < 24


def test_a_script_needs_no_guard(start):
    """Nor a file: a notebook has none either."""
    process = start(
        "import math; from codec_zoo.codecs.processes import in_processes\n"
        "print(sorted(result for _, result in in_processes(math.sqrt, [(1,), (4,), (9,)], 2, 'rooting')))"
    )
    assert process.communicate(timeout=30)[0] == "[1.0, 2.0, 3.0]\n"
    assert process.returncode == 0


def test_one_worker_is_the_caller():
    assert {pid for _, pid in in_processes(os.getpid, [()] * 3, 1, "asking")} == {os.getpid()}
    assert {pid for _, pid in in_processes(os.getpid, [()], 2, "asking")} == {os.getpid()}
    pids = {pid for _, pid in in_processes(os.getpid, [()] * 6, 2, "asking")}
    assert len(pids) <= 2 and os.getpid() not in pids


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work_or_is_handed_over(workers):
    tasks = [("one",), ("two",)]
    with pytest.raises(RuntimeError, match=r"one|two"):
        list(in_processes(fail, tasks, workers, "failing"))
    failures = {}
    assert list(in_processes(fail, tasks, workers, "failing", failures.__setitem__)) == []
    assert {task: str(error) for task, error in failures.items()} == {("one",): "one", ("two",): "two"}
    assert workers == 1 or "in fail" in failures["one",].__notes__[0]  # for CODEC_ZOO_DEBUG


def test_an_error_that_cannot_travel_is_told():
    with pytest.raises(CodecZooError, match="Unpicklable: one and two"):
        list(in_processes(fail_strangely, [("one",)] * 2, 2, "failing"))


def test_a_worker_that_dies_is_told_and_replaced():
    for number, words in ((signal.SIGKILL, "want of memory. Try fewer --workers"), (signal.SIGSEGV, "SIGSEGV")):
        with pytest.raises(WorkerError, match=words):
            list(in_processes(end_by, [(number,)] * 2, 2, "dying"))
    with pytest.raises(WorkerError, match="exit code 3"):
        list(in_processes(os._exit, [(3,)] * 2, 2, "dying"))
    failures = []
    tasks = [(signal.SIGKILL,), (0,), (signal.SIGKILL,), (0,), (0,)]
    done = list(in_processes(end_by, tasks, 2, "dying", lambda task, error: failures.append(task)))
    assert done == [((0,), None)] * 3 and failures == [(signal.SIGKILL,)] * 2


def test_a_worker_loads_its_model_once(exports, noise, tmp_path):
    """The work itself is sent with each picture; what it opens stays."""
    encoder = transcoding.Encoder(str(exports / "fu2019-hybrid-s16-prelu"), check=False)
    tasks = []
    for number in range(6):
        Image.fromarray(noise(40, 50)).save(picture := tmp_path / f"{number}.png")
        tasks.append((encoder, batch.Task(picture, picture.with_suffix(".czoo"), False)))
    found = [result for _, result in in_processes(compress_and_count, tasks, 2, "compressing")]
    assert len({pid for pid, _ in found}) == 2 and {loaded for _, loaded in found} == {1}
