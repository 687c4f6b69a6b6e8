"""TFDS builder of the Kodak test set, which TFDS itself lacks."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from codec_zoo.errors import CodecZooError

_DESCRIPTION = """
The Kodak Lossless True Color Image Suite: 24 photographs, 768x512 or 512x768, 24-bit PNG, on which image
compression has been compared since 1999. Kodak released them for unrestricted use. Test only: no model of
the zoo has seen them in training.
"""

_CITATION = """
@misc{kodak,
  title        = {Kodak Lossless True Color Image Suite (PhotoCD PCD0992)},
  author       = {{Eastman Kodak Company}},
  howpublished = {\\url{http://r0k.us/graphics/kodak/}},
  note         = {PNG files by Rich Franzen, 1999},
}
"""


class Kodak(tfds.core.GeneratorBasedBuilder):
    """24 photographs: ``image`` uint8 [512, 768, 3] or [768, 512, 3], ``filename`` "kodim01.png" and so on.

    The one split is ``test``, in the order of the names. The files come with the package, so nothing is
    downloaded; each is checked against ``checksums.tsv``, which also names where it came from.

        builder = tfds.builder("kodak")     # once codec_zoo.datasets.kodak.builder has been imported
        builder.download_and_prepare()
        builder.as_dataset("test")
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The 24 PNG files of r0k.us, bytes unchanged."}  # noqa: RUF012

    FOLDER = Path(__file__).parent
    code_path = epath.Path(__file__)  # TFDS guesses it from the module's name: wrong in editable installs

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "filename": tfds.features.Text(),
                }
            ),
            homepage="http://r0k.us/graphics/kodak/",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        for info in self.url_infos.values():
            self._verify(self.FOLDER / info.filename, info.checksum)
        return {"test": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, str]]]:
        for name in sorted(info.filename for info in self.url_infos.values()):
            yield name, {"image": str(self.FOLDER / name), "filename": name}

    def _verify(self, path: Path, expected: str) -> None:
        """Raise CodecZooError unless the file is there and has the expected SHA-256."""
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CodecZooError(f"cannot read {path}: {error.strerror}. Install codec-zoo again.") from error
        if found != expected:
            raise CodecZooError(
                f"{path} is not the Kodak picture: SHA-256 {found}, expected {expected}. Install codec-zoo again."
            )
