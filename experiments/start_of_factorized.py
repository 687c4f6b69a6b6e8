"""Weights that ``balle2017-factorized-mse-vbr`` starts from, learned from ``balle2018-hyperprior-mse-4``.

    python experiments/start_of_factorized.py DATA fitted.weights.h5
    python experiments/entropy_model_on_latents.py balle2017-factorized-mse-vbr fitted.weights.h5 DATA start.h5
    codec-zoo train balle2017-factorized-mse-vbr --start-from start.h5 …

Both models have y at a sixteenth of the resolution. Ballé 2018 goes there in four layers of stride 2, Ballé 2017 in
one of stride 4 and two of stride 2. The two layers next to y are copied, for the channels of y with most bits. Then
the analysis learns the other model's y, and the synthesis the pictures of DATA/train, from y with uniform noise. The
prior is still fresh behind this script, and the second one trains it.
"""

import argparse
import dataclasses
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from short_training import Budget, train
from start_of_context import SOURCE, order_of_bits

from codec_zoo import weights
from codec_zoo.convolutions import policy
from codec_zoo.datasets.training_data import open_source
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.presets import get_preset
from codec_zoo.training.optimizers import ConvolutionMuon

TARGET = "balle2017-factorized-mse-vbr"
PATCH, BATCH, RATE, SHOWN = 128, 8, 1e-3, 100


def copy_inner_layers(source: Any, target: Any, channels: np.ndarray) -> None:
    """Copy the layers next to y, with these channels of y."""
    for mine, theirs in zip(target.analysis.layers[2:], source.analysis.layers[4:], strict=True):
        values = theirs.get_weights()
        if theirs is source.analysis.layers[-1]:
            values = [array[..., channels] for array in values]
        mine.set_weights(values)
    for mine, theirs in zip(target.synthesis.layers[:4], source.synthesis.layers[:4], strict=True):
        values = theirs.get_weights()
        if theirs is source.synthesis.layers[0]:  # a transposed kernel is [h, w, out, in]
            values[0] = values[0][..., channels]
        mine.set_weights(values)


def fit(part: keras.Model, pairs: Iterator[tuple[Any, Any]], minutes: float, name: str) -> None:
    """Fit a transform to pairs of its input and output by squared error."""
    optimizer: Any = ConvolutionMuon(RATE, momentum=0.8, adam_lr_ratio=5.0, global_clipnorm=1.0)
    part.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    budget, losses = Budget(60 * minutes, time.monotonic), list[float]()

    def learn(pair: tuple[Any, Any]) -> None:
        losses.append(float(part.train_on_batch(*pair)))
        if len(losses) == SHOWN:
            print(f"{name}: {budget.steps + 1} steps, loss {np.mean(losses):.5f}", flush=True)
            losses.clear()

    train(learn, pairs, optimizer, RATE, budget)


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of pictures, with the subfolders train and val")
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument("--minutes", type=float, default=5, help="for each of the two transforms")
    options = parser.parse_args()
    keras.mixed_precision.set_dtype_policy(policy("mixed_bfloat16"))
    keras.utils.set_random_seed(0)
    source, target = weights.create(SOURCE), weights.create(TARGET, pretrained=False)
    channels = order_of_bits(source, find_pictures(f"{options.data}/val"))[: target.latent_channels]
    preset = get_preset(TARGET)
    recipe = dataclasses.replace(preset.recipe, patch_size=PATCH, batch_size=BATCH, steps=10**6)
    batches = open_source(options.data, preset, recipe, seed=0).batches(0)

    def residuals() -> Iterator[Any]:
        return ((np.asarray(batch, np.float32) - source.GRAY) / 255.0 for batch in batches)

    target.initialize(np.concatenate(list(itertools.islice(batches, 8))))
    copy_inner_layers(source, target, channels)
    of_source = ((images, ops.take(source.analysis(images), channels, -1)) for images in residuals())
    fit(target.analysis, of_source, options.minutes, "analysis")
    noise = np.random.default_rng(0)

    def of_latents() -> Iterator[tuple[Any, Any]]:
        for images in residuals():
            y = ops.convert_to_numpy(ops.cast(target.analysis(images), "float32"))
            yield y + noise.uniform(-0.5, 0.5, y.shape).astype(np.float32), images

    fit(target.synthesis, of_latents(), options.minutes, "synthesis")
    weights.save(target, options.output)


if __name__ == "__main__":
    main()
