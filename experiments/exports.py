"""Every trained preset in every export format: does it load, and does it give the numbers of the Keras model?

    python experiments/exports.py docs/exports.jsonl [PRESET …]
    python experiments/exports.py docs/exports.jsonl --table

A line for each preset and format is added to the file. Lines that it has already are passed over. ``--table`` prints
the lines as the table of ``docs/exports.md``. The picture is a part of Kodak's first, 239 × 367 pixels.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KODAK = Path(__file__).resolve().parents[1] / "datasets" / "kodak"
FORMATS = {"savedmodel": "tensorflow", "onnx": "onnxruntime", "litert": "ai-edge-litert"}
# k of the quantisation step, of a model with that dial.
STEP = 8


def values_of(signatures: Mapping[str, Any]) -> dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Inputs and the Keras model's outputs of each signature but ``reconstruct``, for the picture."""
    import tensorflow as tf

    picture = np.asarray(Image.open(KODAK / "kodim01.png").convert("RGB"))[100:339, 200:567]
    given = {"images": picture[None], "step": np.array([STEP], np.int32)}
    found = {}
    for name, signature in signatures.items():
        if name == "reconstruct":
            continue
        inputs = {key: given[key] for key in signature.inputs}
        outputs = signature.function(**{key: tf.constant(value) for key, value in inputs.items()})
        found[name] = inputs, {key: np.asarray(value) for key, value in outputs.items()}
        given |= found[name][1] if name == "encode" else {}
    return found


def opener(form: str, folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    """What runs a signature of an export."""
    if form == "litert":
        from codec_zoo.export.litert_file import open_litert

        return open_litert(folder)
    from codec_zoo.export.runtime import load_model

    return load_model(folder).run


def measure(preset: str, form: str, scratch: Path) -> dict[str, Any]:
    """The row of a preset and a format."""
    from codec_zoo import weights
    from codec_zoo.errors import CodecZooError
    from codec_zoo.export.saved_model import export_pretrained

    row: dict[str, Any] = {"preset": preset, "format": form, "runtime": version(FORMATS[form])}
    started = time.perf_counter()
    try:
        folder = export_pretrained(preset, scratch / form, verify=False, form=form)
        run = opener(form, folder)
    except CodecZooError as error:
        return {**row, "error": str(error)}
    row["seconds"] = round(time.perf_counter() - started, 1)
    row["megabytes"] = round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 2)
    exported = json.loads((folder / "assets" / "model_card.json").read_text())["signatures"]
    integers, different, pixels, levels = 0, 0, 0, 0
    for name, (inputs, outputs) in values_of(weights.create(preset).signatures).items():
        if name not in exported:
            continue
        got = run(name, **inputs)
        for key, value in outputs.items():
            change = np.abs(got[key].astype(np.float64) - value)
            if name.startswith(("decode", "changes")):  # samples of images, and of what a filter changes
                pixels, levels = max(pixels, int(np.count_nonzero(change))), max(levels, int(change.max()))
            else:
                integers, different = integers + value.size, different + int(np.count_nonzero(change))
    row |= {"signatures": sorted(exported), "integers": integers, "different": different}
    return {**row, "different_samples": pixels, "largest_difference": levels}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| preset | SavedModel | ONNX | LiteRT |", "|---|---|---|---|"]
    for preset in sorted({row["preset"] for row in rows}):
        cells = []
        for form in FORMATS:
            (row,) = [row for row in rows if (row["preset"], row["format"]) == (preset, form)] or [None]
            if row is None:
                cells.append("not measured")
            elif "error" in row:
                cells.append("no")
            else:
                cells.append(
                    f"{row['different']} of {row['integers']:,}; {row['largest_difference']}; {row['megabytes']} MB"
                )
        lines.append(f"| `{preset}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.file.read_text().splitlines()] if arguments.file.exists() else []
    if arguments.table:
        print(table(rows))
        return
    from codec_zoo import weights

    known = {(row["preset"], row["format"]) for row in rows}
    for preset in arguments.presets or sorted(weights.index()):
        for form in FORMATS:
            if (preset, form) in known:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                row = measure(preset, form, Path(scratch))
            print(row, flush=True)
            with arguments.file.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
