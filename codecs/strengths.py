"""How strong the changes of a luma filter are: what the encoder chooses and the file says (Hu 2018)."""

from collections.abc import Callable

import numpy as np

from codec_zoo import color
from codec_zoo.stream import Strengths

# Rows of an image that are summed at once.
_STRIP = 64


def paper(entry: Strengths) -> np.ndarray:
    """With these, int8, the filter is the paper's: the first change in full, and no other."""
    return np.array([entry.unit, *[0] * (entry.count - 1)], np.int8)


def best(
    entry: Strengths, changes: np.ndarray, luma: np.ndarray, decoded: np.ndarray, show: Callable[[bytes], np.ndarray]
) -> np.ndarray:
    """Strengths, int8, with which the squared error of luma is least, as decoders round it: none, the paper's, or
    those of least squares.

    Args:
        entry: of the stream.
        changes: ``uint8 [H, W, count]``, as the entry's signature gives them.
        luma: ``uint8 [H, W]``, the truth.
        decoded: ``uint8 [H, W]``, luma as the codec gives it.
        show: strengths, a byte each → the decoded image, ``uint8 [H, W, 3]``, RGB.
    """

    def error(strengths: np.ndarray) -> int:
        shown, total = show(strengths.tobytes()), 0
        for top in range(0, len(luma), _STRIP):
            strip = color.rgb_to_ycbcr(shown[top : top + _STRIP])[..., 0].astype(np.int32)
            total += int(np.square(luma[top : top + _STRIP] - strip).sum(dtype=np.int64))
        return total

    candidates = (np.zeros(entry.count, np.int8), paper(entry), least_squares(entry, changes, luma, decoded))
    return min(candidates, key=error)


def least_squares(entry: Strengths, changes: np.ndarray, luma: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Strengths, int8, with which the changes come closest to what is missing; from exact sums: the same everywhere.

    Arguments: see :func:`best`.
    """
    count = entry.count
    sums = np.zeros((count, count + 1), np.int64)
    for found, true, shown in zip(changes, luma, decoded, strict=True):
        missing = true.astype(np.int64) - shown
        steps = found.astype(np.int64) - 128
        sums += steps.T @ np.column_stack([steps, missing])
    products, correlations = sums[:, :count] / entry.steps**2, sums[:, count] / entry.steps
    ridge = 1e-6 * (1 + np.trace(products))  # where changes are alike, or none
    strengths = np.linalg.solve(products + ridge * np.eye(count), correlations)
    return np.clip(np.round(entry.unit * strengths), -128, 127).astype(np.int8)
