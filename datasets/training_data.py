"""Where training batches come from: tf.data on TensorFlow, NumPy on any other backend."""

import collections
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.image_files import PatchSampler, decode_replacing, decode_usable, image_paths, usable, warn
from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.errors import UsageError
from codec_zoo.files import cache_folder
from codec_zoo.presets import Preset, Recipe


@dataclasses.dataclass(frozen=True)
class Source:
    """Training and held-out images.

    Attributes:
        description: for the run's record.
        batches: start step → iterator of ``uint8 [B, P, P, C]``; batch k depends on k and the seed alone.
        held_out: at most so many images ``uint8 [H, W, C]`` that training never sees.
    """

    description: str
    batches: Callable[[int], Iterator[np.ndarray]]
    held_out: Callable[[int], list[np.ndarray]]


def open_source(data: str, preset: Preset, recipe: Recipe, seed: int, notice: Callable[[str], None] = warn) -> Source:
    """Open ``tfds:NAME`` or a folder of images for training ``preset`` by ``recipe``.

    A filter behind a codec trains on decoded images: its images have two channels, decoded and true luma, or seven,
    decoded and true RGB and the quality.
    Representations for JPEG train on luma alone; blocks are cropped, but not scaled. Files of a folder that cannot be
    used, or are converted, are counted in notices, as are held-out images that are cropped to fit the memory limit.

    Raises:
        UsageError: no such data set or folder, or a data set on a machine without TensorFlow.
    """
    if not data.startswith("tfds:"):
        image_paths(data, "train"), image_paths(data, "val")  # a mistake shows at once
    if keras.backend.backend() == "tensorflow":
        return _tf_source(data, preset, recipe, seed, notice)
    if data.startswith("tfds:"):
        raise UsageError(
            f"{data} needs TensorFlow, and Keras runs on {keras.backend.backend()}. "
            "Give a folder of pictures: --data DIR."
        )
    return _folder_source(data, preset, recipe, seed, notice)


def _prepare(images: Iterable[np.ndarray], preset: Preset) -> list[np.ndarray] | None:
    """What a preset around a codec trains on, made of pictures; None for presets that train on the pictures."""
    if preset.data == "decoded-luma" and preset.inner:
        from codec_zoo.datasets.coded_pairs import luma_pairs

        name, quality = preset.inner
        return luma_pairs(images, f"{name}:{quality}", cache_folder() / "coded")
    if preset.data == "decoded-rgb" and preset.inner and preset.inner_qualities:
        from codec_zoo.datasets.coded_pairs import rgb_pairs

        return rgb_pairs(images, preset.inner[0], preset.inner_qualities, cache_folder() / "coded")
    if preset.data == "luma":
        return [np.ascontiguousarray(rgb_to_ycbcr(image)[..., :1]) for image in images]
    if preset.data == "rgb-unscaled":
        return list(images)
    return None


def crop_to_memory(images: Iterable[np.ndarray], preset: Preset, notice: Callable[[str], None]) -> list[np.ndarray]:
    """Held-out images, ``uint8 [H, W, C]``. An image too large for the memory limit is cropped to its middle.

    Args:
        images: decoded one after the other, so that one at a time is in memory.
        preset: that is trained.
        notice: gets a line if one is cropped.
    """
    most, cropped, total = memory_estimates.largest_picture(preset.name), 0, []
    for image in images:
        height, width = image.shape[:2]
        if height * width > most:
            share = math.sqrt(most / (height * width))
            sides = [max(1, int(share * side)) for side in (height, width)]
            top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
            image = image[top : top + sides[0], left : left + sides[1]].copy()
            cropped += 1
        total.append(image)
    if cropped:
        notice(
            f"{cropped} of {len(total)} held-out pictures are cropped to {most / 1e6:.1f} megapixels, which half of "
            "the memory limit takes (--memory SIZE)."
        )
    return total


def _folder_source(folder: str, preset: Preset, recipe: Recipe, seed: int, notice: Callable[[str], None]) -> Source:
    """NumPy and Pillow; batches are made ahead in a thread for each processor."""
    prepared = _prepare(_training_images(folder, notice), preset)
    sampler = (
        PatchSampler(folder, recipe.patch_size, recipe.batch_size, seed, notice=notice)
        if prepared is None
        else PatchSampler(prepared, recipe.patch_size, recipe.batch_size, seed, scales=None)
    )

    def batches(start: int) -> Iterator[np.ndarray]:
        threads = os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            ahead = collections.deque(pool.submit(sampler.batch, step) for step in range(start, start + 2 * threads))
            for step in itertools.count(start + 2 * threads):
                ahead.append(pool.submit(sampler.batch, step))
                yield ahead.popleft().result()

    def held_out(most: int) -> list[np.ndarray]:
        usable_images = decode_usable(image_paths(folder, "val"), most, notice)
        images = crop_to_memory(usable_images, preset, notice)
        return _prepare(images, preset) or images

    return Source(_describe(folder), batches, held_out)


def _training_images(folder: str, notice: Callable[[str], None]) -> Iterator[np.ndarray]:
    yield from decode_replacing(usable(image_paths(folder, "train"), notice), notice)


def _describe(folder: str) -> str:
    """A folder of images for the record, by name and number: its path means nothing elsewhere."""
    return f"{Path(folder).resolve().name} ({len(image_paths(folder, 'train'))} training pictures)"


def _tf_source(data: str, preset: Preset, recipe: Recipe, seed: int, notice: Callable[[str], None]) -> Source:
    """tf.data; the same batches as without TensorFlow, from a folder or a TFDS data set."""
    from codec_zoo.datasets import pipeline

    of_tfds = data.startswith("tfds:")
    prepared = _prepare(
        pipeline.load(data, "train").as_numpy_iterator() if of_tfds else _training_images(data, notice), preset
    )

    def batches(start: int) -> Iterator[np.ndarray]:
        dataset = pipeline.training_batches(
            data if prepared is None else pipeline.from_arrays(prepared),
            scales=(0.5, 1.0) if prepared is None else None,
            patch_size=recipe.patch_size,
            batch_size=recipe.batch_size,
            steps=recipe.steps,
            start_step=start,
            seed=seed,
            notice=notice,
        )
        return iter(dataset)

    def held_out(most: int) -> list[np.ndarray]:
        if of_tfds:
            found = list(itertools.islice(pipeline.load(data, "val").as_numpy_iterator(), most))
        else:
            found = decode_usable(image_paths(data, "val"), most, notice)
        cropped = crop_to_memory(found, preset, notice)
        return _prepare(cropped, preset) or cropped

    return Source(data if of_tfds else _describe(data), batches, held_out)
