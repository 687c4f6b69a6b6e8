"""What a context could know about the latents of ``balle2018-hyperprior-mse-4``: bits that linear means save.

    python experiments/latent_redundancy.py DATA

The model has means of zero. For each channel of y a mean is fitted by weighted least squares on three quarters of the
pictures of ``DATA/val``: from the four neighbours in the same channel, as the second pass of a checkerboard has them
(He et al. 2021); from the channels with more bits at the same place, as a context of channels has them (Minnen and
Singh 2020); from both. One factor of the standard deviations is fitted with it. The bits are of the other pictures,
of rounded latents, as shares of the bits without a mean.
"""

import argparse
from pathlib import Path

import numpy as np
from keras import ops

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.entropy_models import bits, gaussian_likelihood
from codec_zoo.harness.evaluation import find_pictures

PRESET = "balle2018-hyperprior-mse-4"
FACTORS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)


def spent(r: np.ndarray, scale: np.ndarray) -> float:
    """Bits of rounded values in all."""
    return float(ops.sum(bits(gaussian_likelihood(np.round(r).astype(np.float32), scale.astype(np.float32)))))


def measure(paths: list[Path]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """y and its standard deviations, of each picture: float32 ``[h, w, C]``."""
    model = weights.create(PRESET)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for path in paths:
        image = read_image(path)
        height, width = (side // model.stride * model.stride for side in image.shape[:2])
        pixels = ops.cast(image[None, :height, :width], "float32")
        latents = model.latents((pixels - model.GRAY) / 255.0)
        scale = model.hyper_synthesis(ops.round(latents["z"]))
        for values, of_all in zip((latents["y"], scale), found, strict=True):
            of_all.append(ops.convert_to_numpy(values)[0])
    return found


def column(arrays: list[np.ndarray], channel: int) -> np.ndarray:
    """A channel of all pictures, one behind the other."""
    return np.concatenate([array[..., channel].ravel() for array in arrays])


def neighbours(y: np.ndarray, channel: int) -> np.ndarray:
    """Rounded values above, below, left and right of each place: ``[h · w, 4]``."""
    padded = np.pad(np.round(y[..., channel]), 1)
    moved = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.stack([values.ravel() for values in moved], 1)


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of pictures, with a subfolder val")
    latents, scales = measure(find_pictures(str(parser.parse_args().data / "val")))
    split = 3 * len(latents) // 4
    count = latents[0].shape[-1]
    order = np.argsort([spent(column(latents, channel), column(scales, channel)) for channel in range(count)])[::-1]
    totals = dict.fromkeys(("without", "neighbours", "channels", "both"), 0.0)
    for rank, channel in enumerate(order):
        y, scale = column(latents[:split], channel), column(scales[:split], channel)
        others_y, others_scale = column(latents[split:], channel), column(scales[split:], channel)
        totals["without"] += spent(others_y, others_scale)
        near = [neighbours(values, channel) for values in latents]
        lower = [np.round(values[..., order[:rank]]).reshape(values[..., 0].size, rank) for values in latents]
        both = [np.concatenate(pair, 1) for pair in zip(near, lower, strict=True)]
        for name, parts in (("neighbours", near), ("channels", lower), ("both", both)):
            fitted, others = (np.concatenate(half) for half in (parts[:split], parts[split:]))
            weight = 1 / np.sqrt(np.square(scale) + 1 / 12)
            taps = np.linalg.lstsq(fitted * weight[:, None], y * weight, rcond=None)[0]
            left = y - fitted @ taps
            factor = min(FACTORS, key=lambda factor: spent(left, factor * scale))
            totals[name] += spent(others_y - others @ taps, factor * others_scale)
    for name, value in totals.items():
        print(f"{name} | {value / totals['without']:.4f}")


if __name__ == "__main__":
    main()
