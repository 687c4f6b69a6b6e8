"""AVIF at other speeds of its encoder, beside BPG 4:4:4 and ``bpg-filter``: BD-rates on 8 pictures of Kodak.

    python experiments/avif_speeds.py [SPEED …]

The anchor ``avif`` of ``codec-zoo evaluate`` has libaom's speed 4. Lower speeds take longer and have smaller files.
Each picture is coded at five qualities; the files are counted whole. Negative is better. Speed 2 takes four minutes.
"""

import sys
import time

import numpy as np
from bpg_filter_side_information import quality
from x265_settings import KODAK, PICTURES, curves

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard.pillow_formats import AVIF
from codec_zoo.harness.evaluation import bd_rate

SPEEDS, AVIF_QUALITIES = (6, 4, 2), (20, 35, 48, 62, 76)


def avif(image: np.ndarray, at: float, speed: int) -> tuple[float, float]:
    """Bits a pixel, and PSNR, dB."""
    codec = AVIF(at)
    arguments = codec.save_arguments()
    codec.save_arguments = lambda: {**arguments, "speed": speed}
    data = codec.encode(image)
    return 8 * len(data) / image[..., 0].size, quality(image.astype(np.float64) - codec.decode(data))


def main() -> None:
    """Print a line for each speed."""
    images = [read_image(KODAK / f"kodim{number:02}.png") for number in PICTURES]
    anchors = curves(weights.create("bpg-filter"), "")
    print("speed | seconds a picture | against BPG 4:4:4 | against bpg-filter")
    for speed in map(int, sys.argv[1:] or SPEEDS):
        started = time.process_time()
        points = [tuple(np.mean([avif(image, at, speed) for image in images], 0)) for at in AVIF_QUALITIES]
        seconds = (time.process_time() - started) / len(images) / len(points)
        rates = (f"{bd_rate(anchor, points):+.2f} %" for anchor in anchors)
        print(speed, f"{seconds:.2f}", *rates, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
