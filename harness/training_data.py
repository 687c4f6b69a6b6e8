"""Where training batches come from: tf.data on TensorFlow, NumPy on any other backend."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from codec_zoo.errors import UsageError
from codec_zoo.image_folder import PatchSampler, image_paths, read_image
from codec_zoo.presets import Recipe


@dataclasses.dataclass(frozen=True)
class Source:
    """Training and held-out pictures.

    Attributes:
        description: for the run's record.
        batches: start step → iterator of ``uint8 [B, P, P, 3]``; batch k depends on k and the seed alone.
        held_out: at most so many pictures ``uint8 [H, W, 3]`` that training never sees.
    """

    description: str
    batches: Callable[[int], Iterator[np.ndarray]]
    held_out: Callable[[int], list[np.ndarray]]


def open_source(data: str, recipe: Recipe, seed: int) -> Source:
    """Open ``tfds:NAME`` or a folder of pictures for training by ``recipe``.

    Raises:
        UsageError: no such data set or folder, or a data set on a machine without TensorFlow.
    """
    if not data.startswith("tfds:"):
        image_paths(data, "train"), image_paths(data, "val")  # a mistake shows at once
    if keras.backend.backend() == "tensorflow":
        return _tf_source(data, recipe, seed)
    if data.startswith("tfds:"):
        raise UsageError(
            f"{data} needs TensorFlow, and Keras runs on {keras.backend.backend()}. "
            "Give a folder of pictures: --data DIR."
        )
    return _folder_source(data, recipe, seed)


def _folder_source(folder: str, recipe: Recipe, seed: int) -> Source:
    """NumPy and Pillow; batches are made ahead in a thread."""
    sampler = PatchSampler(folder, recipe.patch_size, recipe.batch_size, seed)

    def batches(start: int) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(sampler.batch, step) for step in range(start, start + 4)]
            for step in itertools.count(start + 4):
                ahead.append(pool.submit(sampler.batch, step))
                yield ahead.pop(0).result()

    def held_out(most: int) -> list[np.ndarray]:
        return [read_image(path) for path in image_paths(folder, "val")[:most]]

    return Source(_describe(folder), batches, held_out)


def _describe(folder: str) -> str:
    """A folder of pictures for the record, by name and number: its path means nothing elsewhere."""
    return f"{Path(folder).resolve().name} ({len(image_paths(folder, 'train'))} training pictures)"


def _tf_source(data: str, recipe: Recipe, seed: int) -> Source:
    """tf.data; the same batches as without TensorFlow, from a folder or a TFDS data set."""
    from codec_zoo.datasets import pipeline

    def batches(start: int) -> Iterator[np.ndarray]:
        dataset = pipeline.training_batches(
            data,
            patch_size=recipe.patch_size,
            batch_size=recipe.batch_size,
            steps=recipe.steps,
            start_step=start,
            seed=seed,
        )
        return iter(dataset)

    def held_out(most: int) -> list[np.ndarray]:
        return list(pipeline.load(data, "val").take(most).as_numpy_iterator())

    return Source(data if data.startswith("tfds:") else _describe(data), batches, held_out)
