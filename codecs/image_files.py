"""A folder of images as training data, with NumPy and Pillow alone, for any Keras backend.

The one home of two rules that the TensorFlow pipelines share: which images of a folder belong to which
split, and which patches make up batch number ``k``.

    sampler = PatchSampler("photos", patch_size=128, batch_size=8, seed=1)
    batch = sampler.batch(step)     # uint8 [8, 128, 128, 3], the same for every call with this step
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo.codecs.image_formats import SUFFIXES
from codec_zoo.codecs.image_reader import inspect_image, read_rgb
from codec_zoo.errors import ImageError, UsageError

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.05  # of a folder that is not split already
THREADS = 4


def image_paths(folder: str | os.PathLike[str], split: str = "all") -> list[Path]:
    """Find the images of a folder, in subfolders and linked folders too, sorted by their path.

    If the folder has a subfolder ``train``, ``val`` or ``test``, those are its splits. Otherwise the hash of
    each path relative to the folder puts 5 % of the images (at least one) in ``val`` and the others in
    ``train``: an image keeps its split when others are added, and on every machine.

    Args:
        folder: where to look. Hidden files and files without an image's suffix are passed over. A folder that can
            be reached by several ways, through symbolic links, is searched once.
        split: "train", "val", "test", or "all".

    Raises:
        UsageError: no such folder or split, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}. Give a folder of images.")
    if split not in (*SPLITS, "all"):
        raise UsageError(f"no such split: {split!r}. Choose one of {', '.join(SPLITS)}, all.")
    subfolders = _split_subfolders(folder)
    if split == "all":
        paths = _walk(folder)
    elif subfolders:
        if split not in subfolders:
            raise UsageError(f"{folder} has no subfolder {split!r}, only: {', '.join(subfolders)}.")
        paths = _walk(folder / split)
    else:
        paths = _hash_split(folder, split)
    if not paths:
        which = "" if split == "all" else f" of the split {split!r}"
        raise UsageError(f"no images{which} in {folder}. Looked for {', '.join(SUFFIXES)}, in subfolders too.")
    return paths


def split_names(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the splits of a folder: its subfolders of these names, or else ("train", "val")."""
    return _split_subfolders(Path(folder)) or ("train", "val")


def _split_subfolders(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in SPLITS if (folder / name).is_dir())


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    folders: list[Path] = [folder]
    links: list[Path] = []
    seen = {str(parent) for parent in folder.resolve().parents}  # a link up from one split would lead to the others
    while folders or links:
        # Links come last: a file that is found with and without a link keeps its own name.
        current = folders.pop() if folders else links.pop(links.index(min(links)))
        if (real := os.path.realpath(current)) in seen:
            continue
        seen.add(real)
        try:
            paths = [current / name for name in os.listdir(current)]
        except PermissionError:
            continue
        for path in paths:
            if path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _hash_split(folder: Path, split: str) -> list[Path]:
    if split == "test":
        raise UsageError(
            f"{folder} has no subfolder 'test'. Without subfolders there are 'train' (95 %) and 'val' (5 %) "
            "by the hash of the file names, and 'all'."
        )

    def share(path: Path) -> float:
        digest = hashlib.sha256(os.fsencode(path.relative_to(folder).as_posix())).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    paths = _walk(folder)
    if len(paths) == 1:
        raise UsageError(
            f"{folder} holds one image, {paths[0].name}: nothing to split into 'train' and 'val'. "
            "Add images, or make subfolders train/ and val/."
        )
    limit = max(VAL_SHARE, min(map(share, paths), default=0.0))  # at least one image
    return [path for path in paths if (share(path) <= limit) == (split == "val")]


def decode(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Decode files in threads, yielding each as ``uint8 [H, W, 3]``, in order, a few ahead of the caller.

    Raises:
        ImageError: a file is not an image.
    """
    for image in _decode(paths):
        if isinstance(image, ImageError):
            raise image
        yield image


def decode_usable(paths: Sequence[Path], most: int, notice: Callable[[str], None]) -> list[np.ndarray]:
    """Decode the first images that can be used, each ``uint8 [H, W, 3]``; a notice counts the files passed over.

    Raises:
        ImageError: none of the files can be used.
    """
    images: list[np.ndarray] = []
    failures: list[ImageError] = []
    for image in _decode(paths):
        if isinstance(image, ImageError):
            failures.append(image)
        else:
            images.append(image)
        if len(images) == most:
            break
    _say_left_out(failures, len(images) + len(failures), notice)
    return images


def decode_replacing(paths: Sequence[Path], notice: Callable[[str], None]) -> Iterator[np.ndarray]:
    """:func:`decode`, but a file that cannot be used is replaced by the next that can, cyclically.

    So image number ``i`` is the one that a :class:`PatchSampler` of the folder has as number ``i``.

    Raises:
        ImageError: none of the files can be used.
    """
    failures: list[ImageError] = []
    first, waiting = None, 0
    for image in _decode(paths):
        if isinstance(image, ImageError):
            failures.append(image)
            waiting += 1
            continue
        first = image if first is None else first
        for _ in range(waiting + 1):
            yield image
        waiting = 0
    _say_left_out(failures, len(paths), notice)
    for _ in range(waiting if first is not None else 0):
        assert first is not None
        yield first


def _decode(paths: Sequence[Path]) -> Iterator[np.ndarray | ImageError]:
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), 4 * THREADS):
            yield from pool.map(_read, paths[start : start + 4 * THREADS])


def _read(path: Path) -> np.ndarray | ImageError:
    try:
        return read_rgb(path)
    except ImageError as error:
        return error


def usable(paths: Sequence[Path], notice: Callable[[str], None]) -> list[Path]:
    """The files that training can use, by their headers; no pixel is decoded.

    A notice counts the files that are left out. Each kind of conversion has a notice with the number of its files.

    Raises:
        ImageError: none of the files can be used.
    """
    failures = say_conversions(paths, notice)
    _say_left_out(list(failures.values()), len(paths), notice)
    return [path for path in paths if path not in failures]


def say_conversions(paths: Sequence[Path], notice: Callable[[str], None]) -> dict[Path, ImageError]:
    """Give a notice for each kind of conversion that reading will make; return the files with refused headers."""
    noted: dict[str, list[Path]] = {}
    failures = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for path, notes in zip(paths, pool.map(_inspect, paths), strict=True):
            if isinstance(notes, ImageError):
                failures[path] = notes
                continue
            for note in notes:
                noted.setdefault(note, []).append(path)
    for note, files in noted.items():
        notice(f"{len(files)} of {len(paths)} images, {files[0].name} the first: {note}")
    return failures


def _inspect(path: Path) -> list[str] | ImageError:
    try:
        return inspect_image(path)
    except ImageError as error:
        return error


def _say_left_out(failures: list[ImageError], count: int, notice: Callable[[str], None]) -> None:
    if failures and len(failures) == count:
        raise ImageError(f"none of {count} files can be used. The first: {failures[0]}") from failures[0]
    if failures:
        notice(f"{len(failures)} of {count} files are left out. The first: {failures[0]}")


def warn(text: str) -> None:
    """The notice where none is given: a Python warning."""
    warnings.warn(text, stacklevel=3)


def images(folder: str | os.PathLike[str], split: str = "all") -> list[np.ndarray]:
    """Decode all images of a split, each ``uint8 [H, W, 3]``, in the order of :func:`image_paths`.

    Raises:
        UsageError: no such folder or split, or no image in it.
        ImageError: a file is not an image.
    """
    return list(decode(image_paths(folder, split)))


class PatchSampler:
    """Random patches of a folder's images; batch ``k`` depends on the images, the seed and ``k`` alone.

    So a run that stops at step ``k`` and goes on later sees the very batches of one that never stopped. Each
    patch comes from an image chosen at random; half of them are scaled (Lanczos, antialiased), then cropped,
    and all are turned by a multiple of 90° and mirrored at random, which moves pixels but changes none.

    Images are decoded when first needed, in threads, and kept while they fit in ``max_bytes``. An image
    that does not fit is decoded each time it is drawn, with the same result. An image with a side shorter than
    the patch is extended by reflection.

    Files of a folder that cannot be used (transparent, of several frames, damaged) do not end a training. Those that
    the header gives away are left out from the start. A file that fails when it is decoded is replaced by the
    next one that can be used, whenever it is drawn.

    Args:
        source: a folder, or the images themselves, each ``uint8 [H, W, 3]``.
        patch_size: side P of the patches.
        batch_size: patches a batch, B.
        seed: any integer from 0.
        split: which of the folder's images; see :func:`image_paths`. Unused where images are given.
        scales: smallest and largest scale factor, drawn log-uniformly; None for no scaling.
        rotate: whether patches are turned and mirrored.
        max_bytes: how much memory decoded images may take.
        notice: gets a line for each kind of file that is left out, or converted; by default a Python warning.

    Raises:
        UsageError: no such folder or split, no image in it, or an impossible size or scale.
        ImageError: none of the folder's files can be used.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[np.ndarray],
        patch_size: int,
        batch_size: int,
        seed: int = 0,
        *,
        split: str = "train",
        scales: tuple[float, float] | None = (0.5, 1.0),
        rotate: bool = True,
        max_bytes: int = 4 << 30,
        notice: Callable[[str], None] = warn,
    ):
        if patch_size < 1 or batch_size < 1:
            raise UsageError(f"patch and batch size start at 1. Received: {patch_size} and {batch_size}.")
        if scales is not None and not 0 < scales[0] <= scales[1]:
            raise UsageError(f"scales must be 0 < smallest <= largest. Received: {scales}.")
        self._paths: list[Path] = []
        self._decoded: dict[int, np.ndarray] = {}
        if isinstance(source, str | os.PathLike):
            self._paths = usable(image_paths(source, split), notice)
        else:
            self._decoded = dict(enumerate(source))
        self._count = len(self._paths) or len(self._decoded)
        if not self._count:
            raise UsageError("no images to draw patches from. Received: an empty sequence.")
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.seed = seed
        self.scales = scales
        self.rotate = rotate
        self._free = max_bytes
        self._notice = notice
        self._failures: dict[int, ImageError] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many images there are to draw from."""
        return self._count

    def batch(self, step: int) -> np.ndarray:
        """Return batch number ``step``, ``uint8 [B, P, P, 3]``. May be called from several threads.

        Raises:
            ImageError: none of the files can be used.
        """
        random = np.random.default_rng([self.seed, step])
        chosen = [int(index) for index in random.integers(len(self), size=self.batch_size)]
        images = self._load(set(chosen))
        return np.stack([self._patch(images[index], random) for index in chosen])

    def _load(self, indices: set[int]) -> dict[int, np.ndarray]:
        images = {i: self._decoded[i] for i in indices if i in self._decoded}
        missing = sorted(indices - images.keys())
        if missing:
            with ThreadPoolExecutor(THREADS) as pool:
                images |= zip(missing, pool.map(self._decode, missing), strict=True)
            with self._lock:
                for i in missing:
                    if i not in self._decoded and images[i].nbytes <= self._free:
                        self._decoded[i] = images[i]
                        self._free -= images[i].nbytes
        return images

    def _decode(self, index: int) -> np.ndarray:
        """Image number ``index``, or the next that can be used."""
        for candidate in (*range(index, len(self)), *range(index)):
            if candidate in self._failures:
                continue
            image = _read(self._paths[candidate])
            if not isinstance(image, ImageError):
                return image
            with self._lock:
                new = candidate not in self._failures
                self._failures[candidate] = image
                count = len(self._failures)
            if new and count < len(self) and str(count).strip("0") == "1":  # 1, 10, 100, …
                self._notice(
                    f"{count} of {len(self)} files cannot be decoded so far; the next one stands for each. "
                    f"The latest: {image}"
                )
        raise ImageError(f"none of {len(self)} files can be used. One of them: {self._failures[index]}")

    def _patch(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        size = self.patch_size
        side = size
        if self.scales is not None and random.random() < 0.5:
            scale = np.exp(random.uniform(*np.log(self.scales)))
            side = min(max(1, round(size / scale)), max(size, min(image.shape[:2])))
        image = _extend(image, side)
        top = random.integers(image.shape[0] - side, endpoint=True)
        left = random.integers(image.shape[1] - side, endpoint=True)
        patch = image[top : top + side, left : left + side]
        if side != size:
            patch = _resize(patch, size)
        if self.rotate:
            patch = np.rot90(patch, int(random.integers(4)))
            if random.random() < 0.5:
                patch = patch[:, ::-1]
        return patch


def _resize(patch: np.ndarray, size: int) -> np.ndarray:
    """``uint8 [H, W, C]`` → ``[size, size, C]``, by Lanczos; channels one by one unless they are RGB."""
    parts = [patch] if patch.shape[2] == 3 else np.moveaxis(patch, 2, 0)
    # Of a copy Pillow's image is made four times as fast as of a view.
    images = [Image.fromarray(np.ascontiguousarray(part)) for part in parts]
    resized = [np.asarray(image.resize((size, size), Image.Resampling.LANCZOS)) for image in images]
    return resized[0] if patch.shape[2] == 3 else np.stack(resized, axis=-1)


def _extend(image: np.ndarray, side: int) -> np.ndarray:
    """Extend an image by reflection to at least ``side`` rows and columns."""
    rows, columns = (max(0, side - length) for length in image.shape[:2])
    if rows or columns:
        image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
    return image
