"""Commands that take files: they find the inputs, name the results, and report on each file.

```
arguments ─▶ files, folders, globs, - ─▶ tasks: source, target ─▶ results and failures, as they come
```

An argument is a file, a folder (its files of the right kind, in subfolders too), a glob that the shell left alone, or
``-`` for standard input. A result goes beside its source, into a folder below which it keeps the source's place, to
one named file, or to standard output.
"""

import contextlib
import dataclasses
import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.files import check_place, write_atomic

STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclasses.dataclass(frozen=True)
class Kind:
    """The outputs of a command.

    Attributes:
        name: of a result, for messages.
        endings: that its file's name may have.
        suffix: that replaces the suffix of a source.
        mark: stands before ``suffix`` in names beside the source, so that no result takes the place of a source.
        find: finds the sources in a folder; raises ``UsageError`` where there are none.
    """

    name: str
    endings: tuple[str, ...]
    suffix: str
    find: Callable[[Path], Sequence[Path]]
    mark: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """One file's way.

    Attributes:
        source: None for standard input.
        target: None for standard output.
        replace: whether a target that exists is replaced.
        clash: another source has the same target.
    """

    source: Path | None
    target: Path | None
    replace: bool
    clash: bool = False

    @property
    def source_name(self) -> str:
        """The source, for messages."""
        return str(self.source or "standard input")

    @property
    def target_name(self) -> str:
        """The target, for messages."""
        return str(self.target or "standard output")


def plan(arguments: Sequence[str], output: str | None, force: bool, kind: Kind) -> list[Task]:
    """The tasks of a command.

    Args:
        arguments: files, folders, globs, or ``-`` alone.
        output: a file, a folder, ``-``, or None for places beside the sources (standard output for standard input).
        force: whether files that were not named by ``output`` are replaced.
        kind: of the results.

    Raises:
        UsageError: no such files, or an ``output`` that is of another kind or not for so many.
    """
    if set(arguments) & set(STDIN):
        if len(arguments) > 1:
            raise UsageError("standard input (-) goes with no other file. Name it alone.")
        if output is None or output in STDOUT:
            return [Task(None, None, False)]
        if _is_folder(output):
            raise UsageError(f"standard input has no name for a file in {output}. Name the file: -o FILE.")
        _check_ending(output, kind)
        return [Task(None, Path(output), True)]
    inputs = _find(arguments, kind)
    several = [path for path, _ in inputs] != [Path(argument) for argument in arguments] or len(inputs) > 1
    if output is None:
        targets = [path.with_suffix(kind.mark + kind.suffix) for path, _ in inputs]
    elif output in STDOUT:
        if len(inputs) > 1:
            raise UsageError(f"standard output takes one file. Received: {len(inputs)}. Name a folder: -o FOLDER.")
        return [Task(inputs[0][0], None, False)]
    elif several or _is_folder(output):
        if not _is_folder(output) and (os.path.lexists(output) or Path(output).suffix):
            raise UsageError(f"several inputs go to a folder. Received: {output}. For a new folder: {output}{os.sep}")
        targets = [Path(output) / name.with_suffix(kind.suffix) for _, name in inputs]
    else:
        _check_ending(output, kind)
        return [Task(inputs[0][0], Path(output), True)]
    taken = Counter(os.path.abspath(target) for target in targets)
    return [
        Task(path, target, force, taken[os.path.abspath(target)] > 1)
        for (path, _), target in zip(inputs, targets, strict=True)
    ]


def _is_folder(output: str) -> bool:
    return os.path.isdir(output) or output.endswith(os.sep)


def _check_ending(output: str, kind: Kind) -> None:
    """Refuse a name that says another kind; FIFOs and devices have any."""
    special = os.path.exists(output) and not os.path.isfile(output)
    suffix = Path(output).suffix
    if suffix.lower() not in kind.endings and not special:
        folder = "" if suffix else f", for a folder {output}{os.sep}"
        raise UsageError(f"{kind.name} is written as {', '.join(kind.endings)}. Received: {output}{folder}")


def _find(arguments: Sequence[str], kind: Kind) -> list[tuple[Path, Path]]:
    """Each input once, and its path below the folder or the fixed part of the glob that it came from."""
    found: dict[str, tuple[Path, Path]] = {}
    for argument in arguments:
        path = Path(argument)
        base, paths = path.parent, [path]
        if path.is_dir():
            base, paths = path, list(kind.find(path))
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            base = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
            paths = [Path(name) for name in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(name)]
            if not paths:
                raise UsageError(f"no file matches {argument}. `*` stays within a folder, `**` does not.")
        for each in paths:
            found.setdefault(os.path.abspath(each), (each, each.relative_to(base)))
    return list(found.values())


def find_coded(folder: Path) -> list[Path]:
    """The ``.czoo`` files of a folder, in subfolders too, but for hidden ones.

    Raises:
        UsageError: there are none.
    """
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        hits = (name for name in sorted(names) if name.lower().endswith(".czoo") and not name.startswith("."))
        found += [Path(parent, name) for name in hits]
    if not found:
        raise UsageError(f"no .czoo files in {folder}. Looked in subfolders too.")
    return found


def check(task: Task) -> None:
    """Check before the work that a result can be written.

    Raises:
        UsageError: it would replace a file that it must not replace.
        CodecZooError: its place cannot be written.
    """
    if task.target is None:
        _open_stdout()
        return
    if task.clash:
        raise UsageError(f"another input has the same output file, {task.target}. Name it alone, with -o FILE.")
    both = [path for path in (task.source, task.target) if path and os.path.exists(path)]
    if len(both) == 2 and os.path.samefile(*both):
        raise UsageError(f"{task.source} would be overwritten by its own result. Name another --output.")
    check_place(task.target, task.replace)


def read_source(task: Task) -> bytes:
    """All bytes of a task's source.

    Raises:
        UsageError: it cannot be read.
    """
    if task.source is None:
        if sys.stdin is None:
            raise UsageError("standard input is closed.")
        return sys.stdin.buffer.read()
    try:
        return task.source.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {task.source}: {error.strerror}.") from error


def write_target(task: Task, data: bytes) -> None:
    """Write a task's result, whole or not at all.

    Raises:
        UsageError: see :func:`check`.
        CodecZooError: it cannot be written.
    """
    if task.target is not None:
        write_atomic(task.target, data, task.replace)
        return
    with open(_open_stdout(), "wb", closefd=False) as file:
        file.write(data)


def _open_stdout() -> int:
    if sys.stdout is None:
        raise UsageError("standard output is closed.")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal, which is not for binary data. Redirect it: > FILE.")
    sys.stdout.flush()
    return sys.stdout.fileno()


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of a coded file before the message of its error."""
    try:
        yield
    except BitstreamError as error:
        raise BitstreamError(f"{name}: {error.cause}", error.remedy) from error


def count_layers(count: int) -> str:
    """``1 layer``, ``2 layers``, …"""
    return f"{count} layer" if count == 1 else f"{count} layers"


def run(
    function: Callable[[Task], Any],
    tasks: Sequence[Task],
    workers: int,
    title: str,
    failed: Callable[[Task, Exception], None],
) -> Iterator[tuple[Task, Any]]:
    """Call ``function`` for each task, and go on where one fails; with a progress bar.

    Args:
        function: of a module, so that other processes find it.
        tasks: of :func:`plan`.
        workers: processes; a single one is the caller's.
        title: the name of the work on the progress bar.
        failed: gets a task and what its call raised; of a single task it is raised here.

    Yields:
        Task and result, as they are done.
    """
    if len(tasks) == 1:
        yield tasks[0], function(tasks[0])
        return
    from codec_zoo.codecs.processes import in_processes

    packed = [(task,) for task in tasks]
    outcomes = in_processes(function, packed, workers, title, lambda packed, error: failed(packed[0], error))
    yield from ((task, result) for (task,), result in outcomes)
