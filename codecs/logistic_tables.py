"""Range coder's tables of the pixel predictor's errors: logistic distributions."""

import decimal
import functools

import numpy as np

from codec_zoo.export.tables import PRECISION, Tables

SCALES = 64


@functools.cache
def tables() -> Tables:
    """Logistic distributions of 64 scales, 0.1 … 100, in decimal arithmetic: the same on every machine."""
    rows, offsets = [], []
    with decimal.localcontext(prec=28):
        for i in range(SCALES):
            mass = _logistic(decimal.Decimal("0.1") * decimal.Decimal(1000) ** (decimal.Decimal(i) / (SCALES - 1)))
            rows.append(_row(mass))
            offsets.append(-(len(mass) // 2))
    return Tables(np.concatenate(rows), np.array(offsets, np.int32))


def _logistic(scale: decimal.Decimal) -> list[int]:
    """Mass of the integers around 0, in units of 2^−16, of those that have at least one."""
    unit = decimal.Decimal(2**PRECISION)

    def below(x: decimal.Decimal) -> decimal.Decimal:
        return unit / (1 + (-x / scale).exp())

    half, mass = decimal.Decimal("0.5"), []
    for value in range(511):
        mass.append(int(below(value + half) - below(value - half)))
        if not mass[-1]:
            mass.pop()
            break
    return mass[:0:-1] + mass


def _row(mass: list[int]) -> np.ndarray:
    """A row of the coder's table. The escape gets the mass that is left over, at least one unit."""
    left = 2**PRECISION - sum(mass)
    if left < 1:
        mass = [*mass]
        mass[len(mass) // 2] -= 1 - left
        left = 1
    return np.array([-PRECISION, *np.cumsum([0, *mass, left])], np.int32)


def best_scale(values: np.ndarray) -> int:
    """The row of :func:`tables` that codes ``values`` in the fewest bits."""
    if not values.size:
        return 0
    found, counts = np.unique(values, return_counts=True)
    costs = _costs()[:, found + 511]
    return int(np.argmin(costs @ counts))


@functools.cache
def _costs() -> np.ndarray:
    """Bits of −511 … 511 in each row, escapes by their length in Elias gamma code."""
    known = tables()
    starts = np.flatnonzero(known.cdf == -PRECISION)
    costs = np.empty((SCALES, 1023))
    for i, row in enumerate(np.split(known.cdf, starts[1:])):
        bits = PRECISION - np.log2(np.diff(row[1:]))
        costs[i] = bits[-1] + 2 * 9 + 2
        first = known.offset[i] + 511
        costs[i, first : first + len(bits) - 1] = bits[:-1]
    return costs
