"""Pairs of decoded and original images, to train filters behind codecs."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from codec_zoo import color
from codec_zoo.codecs.standard import get_codec, get_ycbcr_codec
from codec_zoo.files import atomic_path

# Side of the crops that pairs in RGB are made of, pixels: coding takes a second for each.
CROP = 384


def luma_pairs(images: Iterable[np.ndarray], codec: str, folder: Path) -> list[np.ndarray]:
    """Code and decode images; done once for each, kept in ``folder``.

    Args:
        images: ``uint8 [H, W, 3]`` RGB.
        codec: of YCbCr images, with its quality: ``"svac:48"``.
        folder: cache of the decoded luma.

    Returns:
        ``uint8 [H, W, 2]`` for each image: decoded and true luma.
    """
    return _map(functools.partial(_luma_pair, codec=codec, folder=folder), images, folder)


def rgb_pairs(images: Iterable[np.ndarray], codec: str, qualities: tuple[int, int], folder: Path) -> list[np.ndarray]:
    """Code and decode a crop of each image at a quality of its own; done once for each, kept in ``folder``.

    Args:
        images: ``uint8 [H, W, 3]`` RGB.
        codec: of RGB images, without a quality: ``"bpg-ycbcr444-10bit"``.
        qualities: the lowest and the highest whole number that a quality may be. The pixels of an image choose its
            crop and its quality, so that they are always the same.
        folder: cache of the decoded crops.

    Returns:
        ``uint8 [h, w, 7]`` for each image, sides up to :data:`CROP`: decoded RGB, true RGB, and the quality at each
        place.
    """
    return _map(functools.partial(_rgb_pair, codec=codec, qualities=qualities, folder=folder), images, folder)


def _map(pair: Callable[[np.ndarray], np.ndarray], images: Iterable[np.ndarray], folder: Path) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(pair, images))


def _luma_pair(image: np.ndarray, codec: str, folder: Path) -> np.ndarray:
    ycbcr = color.rgb_to_ycbcr(image)
    key = hashlib.sha256(f"{codec} {ycbcr.shape}".encode() + ycbcr.tobytes()).hexdigest()

    def decode() -> np.ndarray:
        step = get_ycbcr_codec(codec)
        return step.decode_ycbcr(step.encode_ycbcr(ycbcr))[..., 0]

    return np.stack([_cached(folder / f"{key}.npy", decode), ycbcr[..., 0]], axis=-1)


def _rgb_pair(image: np.ndarray, codec: str, qualities: tuple[int, int], folder: Path) -> np.ndarray:
    random = np.random.default_rng(list(hashlib.sha256(image.tobytes()).digest()))
    quality = int(random.integers(*qualities, endpoint=True))
    top, left = (int(random.integers(max(0, side - CROP), endpoint=True)) for side in image.shape[:2])
    crop = np.ascontiguousarray(image[top : top + CROP, left : left + CROP])
    spec = f"{codec}:{quality}"
    key = hashlib.sha256(f"{spec} {crop.shape}".encode() + crop.tobytes()).hexdigest()

    def decode() -> np.ndarray:
        step = get_codec(spec)
        return step.decode(step.encode(crop))

    return np.dstack([_cached(folder / f"{key}.npy", decode), crop, np.full(crop.shape[:2], quality, np.uint8)])


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in a file, which is made if it is not there or damaged."""
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):
        made = make()
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, made)
        return made
