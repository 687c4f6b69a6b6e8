"""Our range coder, tables and exports against tensorflow-compression 2.14.1 itself: ``make test-tfc``.

    python tests/tfc/against_original.py PYTHON

PYTHON has tensorflow-compression and TensorFlow 2.14. This script, in our environment, writes cases, strings, tables
and exports to a folder. There ``original.py`` and ``load_exports.py`` check them, and ``original.py`` writes its own,
which this script checks.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from codec_zoo.codecs import range_coder
from codec_zoo.codecs.images import read_image
from codec_zoo.entropy_models import scale_table
from codec_zoo.export import tables
from codec_zoo.export.runtime import open_model
from codec_zoo.export.saved_model import export_pretrained
from codec_zoo.export.tables import Tables
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.weights import create

CASES = 1200
PRESETS = ("jia2019-sae-mse-base", "fu2019-hybrid-s8-relu", "hu2018-filter-svac-q48", "report2017-cnn-ae")


def random_case(random: np.random.Generator) -> tuple[Tables, np.ndarray, np.ndarray]:
    """Tables of any precision; values that are likely, unlikely, and beyond their rows."""
    cdf, widths = [], []
    for _ in range(random.integers(1, 6)):
        precision = int(random.integers(2, 17))
        count = int(random.integers(1, min(2**precision, int(random.choice([3, 40, 2000])))))
        inner = np.sort(random.choice(np.arange(1, 2**precision), count, replace=False))
        if random.random() < 0.3:  # all of the mass in one interval, its first or its last
            inner = (
                np.arange(1, count + 1) if random.random() < 0.5 else np.arange(2**precision - count, 2**precision)
            )
        cdf += [-precision, 0, *inner, 2**precision]
        widths.append(count)
    offset = random.integers(-50, 50, len(widths)).astype(np.int32)
    rows = random.integers(0, len(widths), random.choice([0, 1, 2, 10, 300, 3000])).astype(np.int32)
    symbols = (random.random(rows.size) ** random.choice([1, 4]) * np.array(widths)[rows]).astype(np.int32)
    values = symbols + offset[rows]
    escapes = random.random(rows.size) < random.choice([0, 0.01, 0.5])
    reach = 2 ** int(random.integers(1, 30))
    values[escapes] = random.integers(-reach + 1, reach, np.count_nonzero(escapes))
    return Tables(np.array(cdf, np.int32), offset), rows, values.astype(np.int32)


def masses(random: np.random.Generator) -> list[np.ndarray]:
    """Distributions: those of all our tables, and random ones with many equals."""
    found = [tables._gaussian(scale)[0] for scale in scale_table()]
    for preset in ("jia2019-sae-mse-e4", "balle2018-hyperprior-mse-4"):
        for prior in create(preset).priors.values():
            found += [mass for mass, _ in tables._factorized(prior, 1.0)]
    found = [np.append(mass, max(1 - mass.sum(), 0)) for mass in found]
    for _ in range(600):
        count = random.integers(2, random.choice([20, 300, 2500]))
        mass = random.integers(0, random.choice([2, 4, 1000]), count) + random.choice([0.0, 1.0])
        found.append(mass / max(mass.sum(), 1) * random.choice([1.0, 0.9, 1.1, 0.3]))
    return [mass.astype(np.float32) for mass in found]


def write_exports(folder: Path) -> None:
    """Exports of each kind, a picture, and what the exports make of it here."""
    picture = read_image(find_pictures("kodak")[22])[None, :128, :192]
    for preset in PRESETS:
        export_pretrained(preset, folder / "exports")
        model = open_model(str(folder / "exports" / preset))
        coded = model.run("encode", images=picture)
        outputs = {f"encode.{key}": value for key, value in coded.items()}
        if "z1" in coded:
            chosen = model.run("entropy_parameters_1", z1=coded["z1"])
            outputs |= {f"entropy_parameters_1.{key}": value for key, value in chosen.items()}
        np.savez(folder / f"{preset}.npz", picture=picture, **outputs)


def main(python: str) -> None:
    """Write, let the original check and write, check."""
    random = np.random.default_rng(32)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cases = [random_case(random) for _ in range(CASES)]
        stored = {}
        for i, (table, rows, values) in enumerate(cases):
            stored |= {f"cdf{i}": table.cdf, f"offset{i}": table.offset, f"rows{i}": rows, f"values{i}": values}
            stored[f"string{i}"] = np.frombuffer(range_coder.encode(values, rows, table), np.uint8)
        np.savez(folder / "cases.npz", **stored)
        distributions = masses(random)
        counts = {f"counts{i}": tables.quantize(mass, tables.PRECISION) for i, mass in enumerate(distributions)}
        np.savez(folder / "masses.npz", **counts, **{f"mass{i}": mass for i, mass in enumerate(distributions)})
        write_exports(folder)

        for script in ("original.py", "load_exports.py"):
            subprocess.run([python, Path(__file__).with_name(script), folder], check=True)

        for i, (table, rows, values) in enumerate(cases):
            string = (folder / f"string{i}").read_bytes()
            assert string == stored[f"string{i}"].tobytes(), f"case {i}: other bytes"
            assert np.array_equal(range_coder.decode(string, rows, table), values), f"case {i}: other values"
        model = np.load(folder / "model.npz")
        table = Tables(model["cdf"], model["offset"])
        string = model["string"].tobytes()
        assert np.array_equal(range_coder.decode(string, model["rows"], table), model["values"])
        assert range_coder.encode(model["values"], model["rows"], table) == string
    print(f"{CASES} tables and tensors: 0 different bytes; each decodes the other's strings.")
    print(f"{len(distributions)} distributions: 0 different counts. {len(PRESETS)} exports load in TensorFlow 2.14.")


if __name__ == "__main__":
    main(sys.argv[1])
