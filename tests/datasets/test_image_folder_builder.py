import numpy as np
import pytest

from codec_zoo.codecs.image_reader import read_rgb
from codec_zoo.datasets.image_folder import ImageFolder
from codec_zoo.errors import ImageError, UsageError


def prepared(folder, tmp_path, **options):
    builder = ImageFolder.of(folder, data_dir=tmp_path / "tfds", **options)
    builder.download_and_prepare()
    return builder


def test_subfolders_become_splits(photos, tmp_path):
    builder = prepared(photos, tmp_path)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 3, "val": 1}
    for example in builder.as_dataset("train").as_numpy_iterator():
        assert np.array_equal(example["image"], read_rgb(photos / example["filename"].decode()))


def test_a_flat_folder_is_split_by_hash(photos, tmp_path):
    builder = prepared(photos / "train", tmp_path)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 2, "val": 1}


def test_a_changed_folder_is_prepared_afresh(photos, tmp_path):
    prepared(photos, tmp_path)
    assert ImageFolder.of(photos, data_dir=tmp_path / "tfds").is_prepared()
    (photos / "train/c.png").unlink()
    assert prepared(photos, tmp_path).info.splits["train"].num_examples == 2


def test_unreadable_images_stop_or_are_counted(photos, tmp_path):
    (photos / "train/b.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"train/b\.png"):
        prepared(photos, tmp_path)
    with pytest.warns(UserWarning, match=r"1 of 3 files were left out.*train/b\.png"):
        builder = prepared(photos, tmp_path, skip_unreadable=True)
    assert builder.info.splits["train"].num_examples == 2


def test_missing_folder(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        ImageFolder.of(tmp_path / "nothing")
