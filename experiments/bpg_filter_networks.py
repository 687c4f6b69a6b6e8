"""Which network gains most in a minute of one core, for ``bpg-filter``: short runs on the pairs that it trains on.

    export TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
    taskset -c 1 python experiments/bpg_filter_networks.py DATA 90 adam,1e-3,chain,48,4,2 muon,2e-3,fork,48,80,3

DATA: as for ``codec-zoo train --data``; 90: seconds of the process for each run. A run is an optimizer, its rate, and
a network: ``chain,C,B,S``, B blocks of C channels behind space-to-depth by S, or ``fork,C,D,B``, which is the
preset's: a block of C channels at half the resolution before and behind B blocks of D channels at a quarter. Batches
are 8 patches of 96×96, products in bfloat16; the rate rises over 100 steps, and falls to 0 over the last half.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from short_training import Budget, run_all, train

from codec_zoo.convolutions import Conv2D
from codec_zoo.datasets.training_data import open_source
from codec_zoo.metrics import psnr
from codec_zoo.models.bpg_filter import TO_RGB, BPGFilter, ScaledBlock, error_size
from codec_zoo.presets import get_preset
from codec_zoo.training.optimizers import ConvolutionMuon

PATCH, BATCH = 96, 8


class Chain(BPGFilter):
    """Blocks behind each other at one resolution."""

    def __init__(self, channels: int, blocks: int, side: int):
        super().__init__(channels, channels, blocks)
        self.side = side
        self.first = Conv2D(channels, 3, padding="same")
        self.last = Conv2D(3 * side**2, 3, padding="same", kernel_initializer="zeros")
        self.factors = keras.layers.Dense(2 * blocks * channels, kernel_initializer="zeros", dtype="float32")
        self.first.build((None, None, None, 3 * side**2))
        self.last.build((None, None, None, channels))
        self.factors.build((None, self.hidden.units))

    @property
    def blocks(self) -> list[ScaledBlock]:
        """Those of the fork's coarse part; the others are not used."""
        return self.coarse

    def residual(self, images: Any, quality: Any) -> Any:
        """The changes of Y, Cb and Cr; sides are multiples of those of the squares."""
        quality = ops.cast(quality, "float32")
        factors = self.factors(self.hidden((quality - 33.0) / 13.0))[:, None, None]
        factors = ops.split(factors, 2 * len(self.blocks), axis=-1)
        values = self.first(ops.space_to_depth(ops.cast(images, "float32") / 255.0 - 0.5, self.side))
        for i, block in enumerate(self.blocks):
            values = block(values, 1.0 + factors[2 * i], factors[2 * i + 1])
        return ops.depth_to_space(self.last(values), self.side) * error_size(quality)[:, None, None]


def run(text: str, seconds: float, data: str) -> str:
    """Train one network; what it gained on the held-out crops."""
    name, rate, kind, *numbers = text.split(",")
    preset, peak = get_preset("bpg-filter"), float(rate)
    recipe = dataclasses.replace(
        preset.recipe,
        patch_size=PATCH,
        batch_size=BATCH,
        steps=10**6,
    )
    source = open_source(data, preset, recipe, seed=0)
    keras.utils.set_random_seed(0)
    model = {"chain": Chain, "fork": BPGFilter}[kind](*map(int, numbers))
    if name == "muon":
        optimizer = ConvolutionMuon(peak, momentum=recipe.momentum, adam_lr_ratio=recipe.adam_ratio)
    else:
        optimizer = keras.optimizers.Adam(peak)
    model.compile(optimizer=optimizer, jit_compile=False)
    budget = Budget(seconds)
    train(model.train_on_batch, source.batches(0), optimizer, peak, budget)
    gains = []
    for pair in source.held_out(24):
        residual = ops.convert_to_numpy(model(pair[None]))[0] @ np.array(TO_RGB)
        left = np.clip(pair[..., :3] + residual, 0, 255)
        gains.append(psnr(pair[..., 3:6], left.round().astype(np.uint8)) - psnr(pair[..., 3:6], pair[..., :3]))
    return f"{text}: {budget.steps} steps, {np.mean(gains):+.3f} dB, the least {min(gains):+.3f}"


if __name__ == "__main__":
    run_all(run, __doc__)
