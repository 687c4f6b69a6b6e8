"""How much longer a training step takes with the measurements for TensorBoard.

    python experiments/recording_cost.py jia2019-sae-mse-base --batch-size 4 --patch-size 128

Two copies of each preset train in turns, one with a recorder and one without, so that both see the same load of the
machine. Printed: the least and the median seconds of a step of each, and their ratios.
"""

import argparse
import time

import keras
import numpy as np

from codec_zoo.presets import get_preset
from codec_zoo.provenance import processor
from codec_zoo.training.optimizers import make_optimizer
from codec_zoo.training.recorder import Recorder

WARM_UP = 5


def main() -> None:
    """Print a line for each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--patch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    print(f"{processor()}, {keras.backend.backend()}, {options.batch_size} patches of {options.patch_size} pixels")
    for name in options.presets:
        seconds = measure(name, options.batch_size, options.patch_size, options.steps)
        least, median = np.min(seconds, axis=1), np.median(seconds, axis=1)
        print(
            f"{name}: without {least[0]:.4f} s (median {median[0]:.4f}), with {least[1]:.4f} s ({median[1]:.4f}), "
            f"ratio {least[1] / least[0]:.4f} ({median[1] / median[0]:.4f})"
        )


def measure(name: str, batch_size: int, patch_size: int, steps: int) -> np.ndarray:
    """Seconds of each step: ``float [2, steps]``, without and with a recorder."""
    preset = get_preset(name)
    models = []
    for recorded in (False, True):
        model = preset.create()
        model.compile(optimizer=make_optimizer(preset.recipe), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        if recorded:
            model.recorder = Recorder(model.recorded, model.optimizer)
        models.append(model)
    batch = np.random.default_rng(0).integers(0, 256, (batch_size, patch_size, patch_size, 3), np.uint8)
    seconds = np.zeros((2, WARM_UP + steps))
    for step in range(WARM_UP + steps):
        for i in (0, 1) if step % 2 else (1, 0):
            started = time.perf_counter()
            models[i].learn([models[i]], batch, step)
            seconds[i, step] = time.perf_counter() - started
    return seconds[:, WARM_UP:]


if __name__ == "__main__":
    main()
