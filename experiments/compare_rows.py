"""Bjøntegaard deltas from the rows of an earlier commit, beside those of today.

    python experiments/compare_rows.py docs/zhao2018/set12.jsonl jpeg-420 3466f0d

For each codec with at least three qualities it prints BD-rate and BD-PSNR against the anchor (PSNR of RGB; Akima):
from the rows at the commit, and from the rows in the checkout. It takes a second.
"""

import argparse
import json
import subprocess
from collections import defaultdict
from pathlib import Path

from codec_zoo.errors import UsageError
from codec_zoo.harness.evaluation import Row, bd_psnr, bd_rate, curve, summarize
from codec_zoo.harness.rows import latest_rows

ROOT = Path(__file__).resolve().parents[1]


def deltas(lines: list[str], anchor: str) -> dict[str, str]:
    """Codec → its deltas against the anchor."""
    rows = [{"codec_version": None, "options": None, **json.loads(line)} for line in lines]
    groups: dict[str, list[Row]] = defaultdict(list)
    for point in summarize(latest_rows(rows)):
        groups[point["codec"]].append(point)
    found = {}
    for codec, points in groups.items():
        try:
            pair = curve(groups[anchor], "psnr"), curve(points, "psnr")
            found[codec] = f"{bd_rate(*pair):+.1f} %, {bd_psnr(*pair):+.2f} dB"
        except UsageError:
            continue
    return found


def main() -> None:
    """Print a line for each codec."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", help="a file of rows, from the top of the checkout")
    parser.add_argument("anchor")
    parser.add_argument("commit")
    arguments = parser.parse_args()
    command = ["git", "-C", str(ROOT), "show", f"{arguments.commit}:{arguments.rows}"]
    before = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    then = deltas(before.splitlines(), arguments.anchor)
    now = deltas((ROOT / arguments.rows).read_text().splitlines(), arguments.anchor)
    for codec in {**then, **now}:
        print(f"{codec}: {then.get(codec, 'no curve')} at {arguments.commit}; {now.get(codec, 'no curve')} now")


if __name__ == "__main__":
    main()
