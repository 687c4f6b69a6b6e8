"""Measure the memory that commands need for a picture, and write ``codecs/memory.csv``, which estimates are made of.

    nice python experiments/measure_memory.py              # all cases, about an hour on two cores
    nice python experiments/measure_memory.py hu2018       # only the cases of presets or options that contain this

Each figure is the peak resident memory of a fresh process: `codec-zoo compress`, then `codec-zoo decompress` of its
file. The need of `n` pixels is

    base + network · n + picture · n    in one piece, as pictures of up to 2^21 pixels go through a model with tiles
    base + tiles + picture · n          in tiles, as larger ones go

fitted so that no measured size lies above it. Models without tiles have `base` and `picture` alone. The model cache
(CODEC_ZOO_CACHE) is filled before anything is measured.
"""

import argparse
import csv
import dataclasses
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.codecs.memory_estimates import ONE_PIECE, TABLE, Row, needed, write_table

KODAK = Path(__file__).parents[1] / "datasets" / "kodak"
# Megapixels of pictures for models with tiles, the same with a search, and models without tiles.
TILED, SEARCHED, WHOLE = (0.5, 2.0, 6.0, 24.0), (0.5, 2.0, 3.0, 4.5), (0.5, 2.0, 8.0, 24.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """Commands that are measured.

    Attributes:
        preset: the one that is measured, the most demanding of those that the figures hold for.
        arguments: of `codec-zoo compress`.
        megapixels: of the pictures.
        compress: for which presets and options (see ``Row``) the figures of compress hold.
        decompress: for which those of decompress hold; if none, it is not measured.
    """

    preset: str
    arguments: tuple[str, ...]
    megapixels: tuple[float, ...]
    compress: tuple[tuple[str, str], ...]
    decompress: tuple[tuple[str, str], ...]


def case(preset: str, megapixels: tuple[float, ...], *presets: str) -> Case:
    """The case of a preset with its default options."""
    plain = tuple((pattern, "") for pattern in presets)
    return Case(preset, (), megapixels, plain, plain)


# In docs/speed.md.
SHOWN = (
    "bpg-filter",
    "hu2018-filter-bpg444-q34",
    "hu2018-filter-svac-q48",
    "hu2018-filter-jpeg-q20",
    "jia2019-sae-mse-base",
    "jia2019-sae-mse-e1",
    "jia2019-sae-mse-e4",
    "balle2018-hyperprior-mse-3",
    "fu2019-hybrid-s16-prelu",
    "zhao2018-mixed",
    "jiang2017-comcnn",
    "report2017-cnn-ae",
    "report2017-mlp",
)
FILTERS, MIXED, BLOCKS = "hu2018-filter-*", "zhao2018-*", ("report2017-cnn-*", "report2017-gan-*")
CASES = [
    # For all filters: 4:4:4 takes the most.
    Case(
        "hu2018-filter-svac-q48",
        ("--codec", "bpg-ycbcr444", "-q", "24"),
        TILED,
        ((FILTERS, ""), (FILTERS, "codec=bpg-ycbcr444")),
        ((FILTERS, ""), (FILTERS, "first=7")),
    ),
    Case("bpg-filter", ("-q", "24"), TILED, (("bpg-filter", ""),), (("bpg-filter", ""),)),
    case("fu2019-hybrid-s16-prelu", TILED, "fu2019-hybrid-*"),
    case("jia2019-sae-mse-base", TILED, "jia2019-sae-*-base"),
    # Learning takes a gigabyte, whatever the picture: only larger ones show what their pixels take.
    case("report2017-mlp", (0.25, 6.0, 24.0), "report2017-mlp"),
    case("report2017-cnn-rnn-ae", WHOLE, *BLOCKS),
    Case("zhao2018-mixed", ("--resolution", "low"), TILED, ((MIXED, ""),), ((MIXED, ""), (MIXED, "first=2"))),
    Case(
        "zhao2018-mixed",
        ("--resolution", "high"),
        TILED,
        ((MIXED, "resolution=high|target_bpp|target_psnr"),),
        ((MIXED, "first=1"),),
    ),
    Case(
        "hu2018-filter-jpeg-q20",
        (),
        TILED,
        (("hu2018-filter-jpeg-*", ""), (FILTERS, "codec=jpeg-420")),
        (("hu2018-filter-jpeg-*", ""), (FILTERS, "first=5")),
    ),
    case("jia2019-sae-mse-e2", TILED, "jia2019-sae-*-e1", "jia2019-sae-*-e2"),
    case("jia2019-sae-mse-e4", TILED, "jia2019-sae-*"),
    case("balle2018-hyperprior-mse-4", TILED, "balle2018-*", "balle2017-*"),
    case("jiang2017-comcnn", TILED, "jiang2017-comcnn"),
    Case(
        "report2017-cnn-rnn-ae",
        ("--overlap", "16"),
        WHOLE,
        tuple((pattern, "overlap") for pattern in BLOCKS),
        tuple((pattern, "second") for pattern in BLOCKS),
    ),
    Case("report2017-cnn-rnn-ae", ("--search", "1"), WHOLE, tuple((pattern, "search") for pattern in BLOCKS), ()),
    Case(
        "jia2019-sae-mse-e4",
        ("--search", "1"),
        SEARCHED,
        (("jia2019-*", "search"), ("balle2018-*", "search"), ("balle2017-*", "search")),
        (),
    ),
    Case(
        "hu2018-filter-svac-q48",
        ("--codec", "svac-half"),
        TILED,
        ((FILTERS, "codec=svac-*"),),
        ((FILTERS, "first=2|first=3|first=4"),),
    ),
    case("report2017-cnn-ae-ft", WHOLE, "report2017-*-ft"),
]


def make_picture(path: Path, megapixels: float) -> int:
    """Write a mosaic of Kodak's pictures of 3:2, about so large; returns its pixels."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(1.5 * height)
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(KODAK.glob("*.png"))]
    landscape = [picture for picture in pictures if picture.shape == (512, 768, 3)]
    rows = []
    for row in range(-(-height // 512)):
        chosen = [landscape[(row * 7 + column) % len(landscape)] for column in range(-(-width // 768))]
        rows.append(np.concatenate(chosen, axis=1))
    mosaic = np.concatenate(rows)[:height, :width]
    Image.fromarray(mosaic).save(path, compress_level=1)
    return height * width


# Linux counts the memory of the process that starts a program as the program's own. So a small process starts it.
_LAUNCHER = """
import resource, subprocess, sys
limit = float(sys.argv[1]) or None
try:
    status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, timeout=limit).returncode
except subprocess.TimeoutExpired:
    status = 124
print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def run_measured(*arguments: str | Path, timeout: float = 0) -> tuple[int, str, int]:
    """Run `codec-zoo ARGUMENTS` in a fresh process.

    Args:
        arguments: of the command line.
        timeout: seconds; 0 is none.

    Returns:
        The exit status, 124 if the time was over; the standard error; the peak of resident memory in bytes.
    """
    command = [sys.executable, "-c", _LAUNCHER, str(timeout), sys.executable, "-m", "codec_zoo.cli.main"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stderr, int(done.stdout)


def peak_memory(arguments: Sequence[str]) -> int:
    """Peak resident bytes of `codec-zoo ARGUMENTS` in a fresh process."""
    status, error, peak = run_measured(*arguments, "--memory", "1T")
    if status:
        raise SystemExit(f"codec-zoo {' '.join(arguments)} failed.\n{error}")
    return peak


def fit(pixels: Sequence[int], peaks: Sequence[int], tiled: bool) -> tuple[float, float, float, float]:
    """``base`` and ``tiles`` (bytes), ``network`` and ``picture`` (bytes a pixel) of the need; see the module."""
    n, need = np.array(pixels, np.float64), np.array(peaks, np.float64)
    if not tiled:
        picture = max(0.0, np.polyfit(n[-2:], need[-2:], 1)[0])
        return float(np.max(need - picture * n)), 0.0, 0.0, picture
    whole = n <= ONE_PIECE
    picture = max(0.0, np.polyfit(n[~whole], need[~whole], 1)[0])
    rest = need - picture * n
    network = max(0.0, np.polyfit(n[whole], rest[whole], 1)[0])
    base = float(np.max(rest[whole] - network * n[whole]))
    return base, max(0.0, float(np.max(rest[~whole])) - base), network, picture


def _row(way: str, presets: str, option: str, fitted: tuple[float, float, float, float]) -> Row:
    """A row of the table, its numbers rounded up."""
    base, tiles, network, picture = fitted
    mebibytes = (float(math.ceil(part / 2**20)) for part in (base, tiles))
    a_pixel = (math.ceil(10 * part) / 10 for part in (network, picture))
    return Row(way, presets, option, *mebibytes, *a_pixel)


def measure(case: Case, folder: Path) -> list[Row]:
    """The rows of a case."""
    pixels: list[int] = []
    peaks: dict[str, list[int]] = {"compress": [], "decompress": []}
    for megapixels in case.megapixels:
        picture, file, decoded = folder / f"{megapixels}.png", folder / "coded.czoo", folder / "decoded.png"
        pixels.append(make_picture(picture, megapixels))
        file.unlink(missing_ok=True)
        decoded.unlink(missing_ok=True)
        arguments = ("--model", case.preset, *case.arguments)
        peaks["compress"].append(peak_memory(["compress", str(picture), "-o", str(file), *arguments]))
        if case.decompress:
            peaks["decompress"].append(peak_memory(["decompress", str(file), "-o", str(decoded)]))
        shown = ", ".join(f"{way} {found[-1] / 2**30:.2f} GiB" for way, found in peaks.items() if found)
        print(f"{' '.join(arguments[1:])}, {megapixels} megapixels: {shown}", flush=True)
    rows = []
    for way, holds in (("compress", case.compress), ("decompress", case.decompress)):
        if holds:
            fitted = fit(pixels, peaks[way], case.megapixels in (TILED, SEARCHED))
            rows += [_row(way, presets, option, fitted) for presets, option in holds]
    return rows


def measure_metrics(folder: Path) -> Row:
    """What `evaluate` needs for its measures of quality, TensorFlow not counted."""
    code = "import sys; from codec_zoo.harness.evaluation import measure; from pathlib import Path; "
    code += "from codec_zoo import memory; measure('jpeg:90', Path(sys.argv[1])); print(memory.peak())"
    pixels, peaks = [], []
    for megapixels in WHOLE:
        picture = folder / f"{megapixels}.png"
        pixels.append(make_picture(picture, megapixels))
        done = subprocess.run([sys.executable, "-c", code, str(picture)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    return _row("evaluate", "*", "", fit(pixels, peaks, tiled=False))


def print_table() -> None:
    """The table of docs/speed.md."""
    sizes = (3000, 4000), (4000, 6000), (10_000, 10_000)
    for preset in SHOWN:
        cells = [[needed(way, preset, *size) / 2**30 for way in ("compress", "decompress")] for size in sizes]
        print("|", " | ".join([f"`{preset}`", *(f"{there:.1f} / {back:.1f}" for there, back in cells)]), "|")


def main() -> None:
    """Measure, and put the rows in place of those before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="", help="part of a preset or an option of the cases")
    parser.add_argument("--table", action="store_true", help="only print the table of docs/speed.md")
    only, table = (vars(parser.parse_args())[name] for name in ("only", "table"))
    if table:
        print_table()
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known: dict[tuple[str, str, str], Row] = {}
    if TABLE.exists():
        with open(TABLE, newline="") as file:
            known = {(row["way"], row["presets"], row["option"]): Row.of(row) for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_picture(folder / "small.png", 0.05)
        for case in CASES:
            if only not in f"{case.preset} {' '.join(case.arguments)}":
                continue
            peak_memory(["compress", str(folder / "small.png"), "-o", str(folder / "s.czoo"), "--model", case.preset])
            (folder / "s.czoo").unlink()
            for row in measure(case, folder):
                known[row.way, row.presets, row.option] = row
            write_table(known.values())
        if not only or only == "metrics":
            row = measure_metrics(folder)
            known[row.way, row.presets, row.option] = row
            write_table(known.values())


if __name__ == "__main__":
    main()
