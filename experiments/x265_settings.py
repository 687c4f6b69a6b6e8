"""What settings of x265 bring to BPG 4:4:4 and to ``bpg-filter`` behind it: BD-rates on 8 pictures of Kodak.

    python experiments/x265_settings.py [SETTING …]

A setting is written as x265 takes it, several joined by ``:``, e.g. ``cbqpoffs=2:crqpoffs=2``. Without any, the
script tries its own list. Each picture is coded at five QPs. The published network of ``bpg-filter`` runs on the
decoded pictures, with three gains by least squares. Negative is better than the settings of
``codecs/standard/hevc.py``. A minute a setting.
"""

import sys
from pathlib import Path

import numpy as np
from keras import ops

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard import get_codec, hevc
from codec_zoo.filter_layers import RGB_CODEC
from codec_zoo.harness.evaluation import bd_rate
from codec_zoo.metrics import psnr_of_error
from codec_zoo.models.bpg_filter import TO_RGB, BPGFilter

KODAK = Path(__file__).parents[1] / "datasets/kodak"
PICTURES, QUALITIES = (1, 4, 7, 13, 15, 19, 22, 23), (40, 36, 32, 28, 24)
SETTINGS = (
    *("cbqpoffs=1", "cbqpoffs=-1", "crqpoffs=1", "crqpoffs=-1", "cbqpoffs=2:crqpoffs=2", "cbqpoffs=-2:crqpoffs=-2"),
    *("sao=0", "deblock=0", "sao=0:deblock=0", "deblock=-2,-2", "deblock=2,2"),
    *("rdoq-level=1", "tu-intra-depth=4", "strong-intra-smoothing=0", "rdpenalty=2", "limit-tu=0", "rd=6"),
)


def curves(model: BPGFilter, setting: str) -> list[list[tuple[float, float]]]:
    """Mean bits a pixel and mean PSNR at each QP, of BPG and of the filter behind it."""
    added = dict(pair.split("=") for pair in setting.split(":") if pair)
    run, points = hevc._run_x265, ([], [])
    hevc._run_x265 = lambda frames, pixel_format, own: run(frames, pixel_format, {**own, **added})
    try:
        for qp in QUALITIES:
            found = np.array([measure(model, number, qp) for number in PICTURES]).mean(0)
            for i in (0, 1):
                points[i].append((float(found[0]), float(found[1 + i])))
    finally:
        hevc._run_x265 = run
    return list(points)


def measure(model: BPGFilter, number: int, qp: int) -> tuple[float, float, float]:
    """Bits a pixel, PSNR of BPG and PSNR behind the filter, dB."""
    image = read_image(KODAK / f"kodim{number:02}.png")
    codec = get_codec(f"{RGB_CODEC}:{qp}")
    data = codec.encode(image)
    decoded = codec.decode(data)
    change = ops.convert_to_numpy(model.residual(decoded[None], np.array([[qp]], np.float32)))[0]
    missing = (image.astype(np.float64) - decoded).ravel()
    planes = np.stack([(change[..., i : i + 1] * np.array(TO_RGB)[i]).ravel() for i in range(3)], 1)
    left = missing - planes @ np.linalg.lstsq(planes, missing, rcond=None)[0]
    bits = 8 * len(data) / image[..., 0].size
    return bits, *(float(psnr_of_error(float(np.mean(np.square(error))))) for error in (missing, left))


def main() -> None:
    """Print a line for each setting."""
    model = weights.create("bpg-filter")
    anchors = curves(model, "")
    print("setting | BPG | filter behind it")
    for setting in sys.argv[1:] or SETTINGS:
        rates = [bd_rate(anchor, points) for anchor, points in zip(anchors, curves(model, setting), strict=True)]
        print(setting, *(f"{rate:+.2f} %" for rate in rates), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
