"""What more numbers in the file would bring to ``bpg-filter``, at most: Kodak, 16 files, before their cost.

    python experiments/bpg_filter_side_information.py

A file holds three gains. The columns are dB above the picture with these three, for corrections of Y that are found
by least squares with the true picture at hand:

- ``channels``: a weight of each channel that the last convolution sees;
- ``taps``: a filter of 12 symmetric taps for each of 1, 4 and 8 classes of local activity, after the adaptive loop
  filter of VVC (Tsai et al. 2013);
- ``blocks``: a gain of each block of 64×64 pixels.

Two minutes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard import get_codec
from codec_zoo.filter_layers import RGB_CODEC
from codec_zoo.metrics import psnr_of_error
from codec_zoo.models.bpg_filter import SHRINK, TO_RGB, BPGFilter, error_size

KODAK = Path(__file__).parents[1] / "datasets/kodak"
PICTURES, QUALITIES, CLASSES, BLOCK = (1, 4, 7, 13, 15, 19, 22, 23), (36, 28), (1, 4, 8), 64
# Offsets of the taps, without the middle and their mirrors: a diamond of 7×7.
TAPS = [(y, x) for y in range(4) for x in range(-3, 4) if (y, x) > (0, 0) and y + abs(x) <= 3]
LUMA = np.array([0.299, 0.587, 0.114])


def fit(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The weighted sum of columns, ``[N, K]``, that is nearest to the target, ``[N]``."""
    return columns @ np.linalg.lstsq(columns, target, rcond=None)[0]


def quality(error: np.ndarray) -> float:
    """PSNR, dB."""
    return float(psnr_of_error(float(np.mean(np.square(error)))))


def coded(model: BPGFilter, image: np.ndarray, qp: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """A picture behind BPG, and behind the filter with the best three gains.

    Returns:
        Bytes of the file; the error of the decoded picture; the error behind the filter; the filter's change of Y, Cb
        and Cr: float ``[H, W, 3]`` each.
    """
    codec = get_codec(f"{RGB_CODEC}:{qp}")
    data = codec.encode(image)
    decoded = codec.decode(data)
    change = ops.convert_to_numpy(model.residual(decoded[None], np.array([[qp]], np.float32)))[0]
    missing = image.astype(np.float64) - decoded
    planes = np.stack([(change[..., i : i + 1] * np.array(TO_RGB)[i]).ravel() for i in range(3)], 1)
    return len(data), missing, missing - fit(planes, missing.ravel()).reshape(missing.shape), change


def channels(model: BPGFilter, seen: np.ndarray, size: float) -> np.ndarray:
    """What each channel ``seen`` by the last convolution adds to Y: ``[H, W, C]``."""
    found = []
    for i in range(seen.shape[-1]):
        kernel = model.last.kernel[:, :, i : i + 1]
        squares = ops.depth_to_space(ops.conv(seen[None, ..., i : i + 1], kernel, padding="same"), SHRINK)
        found.append(ops.convert_to_numpy(squares)[0, ..., 0] * size)
    return np.stack(found, -1)


def taps(luma: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """The correction by a filter for each class of activity: ``[H, W]``."""
    pairs = [np.roll(luma, (y, x), (0, 1)) + np.roll(luma, (-y, -x), (0, 1)) - 2 * luma for y, x in TAPS]
    columns = np.clip(np.stack(pairs, -1), -30, 30).reshape(-1, len(TAPS))
    curvature = sum(np.roll(luma, shift, axis) for shift in (1, -1) for axis in (0, 1)) - 4 * luma
    activity = sum(np.roll(np.abs(curvature), (y, x), (0, 1)) for y in range(-4, 4) for x in range(-4, 4))
    members = np.searchsorted(np.quantile(activity, np.linspace(0, 1, classes + 1)[1:-1]), activity).ravel()
    correction = np.zeros(target.size)
    for which in range(classes):
        inside = members == which
        correction[inside] = fit(columns[inside], target.ravel()[inside])
    return correction.reshape(target.shape)


def blocks(change: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The correction by a gain for each block of the filter's change of Y: ``[H, W]``."""
    correction = np.zeros_like(target)
    for top in range(0, target.shape[0], BLOCK):
        for left in range(0, target.shape[1], BLOCK):
            block = np.s_[top : top + BLOCK, left : left + BLOCK]
            gain = np.sum(change[block] * target[block]) / (np.sum(np.square(change[block])) + 1e-9)
            correction[block] = gain * change[block]
    return correction


def main() -> None:
    """Print a line for each file."""
    model = weights.create("bpg-filter")
    seen: dict[str, Any] = {}
    convolve = model.last.call

    def record(inputs):
        seen["last"] = inputs
        return convolve(inputs)

    model.last.call = record
    print("QP  picture  bpp    filter", "channels", *(f"taps {count}" for count in CLASSES), "blocks", sep="  ")
    for qp in QUALITIES:
        for number in PICTURES:
            image = read_image(KODAK / f"kodim{number:02}.png")
            size, missing, left, change = coded(model, image, qp)
            # One more change of Y moves R, G and B alike.
            target = left.mean(-1)
            basis = channels(model, ops.convert_to_numpy(seen["last"])[0], float(error_size(np.float32(qp))))
            corrections = [fit(basis.reshape(target.size, -1), target.ravel()).reshape(target.shape)]
            corrections += [taps((image - left) @ LUMA, target, count) for count in CLASSES]
            corrections.append(blocks(change[..., 0], target))
            gains = [quality(left - correction[..., None]) - quality(left) for correction in corrections]
            bpp = 8 * size / target.size
            text = "    ".join(f"{gain:+.3f}" for gain in (quality(left) - quality(missing), *gains))
            print(f"{qp}  kodim{number:02}  {bpp:.3f}  {text}", flush=True)


if __name__ == "__main__":
    main()
