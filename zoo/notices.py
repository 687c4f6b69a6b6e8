"""Notes to the user that are no errors."""

import sys


def notice(text: str) -> None:
    """Print a note on standard error."""
    print(f"note: {text}", file=sys.stderr, flush=True)
