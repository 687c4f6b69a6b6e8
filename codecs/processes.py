"""Work in several processes that end with the one that started them, however it ends.

A worker is a fresh Python that has one socket to its parent and nothing of the parent's program: scripts need no
``if __name__ == "__main__"``, and notebooks work. Ctrl-C and SIGTERM are blocked in it. They are the parent's
business, which closes the socket; the kernel closes it when the parent is killed.
"""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from codec_zoo import interrupts
from codec_zoo.errors import CodecZooError
from codec_zoo.export.quiet import quiet_tensorflow

# Whether a call returned, and its result or what it raised.
Outcome = tuple[bool, Any]
# Seconds that a process has to clear up when the socket is closed.
GRACE = 1.0
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


class WorkerError(CodecZooError):
    """A process ended before it gave a result."""


class Worker:
    """A process that calls functions for this one; as a context, it ends with the block.

    Args:
        title: of the work, for messages.
        environment: variables that differ from this process's.
    """

    def __init__(self, title: str, environment: Mapping[str, str]):
        self.title = title
        self.connection, theirs = multiprocessing.Pipe()
        code = f"from codec_zoo.codecs.processes import serve; serve({theirs.fileno()})"
        with theirs, _blocked(signal.SIGINT, signal.SIGTERM):  # the process inherits the mask
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        end_workers([self])

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin ``function(*arguments)``; the function is one of a module, so that the process finds it."""
        with contextlib.suppress(OSError):  # the process has ended: `outcome` says so
            self.connection.send_bytes(pickle.dumps((function, arguments)))

    def outcome(self) -> Outcome:
        """Wait for the call to end."""
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            code = self.process.wait()
        if code == -signal.SIGKILL:
            reason = "was killed while {}, perhaps for want of memory. Try fewer --workers, or smaller pictures."
        elif code < 0:
            reason = f"crashed while {{}} ({signal.Signals(-code).name})."
        else:
            reason = f"ended while {{}}, with exit code {code}."
        return False, WorkerError(f"a process {reason.format(self.title)}")


def end_workers(workers: Sequence[Worker]) -> None:
    """End processes, whatever they do. They have :data:`GRACE` to remove the file that they are writing."""
    for worker in workers:
        worker.connection.close()
    until = time.monotonic() + GRACE
    try:
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0, until - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def in_processes(
    function: Callable[..., Any],
    tasks: Sequence[tuple],
    workers: int,
    title: str,
    failed: Callable[[tuple, Exception], None] | None = None,
) -> Iterator[tuple[tuple, Any]]:
    """Call ``function(*task)`` for each task, with a progress bar.

    Args:
        function: of a module, so that other processes find it.
        tasks: its arguments.
        workers: processes; each has one thread if there are several. A single one is the caller's own.
        title: the name of the work on the progress bar.
        failed: gets a task and what its call raised (:class:`WorkerError` where its process ended); the other tasks
            go on. Without it, that is raised here, and ends the work.

    Yields:
        Task and result, as they are done.
    """
    outcomes = (
        _side_by_side(function, tasks, workers, title)
        if min(workers, len(tasks)) > 1
        else ((task, _outcome(function, task)) for task in tasks)
    )
    with contextlib.closing(outcomes), progress(title, len(tasks)) as advance:
        for task, (succeeded, value) in outcomes:
            advance()
            if succeeded:
                yield task, value
            elif failed:
                failed(task, value)
            else:
                raise value


def _side_by_side(
    function: Callable[..., Any], tasks: Sequence[tuple], workers: int, title: str
) -> Generator[tuple[tuple, Outcome], None, None]:
    """Each task with its outcome, as they are done. A process that ended has a successor."""
    waiting = list(reversed(tasks))
    idle: list[Worker] = []
    busy: dict[Any, tuple[Worker, tuple]] = {}  # by connection
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else Worker(title, ONE_THREAD)
                busy[worker.connection] = worker, waiting.pop()
                worker.start(function, *busy[worker.connection][1])
            for connection in wait(list(busy)):
                worker, task = busy[connection]
                outcome = worker.outcome()
                del busy[connection]
                if worker.process.returncode is None:
                    idle.append(worker)
                yield task, outcome
    finally:
        end_workers([*idle, *(worker for worker, _ in busy.values())])


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; where that is a file, a line for every 24 steps.

    Yields:
        A function that moves it on by a step.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    steps = itertools.count(1)
    console = Console(stderr=True)
    # Lines printed meanwhile go above the bar, unless standard output is a file or a pipe.
    above = sys.stdout is not None and sys.stdout.isatty()
    with Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=above) as bars:
        bar = bars.add_task(title, total=total)

        def advance() -> None:
            bars.advance(bar)
            done = next(steps)
            if not bars.console.is_terminal and done % 24 == 0 and done < total:
                bars.console.print(f"{title}: {done} of {total}")

        yield advance


def _outcome(function: Callable[..., Any], arguments: tuple) -> Outcome:
    try:
        return True, function(*arguments)
    except Exception as error:
        if interrupts.received:  # a library made an error of it
            raise interrupts.received from error
        return False, error


@contextlib.contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    """In the block, signals that come to this thread wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# === In a worker ===


def serve(handle: int) -> None:
    """Do the tasks that the parent sends, until it closes the socket or ends."""
    quiet_tensorflow()
    os.set_inheritable(handle, False)
    connection = Connection(handle)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit())
    threading.Thread(target=_receive, args=(connection, calls), daemon=True).start()
    try:
        while True:
            connection.send_bytes(_answer(calls.get()))
    finally:
        os._exit(0)  # nothing waits for threads of a codec


def _receive(connection: Connection, calls: queue.SimpleQueue[bytes]) -> None:
    """Pass calls on to the main thread; end it, by an exception in its code, when there will be no more."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            calls.put(connection.recv_bytes())
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    time.sleep(GRACE)
    os._exit(0)


def _answer(call: bytes) -> bytes:
    """The outcome of a call, pickled."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)))
    except Exception as error:
        error.add_note(traceback.format_exc())  # a traceback stays behind when its error goes to the parent
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:
            return pickle.dumps((False, CodecZooError(f"{type(error).__name__}: {error}")))
        return answer
