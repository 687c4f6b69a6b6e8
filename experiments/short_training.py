"""What trials of training share: the course of the learning rate, a budget of time, and the command line."""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras

from codec_zoo.convolutions import policy

# Steps over which the learning rate rises. It falls to 0 over the second half of the budget.
WARMUP = 100
# The first steps build the graph. Their time is not counted.
UNCOUNTED = 2


class Budget:
    """Seconds of a training, without those of its first steps."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.process_time):
        self.seconds, self.clock, self.steps = seconds, clock, 0
        self.started = clock()

    @property
    def spent(self) -> float:
        """Seconds of the steps that count."""
        return self.clock() - self.started

    @property
    def share(self) -> float:
        """What is spent of the budget."""
        return self.spent / self.seconds

    def step(self) -> None:
        """Count a step that was done."""
        self.steps += 1
        if self.steps <= UNCOUNTED:
            self.started = self.clock()


def train(learn: Callable[[Any], Any], batches: Iterable[Any], optimizer: Any, peak: float, budget: Budget) -> None:
    """Give batches to ``learn`` until the budget is spent; ``peak``: the highest learning rate."""
    for batch in batches:
        share = budget.share
        if share >= 1:
            return
        optimizer.learning_rate.assign(peak * min(1, (budget.steps + 1) / WARMUP, 2 * (1 - share)))
        learn(batch)
        budget.step()


def run_all(run: Callable[[str, float, str], str], description: str | None, header: str = "") -> None:
    """Read the command line, and print a header and the result of each run, one after the other."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("seconds", type=float)
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args()
    keras.mixed_precision.set_dtype_policy(policy("mixed_bfloat16"))
    print(header, end="")
    for text in options.runs:
        print(run(text, options.seconds, options.data), flush=True)
