"""tf.data pipelines: images for evaluation, patches for training.

A source is ``tfds:NAME`` (any TFDS data set of images, and ours), one of the short names ``kodak``, ``clic``
and ``cifar10``, or a folder of images. Training patches are made by
:class:`codec_zoo.codecs.image_files.PatchSampler`, so that TensorFlow, JAX and PyTorch see the same batches.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import resource

from codec_zoo.codecs.image_files import PatchSampler, decode, decode_replacing, image_paths, usable, warn
from codec_zoo.datasets.kodak.builder import Kodak
from codec_zoo.errors import CodecZooError, UsageError

SHORT_NAMES = ("kodak", "clic", "cifar10")
CONNECT_SECONDS = 5

PathLike = str | os.PathLike[str]


def load(source: PathLike, split: str, data_dir: PathLike | None = None) -> tf.data.Dataset:
    """Open the images of a split, in a fixed order; a TFDS data set is downloaded and prepared if need be.

    Args:
        source: ``tfds:NAME``, "kodak", "clic", "cifar10", or a folder of images.
        split: a folder's split (see :func:`codec_zoo.codecs.image_files.image_paths`), or one of TFDS, slices
            like ``train[:95%]`` included; "val" also finds "validation". A data set without one lends the
            last 2 % of its "train" for it.
        data_dir: where TFDS keeps data sets; by default ``~/tensorflow_datasets``.

    Returns:
        A dataset of ``uint8 [H, W, 3]`` images. A damaged file in a folder shows when it is reached, as a
        ``tf.errors.UnknownError`` that names it.

    Raises:
        UsageError: no such data set, folder or split, or the data set holds no RGB or gray images.
        CodecZooError: the data set is not on this machine and cannot be downloaded or prepared.
    """
    name = _tfds_name(source)
    if name is not None:
        return _load_tfds(name, split, data_dir)
    paths = image_paths(source, split)
    return tf.data.Dataset.from_generator(
        lambda: decode(paths), output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    ).apply(tf.data.experimental.assert_cardinality(len(paths)))


def from_arrays(images: list[np.ndarray]) -> tf.data.Dataset:
    """A dataset of images in memory, ``uint8 [H, W, C]`` each, of any sizes."""
    spec = tf.TensorSpec([None, None, images[0].shape[2]], tf.uint8)
    return tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)


def training_batches(
    source: PathLike | tf.data.Dataset,
    *,
    patch_size: int,
    batch_size: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    split: str = "train",
    scales: tuple[float, float] | None = (0.5, 1.0),
    rotate: bool = True,
    data_dir: PathLike | None = None,
    notice: Callable[[str], None] = warn,
) -> tf.data.Dataset:
    """Random patches, scaled and turned, as in Fu et al. 2019, section 2.4 ("rotation and scaling").

    Batch number k depends on the images, the seed and k alone, and equals
    ``PatchSampler(folder, patch_size, batch_size, seed).batch(k)``: a run resumed at ``start_step`` sees
    the batches that one without interruption sees.

    All images are decoded once, at the call, into a nameless temporary file (in ``TMPDIR``) mapped into
    memory. Its pages stay in memory while there is room, so data sets larger than that (CLIC's 1,633
    training images take 12 GB) need only disk.

    Args:
        source: as for :func:`load`, or a dataset of ``uint8 [H, W, C]`` images.
        patch_size: side P of the patches.
        batch_size: patches a batch, B.
        steps: batches in the whole run.
        start_step: the first batch's number.
        seed: any integer from 0.
        split: which images of the source; unused where that is a dataset.
        scales: smallest and largest scale factor, for half of the patches; None for no scaling.
        rotate: whether patches are turned by multiples of 90° and mirrored.
        data_dir: as for :func:`load`.
        notice: gets a line for each kind of file of a folder that is left out or converted, as in PatchSampler.

    Returns:
        A dataset of the batches ``start_step`` … ``steps - 1``, each ``uint8 [B, P, P, C]``.

    Raises:
        UsageError, CodecZooError: as for :func:`load`, or no room for the decoded images; a dataset of
            something else than such images.
        ImageError: none of a folder's files can be used.
    """
    if not isinstance(source, tf.data.Dataset) and _tfds_name(source) is None:
        images: Iterable[np.ndarray] = decode_replacing(usable(image_paths(source, split), notice), notice)
    else:
        dataset = source if isinstance(source, tf.data.Dataset) else load(source, split, data_dir)
        images = dataset.as_numpy_iterator()
    in_memory = _map_into_memory(images)
    sampler = PatchSampler(in_memory, patch_size, batch_size, seed, scales=scales, rotate=rotate)

    def batch(step: tf.Tensor) -> tf.Tensor:
        patches = tf.numpy_function(sampler.batch, [step], tf.uint8, stateful=False)
        return tf.ensure_shape(patches, [batch_size, patch_size, patch_size, in_memory[0].shape[2]])

    numbers = tf.data.Dataset.range(start_step, steps)
    return numbers.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)


def _tfds_name(source: PathLike) -> str | None:
    """The TFDS name that ``source`` stands for, or None if it is a folder."""
    if source in SHORT_NAMES:
        return str(source)
    if isinstance(source, str) and source.startswith("tfds:"):
        return source.removeprefix("tfds:")
    if not Path(source).is_dir():
        raise UsageError(
            f"no such data set or folder: {os.fspath(source)!r}. "
            f"Give a folder of images, tfds:NAME, or one of {', '.join(SHORT_NAMES)}."
        )
    return None


def _load_tfds(name: str, split: str, data_dir: PathLike | None) -> tf.data.Dataset:
    if data_dir is None and tfds.core.constants.DATA_DIR.startswith("~"):
        raise UsageError("there is no home folder to keep TFDS's data sets in. Name a folder: TFDS_DATA_DIR.")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise UsageError(
            f"TFDS has no data set {name!r}: {str(error).splitlines()[0]} "
            "See https://www.tensorflow.org/datasets/catalog."
        ) from error
    if not builder.is_prepared():
        _prepare(builder)
    image = dict(builder.info.features.items()).get("image")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3):
        raise UsageError(f"{name} has no RGB or gray 8-bit 'image'. It has: {builder.info.features}")
    split = _split_of(split, builder.info.splits)
    try:
        count = builder.info.splits[split].num_examples  # slices too
    except (KeyError, ValueError) as error:
        raise UsageError(f"{name} has no split {split!r}. It has: {', '.join(builder.info.splits)}.") from error
    if not count:
        raise UsageError(f"there is nothing in {split!r} of {name}. Choose another split.")
    dataset = builder.as_dataset(split, read_config=tfds.ReadConfig(try_autocache=False))
    to_rgb = tf.image.grayscale_to_rgb if image.shape[-1] == 1 else tf.identity
    return dataset.map(lambda example: to_rgb(example["image"]))


def _split_of(split: str, known: Container[str]) -> str:
    """TFDS's name of a split; see :func:`load`."""
    if "val" in known or split not in ("train", "val"):
        return split
    if "validation" in known:
        return "validation" if split == "val" else split
    if "train" in known:
        return "train[:98%]" if split == "train" else "train[98%:]"
    return split


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Download and prepare; fail at once where TFDS would retry for minutes."""
    downloads = Path(builder.data_dir_root) / "downloads"
    missing = _missing_downloads(builder, downloads)
    hosts = {urlsplit(url).netloc: url for url in missing}  # one address of each
    if missing and not any(map(_reachable, hosts.values())):
        raise CodecZooError(
            f"{builder.name} is not prepared in {builder.data_dir_root}, and its server cannot be reached. "
            f"Try again online, or download these into {downloads / 'manual'}: {', '.join(missing)}"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except CodecZooError:
        raise
    except Exception as error:
        raise CodecZooError(f"cannot prepare {builder.name} in {builder.data_dir_root}: {error}") from error


def _missing_downloads(builder: tfds.core.DatasetBuilder, downloads: Path) -> list[str]:
    """The addresses whose files are neither in TFDS's cache nor in ``downloads/manual``."""
    if isinstance(builder, Kodak):
        return []  # comes with the package
    cache = downloads / builder.name
    return [
        url
        for url, info in (builder.url_infos or {}).items()
        if not (info.filename and (downloads / "manual" / info.filename).exists())
        and not (cache / resource.get_dl_fname(url, info.checksum)).exists()
    ]


def _reachable(url: str) -> bool:
    try:
        with requests.get(url, stream=True, timeout=CONNECT_SECONDS) as response:
            return response.status_code < 500
    except requests.RequestException:
        return False


def _map_into_memory(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Write all pixels to a nameless file; return the images as views into its mapping."""
    shapes = []
    try:
        with tempfile.TemporaryFile() as file:
            for image in images:
                if image.dtype != np.uint8 or image.ndim != 3:
                    raise UsageError(f"images must be uint8 [H, W, C]. Received: {image.dtype} {list(image.shape)}.")
                file.write(np.ascontiguousarray(image).data)
                shapes.append(image.shape)
            file.flush()
            pixels = np.memmap(file, dtype=np.uint8, mode="r") if shapes else np.empty(0, np.uint8)
    except OSError as error:
        raise CodecZooError(
            f"cannot keep the decoded images in {tempfile.gettempdir()}: {error.strerror or error}. "
            "Free space, or set TMPDIR to a larger disk."
        ) from error
    return list(_cut(pixels, shapes))


def _cut(pixels: np.ndarray, shapes: list[tuple[int, ...]]) -> Iterator[np.ndarray]:
    start = 0
    for shape in shapes:
        size = int(np.prod(shape))
        yield np.asarray(pixels[start : start + size]).reshape(shape)
        start += size
