"""Large photographs through every family: coded (seconds and peak memory of fresh processes), or refused (seconds).

    nice python experiments/large_pictures.py --memory 3G                   # 12, 24 and 100 megapixels, every family
    nice python experiments/large_pictures.py 24 --preset hu2018-filter-svac-q48

Prints a table in Markdown. The pictures are mosaics of Kodak's.
"""

import argparse
import tempfile
import time
from pathlib import Path

from measure_memory import SHOWN, make_picture, run_measured

FAMILIES = (*SHOWN, "report2017-cnn-ae-ft")


def run(limit: str, timeout: float, *arguments: str | Path) -> tuple[str, bool]:
    """What became of `codec-zoo ARGUMENTS`, for a cell of the table, and whether it succeeded."""
    started = time.monotonic()
    status, error, peak = run_measured(*arguments, "--memory", limit, timeout=timeout)
    seconds = time.monotonic() - started
    if status == 0:
        return f"{seconds:.0f} s, {peak / 2**30:.2f} GiB", True
    if "of memory, and the limit is" in error:
        needed = error.split("needs about ")[1].split(" of memory")[0]
        return f"refused in {seconds:.1f} s: needs {needed}", False
    if status == 124:
        return f"not done after {seconds:.0f} s, {peak / 2**30:.2f} GiB", False
    return f"failed: {error.strip().splitlines()[-1:]}", False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("megapixels", nargs="*", type=float, default=[12, 24, 100])
    parser.add_argument("--preset", action="append", help="repeatable; default: one or more of each family")
    parser.add_argument("--memory", default="3G", help="the limit")
    parser.add_argument("--timeout", type=float, default=600, help="seconds a command")
    options = parser.parse_args()
    print("| megapixels | preset | compress | decompress |\n|---:|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, first = folder / "small.png", folder / "small.czoo"
        make_picture(small, 0.05)
        for preset in options.preset or FAMILIES:  # its first use exports it, which takes seconds and memory
            run(options.memory, options.timeout, "compress", small, "-o", first, "--force", "--model", preset)
        for megapixels in options.megapixels:
            picture, file, decoded = folder / "a.png", folder / "a.czoo", folder / "b.png"
            make_picture(picture, megapixels)
            for preset in options.preset or FAMILIES:
                file.unlink(missing_ok=True)
                decoded.unlink(missing_ok=True)
                arguments = "compress", picture, "-o", file, "--model", preset
                coded, done = run(options.memory, options.timeout, *arguments)
                back = run(options.memory, options.timeout, "decompress", file, "-o", decoded)[0] if done else ""
                print(f"| {megapixels:g} | `{preset}` | {coded} | {back} |", flush=True)


if __name__ == "__main__":
    main()
