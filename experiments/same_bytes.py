"""Whether two checkouts write the same bytes: three pictures through every preset that has weights.

    python experiments/same_bytes.py before.json                    # with the interpreter of one checkout
    python experiments/same_bytes.py after.json --against before.json    # with that of the other

Each preset codes each picture with several sets of options (:data:`OPTIONS`). The JSON file maps ``SPEC PICTURE`` to
the SHA-256 of the ``.czoo`` file and the SHA-256 of the decoded pixels. Compare files of one machine only: on another
one, pixels may differ in the last bit. It takes four minutes on two busy cores.

The exit code is 1 if anything differs from ``--against``.
"""

import argparse
import fnmatch
import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.datasets import kodak
from codec_zoo.errors import ModelError
from codec_zoo.presets import list_presets

try:
    from codec_zoo.codecs.specs import open_codec
except ModuleNotFoundError:  # a checkout in which files and codecs are in harness/
    from codec_zoo.harness.pipelines import open_codec  # type: ignore[import-not-found, no-redef]

# Patterns of presets, and what follows their names. The first pattern that fits holds.
OPTIONS = {
    "*-vbr": (":80", ":180,tile=128", ",search=2:80", ",target_bpp=0.3"),
    "balle2018-*": ("", ",tile=128", ",search=2"),
    "jia2019-*-base": ("", ",tile=128"),
    "jia2019-*": ("", ",layers=1", ",layers=2", ",tile=128", ",target_bpp=0.3", ",target_psnr=30"),
    "fu2019-*": (
        "",
        ":24",
        ",layers=1",
        ",mapping=shift:32",
        ",mapping=minmax:32",
        ",mapping=clip:32",
        ",residual_codec=bpg-rgb444:32",
        ",residual_codec=bpg-ycbcr444-10bit:28",
    ),
    "hu2018-*": ("", ":40", ",filter=on", ",filter=off", ",codec=jpeg-420:20", ",codec=svac-half:40"),
    "jiang2017-*": ("", ",resolution=low:20"),
    "zhao2018-*": ("", ",resolution=low:20", ",resolution=high:20", ",target_bpp=0.4", ",target_psnr=26"),
    "report2017-mlp": ("", ",coding=huffman", ",layers=1"),
    "report2017-cnn-rnn-ae": ("", ",layers=1", ",coding=fixed", ",overlap=8"),
    "report2017-cnn-ae-ft": ("", ",tune=no", ",coding=fixed", ",overlap=8"),
    "report2017-cnn-ae": ("", ",coding=fixed", ",overlap=8", ",search=2"),
    "report2017-*": ("", ",coding=fixed", ",overlap=8"),
}


def pictures() -> dict[str, np.ndarray]:
    """Crops of Kodak's photographs: of whole blocks, of odd sides, and gray; ``uint8 [H, W, 1 or 3]``."""

    def crop(number: int, top: int, left: int, height: int, width: int, mode: str = "RGB") -> np.ndarray:
        with Image.open(Path(kodak.__file__).with_name(f"kodim{number:02}.png")) as image:
            pixels = np.asarray(image.convert(mode))
        return np.ascontiguousarray(pixels[top : top + height, left : left + width]).reshape(height, width, -1)

    return {
        "256x256": crop(23, 128, 256, 256, 256),
        "91x75": crop(5, 200, 300, 75, 91),
        "gray": crop(19, 150, 200, 128, 160, "L"),
    }


def hashes(pattern: str) -> dict[str, dict[str, str]]:
    """``SPEC PICTURE`` → the SHA-256 of the file and of the pixels, of each preset whose name fits ``pattern``."""
    found = {}
    for name in fnmatch.filter((preset.name for preset in list_presets()), pattern):
        started = time.monotonic()
        try:
            open_codec(name)
        except ModelError:  # it has no weights
            continue
        endings = next(options for known, options in OPTIONS.items() if fnmatch.fnmatchcase(name, known))
        for spec in (name + ending for ending in endings):
            codec = open_codec(spec)
            for picture, image in pictures().items():
                data = codec.encode(image)
                decoded = codec.decode(data)
                found[f"{spec} {picture}"] = {
                    "file": hashlib.sha256(data).hexdigest(),
                    "pixels": hashlib.sha256(f"{decoded.shape}".encode() + decoded.tobytes()).hexdigest(),
                }
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return found


def differences(before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> list[str]:
    """A line for each entry that is not the same in both."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        if key not in now or key not in before:
            lines.append(f"{key}: only {'before' if key in before else 'now'}")
        elif changed := [part for part in before[key] if before[key][part] != now[key][part]]:
            lines.append(f"{key}: other {' and '.join(changed)}")
    return lines


def main() -> None:
    """Write the hashes, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the JSON file to write")
    parser.add_argument("--against", type=Path, help="an earlier one to compare with")
    parser.add_argument("--preset", default="*", help="a pattern of presets; default: all")
    options = parser.parse_args()
    now = hashes(options.preset)
    options.output.write_text(json.dumps(now, indent=0, sort_keys=True) + "\n")
    if options.against:
        before = json.loads(options.against.read_text())
        before = {key: value for key, value in before.items() if fnmatch.fnmatchcase(key, f"{options.preset}*")}
        lines = differences(before, now)
        print("\n".join([*lines, f"{len(now)} files and pictures, {len(lines)} differ"]))
        sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
