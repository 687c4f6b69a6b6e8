"""Optimizer steps on JAX that nobody waits for.

Keras's ``train_on_batch`` takes every variable out of the model, puts it back and waits for the loss, while a GPU
stands still. Here variables stay outside from step to step, and a loss is waited for when somebody reads it.
"""

import contextlib
from typing import Any

import jax
import keras

from codec_zoo.training.recorder import Recorder

Values = list[jax.Array]
Scalars = dict[str, jax.Array]


class JaxSteps:
    """Stands in for the ``train_on_batch`` of a compiled model with one loss.

    The model's variables, its optimizer's and its recorder's are as they were until :meth:`write_back`.

    Args:
        model: compiled.
        recorder: of its steps.
    """

    def __init__(self, model: keras.Model, recorder: Recorder | None = None):
        self.model = model
        self._recorder = recorder
        self._state: tuple[Values, ...] | None = None
        self._sums = self._no_sums()
        self._step = jax.jit(self._next)

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _no_sums(self) -> Scalars:
        return {name: jax.numpy.zeros(()) for name in self._recorder.sums} if self._recorder else {}

    def _recorded(self) -> contextlib.AbstractContextManager[Scalars]:
        return self._recorder.diverted() if self._recorder else contextlib.nullcontext({})

    def _next(
        self, trainable: Values, others: Values, optimizer: Values, sums: Scalars, x: Any, y: Any
    ) -> tuple[Values, Values, Values, Scalars, jax.Array]:
        def loss_of(values: Values) -> tuple[jax.Array, tuple[Values, Scalars]]:
            with self._recorded() as found:
                y_pred, changed = self.model.stateless_call(values, others, x, training=True)
                return self.model.compute_loss(x, y, y_pred), (changed, dict(found))

        (loss, (others, found)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        with self._recorded() as of_optimizer:
            trainable, optimizer = self.model.optimizer.stateless_apply(optimizer, gradients, trainable)
        found |= of_optimizer
        return trainable, others, optimizer, {name: sums[name] + found[name] for name in sums}, loss

    def train_on_batch(self, x: Any, y: Any = None) -> jax.Array:
        """Queue a step; its loss, a scalar that may still be on its way."""
        if self._state is None:
            self._state = tuple([variable.value for variable in group] for group in self._variables())
        *state, self._sums, loss = self._step(*self._state, self._sums, x, y)
        self._state = tuple(state)
        return loss

    def write_back(self) -> None:
        """Give the model, its optimizer and its recorder what the steps made of them."""
        if self._recorder:
            for name, variable in self._recorder.sums.items():
                variable.assign_add(self._sums[name])
            self._sums = self._no_sums()
        if self._state is not None:
            for group, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
