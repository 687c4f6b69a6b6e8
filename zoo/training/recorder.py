"""What training steps measure beside their loss, for the curves of a run."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

GRADIENT_NORM, CLIPPED = "optimizer/gradient_norm", "optimizer/clipped_steps"
_STEPS = "steps"


class Recorder:
    """Means of scalars over training steps, of one optimizer.

    The sums are in variables on the device. A step adds to them and waits for nothing. The recorder itself adds
    :data:`GRADIENT_NORM`, the norm of all gradients before they are clipped. Where the optimizer clips that norm, it
    adds :data:`CLIPPED`, the share of steps with a clipped gradient.

    Args:
        names: of the scalars that the model records.
        optimizer: whose ``apply`` the recorder watches; gradients of several workers must reach it as their sum.
    """

    def __init__(self, names: Sequence[str], optimizer: keras.optimizers.Optimizer):
        bound = optimizer.global_clipnorm
        own = (GRADIENT_NORM, CLIPPED, _STEPS) if bound else (GRADIENT_NORM, _STEPS)
        self.sums = {
            name: keras.Variable(np.float32(0), trainable=False, dtype="float32", autocast=False)
            for name in (*names, *own)
        }
        self._diverted: dict[str, Any] | None = None
        apply = optimizer.apply

        def apply_and_record(gradients: Sequence[Any], trainable_variables: Any = None) -> Any:
            squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients if g is not None]
            norm = ops.sqrt(sum(squares))
            self.add({GRADIENT_NORM: norm, _STEPS: 1.0})
            if bound:
                self.add({CLIPPED: norm > bound})
            return apply(gradients, trainable_variables)

        optimizer.apply = apply_and_record

    def add(self, values: Mapping[str, Any]) -> None:
        """Add scalars of the step in progress, by name; may be traced."""
        for name, value in values.items():
            number = ops.stop_gradient(ops.cast(value, "float32"))
            if self._diverted is None:
                self.sums[name].assign_add(number)
            else:
                self._diverted[name] = number

    @contextlib.contextmanager
    def diverted(self) -> Iterator[dict[str, Any]]:
        """In the block, scalars go into the dict that this gives, for whoever adds to :attr:`sums` himself."""
        self._diverted = {}
        try:
            yield self._diverted
        finally:
            self._diverted = None

    def take(self) -> dict[str, float]:
        """The means since the last call, by name; empty if no step has been recorded."""
        sums = {name: float(ops.convert_to_numpy(variable)) for name, variable in self.sums.items()}
        for variable in self.sums.values():
            variable.assign(np.float32(0))
        steps = sums.pop(_STEPS)
        return {name: value / steps for name, value in sums.items()} if steps else {}


class StepClock:
    """Time that training steps take, and the part of it in which the loop waits for data.

    On a device that works through a queue (JAX), it has work while the loop waits.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._waited = 0.0

    def waiting(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The same batches; the time until each comes is counted."""
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - begun
            if batch is None:
                return
            yield batch

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """In the block, no time is counted."""
        begun = time.perf_counter()
        yield
        self._begun += time.perf_counter() - begun

    def take(self, images: int) -> dict[str, float]:
        """``speed/images_per_second`` and ``speed/data_wait``, a share of the time, since the last call.

        Args:
            images: how many there were.
        """
        now = time.perf_counter()
        passed, waited = now - self._begun, self._waited
        self._begun, self._waited = now, 0.0
        return {"speed/images_per_second": images / passed, "speed/data_wait": waited / passed}
