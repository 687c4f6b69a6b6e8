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
    git = ["git", "-C", str(package.parent)]
    try:
        head, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", *CODE],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head
