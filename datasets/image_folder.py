"""TFDS builder of any folder of images. (TFDS's own ``ImageFolder`` wants a subfolder for each label.)

Splits and decoding come from :mod:`codec_zoo.codecs.image_files`.
"""

import dataclasses
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from codec_zoo.codecs.image_files import image_paths, split_names
from codec_zoo.codecs.image_reader import read_rgb
from codec_zoo.errors import ImageError


@dataclasses.dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """The folder, and the treatment of files that are not images; see :meth:`ImageFolder.of`."""

    folder: str = ""
    skip_unreadable: bool = False


class ImageFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Features ``image`` uint8 [H, W, 3] and ``filename``, the path in the folder; splits as the folder has.

        builder = ImageFolder.of("photos")
        builder.download_and_prepare()
        builder.as_dataset("train")

    Images are stored without loss (PNG), in the order of their paths.
    """

    VERSION = tfds.core.Version("1.0.0")

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str],
        *,
        data_dir: str | os.PathLike[str] | None = None,
        skip_unreadable: bool = False,
    ) -> "ImageFolder":
        """Make the builder of a folder. Changed, added or removed files make it another data set.

        Args:
            folder: with subfolders ``train``, ``val``, ``test`` or without; see
                :func:`codec_zoo.codecs.image_files.image_paths`.
            data_dir: folder of the prepared data set; by default ``~/tensorflow_datasets``.
            skip_unreadable: leave out files that are not images, with a warning that counts them; otherwise
                the first one stops the preparation with an ImageError.

        Raises:
            UsageError: no such folder, or no image in it.
        """
        folder = Path(folder).resolve() if Path(folder).is_dir() else Path(folder)
        listing = [
            (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
            for path in image_paths(folder)
        ]
        digest = hashlib.sha256(repr((listing, skip_unreadable)).encode()).hexdigest()
        config = FolderConfig(
            name=f"{re.sub(r'[^A-Za-z0-9_]+', '_', folder.name)}_{digest[:12]}",
            description=f"Images of {folder}.",
            folder=str(folder),
            skip_unreadable=skip_unreadable,
        )
        return cls(config=config, data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="A folder of images.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "filename": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = self.builder_config.folder
        return {split: self._generate_examples(image_paths(folder, split)) for split in split_names(folder)}

    def _generate_examples(self, paths: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        skipped = []
        for path in paths:
            try:
                image = read_rgb(path)
            except ImageError as error:
                if not self.builder_config.skip_unreadable:
                    raise
                skipped.append(error)
                continue
            name = path.relative_to(self.builder_config.folder).as_posix()
            yield name, {"image": _png(image), "filename": name}
        if skipped:
            warnings.warn(
                f"{len(skipped)} of {len(paths)} files were left out. The first: {skipped[0]}", stacklevel=2
            )


def _png(image: np.ndarray) -> bytes:
    """Encode fast: TFDS's own encoding takes ten times as long."""
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "PNG", compress_level=1)
        return file.getvalue()
