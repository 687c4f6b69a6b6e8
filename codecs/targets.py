"""The best file for a target of rate or quality: one search, for all models that have layers or a dial."""

import bisect
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence


@dataclasses.dataclass(eq=False)
class Candidates:
    """The files of so many layers and one alternative, a quality each; each is coded and measured once at most.

    Their sizes and PSNR rise with the quality, up to a few bytes and thousandths of dB: a bisection finds those at a
    target.

    Attributes:
        qualities: coarse first; ``(None,)`` for files without a dial.
        encode: quality → the file.
        measure: quality → bytes of the file, for which nothing need be decoded.
        compare: quality → PSNR, dB, of what the file decodes to.
        smooth: PSNR and the logarithm of the size rise nearly evenly with the quality, so that interpolation finds
            the one at a target in fewer files than a bisection.
    """

    qualities: Sequence[float | None]
    encode: Callable[[float | None], bytes]
    measure: Callable[[float | None], int]
    compare: Callable[[float | None], float]
    smooth: bool = False

    def __post_init__(self) -> None:
        self.file, self.size = functools.cache(self.encode), functools.cache(self.measure)
        self.psnr = functools.cache(self.compare)

    def count_up_to(self, size: float) -> int:
        """How many of the lowest qualities have files of at most ``size`` bytes."""
        if self.smooth:
            return _count_up_to(
                math.log(max(size, 1)), lambda i: math.log(self.size(self.qualities[i])), len(self.qualities)
            )
        return bisect.bisect_right(self.qualities, size, key=self.size)

    def count_below(self, wanted: float, most: int) -> int:
        """How many of the ``most`` lowest qualities stay below a PSNR, dB."""
        if self.smooth:
            below = math.nextafter(wanted, -math.inf)
            return _count_up_to(below, lambda i: self.psnr(self.qualities[i]), most)
        return bisect.bisect_left(self.qualities, wanted, hi=most, key=self.psnr)


def _count_up_to(target: float, value: Callable[[int], float], count: int) -> int:
    """How many of so many values, which rise, are at most ``target``: by interpolation between the closest two."""
    low, high = -1, count  # known to be within, and beyond
    ends: dict[int, float] = {}
    tried = 0
    while high - low > 1:
        index = (low + high) // 2
        if low in ends and high in ends and ends[high] > ends[low] and tried % 4 != 3:
            index = low + int((target - ends[low]) / (ends[high] - ends[low]) * (high - low))
        index = min(max(index, low + 1), high - 1)
        ends[index] = value(index)
        low, high = (index, high) if ends[index] <= target else (low, index)
        tried += 1
    return low + 1


def most_within(size: float, layers: Sequence[Sequence[Candidates]]) -> bytes:
    """The best file of at most so many bytes: of the most layers, and of these of the highest PSNR.

    If there is none, the smallest.

    Args:
        size: bytes.
        layers: for each number of layers, fewest first, the alternatives.
    """
    for alternatives in reversed(layers):
        fitting = [(one, one.qualities[count - 1]) for one in alternatives if (count := one.count_up_to(size))]
        if fitting:
            one, quality = max(fitting, key=lambda pair: pair[0].psnr(pair[1])) if len(fitting) > 1 else fitting[0]
            return one.file(quality)
    smallest = min(layers[0], key=lambda one: one.size(one.qualities[0]))
    return smallest.file(smallest.qualities[0])


def least_above(wanted: float, layers: Sequence[Sequence[Candidates]]) -> bytes:
    """The smallest file of at least so many dB, of the fewest layers; if there is none, that of highest PSNR.

    Arguments: see :func:`most_within`.
    """
    for alternatives in layers:
        best: tuple[Candidates, float | None] | None = None
        for one in alternatives:
            most = one.count_up_to(best[0].size(best[1]) - 1) if best else len(one.qualities)
            count = one.count_below(wanted, most)
            if count < most:
                best = one, one.qualities[count]
        if best:
            return best[0].file(best[1])
    finest = layers[-1]
    one = max(finest, key=lambda one: one.psnr(one.qualities[-1])) if len(finest) > 1 else finest[0]
    return one.file(one.qualities[-1])
