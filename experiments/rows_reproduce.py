"""Whether rows still hold: a sample of them is measured again.

    nice python experiments/rows_reproduce.py --count 60 --seed 1
    nice python experiments/rows_reproduce.py --images DIR --codec 'zhao2018-*'

The sample takes rows from every codec in turn. Images are found by their SHA-256, among Kodak's photographs, which
come with the package, and the files in the folders of ``--images``. Rows of other images are not in the sample.

Another processor or another TensorFlow rounds otherwise. A network's output then differs by a level in a few
pixels. Searched latents, a perceptron's weights, or x265's decisions on a residual then differ by a little more. So
a row of a learned codec also holds if its bytes differ by at most 0.5 % and its PSNR by at most 0.02 dB: it is
printed as "nearly the same". Standard codecs must give the same bytes. The exit code is 1 if a row does not hold.
"""

import argparse
import fnmatch
import hashlib
import itertools
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from codec_zoo.errors import CodecZooError
from codec_zoo.harness.evaluation import find_pictures, measure
from codec_zoo.harness.rows import Row, read_rows

NAMES = ("weights_sha256", "codec_version", "options")
# Of a learned codec on another machine.
BYTES, DECIBELS = 0.005, 0.02
SAME, NEARLY, OTHER = "the same", "nearly the same", "not the same"


def sample(rows: Iterable[Row], count: int, seed: int) -> list[Row]:
    """``count`` rows, one of each codec before a second of any, sorted by codec."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in shuffled:
        groups[row["codec"]].append(row)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    return sorted([row for row in turns if row][:count], key=lambda row: row["spec"])


def compare(row: Row, again: Row) -> tuple[str, str]:
    """Whether a row holds, and what differs."""
    if changed := [f"{name} {again[name]}, not {row[name]}" for name in NAMES if again[name] != row[name]]:
        return OTHER, "; ".join(changed)
    more = again["bytes"] / row["bytes"] - 1
    higher = 0.0 if again["psnr"] == row["psnr"] else again["psnr"] - row["psnr"]
    if more == 0 and abs(higher) < 1e-4:
        return SAME, ""
    holds = row["weights_sha256"] and abs(more) <= BYTES and abs(higher) <= DECIBELS
    return NEARLY if holds else OTHER, f"{100 * more:+.3f} % bytes, {higher:+.4f} dB"


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
    counts: Counter[str] = Counter()
    for row in chosen:
        try:
            verdict, words = compare(row, measure(row["spec"], images[row["image_sha256"]]))
        except CodecZooError as error:  # a package or a program is missing
            verdict, words = "not measured", str(error)
        counts[verdict] += 1
        print(f"{row['spec']} {row['image']}: {verdict}" + (f": {words}" if words else ""), flush=True)
    codecs = len({row["codec"] for row in chosen})
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{len(chosen)} of {len(rows)} rows, of {codecs} codecs: {found}")
    sys.exit(1 if counts[OTHER] or not chosen else 0)


if __name__ == "__main__":
    main()
