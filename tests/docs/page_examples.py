"""The fenced examples of a page, run in the order of the page in one folder.

    python tests/docs/page_examples.py README.md    # write into the page what its commands print

In a block of the language ``console``, a line after ``$`` is a command. The lines below it are its standard output.
A block of the language ``python`` is a program. Blocks of other languages are not run. A block below the line
``<!-- slow -->`` takes long. The folder has ``datasets``, as the checkout has it.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"(?P<slow><!-- slow -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
# A number that stands for itself: no part of a name, a hash or a size such as 768×512.
_NUMBER = re.compile(r"(?<![\w.,/-])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w,/-])")


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        language: the word after the fence.
        text: between the fences.
        line: of the page.
        slow: whether it takes long.
    """

    language: str
    text: str
    line: int
    slow: bool


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(match["language"], match["text"], page[: match.start("text")].count("\n"), bool(match["slow"]))
        for match in _BLOCK.finditer(page)
    ]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a ``console`` block, with the output below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run(language: str, code: str, folder: Path, cache: Path) -> str:
    """The standard output of a command or a program of a page.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CODEC_ZOO_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    sys.stderr.write(done.stderr)
    done.check_returncode()
    return done.stdout


def same(expected: str, got: str, tolerance: float = 0.02) -> bool:
    """Whether two outputs have the same words, and numbers that differ by no more than ``tolerance`` of the first.

    Between processors, sums of floats come out otherwise: a file may differ by some bytes.
    """
    if _NUMBER.sub("#", expected).split() != _NUMBER.sub("#", got).split():
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(got), strict=True)
    values = ((float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs)
    return all(abs(a - b) <= tolerance * abs(a) for a, b in values)


def filled(page: str, output: Callable[[str], str]) -> str:
    """A page with the output of each command of its ``console`` blocks, as ``output`` gives it."""

    def renew(match: re.Match[str]) -> str:
        if match["language"] != "console":
            return match[0]
        text = "".join(f"$ {command}\n{output(command)}" for command, _ in commands(match["text"]))
        return match[0].replace(match["text"], text)

    return _BLOCK.sub(renew, page)


def main() -> None:
    """Write the outputs into the pages that are named."""
    for name in sys.argv[1:]:
        page = Path(name)
        with tempfile.TemporaryDirectory() as scratch:
            folder, cache = Path(scratch) / "work", Path(scratch) / "cache"
            folder.mkdir()
            (folder / "datasets").symlink_to(ROOT / "datasets")
            page.write_text(filled(page.read_text(), lambda command: run("console", command, folder, cache)))  # noqa: B023


if __name__ == "__main__":
    main()
