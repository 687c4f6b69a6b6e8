"""AVIF at other speeds of its encoder, beside BPG 4:4:4 and ``bpg-filter``: BD-rates on 8 pictures of Kodak.

    python experiments/avif_speeds.py [SPEED …]

The anchor ``avif`` of ``codec-zoo evaluate`` has libaom's speed 4. Lower speeds take longer and have smaller files.
Each picture is coded at five qualities; the files are counted whole. Negative is better. Speed 2 takes four minutes.
"""

import sys
import time

import numpy as np
from bpg_filter_side_information import coded, quality
from x265_settings import KODAK, PICTURES, QUALITIES

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
    model = weights.create("bpg-filter")
    images = [read_image(KODAK / f"kodim{number:02}.png") for number in PICTURES]
    bpg, filtered = list[tuple[float, float]](), list[tuple[float, float]]()
    for qp in QUALITIES:
        found = [
            (8 * size / left[..., 0].size, quality(missing), quality(left))
            for size, missing, left, _ in (coded(model, image, qp) for image in images)
        ]
        rate, plain, better = np.mean(found, 0)
        bpg.append((rate, plain))
        filtered.append((rate, better))
    print("speed | seconds a picture | against BPG 4:4:4 | against bpg-filter")
    for speed in map(int, sys.argv[1:] or SPEEDS):
        started = time.process_time()
        points = [tuple(np.mean([avif(image, at, speed) for image in images], 0)) for at in AVIF_QUALITIES]
        seconds = (time.process_time() - started) / len(images) / len(points)
        print(
            f"{speed} | {seconds:.2f} | {bd_rate(bpg, points):+.2f} % | {bd_rate(filtered, points):+.2f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
