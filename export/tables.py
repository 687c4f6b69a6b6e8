"""Integer tables for the range coder, built once from a model's densities and shipped with it.

A decoder only ever reads them: computed anew on another machine, a table could differ in its last count.
"""

import io
import math
from pathlib import Path

import keras
import numpy as np

from codec_zoo.entropy_models import FactorizedPrior, scale_table
from codec_zoo.files import write_atomic

TABLES = "tables.npz"
PRECISION = 16
# Mass beyond a table's two ends, which is coded by escapes.
TAIL_MASS = 2.0**-12
# Priors are looked at this far from 0.
_REACH = 4096


def build_tables(model: keras.Model) -> dict[str, np.ndarray]:
    """The arrays of ``tables.npz``: ``y`` for Gaussian latents (64 rows), and a set for each prior of ``model``.

    Returns:
        ``NAME.cdf`` and ``NAME.offset``, int32; empty for a model without entropy models.
    """
    if not model.priors:
        return {}
    distributions = {"y": [_gaussian(scale) for scale in scale_table()]}
    for name, prior in model.priors.items():
        distributions[name] = _factorized(prior)
    arrays = {}
    for name, rows in distributions.items():
        arrays[f"{name}.cdf"] = np.concatenate([_row(mass) for mass, _ in rows])
        arrays[f"{name}.offset"] = np.array([offset for _, offset in rows], np.int32)
    return arrays


def save_tables(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write :func:`build_tables`'s arrays, whole or not at all."""
    file = io.BytesIO()  # on a full disk, an archive that cannot be finished would complain a second time
    np.savez_compressed(file, **arrays)
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


def _factorized(prior: FactorizedPrior) -> list[tuple[np.ndarray, int]]:
    """The same for each channel of a learned prior."""
    values = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
    channels = prior.biases[0].shape[0]
    mass = keras.ops.convert_to_numpy(prior(np.repeat(values[:, None], channels, axis=1))).astype(np.float64)
    rows = []
    for column in mass.T:
        below = np.cumsum(column)
        first = int(np.searchsorted(below, TAIL_MASS / 2))
        last = max(first, int(np.searchsorted(below, below[-1] - TAIL_MASS / 2)))
        rows.append((column[first : last + 1], first - _REACH))
    return rows


def _row(mass: np.ndarray) -> np.ndarray:
    """A row of the coder's table: −precision (a negative one allows escapes), then the integer cumulative."""
    import tensorflow_compression_ops

    full = np.append(mass, max(1 - mass.sum(), 0)).astype(np.float32)
    cdf = tensorflow_compression_ops.pmf_to_quantized_cdf(full, PRECISION).numpy()
    return np.concatenate([[-PRECISION], cdf]).astype(np.int32)
