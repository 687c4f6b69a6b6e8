"""Data-parallel training as the loop and the layers see it; how values travel is the business of a backend.

Every worker makes the same batches and learns from its share of each: rows ``share`` of ``whole``. Gradients are
summed over the workers before the optimizer clips and applies them, each worker's weighted with its part of the
batch. Noise for latents is drawn for the whole batch, of which a worker keeps its share; so a step is that of one
process, up to the order of float32 sums. Two things are not: dropout draws the same mask for every share, and batch
normalization normalises each share by itself.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

import keras

from codec_zoo.arrays import Array
from codec_zoo.errors import UsageError

_sharing: tuple[int, slice] | None = None


class Workers:
    """The workers of a run; this class is a process that trains alone. Use as a context around the run.

    Attributes:
        index: of this worker. Worker 0 loads, evaluates, saves and logs.
        count: how many there are.
    """

    index = 0
    count = 1

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A backend says here which error of its own means that a worker is lost."""

    def share(self, whole: int) -> slice:
        """This worker's rows of a batch of ``whole`` patches; sizes differ by one at most.

        Raises:
            UsageError: there are more workers than patches.
        """
        if whole < self.count:
            raise UsageError(f"a batch of {whole} patches is too small for {self.count} workers. Raise --batch-size.")
        return slice(whole * self.index // self.count, whole * (self.index + 1) // self.count)

    def attach(self, optimizer: keras.optimizers.Optimizer, whole: int) -> None:
        """Let ``optimizer`` apply the gradients of a whole batch, of which this worker has its share."""

    def mean(self, values: Mapping[str, float], whole: int) -> dict[str, float]:
        """Means over the shares → means over whole batches; all workers call it, with the same names."""
        return dict(values)

    def follow_first(self, variables: Sequence[keras.Variable]) -> None:
        """Give all workers what worker 0 has in ``variables``; all call it, with the same architecture."""

    def number_of_first(self, number: int) -> int:
        """What worker 0 calls this with; all call it. Nobody returns before the last has called."""
        return number


@contextlib.contextmanager
def sharing(whole: int, share: slice) -> Iterator[None]:
    """In the block, :func:`uniform_for_share` draws for ``whole`` rows; layers traced in it go on doing so."""
    global _sharing
    before, _sharing = _sharing, (whole, share)
    try:
        yield
    finally:
        _sharing = before


def uniform_for_share(shape: Sequence, low: float, high: float, seed: keras.random.SeedGenerator) -> Array:
    """``keras.random.uniform`` of this shape; while sharing, the rows that one process would have drawn for them."""
    if _sharing is None:
        return keras.random.uniform(shape, low, high, seed=seed)
    whole, share = _sharing
    return keras.random.uniform((whole, *shape[1:]), low, high, seed=seed)[share]
