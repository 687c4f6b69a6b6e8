"""Integer tables for the range coder: built once from a model's densities and shipped with it.

A decoder only ever reads them: computed anew on another machine, a table could differ in its last count.
"""

import bisect
import dataclasses
import functools
import hashlib
import io
import itertools
import math
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from codec_zoo.errors import ModelError
from codec_zoo.files import write_atomic

if TYPE_CHECKING:
    import keras

    from codec_zoo.entropy_models import FactorizedPrior

TABLES = "tables.npz"
PRECISION = 16
# Mass beyond a table's two ends, which is coded by escapes.
TAIL_MASS = 2.0**-12
# Priors are looked at this far from 0.
_REACH = 4096


# An escape's number is below 2^30: on larger ones tensorflow-compression's encoder never ends.
LARGEST = 2**29


@dataclasses.dataclass(frozen=True)
class Tables:
    """Cumulative distributions, one a row.

    Attributes:
        cdf: int32 ``[n]``: for each row −precision, then its cumulative from 0 to 2^precision. The last interval
            is the escape: values beyond the row.
        offset: int32 ``[rows]``: the value that a row's first interval stands for.
    """

    cdf: np.ndarray
    offset: np.ndarray

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Where each row of ``cdf`` begins, and where the last ends: int64 ``[rows + 1]``.

        Raises:
            ModelError: these are no tables of the coder.
        """
        cdf = self.cdf.astype(np.int64)
        starts = np.append(np.flatnonzero(cdf < 0), cdf.size)
        sizes = np.diff(starts)
        if not (
            starts.size == self.offset.size + 1 > 1
            and starts[0] == 0
            and sizes.min() >= 3
            and cdf.min() >= -16
            and not cdf[starts[:-1] + 1].any()
            and np.array_equal(cdf[starts[1:] - 1], 1 << -cdf[starts[:-1]])
            and np.count_nonzero(np.diff(cdf) <= 0) == self.offset.size - 1
            and np.abs(self.offset.astype(np.int64)).max() <= LARGEST
        ):
            raise ModelError("the model's tables for the range coder are damaged. Fetch or export the model again.")
        return starts

    @functools.cached_property
    def least_bits(self) -> np.ndarray:
        """The fewest bits that a value of each row can cost: float64 ``[rows]``, 0 or more."""
        cdf, least = self.cdf.astype(np.int64), np.empty(self.offset.size)
        for row, (start, end) in enumerate(itertools.pairwise(self.starts)):
            share = np.diff(cdf[start + 1 : end]) / 2.0 ** -cdf[start]
            # The coder divides more than 2^16 numbers and rounds down: an interval may gain one, but not the first.
            share[1:] += 2.0**-16
            least[row] = -np.log2(min(1.0, share.max()))
        return least


def load_tables(file: Path | BinaryIO) -> dict[str, Tables]:
    """The tables of an export (``tables.npz``), by the latent they are for."""
    with np.load(file) as stored:
        return tables_of(stored)


def tables_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Tables]:
    """The tables in the arrays of :func:`build_tables`, by the latent they are for."""
    names = sorted(name.removesuffix(".cdf") for name in arrays if name.endswith(".cdf"))
    return {name: Tables(arrays[f"{name}.cdf"], arrays[f"{name}.offset"]) for name in names}


def hash_tables(tables: Mapping[str, Tables]) -> bytes:
    """SHA-256 of all tables, which files are bound to."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        for array in (tables[name].cdf, tables[name].offset):
            digest.update(f"{name}{array.shape}".encode() + array.astype("<i4").tobytes())
    return digest.digest()


def build_tables(model: "keras.Model") -> dict[str, np.ndarray]:
    """The arrays of ``tables.npz``: ``y`` for Gaussian latents (64 rows), and a set for each prior of ``model``.

    A set has a row for each channel, once for each of the model's ``prior_steps``.

    Returns:
        ``NAME.cdf`` and ``NAME.offset``, int32; empty for a model without entropy models.
    """
    from codec_zoo.entropy_models import scale_table

    if not model.priors:
        return {}
    distributions = {"y": [_gaussian(scale) for scale in scale_table()]}
    for name, prior in model.priors.items():
        distributions[name] = [row for delta in model.prior_steps for row in _factorized(prior, delta)]
    arrays = {}
    for name, rows in distributions.items():
        arrays[f"{name}.cdf"] = np.concatenate([_row(mass) for mass, _ in rows])
        arrays[f"{name}.offset"] = np.array([offset for _, offset in rows], np.int32)
    return arrays


def save_tables(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write :func:`build_tables`'s arrays, whole or not at all."""
    file = io.BytesIO()  # on a full disk, an archive that cannot be finished would complain a second time
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    write_atomic(path, file.getvalue())


def _gaussian(scale: float) -> tuple[np.ndarray, int]:
    """Mass of the integers within the tails, and the first of them, for a zero-mean Gaussian."""

    def tail(x: float) -> float:
        return 0.5 * math.erfc(x / scale * 2**-0.5)

    reach = 0
    while tail(reach + 0.5) > TAIL_MASS / 2:
        reach += 1
    half = np.array([tail(i - 0.5) - tail(i + 0.5) for i in range(reach + 1)])
    return np.concatenate([half[:0:-1], half]), -reach


def _factorized(prior: "FactorizedPrior", delta: float) -> list[tuple[np.ndarray, int]]:
    """The same for each channel of a learned prior, of values in quantisation steps ``delta``."""
    import keras

    values = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
    channels = prior.biases[0].shape[0]
    likelihood = prior(np.repeat(values[:, None], channels, axis=1), np.float32(delta))
    mass = keras.ops.convert_to_numpy(likelihood).astype(np.float64)
    rows = []
    for column in mass.T:
        below = np.cumsum(column)
        first = int(np.searchsorted(below, TAIL_MASS / 2))
        last = max(first, int(np.searchsorted(below, below[-1] - TAIL_MASS / 2)))
        rows.append((column[first : last + 1], first - _REACH))
    return rows


def _row(mass: np.ndarray) -> np.ndarray:
    """A row of the coder's table: −precision (a negative one allows escapes), then the integer cumulative."""
    full = np.append(mass, max(1 - mass.sum(), 0)).astype(np.float32)
    return np.concatenate([[-PRECISION, 0], np.cumsum(quantize(full, PRECISION))]).astype(np.int32)


def quantize(mass: np.ndarray, precision: int) -> list[int]:
    """Integers of at least 1 in proportion to ``mass``, which sum to 2^precision.

    Those of tensorflow-compression's ``pmf_to_quantized_cdf``: the rounded mass, then one unit after the other is
    given where it saves most bits or taken where it costs fewest.

    Args:
        mass: float32 ``[n]``, n ≥ 2: probabilities.
        precision: 1 … 16.
    """
    counts = [max(round(float(m) * 2**precision), 1) for m in mass]
    change = 1 if sum(counts) < 2**precision else -1

    def cost(i: int) -> float:
        """Bits that the next unit at ``i`` costs (less than 0: saves)."""
        if counts[i] + change < 1:
            return math.inf
        return -change * float(mass[i]) * abs(math.log2(counts[i] + change) - math.log2(counts[i]))

    queue = [(cost(i), i) for i in range(len(counts))]
    _sort(queue)
    for _ in range(abs(2**precision - sum(counts))):
        i = queue.pop(0)[1]
        counts[i] += change
        queue.insert(bisect.bisect_right(queue, cost(i), key=itemgetter(0)), (cost(i), i))
    return counts


def _sort(queue: list[tuple[float, int]]) -> None:
    """Sort by the first number, equals in the order that GNU's ``std::sort`` leaves them in.

    Symmetric distributions are full of equals, and which of them gets the last unit hangs on their order. Parts of
    more than 16 are split about the median of three, shorter parts are sorted by insertion.
    """
    key = itemgetter(0)
    parts = [(0, len(queue))]
    while parts:
        first, end = parts.pop()
        while end - first > 16:
            middle = first + (end - first) // 2
            a, b, c = first + 1, middle, end - 1
            low, high = (a, b) if queue[a][0] < queue[b][0] else (b, a)
            median = high if queue[high][0] < queue[c][0] else c if queue[low][0] < queue[c][0] else low
            queue[first], queue[median] = queue[median], queue[first]
            pivot, low, high = queue[first][0], first + 1, end
            while True:
                while queue[low][0] < pivot:
                    low += 1
                high -= 1
                while pivot < queue[high][0]:
                    high -= 1
                if low >= high:
                    break
                queue[low], queue[high] = queue[high], queue[low]
                low += 1
            parts.append((low, end))
            end = low
    queue.sort(key=key)
