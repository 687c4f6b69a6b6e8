"""Processor and commit: a measurement depends on them besides its arguments."""

import os
import platform
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# Folders of a checkout that a measurement depends on.
CODE = ("zoo", "datasets", "export", "codecs", "harness", "cli")


def processor() -> str:
    """The machine's processors: ``"2× AMD EPYC"``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{os.cpu_count()}× {name}"


def commit(package: Path = PACKAGE) -> str | None:
    """The commit of the checkout around a package, or None outside one; ``-dirty`` if its code or weights differ."""
    head = _git(package, "rev-parse", "--short=12", "HEAD")
    if not head or (changed := changed_files(package)) is None:
        return None
    return f"{head}-dirty" if changed else head


def changed_files(package: Path = PACKAGE) -> list[str] | None:
    """The files of code and weights that differ from the commit; None if the package is in no git checkout.

    Args:
        package: a folder at the top of the checkout.
    """
    if _git(package, "rev-parse", "--show-prefix") != "":
        return None  # installed into an environment that lies in a checkout of something else
    status = _git(package, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return None if status is None else [line.split(maxsplit=1)[1] for line in status.splitlines()]


def _git(package: Path, *command: str) -> str | None:
    """What git says about the checkout around a package; None outside one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(package.parent), *command], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
