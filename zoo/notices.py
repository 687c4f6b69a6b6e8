"""Notes to the user that are no errors, and names of files in what the user reads."""

import sys


def notice(text: str) -> None:
    """Print a note on standard error."""
    print(f"note: {printable(text)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """A line in which control characters are escaped: a file's name may have them, and a terminal obeys them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
