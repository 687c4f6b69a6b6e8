"""What rounding of weights costs: quality and rate of published models whose large arrays keep fewer bits.

    python experiments/weight_bits.py jia2019-sae-mse-base balle2018-hyperprior-mse-3

Each preset has its published weights rounded to so many significant bits, and codes crops of 512×512 of eight Kodak
pictures. The rate is the model's estimate. "analysis" and "hyper" round the arrays of these transforms alone.
Published weights are rounded already: more bits than a preset has (``codec_zoo.weights``) change nothing. Two minutes
a preset.
"""

import argparse
from collections.abc import Callable

import keras
import numpy as np

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.contract import CompressionModel
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset

# Name in the table → how the paths of its arrays begin.
PARTS_BITS = (("analysis", 6), ("analysis", 5), ("hyper", 4), ("hyper", 3))
PARTS = {"analysis": "analysis/", "hyper": ("hyper_analysis/", "hyper_synthesis/", "layer0/hyper_synthesis/")}


def scores(model: CompressionModel, images: list[np.ndarray]) -> tuple[float, float]:
    """Mean PSNR (dB) and bits a pixel."""
    found = [model.evaluate_image(image) for image in images]
    quality = [psnr(image, coded.reconstruction) for image, coded in zip(images, found, strict=True)]
    return float(np.mean(quality)), float(np.mean([coded.bpp for coded in found]))


def round_weights(model: CompressionModel, bits: int, wanted: Callable[[str], bool]) -> None:
    """Round the large arrays whose path is wanted, in place."""
    for variable in model.trainable_variables:
        values = keras.ops.convert_to_numpy(variable)
        if values.size >= weights.LARGE and wanted(variable.path):
            variable.assign(weights._round(values.astype(np.float16), bits).astype(np.float32))


def main() -> None:
    """Print a line for each preset and number of bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    images = [read_image(path)[:512, :512] for path in find_pictures("kodak")[::3]]
    for name in parser.parse_args().presets:
        print(f"{name}, published with {get_preset(name).significant_bits} bits:")
        for what, bits in (("all", 11), *(("all", bits) for bits in (7, 6, 5, 4)), *PARTS_BITS):
            model = weights.create(name)
            round_weights(model, bits, lambda path, what=what: what == "all" or path.startswith(PARTS[what]))
            quality, bpp = scores(model, images)
            print(f"  {what:5} {bits:2} bits: {quality:.3f} dB at {bpp:.5f} bpp", flush=True)


if __name__ == "__main__":
    main()
