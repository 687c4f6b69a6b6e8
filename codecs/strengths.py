"""How strong the changes of a filter are: what the encoder chooses and the file says (Hu 2018)."""

from collections.abc import Callable

import numpy as np

from codec_zoo.stream import Strengths

# Rows of an image that are summed at once.
_STRIP = 64


def full(entry: Strengths) -> np.ndarray:
    """With these, int8, the filter is as it was trained: each of its changes in full, and no correction."""
    return np.array([entry.unit] * entry.full + [0] * (entry.count - entry.full), np.int8)


def best(
    entry: Strengths, changes: np.ndarray, true: np.ndarray, decoded: np.ndarray, show: Callable[[bytes], np.ndarray]
) -> np.ndarray:
    """Strengths, int8, with which the squared error is least, as decoders round it: none, full ones, or those of
    least squares.

    Args:
        entry: of the stream.
        changes: ``uint8 [H, W, planes · count]``, as the entry's signature gives them.
        true: ``uint8 [H, W, 3]``, YCbCr or RGB, of which the first planes count.
        decoded: the same as the codec gives it.
        show: strengths, a byte each → the decoded image, as ``true``.
    """

    def error(strengths: np.ndarray) -> int:
        shown, total = show(strengths.tobytes()), 0
        for top in range(0, len(true), _STRIP):
            rows = np.s_[top : top + _STRIP, :, : entry.planes]
            total += int(np.square(true[rows].astype(np.int32) - shown[rows]).sum(dtype=np.int64))
        return total

    candidates = (np.zeros(entry.count, np.int8), full(entry), least_squares(entry, changes, true, decoded))
    return min(candidates, key=error)


def least_squares(entry: Strengths, changes: np.ndarray, true: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Strengths, int8, with which the changes come closest to what is missing; from exact sums: the same everywhere.

    Arguments: see :func:`best`.
    """
    count, planes = entry.count, entry.planes
    sums = np.zeros((count, count + 1), np.int64)
    for found, original, shown in zip(changes, true, decoded, strict=True):
        missing = original[:, :planes].astype(np.int64) - shown[:, :planes]
        steps = found.reshape(-1, count).astype(np.int64) - 128
        sums += steps.T @ np.column_stack([steps, missing.reshape(-1, 1)])
    products, correlations = sums[:, :count] / entry.steps**2, sums[:, count] / entry.steps
    ridge = 1e-6 * (1 + np.trace(products))  # where changes are alike, or none
    strengths = np.linalg.solve(products + ridge * np.eye(count), correlations)
    return np.clip(np.round(entry.unit * strengths), -128, 127).astype(np.int8)
