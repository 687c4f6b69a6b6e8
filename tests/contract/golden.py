"""What each trained preset makes of one crop of a Kodak picture, set against what it made when ``make.py`` ran.

``golden.json`` holds two records a preset. ``golden``: the file's SHA-256, bytes and quality, so that no change goes
unnoticed. ``floor``: the bytes and the quality that the preset has to reach; only ``make.py --lower`` lowers it.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.metrics import ms_ssim, psnr

FILE = Path(__file__).with_name("golden.json")
PICTURE = Path(__file__).parents[2] / "datasets" / "kodak" / "kodim23.png"
# Convolutions in floats differ between processors by so much at most: share of the bytes, and dB.
BYTES, DECIBELS = 0.005, 0.02


def picture(height: int = 256, width: int = 256, channels: int = 3) -> np.ndarray:
    """A crop of kodim23 with beaks, feathers and background: ``uint8 [H, W, C]``."""
    return read_image(PICTURE)[120 : 120 + height, 200 : 200 + width, :channels]


def load() -> dict[str, dict[str, dict]]:
    """Preset → its records."""
    return json.loads(FILE.read_text())


def measure(name: str, codec: Codec) -> dict[str, str | int | float]:
    """Code and decode the crop.

    Returns:
        ``sha256`` and ``bytes`` of the file; ``psnr`` or, of a preset for MS-SSIM, ``ms_ssim``, both in dB. A
        lossless codec has neither.
    """
    original = picture()
    data = codec.encode(original)
    decoded = codec.decode(data)
    found = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if np.array_equal(decoded, original):
        return found
    if "-ms-ssim" in name:
        similarity = float(ms_ssim(original[None], decoded[None])[0])
        return {**found, "ms_ssim": round(-10 * math.log10(1 - similarity), 4)}
    return {**found, "psnr": round(psnr(original, decoded), 4)}


def _quality(record: dict) -> float:
    """In dB, of whatever measure; infinite where nothing is lost."""
    return record.get("psnr", record.get("ms_ssim", math.inf))


def is_near(found: dict, golden: dict) -> bool:
    """Whether bytes and quality are those of the golden record, but for another processor's rounding."""
    same_quality = _quality(found) == _quality(golden) or abs(_quality(found) - _quality(golden)) <= DECIBELS
    return same_quality and abs(found["bytes"] - golden["bytes"]) <= BYTES * golden["bytes"]


def reaches(found: dict, floor: dict) -> bool:
    """Whether bytes and quality are as good as a floor, or better."""
    return found["bytes"] <= floor["bytes"] * (1 + BYTES) and _quality(found) >= _quality(floor) - DECIBELS


def renew(records: dict[str, dict], name: str, found: dict, lower: bool = False) -> None:
    """Take what a preset makes now for its golden record, and raise its floor to it if it is better.

    A floor stays where it is while what is found reaches it within the tolerance, so that it cannot sink bit by bit.

    Args:
        records: as :func:`load` gives them; changed.
        name: of the preset.
        found: what :func:`measure` gives.
        lower: replace the floor, whatever it is.

    Raises:
        ValueError: what is found does not reach the floor, and ``lower`` is False.
    """
    reached = {key: value for key, value in found.items() if key != "sha256"}
    floor = records.get(name, {}).get("floor", reached)
    if not lower and not reaches(found, floor):
        raise ValueError(
            f"{name} falls below its floor of {floor}: it reaches {reached}. Accept it with --lower {name}."
        )
    better = found["bytes"] <= floor["bytes"] and _quality(found) >= _quality(floor)
    records[name] = {"golden": found, "floor": reached if lower or better else floor}
