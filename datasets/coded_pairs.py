"""Pairs of decoded and original luma, to train filters behind codecs."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from codec_zoo import color
from codec_zoo.codecs.standard import get_ycbcr_codec
from codec_zoo.files import atomic_path


def luma_pairs(images: Iterable[np.ndarray], codec: str, folder: Path) -> list[np.ndarray]:
    """Code and decode images; done once for each, kept in ``folder``.

    Args:
        images: ``uint8 [H, W, 3]`` RGB.
        codec: of YCbCr images, with its quality: ``"svac:48"``.
        folder: cache of the decoded luma.

    Returns:
        ``uint8 [H, W, 2]`` for each image: decoded and true luma.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda image: _luma_pair(image, codec, folder), images))


def _luma_pair(image: np.ndarray, codec: str, folder: Path) -> np.ndarray:
    ycbcr = color.rgb_to_ycbcr(image)
    key = hashlib.sha256(f"{codec} {ycbcr.shape}".encode() + ycbcr.tobytes()).hexdigest()
    path = folder / f"{key}.npy"
    try:
        decoded = np.load(path)
    except (OSError, ValueError, EOFError):
        step = get_ycbcr_codec(codec)
        decoded = step.decode_ycbcr(step.encode_ycbcr(ycbcr))[..., 0]
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, decoded)
    return np.stack([decoded, ycbcr[..., 0]], axis=-1)
