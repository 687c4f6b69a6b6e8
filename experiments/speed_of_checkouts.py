"""Seconds that two checkouts take to encode and decode a photograph of 768×512 pixels, side by side.

    python experiments/speed_of_checkouts.py BEFORE/.venv/bin/python AFTER/.venv/bin/python

The checkouts take turns, in fresh processes, so that a busy hour of the machine slows both. Each process codes and
decodes once to warm up, then :data:`PASSES` times. The table has the medians over all processes of a checkout, and
how many times as long the second checkout takes. Models are exported into each checkout's own ``.cache``, before the
measurement. Let nothing else run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

# One of each family.
SPECS = (
    "jia2019-sae-mse-e4",
    "balle2018-hyperprior-mse-3",
    "fu2019-hybrid-s16-prelu",
    "zhao2018-mixed",
    "hu2018-filter-bpg444-q34",
    "report2017-cnn-ae",
    "report2017-mlp",
)
PASSES = 3


def measure(spec: str) -> dict[str, float]:
    """Median seconds of this process, warm."""
    import numpy as np
    from PIL import Image

    from codec_zoo.datasets import kodak

    try:
        from codec_zoo.codecs.specs import open_codec
    except ModuleNotFoundError:  # a checkout in which files and codecs are in harness/
        from codec_zoo.harness.pipelines import open_codec  # type: ignore[import-not-found, no-redef]

    with Image.open(Path(kodak.__file__).with_name("kodim23.png")) as picture:
        image = np.asarray(picture.convert("RGB"))
    codec = open_codec(spec)
    codec.decode(codec.encode(image))
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(PASSES):
        started = time.perf_counter()
        data = codec.encode(image)
        coded = time.perf_counter()
        codec.decode(data)
        seconds["encode"].append(coded - started)
        seconds["decode"].append(time.perf_counter() - coded)
    return {way: statistics.median(values) for way, values in seconds.items()}


def run(python: Path, spec: str) -> dict[str, float]:
    """:func:`measure` in a fresh process of a checkout."""
    cache = python.absolute().parents[2] / ".cache"
    environment = {**os.environ, "CODEC_ZOO_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(python.absolute()), str(Path(__file__).resolve()), "--measure", spec]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", type=Path, help="the .venv/bin/python of two checkouts")
    parser.add_argument("--spec", action="append", help="a codec; repeatable; default: one of each family")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each checkout")
    parser.add_argument("--measure", metavar="SPEC", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    if len(options.pythons) != 2:
        parser.error("give the interpreters of two checkouts")
    header = " | ".join(f"{way} A, s | {way} B, s | B / A" for way in ("encode", "decode"))
    print(f"A: {options.pythons[0]}\nB: {options.pythons[1]}\n")
    print(f"| codec | {header} |\n|---|{6 * '---:|'}", flush=True)
    for spec in options.spec or SPECS:
        for python in options.pythons:
            run(python, spec)  # exports the model
        found: list[list[dict[str, float]]] = [[], []]
        for _ in range(options.rounds):
            for values, python in zip(found, options.pythons, strict=True):
                values.append(run(python, spec))
        cells = []
        for way in ("encode", "decode"):
            first, second = (statistics.median(value[way] for value in values) for values in found)
            cells += [f"{first:.3f}", f"{second:.3f}", f"{second / first:.3f}"]
        print(f"| `{spec}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
