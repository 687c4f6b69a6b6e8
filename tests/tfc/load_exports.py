"""Exports in an environment with nothing but some release of TensorFlow; see ``against_original.write_exports``."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


def check_exports(folder: Path) -> None:
    """Latents within one where floats round; the choice of tables, from our integers, exactly."""
    for export in sorted((folder / "exports").iterdir()):
        stored = np.load(folder / f"{export.name}.npz")
        (version,) = export.iterdir()
        signatures = tf.saved_model.load(str(version)).signatures
        given = {"encode": {"images": stored["picture"]}}
        if "encode.z1" in stored:
            given["entropy_parameters_1"] = {"z1": stored["encode.z1"]}
        for name, inputs in given.items():
            for key, value in signatures[name](**{k: tf.constant(v) for k, v in inputs.items()}).items():
                expected = stored[f"{name}.{key}"].astype(np.float64)
                difference = np.abs(value.numpy() - expected)
                most, often = (0, 0) if name != "encode" else (1, 1e-3)
                assert difference.max() <= most and np.mean(difference > 0) <= often, (
                    f"{export.name}, {name}, {key}: up to {difference.max()} in {np.mean(difference > 0):.2%}"
                )


if __name__ == "__main__":
    check_exports(Path(sys.argv[1]))
