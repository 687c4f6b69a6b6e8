"""The limit on the memory that coding may take, and the refusal of work that would pass it."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from codec_zoo.errors import CodecZooError, MemoryLimitError, UsageError

VARIABLE = "CODEC_ZOO_MEMORY"
# Of the memory of the machine or container; the rest is for the other processes and the page cache.
DEFAULT_SHARE = 0.75
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def limit() -> int:
    """Bytes that this process may take: ``CODEC_ZOO_MEMORY``, or three quarters of the machine's memory.

    The machine has the smaller of its physical memory and the limits of the process's control groups.

    Raises:
        UsageError: the variable is not a size.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return int(DEFAULT_SHARE * machine_memory())
    try:
        return parse_size(given)
    except UsageError as error:
        raise UsageError(f"the environment's {VARIABLE}: {error}") from error


def set_limit(size: str) -> None:
    """Set the limit of this process and of the processes that it starts, e.g. to ``"1.5G"``.

    Raises:
        UsageError: not a size.
    """
    parse_size(size)
    os.environ[VARIABLE] = size


def check(
    needed: int, action: str, remedy: str, error: Callable[[str, str], CodecZooError] = MemoryLimitError
) -> None:
    """Refuse work that needs more memory than the limit.

    Args:
        needed: bytes.
        action: the work, as a noun: ``"decoding 16384×16384 pixels"``.
        remedy: advice for the user, a sentence or more.
        error: the error to raise, made of its cause and the remedy: ``MemoryLimitError`` or ``BitstreamError``.

    Raises:
        MemoryLimitError: the work needs more (or ``error``).
        UsageError: the limit in the environment is not a size.
    """
    allowed = limit()
    if needed > allowed:
        raise error(f"{action} needs about {in_gib(needed)} of memory, and the limit is {in_gib(allowed)}", remedy)


def in_gib(size: int) -> str:
    """Bytes in GiB, for messages."""
    return f"{size / 2**30:.2f} GiB"


def parse_size(text: str) -> int:
    """Bytes of a size with a unit: ``"4G"``, ``"1.5GiB"`` (powers of 1024), ``"800MB"`` (powers of 1000).

    Raises:
        UsageError: not a positive number with a unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?([KMGT]?)(I?B)?", text.strip().upper())
    if match and (match[2] or match[3] == "B"):
        unit = _UNITS[match[2]]
        if match[3] == "B":
            unit = 1000 ** list(_UNITS).index(match[2])
        if size := int(float(match[1]) * unit):
            return size
    raise UsageError(f"a size of memory is a number with a unit, e.g. 4G, 1.5GiB or 800M. Received: {text!r}")


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes of physical memory, or of the smallest limit of the process's control groups if that is less.

    Args:
        root: folder with ``proc`` and ``sys``, for tests.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_group_limits(root)])


def peak() -> int:
    """The most bytes of memory that this process has had so far.

    On Linux it does not count the process that started this one, as ``ru_maxrss`` does.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource  # not on Windows

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of the process's control groups (version 2 and 1) and of the groups that hold them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container may see its own group as the root while /proc names the group by its path outside.
        folder = base / group.strip("/")
        for place in [folder, *(parent for parent in folder.parents if parent.is_relative_to(base))]:
            try:
                yield int((place / name).read_text())
            except (OSError, ValueError):
                continue  # no such group here, or the limit "max"
