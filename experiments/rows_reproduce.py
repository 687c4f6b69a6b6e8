"""Whether rows still hold: a sample of them, measured again, must have the same bytes and PSNR.

    nice python experiments/rows_reproduce.py --count 60 --seed 1
    nice python experiments/rows_reproduce.py --images DIR --codec 'zhao2018-*'

The sample takes rows from every codec in turn. Images are found by their SHA-256, among Kodak's photographs, which
come with the package, and the files in the folders of ``--images``. Rows of other images are not in the sample. PSNR
may differ by 0.001 dB, since on another machine pixels may differ in the last bit. The exit code is 1 if a row does
not hold.
"""

import argparse
import fnmatch
import hashlib
import itertools
import random
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from codec_zoo.harness.evaluation import find_pictures, measure
from codec_zoo.harness.rows import Row, read_rows

TOLERANCE = 1e-3  # dB
NAMES = ("weights_sha256", "codec_version", "options", "bytes")


def sample(rows: Iterable[Row], count: int, seed: int) -> list[Row]:
    """``count`` rows, one of each codec before a second of any, sorted by codec."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in shuffled:
        groups[row["codec"]].append(row)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    return sorted([row for row in turns if row][:count], key=lambda row: row["spec"])


def differences(row: Row, again: Row) -> list[str]:
    """A phrase for each number and name that is not the same again."""
    found = [f"{name} {again[name]}, not {row[name]}" for name in NAMES if again[name] != row[name]]
    if again["psnr"] != row["psnr"] and not abs(again["psnr"] - row["psnr"]) <= TOLERANCE:
        found.append(f"PSNR {again['psnr']:.4f} dB, not {row['psnr']:.4f}")
    return found


def main() -> None:
    """Print each row of the sample, and how many hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=Path("docs"), help="a folder, looked through for *.jsonl")
    parser.add_argument("--images", type=Path, action="append", default=[], help="a folder; repeatable")
    parser.add_argument("--codec", default="*", help="a pattern of codecs, as rows name them")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    paths = [*find_pictures("kodak"), *(path for folder in options.images for path in folder.iterdir())]
    images = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths if path.is_file()}
    rows = [row for path in sorted(options.rows.rglob("*.jsonl")) for row in read_rows(path)]
    asked = [row for row in rows if fnmatch.fnmatchcase(row["codec"], options.codec)]
    chosen = sample((row for row in asked if row["image_sha256"] in images), options.count, options.seed)
    failed = 0
    for row in chosen:
        found = differences(row, measure(row["spec"], images[row["image_sha256"]]))
        failed += bool(found)
        print(f"{row['spec']} {row['image']}: {'; '.join(found) or 'the same'}", flush=True)
    codecs = len({row["codec"] for row in chosen})
    print(f"{len(chosen) - failed} of {len(chosen)} rows hold, of {codecs} codecs; {len(rows)} rows in all")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
