"""Files of standard codecs that are as long as a given file: what a comparison of codecs by eye needs."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import features

from codec_zoo.codecs.specs import open_codec


@dataclasses.dataclass(frozen=True)
class Standard:
    """A standard codec of the demonstration.

    Attributes:
        title: as readers know it.
        suffix: of its files.
        curve: qualities on the chart, about 0.15 to 1 bit a pixel; higher rates take longest.
        qualities: all, coarsest first.
    """

    title: str
    suffix: str
    curve: Sequence[float]
    qualities: Sequence[float]


STANDARD = {
    "jpeg-420": Standard("JPEG", ".jpg", (5, 10, 20, 35, 55, 75), range(1, 101)),
    "webp": Standard("WebP", ".webp", (5, 20, 40, 65), range(101)),
    "jpeg2000": Standard("JPEG 2000", ".j2k", (29, 31, 33, 36), [20 + step / 8 for step in range(240)]),
    "avif": Standard("AVIF", ".avif", (20, 35, 50), range(101)),
    "bpg-ycbcr444": Standard("BPG 4:4:4", ".bpg", (40, 36, 32, 28), range(51, -1, -1)),
}


def standard_codecs() -> list[str]:
    """The codecs of :data:`STANDARD` that this installation has."""
    return [name for name in STANDARD if name != "avif" or features.check("avif")]


def nearest_file(
    name: str, image: np.ndarray, wanted: int, known: Mapping[float, int] | None = None
) -> tuple[str, bytes]:
    """The file of a standard codec whose length is nearest to a wanted one, by bisection of its qualities.

    Args:
        name: of the codec, in :data:`STANDARD`.
        image: ``uint8 [H, W, 3]``.
        wanted: bytes.
        known: bytes at qualities of this image that are measured already.

    Returns:
        The codec with its quality, ``NAME:QUALITY``, and the file.
    """
    qualities = STANDARD[name].qualities

    @functools.cache
    def code(index: int) -> tuple[str, bytes]:
        spec = f"{name}:{qualities[index]:g}"
        return spec, open_codec(spec).encode(image)

    sizes = {qualities.index(quality): size for quality, size in (known or {}).items() if quality in qualities}
    low = max((place + 1 for place, size in sizes.items() if size < wanted), default=0)
    high = min((place for place, size in sizes.items() if size >= wanted), default=len(qualities))
    # Files before `low` are smaller than wanted, those from `high` on are not.
    while low < high:
        middle = (low + high) // 2
        if low - 1 in sizes and high in sizes:  # sizes grow nearly by the same factor from quality to quality
            below, above = math.log(sizes[low - 1]), math.log(sizes[high])
            share = (math.log(wanted) - below) / (above - below)
            middle = min(max(round(low - 1 + share * (high - low + 1)), low), high - 1)
        sizes[middle] = len(code(middle)[1])
        low, high = (middle + 1, high) if sizes[middle] < wanted else (low, middle)
    around = {max(low - 1, 0), min(low, len(qualities) - 1)}
    return min(map(code, sorted(around)), key=lambda each: abs(len(each[1]) - wanted))
