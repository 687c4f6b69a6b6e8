"""Files without TensorFlow: Kodak's 24 pictures coded and decoded by ONNX Runtime and by TensorFlow, compared.

    python experiments/onnx_runtime.py PYTHON FOLDER PRESET

- ``PYTHON``: the interpreter of an environment with ``codec-zoo[onnx]`` and without TensorFlow.
- ``FOLDER``: the export ``DIR/PRESET`` of ``codec-zoo export PRESET DIR --format onnx``.

The interpreter that runs the script has TensorFlow. Both code the pictures, and decode the files of TensorFlow. The
script prints how many files and pictures are equal, the sizes of both environments, and the seconds of a cold
``codec-zoo decompress``, the least of five.
"""

import argparse
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

KODAK = sorted((Path(__file__).resolve().parents[1] / "datasets" / "kodak").glob("*.png"))
# Arguments: the model, a file to write, and one of files to decode, or the first again.
CODE = """
import pickle, sys
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.codecs.specs import open_codec
codec = open_codec(sys.argv[1])
files = [codec.encode(read_image(path)) for path in sys.argv[4:]]
coded = pickle.load(open(sys.argv[3], "rb"))["files"] if sys.argv[3] != sys.argv[2] else files
pictures = [codec.decode(data) for data in coded]
size = sum(file.stat().st_size for folder in sys.path if folder.endswith("site-packages")
           for file in __import__("pathlib").Path(folder).rglob("*") if file.is_file())
pickle.dump({"files": files, "pictures": pictures, "bytes": size}, open(sys.argv[2], "wb"))
"""


def cold_start(python: str, arguments: list[str]) -> float:
    """The least seconds of five runs of the command line."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        command = [python, "-c", "from codec_zoo.cli.main import main; main()", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("python", "folder", "preset"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    ways = {"TensorFlow": (sys.executable, arguments.preset), "ONNX Runtime": (arguments.python, arguments.folder)}
    with tempfile.TemporaryDirectory() as scratch:
        results = {}
        first = str(Path(scratch) / "TensorFlow")
        for name, (python, model) in ways.items():
            file = str(Path(scratch) / name)
            subprocess.run([python, "-c", CODE, model, file, first, *map(str, KODAK)], check=True)
            results[name] = pickle.loads(Path(file).read_bytes())
            coded = Path(scratch) / "one.czoo"
            coded.write_bytes(results[name]["files"][0])
            target = str(Path(scratch) / "one.png")
            seconds = cold_start(python, ["decompress", str(coded), "--model", model, "-o", target, "--force"])
            print(f"{name}: {results[name]['bytes'] / 1e6:.0f} MB of packages, {seconds:.2f} s for a cold decompress")
    pairs = [list(zip(*(result[key] for result in results.values()), strict=True)) for key in ("files", "pictures")]
    equal = sum(a == b for a, b in pairs[0])
    same = sum(np.array_equal(a, b) for a, b in pairs[1])
    change = max(int(np.abs(a.astype(int) - b).max()) for a, b in pairs[1])
    print(f"{equal} of {len(KODAK)} files equal, {same} pictures equal, largest difference {change} levels")


if __name__ == "__main__":
    main()
