"""Which optimizer and which stem train a hyperprior fastest: short runs from fresh weights, at equal time.

    export TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
    python experiments/training_trials.py DATA 900 adam,1e-3 muon,2e-3 soap,2e-3 muon,2e-3,4

DATA: as for ``codec-zoo train --data``; 900: seconds of the process for each run. A run is an optimizer, its
learning rate, and the stride of the first layer: 2, as in Ballé 2018, or 4, as in Ballé 2017. Batches are 8 patches
of 128×128 at the rate weight of ``balle2018-hyperprior-mse-4``, products in bfloat16. The learning rate rises over
100 steps, and falls to 0 over the last half of the time. The losses are of 12 held-out pictures.
"""

import dataclasses
import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from short_training import UNCOUNTED, Budget, run_all, train

from codec_zoo.datasets.training_data import open_source
from codec_zoo.models.balle2017 import KERNELS, STRIDES
from codec_zoo.models.balle2018 import ScaleHyperprior
from codec_zoo.presets import get_preset
from codec_zoo.training.optimizers import ConvolutionMuon

PRESET, PATCH, BATCH, HELD_OUT = "balle2018-hyperprior-mse-4", 128, 8, 12


class SOAP(keras.optimizers.Adam):
    """Adam in the eigenbasis of Shampoo's preconditioners (Vyas et al. 2024), for the kernels of convolutions.

    A kernel has a preconditioner for each of its four axes, as in the authors' code. The bases follow them by a step
    of orthogonal iteration every :data:`EVERY` steps. Other variables have Adam, at ``adam_ratio`` times the rate.
    """

    EVERY = 10

    def __init__(self, learning_rate: float, adam_ratio: float, **kwargs: Any):
        super().__init__(learning_rate, beta_1=0.95, beta_2=0.95, epsilon=1e-8, **kwargs)
        self.adam_ratio = adam_ratio

    def build(self, var_list: list[keras.Variable]) -> None:
        """Add a preconditioner and a basis for each axis of each kernel."""
        if self.built:
            return
        super().build(var_list)
        self.axes: list[list[tuple[int, tf.Variable, tf.Variable]]] = []
        for variable in var_list:
            sides = enumerate(variable.shape) if len(variable.shape) == 4 else ()
            self.axes.append(
                [(axis, tf.Variable(tf.zeros((n, n))), tf.Variable(tf.eye(n))) for axis, n in sides if n > 1]
            )

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        axes = self.axes[index]
        if not axes:
            super().update_step(gradient, variable, learning_rate * self.adam_ratio)
            return
        momentum, square = self._momentums[index], self._velocities[index]
        gradient, step = tf.cast(gradient, tf.float32), tf.cast(self.iterations, tf.float32) + 1
        for axis, factor, _ in axes:
            others = [i for i in range(4) if i != axis]
            factor.assign(
                self.beta_2 * factor + (1 - self.beta_2) * tf.tensordot(gradient, gradient, (others, others))
            )
        momentum.assign(self.beta_1 * momentum + (1 - self.beta_1) * gradient)
        in_basis = rotate(gradient, [(axis, basis) for axis, _, basis in axes])
        square.assign(self.beta_2 * square + (1 - self.beta_2) * tf.square(in_basis))
        direction = rotate(momentum, [(axis, basis) for axis, _, basis in axes])
        direction /= tf.sqrt(square / (1 - tf.pow(self.beta_2, step))) + self.epsilon
        update = rotate(direction, [(axis, tf.transpose(basis)) for axis, _, basis in axes])
        # The first step only fills the preconditioners.
        rate = tf.where(step > 1, learning_rate / (1 - tf.pow(self.beta_1, step)), 0.0)
        variable.assign_sub(rate * update)
        tf.cond(step % self.EVERY == 1, lambda: self.turn(square, axes), lambda: None)

    @staticmethod
    def turn(square: keras.Variable, axes: list[tuple[int, tf.Variable, tf.Variable]]) -> None:
        """Bring the bases nearer to the eigenvectors, largest eigenvalue first."""
        for axis, factor, basis in axes:
            values = tf.linalg.diag_part(tf.transpose(basis) @ factor @ basis)
            order = tf.argsort(values, direction="DESCENDING")
            square.assign(tf.gather(square, order, axis=axis))
            basis.assign(tf.linalg.qr(factor @ tf.gather(basis, order, axis=1))[0])


def rotate(values: Any, bases: list[tuple[int, Any]]) -> Any:
    """A kernel in other bases of its axes."""
    for axis, basis in bases:
        values = tf.tensordot(values, basis, ([axis], [0]))
        values = tf.transpose(values, [*range(axis), 3, *range(axis, 3)])
    return values


def run(text: str, seconds: float, data: str) -> str:
    """Train one network; its held-out loss and rate."""
    name, rate, *stride = text.split(",")
    preset, peak = get_preset(PRESET), float(rate)
    recipe = dataclasses.replace(preset.recipe, patch_size=PATCH, batch_size=BATCH, steps=10**6)
    source = open_source(data, preset, recipe, seed=0)
    keras.utils.set_random_seed(0)
    stem = {"kernels": KERNELS, "strides": STRIDES} if stride == ["4"] else {}
    model = ScaleHyperprior(**{**preset.config, **stem})
    common = {"global_clipnorm": 500.0}
    if name == "muon":
        optimizer = ConvolutionMuon(peak, momentum=0.8, adam_lr_ratio=5.0, **common)
    elif name == "soap":
        optimizer = SOAP(peak, adam_ratio=1.0, **common)
    else:
        optimizer = keras.optimizers.Adam(peak, **common)
    patches = np.concatenate(list(itertools.islice(source.batches(0), 64 // BATCH)))
    model.initialize(patches)
    model.normalize_activations(patches)
    model.compile(optimizer=optimizer, jit_compile=False)
    budget = Budget(seconds)
    train(lambda batch: model.learn([model], batch, budget.steps), source.batches(0), optimizer, peak, budget)
    spent, counted = budget.spent, budget.steps - UNCOUNTED
    results = [model.evaluate_image(image) for image in source.held_out(HELD_OUT)]
    loss, bpp = (float(np.mean([getattr(result, name) for result in results])) for name in ("loss", "bpp"))
    return f"{text} | {budget.steps} | {spent / counted:.3f} | {loss:.2f} | {bpp:.4f}"


if __name__ == "__main__":
    run_all(run, __doc__, "run | steps | seconds a step | held-out loss | bpp\n")
