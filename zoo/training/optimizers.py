"""The optimizer of a recipe, and the optimizers beyond Keras's own."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from codec_zoo.arrays import Array
from codec_zoo.errors import UsageError
from codec_zoo.presets import Recipe

# The share of the steps over which the rate of a trapezoid falls.
FALL = 0.25


@keras.saving.register_keras_serializable("codec_zoo")
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises from 0, stays, and falls to 0 over the last :data:`FALL` of the steps (Zhai et al. 2022).

    Args:
        rate: at its height.
        steps: in all.
        warmup_steps: over which it rises.
    """

    def __init__(self, rate: float, steps: int, warmup_steps: int = 0):
        super().__init__()
        self.rate, self.steps, self.warmup_steps = rate, steps, warmup_steps

    def __call__(self, step: Any) -> Any:
        """The rate at a step."""
        step = ops.cast(step, "float32")
        rise = (step + 1) / (self.warmup_steps + 1)
        fall = (self.steps - step) / max(1.0, FALL * self.steps)
        return self.rate * ops.clip(ops.minimum(rise, fall), 0, 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"rate": self.rate, "steps": self.steps, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable("codec_zoo")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon, for convolutions too: each update of a kernel is made orthogonal, as a matrix of taps.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". Keras leaves every array that is
    not a matrix to Adam. Here a kernel ``[h, w, i, o]`` is the matrix ``[h·w·i, o]``; a transposed one, ``[h, w, o,
    i]``, likewise: its last axis is what each place puts in. Updates have the size of Adam's (Liu et al. 2025, "Muon
    is scalable for LLM training"), so that one learning rate serves both.

    Adam keeps biases, priors, the pools of GDN (not linear maps), and kernels with a side of less than
    :data:`SMALLEST`.
    """

    SMALLEST = 4

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any):
        kwargs = {"weight_decay": None, "adam_weight_decay": None, **kwargs}
        super().__init__(learning_rate, **kwargs)

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        shape = variable.shape
        return len(shape) != 4 or min(shape[-1], shape[0] * shape[1] * shape[2]) < self.SMALLEST

    def _muon_update_step(self, gradient: Array, variable: keras.Variable, lr: Array, m: keras.Variable) -> None:
        self.assign(m, self.momentum * m + gradient)
        direction = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))

    def zeropower_via_newtonschulz5(self, x: Array, steps: int) -> Array:
        """Keras's Newton–Schulz iteration, through the Gram matrix of the short side.

        Each step multiplies x by a polynomial of xᵀx. All of them commute, so that their product is found on the
        small matrix alone and x is multiplied once: a tall kernel costs about a quarter.

        Args:
            x: float ``[m, n]``.
            steps: of the iteration.

        Returns:
            About the orthogonal factor of x: singular values from 0.7 to 1.2; the shape of ``x``.
        """
        tall = x.shape[0] >= x.shape[1]
        x = x / (ops.norm(x) + 1e-7)
        transposed = ops.transpose(x)
        gram = ops.matmul(transposed, x) if tall else ops.matmul(x, transposed)
        identity = ops.eye(gram.shape[0], dtype=gram.dtype)
        product = identity
        for _ in range(steps):
            factor = self.muon_a * identity + self.muon_b * gram + self.muon_c * ops.matmul(gram, gram)
            product = ops.matmul(product, factor)
            gram = ops.matmul(ops.matmul(factor, gram), factor)
        return ops.matmul(x, product) if tall else ops.matmul(product, x)


def make_optimizer(recipe: Recipe, share: float = 1.0) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its learning rate, warm-up, decay and clipping.

    Args:
        recipe: how.
        share: of the run's steps that this optimizer makes.
    """
    schedules = keras.optimizers.schedules
    steps = max(1, round(share * recipe.steps))
    if recipe.schedule == "halving":
        if recipe.warmup_steps:
            raise UsageError("the schedule 'halving' has no warm-up.")
        factors = [recipe.learning_rate * factor for factor in (1.0, 0.5, 0.25)]
        rate = schedules.PiecewiseConstantDecay([steps * 3 // 5, steps * 4 // 5], factors)
    elif recipe.schedule in ("constant", "cosine"):
        rate = schedules.CosineDecay(
            0.0 if recipe.warmup_steps else recipe.learning_rate,
            decay_steps=max(1, steps - recipe.warmup_steps),
            alpha=1.0 if recipe.schedule == "constant" else 0.0,
            warmup_target=recipe.learning_rate if recipe.warmup_steps else None,
            warmup_steps=recipe.warmup_steps,
        )
    elif recipe.schedule == "trapezoid":
        rate = Trapezoid(recipe.learning_rate, steps, recipe.warmup_steps)
    else:
        known = "'constant', 'cosine', 'halving' or 'trapezoid'"
        raise UsageError(f"the schedule must be {known}. Received: {recipe.schedule!r}")
    if recipe.optimizer != "muon" and (recipe.momentum, recipe.adam_ratio) != (Recipe.momentum, Recipe.adam_ratio):
        raise UsageError(f"--momentum and --adam-ratio are Muon's: the optimizer is {recipe.optimizer}.")
    common: dict[str, Any] = {"global_clipnorm": recipe.clip_norm}
    if recipe.average:
        common |= {"use_ema": True, "ema_momentum": recipe.average}
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, **common)
    if recipe.optimizer == "muon":
        return ConvolutionMuon(
            rate,
            adam_beta_1=recipe.beta_1,
            momentum=recipe.momentum,
            adam_lr_ratio=recipe.adam_ratio,
            **common,
        )
    return keras.optimizers.Adam(rate, recipe.beta_1, **common)


@contextlib.contextmanager
def averaged(learners: Sequence[keras.Model]) -> Iterator[None]:
    """In the block, weights are their moving averages, where the recipe has such; behind it they are as before."""
    learners = [learner for learner in learners if learner.optimizer.use_ema]
    kept = [[variable.numpy() for variable in learner.trainable_variables] for learner in learners]
    for learner in learners:
        learner.optimizer.finalize_variable_values(learner.trainable_variables)
    try:
        yield
    finally:
        for learner, values in zip(learners, kept, strict=True):
            for variable, value in zip(learner.trainable_variables, values, strict=True):
                variable.assign(value)
