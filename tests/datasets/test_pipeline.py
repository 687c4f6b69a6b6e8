import io
import tarfile
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from codec_zoo.codecs.image_files import PatchSampler, images
from codec_zoo.datasets import pipeline
from codec_zoo.datasets.kodak.builder import Kodak
from codec_zoo.datasets.pipeline import load, training_batches
from codec_zoo.errors import CodecZooError, ImageError, UsageError

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def cifar_archive(folder):
    """Write CIFAR-10 in its official binary format, two images a file; return the images by split."""
    folder.mkdir(parents=True)
    stored = {"train": [], "test": []}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:

        def add(name, data):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        add("batches.meta.txt", "\n".join(f"class{i}" for i in range(10)).encode())
        random = np.random.default_rng(0)
        for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            pictures = random.integers(256, size=(2, 32, 32, 3), dtype=np.uint8)
            stored["test" if "test" in name else "train"].extend(pictures)
            add(name, b"".join(b"\3" + picture.transpose(2, 0, 1).tobytes() for picture in pictures))
    return stored


@pytest.mark.parametrize("name", ["kodak", "tfds:kodak"])
def test_kodak_by_name(tmp_path, offline, name):
    dataset = load(name, "test[:2]", tmp_path)
    assert dataset.element_spec == tf.TensorSpec([None, None, 3], tf.uint8)
    first, second = dataset.as_numpy_iterator()
    assert np.array_equal(first, np.asarray(Image.open(Kodak.FOLDER / "kodim01.png")))
    assert np.array_equal(second, np.asarray(Image.open(Kodak.FOLDER / "kodim02.png")))


@pytest.mark.parametrize("name", ["clic", "cifar10", "tfds:clic", "tfds:cifar10"])
def test_unprepared_and_offline_fails_fast_and_says_what_to_do(tmp_path, offline, name):
    started = time.monotonic()
    with pytest.raises(CodecZooError, match=rf"cannot be reached.*{tmp_path}/downloads/manual: https://"):
        load(name, "train", tmp_path)
    assert time.monotonic() - started < 10


def test_cifar10_from_a_local_archive(tmp_path, offline, monkeypatch):
    stored = cifar_archive(tmp_path / "downloads/manual")
    with pytest.raises(CodecZooError, match=r"cannot prepare cifar10.*cifar-10-binary\.tar\.gz"):
        load("cifar10", "train", tmp_path)  # not the official archive

    digest = tfds.core.download.checksums.compute_url_info(tmp_path / "downloads/manual/cifar-10-binary.tar.gz")
    monkeypatch.setitem(tfds.builder_cls("cifar10").url_infos, CIFAR_URL, digest)
    for split, expected in stored.items():
        loaded = {image.tobytes() for image in load("cifar10", split, tmp_path).as_numpy_iterator()}
        assert loaded == {image.tobytes() for image in expected}
    batches = training_batches("cifar10", patch_size=32, batch_size=4, steps=2, data_dir=tmp_path)
    assert [batch.shape for batch in batches] == [(4, 32, 32, 3)] * 2


def test_folder(photos):
    dataset = load(photos, "train")
    assert dataset.cardinality() == 3
    for loaded, expected in zip(dataset.as_numpy_iterator(), images(photos, "train"), strict=True):
        assert np.array_equal(loaded, expected)


def test_wrong_names(tmp_path, photos, offline):
    with pytest.raises(UsageError, match="no such data set or folder: 'koda'"):
        load("koda", "test", tmp_path)
    with pytest.raises(UsageError, match="TFDS has no data set 'koda'"):
        load("tfds:koda", "test", tmp_path)
    with pytest.raises(UsageError, match=r"kodak has no split 'train'\. It has: test"):
        load("kodak", "train", tmp_path)
    with pytest.raises(UsageError, match=r"TFDS has no data set 'kodak:9\.9\.9'"):
        load("tfds:kodak:9.9.9", "test", tmp_path)
    with pytest.raises(UsageError, match="nothing in"):
        load("kodak", "test[24:]", tmp_path)
    with pytest.raises(UsageError, match="no subfolder 'test'"):
        load(photos, "test")


def test_batches_resume_and_equal_those_of_other_backends(photos):
    def run(start, seed=5):
        dataset = training_batches(photos, patch_size=32, batch_size=4, steps=8, start_step=start, seed=seed)
        assert dataset.element_spec == tf.TensorSpec([4, 32, 32, 3], tf.uint8)
        assert dataset.cardinality() == 8 - start
        return np.stack(list(dataset.as_numpy_iterator()))

    whole = run(0)
    assert whole.shape == (8, 4, 32, 32, 3) and whole.dtype == np.uint8
    assert np.array_equal(whole, run(0))
    assert np.array_equal(whole[5:], run(5))
    assert not np.array_equal(whole, run(0, seed=6))
    sampler = PatchSampler(photos, 32, 4, seed=5)
    assert np.array_equal(whole[3], sampler.batch(3))


def test_batches_from_a_dataset(photos):
    options = {"patch_size": 16, "batch_size": 2, "steps": 3, "scales": None, "rotate": False}
    from_dataset = training_batches(load(photos, "train"), **options)
    from_folder = training_batches(str(photos), **options)
    for a, b in zip(from_dataset, from_folder, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("damage", [lambda data: b"not an image", lambda data: data[: len(data) // 2]])
def test_damaged_images_are_said_before_training_starts_and_the_batches_are_those_of_the_sampler(photos, damage):
    paths = sorted((photos / "train").rglob("*.png"))
    paths[1].write_bytes(damage(paths[1].read_bytes()))
    notices = []
    batches = training_batches(photos, patch_size=16, batch_size=2, steps=6, seed=3, notice=notices.append)
    assert len(notices) == 1 and paths[1].name in notices[0]
    sampler = PatchSampler(photos, 16, 2, 3, notice=notices.append)
    for step, batch in enumerate(batches.as_numpy_iterator()):
        assert np.array_equal(batch, sampler.batch(step))
    for path in paths:
        path.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=rf"none of {len(paths)} files can be used.*{paths[0].name}"):
        training_batches(photos, patch_size=16, batch_size=1, steps=1)


def test_no_room_and_no_images_are_errors(photos, monkeypatch):
    options = {"patch_size": 16, "batch_size": 1, "steps": 1}
    with pytest.raises(UsageError, match=r"Received: float32 \[4, 4, 3\]"):
        training_batches(tf.data.Dataset.from_tensors(tf.zeros([4, 4, 3])), **options)
    with pytest.raises(UsageError, match="no images"):
        training_batches(load(photos, "train").take(0), **options)
    monkeypatch.setattr("tempfile.tempdir", str(photos / "nothing"))
    with pytest.raises(CodecZooError, match="set TMPDIR"):
        training_batches(photos, **options)


@pytest.mark.parametrize(
    ("known", "train", "val"),
    [
        (("train", "test"), "train[:98%]", "train[98%:]"),
        (("train", "validation"), "train", "validation"),
        (("train", "val"), "train", "val"),
        (("test",), "train", "val"),
    ],
)
def test_validation_split(known, train, val):
    """CIFAR-10 has none of its own, and the test split is never trained or selected on."""
    assert pipeline._split_of("train", known) == train
    assert pipeline._split_of("val", known) == val
    assert pipeline._split_of("test", known) == "test"
