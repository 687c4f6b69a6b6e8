import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from codec_zoo.datasets.kodak.builder import Kodak
from codec_zoo.errors import CodecZooError


def test_builds_offline_and_reads_back_bit_exact(tmp_path, offline):
    builder = tfds.builder("kodak", data_dir=tmp_path)
    builder.download_and_prepare()
    assert builder.info.splits["test"].num_examples == 24
    assert builder.info.homepage and "Kodak" in builder.info.citation
    examples = list(builder.as_dataset("test").as_numpy_iterator())
    assert [e["filename"].decode() for e in examples] == [f"kodim{i:02}.png" for i in range(1, 25)]
    for example in examples:
        picture = np.asarray(Image.open(Kodak.FOLDER / example["filename"].decode()))
        assert example["image"].dtype == np.uint8 and np.array_equal(example["image"], picture)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_wrong_file_is_named(tmp_path, monkeypatch, damage):
    for name in ("kodim01.png", "kodim02.png"):
        shutil.copy(Kodak.FOLDER / name, tmp_path)
    if damage == "changed":
        Image.new("RGB", (768, 512)).save(tmp_path / "kodim02.png")
    else:
        (tmp_path / "kodim02.png").unlink()
    monkeypatch.setattr(Kodak, "FOLDER", tmp_path)
    with pytest.raises(CodecZooError, match=r"kodim02\.png.*Install codec-zoo again"):
        Kodak(data_dir=tmp_path / "tfds").download_and_prepare()
