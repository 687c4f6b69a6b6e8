"""The best file for a target of rate or quality: one search, for all models that have layers or a dial."""

import bisect
import dataclasses
import functools
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
    """

    qualities: Sequence[float | None]
    encode: Callable[[float | None], bytes]
    measure: Callable[[float | None], int]
    compare: Callable[[float | None], float]

    def __post_init__(self) -> None:
        self.file, self.size = functools.cache(self.encode), functools.cache(self.measure)
        self.psnr = functools.cache(self.compare)

    def count_up_to(self, size: float) -> int:
        """How many of the lowest qualities have files of at most ``size`` bytes."""
        return bisect.bisect_right(self.qualities, size, key=self.size)

    def count_below(self, wanted: float, most: int) -> int:
        """How many of the ``most`` lowest qualities stay below a PSNR, dB."""
        return bisect.bisect_left(self.qualities, wanted, hi=most, key=self.psnr)


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
