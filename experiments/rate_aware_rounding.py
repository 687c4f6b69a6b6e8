"""What rounding towards zero brings to ``balle2018-hyperprior-mse-vbr``, for several worths of a bit.

    python experiments/rate_aware_rounding.py [--pictures 6]

For each quantisation step and each worth (the squared error, in units of Δ², that a bit less may cost) the table has
means over pictures of Kodak: bits a pixel by cross-entropy, PSNR, and the loss D + λ·Δ²·R.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo import weights

PRESET = "balle2018-hyperprior-mse-vbr"
KODAK = sorted((Path(__file__).parents[1] / "datasets/kodak").glob("*.png"))
STEPS, WORTHS = (-40, 0, 20, 40, 80, 112), (0.0, 0.015, 0.03, 0.06)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=6, help="of Kodak's 24, evenly spread")
    count = parser.parse_args().pictures
    pictures = [np.asarray(Image.open(path)) for path in KODAK[:: -(-len(KODAK) // count)]]
    model = weights.create(PRESET)
    print("| k | worth of a bit | bpp | PSNR, dB | loss |\n|---:|---:|---:|---:|---:|")
    for step in STEPS:
        for worth in WORTHS:
            model.bit_worth = lambda step, worth=worth: worth
            found = [model.evaluate_image(picture, step=np.array([step], np.int32)) for picture in pictures]
            errors = [np.mean((f.original.astype(float) - f.reconstruction) ** 2) for f in found]
            quality = np.mean([10 * np.log10(255**2 / error) for error in errors])
            bpp, loss = (np.mean([getattr(f, name) for f in found]) for name in ("bpp", "loss"))
            print(f"| {step} | {worth} | {bpp:.4f} | {quality:.2f} | {loss:.2f} |", flush=True)


if __name__ == "__main__":
    main()
