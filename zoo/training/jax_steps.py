"""Optimizer steps on JAX that nobody waits for.

Keras's ``train_on_batch`` takes every variable out of the model, puts it back and waits for the loss, while a GPU
stands still. Here variables stay outside from step to step, and a loss is waited for when somebody reads it.
"""

from typing import Any

import jax
import keras

Values = list[jax.Array]


class JaxSteps:
    """Stands in for the ``train_on_batch`` of a compiled model with one loss.

    The model's variables, and its optimizer's, are as they were until :meth:`write_back`.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._state: tuple[Values, ...] | None = None
        self._step = jax.jit(self._next)

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _next(
        self, trainable: Values, others: Values, optimizer: Values, x: Any, y: Any
    ) -> tuple[Values, Values, Values, jax.Array]:
        def loss_of(values: Values) -> tuple[jax.Array, Values]:
            y_pred, changed = self.model.stateless_call(values, others, x, training=True)
            return self.model.compute_loss(x, y, y_pred), changed

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        trainable, optimizer = self.model.optimizer.stateless_apply(optimizer, gradients, trainable)
        return trainable, others, optimizer, loss

    def train_on_batch(self, x: Any, y: Any = None) -> jax.Array:
        """Queue a step; its loss, a scalar that may still be on its way."""
        if self._state is None:
            self._state = tuple([variable.value for variable in group] for group in self._variables())
        *state, loss = self._step(*self._state, x, y)
        self._state = tuple(state)
        return loss

    def write_back(self) -> None:
        """Give the model and its optimizer what the steps made of them."""
        if self._state is not None:
            for group, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
