import os
import warnings

import numpy as np
import pytest
from PIL import Image

from codec_zoo.codecs.image_files import (
    PatchSampler,
    decode_replacing,
    decode_usable,
    image_paths,
    images,
    split_names,
    usable,
)
from codec_zoo.codecs.image_formats import SUFFIXES
from codec_zoo.errors import ImageError, UsageError


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def flat(tmp_path):
    """A folder without split subfolders."""
    for i in range(60):
        write(tmp_path / "flat" / f"{i}.png", noise(20, 30, i))
    return tmp_path / "flat"


@pytest.fixture
def split(tmp_path):
    """A folder with split subfolders, a nested image, a hidden file and a text."""
    write(tmp_path / "split/train/a.png", noise(20, 30, 1))
    write(tmp_path / "split/train/deeper/b.PNG", noise(40, 50, 2))
    write(tmp_path / "split/val/c.png", noise(64, 20, 3))
    (tmp_path / "split/train/.hidden.png").write_bytes(b"")
    (tmp_path / "split/train/notes.txt").write_text("not an image")
    return tmp_path / "split"


def names(paths):
    return [path.name for path in paths]


def test_subfolders_are_the_splits(split):
    assert names(image_paths(split, "train")) == ["a.png", "b.PNG"]
    assert names(image_paths(split, "val")) == ["c.png"]
    assert names(image_paths(split)) == ["a.png", "b.PNG", "c.png"]
    with pytest.raises(UsageError, match="no subfolder 'test', only: train, val"):
        image_paths(split, "test")


def test_hash_split_is_disjoint_complete_and_keeps_images_in_place(flat):
    train, val = image_paths(flat, "train"), image_paths(flat, "val")
    assert sorted(train + val) == sorted(image_paths(flat)) and not set(train) & set(val)
    assert names(val) == ["33.png", "40.png", "6.png"]  # the rule itself: must not change between versions
    write(flat / "new.png", noise(8, 8))
    assert set(val) <= set(image_paths(flat, "val"))
    with pytest.raises(UsageError, match="no subfolder 'test'"):
        image_paths(flat, "test")


def test_hash_split_gives_val_an_image_in_small_folders(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", noise(8, 8))
    assert len(image_paths(tmp_path, "train")) == len(image_paths(tmp_path, "val")) == 1
    (tmp_path / "0.png").unlink()
    with pytest.raises(UsageError, match=r"holds one image, 1\.png"):
        image_paths(tmp_path, "train")


def test_split_names_are_the_subfolders_or_train_and_val(split, flat):
    assert split_names(split) == split_names(flat) == ("train", "val")
    (split / "test").mkdir()
    assert split_names(split) == ("train", "val", "test")


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        image_paths(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no images"):
        PatchSampler(tmp_path, 8, 1)
    with pytest.raises(UsageError, match="no such split: 'dev'"):
        image_paths(tmp_path, "dev")
    with pytest.raises(UsageError, match="Received: 0"):
        PatchSampler([noise(8, 8)], 0, 1)
    with pytest.raises(UsageError, match="scales"):
        PatchSampler([noise(8, 8)], 8, 1, scales=(1.0, 0.5))
    with pytest.raises(UsageError, match="empty"):
        PatchSampler([], 8, 1)


@pytest.mark.parametrize("damage", [lambda data: data[:-200], lambda data: b"text", lambda data: b""])
def test_damaged_file_is_named(split, damage):
    file = split / "val/c.png"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ImageError, match=r"c\.png"):
        images(split, "val")
    with pytest.raises(ImageError, match=r"c\.png"):
        PatchSampler(split, 8, 1, split="val").batch(0)


def test_endings_are_found_in_capitals_or_not(tmp_path):
    for i, name in enumerate(("a.jfif", "b.jp2", "c.pgm", "d.JPE", "e.HEIC", "f.Jpg", "g.txt", "png")):
        (tmp_path / name).write_bytes(bytes([i]))
    assert names(image_paths(tmp_path)) == ["a.jfif", "b.jp2", "c.pgm", "d.JPE", "e.HEIC", "f.Jpg"]


def test_every_ending_of_a_raster_format_is_known():
    """Those of Pillow that hold photographs; icons, textures and scientific data are named on the command line."""
    Image.init()
    photographs = {
        "AVIF",
        "BMP",
        "DIB",
        "GIF",
        "JPEG",
        "JPEG2000",
        "MPO",
        "PCX",
        "PNG",
        "PPM",
        "QOI",
        "TGA",
        "TIFF",
        "WEBP",
    }
    known = {ending for ending, kind in Image.registered_extensions().items() if kind in photographs}
    assert known - set(SUFFIXES) <= {".avifs", ".icb", ".pfm", ".vda", ".vst"}  # films, floats, rare twins of .tga


def test_linked_folders_are_searched_once_and_without_end(tmp_path):
    write(tmp_path / "photos/train/deep/a.png", noise(8, 8))
    write(tmp_path / "photos/train/b.png", noise(8, 8))
    write(tmp_path / "elsewhere/c.png", noise(8, 8))
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos/train/linked")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos/train/twice")
    os.symlink(tmp_path / "photos", tmp_path / "photos/train/deep/loop")
    os.symlink(tmp_path / "nowhere", tmp_path / "photos/train/broken.png")
    os.symlink("itself", tmp_path / "photos/train/itself")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos/val")
    found = [path.relative_to(tmp_path / "photos").as_posix() for path in image_paths(tmp_path / "photos", "train")]
    assert found == ["train/b.png", "train/deep/a.png", "train/linked/c.png"]
    assert names(image_paths(tmp_path / "photos", "val")) == ["c.png"]


def test_names_that_are_no_text(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", noise(8, 8))
    os.rename(os.fsencode(tmp_path / "0.png"), os.fsencode(tmp_path) + b"/\xff.png")
    assert len(image_paths(tmp_path, "train") + image_paths(tmp_path, "val")) == 3


@pytest.fixture
def spoilt(tmp_path):
    """Nine images, of which 1 and 4 fail at the header, 0, 2 and 8 when they are decoded, and 5 is converted."""
    for i in range(9):
        write(tmp_path / f"{i}.png", noise(20 + i, 30, i))
    (tmp_path / "1.png").write_bytes(b"text")
    Image.fromarray(noise(9, 9)).save(
        tmp_path / "4.png", save_all=True, append_images=[Image.fromarray(noise(9, 9, 1))]
    )
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:-200])
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / "2.png")
    Image.fromarray(noise(9, 9)[..., 0].astype(np.uint16)).save(tmp_path / "5.png")
    (tmp_path / "8.png").write_bytes((tmp_path / "8.png").read_bytes()[:-200])
    return tmp_path


def test_files_that_cannot_be_used_are_left_out_with_one_notice_a_kind(spoilt):
    notices = []
    paths = usable(image_paths(spoilt), notices.append)
    assert names(paths) == ["0.png", "2.png", "3.png", "5.png", "6.png", "7.png", "8.png"]
    assert len(notices) == 2
    assert notices[0] == "1 of 9 images, 5.png the first: 16 bits a sample reduced to 8"
    assert notices[1].startswith(f"2 of 9 files are left out. The first: {spoilt / '1.png'} is not a picture")


def test_files_that_cannot_be_decoded_are_replaced_by_the_next(spoilt):
    """Batches are those of one list of images, whatever is drawn first, kept in memory, or decoded in advance."""
    quiet = [].append
    paths = usable(image_paths(spoilt), quiet)
    notices = []
    all_images = list(decode_replacing(paths, notices.append))
    assert [image.shape[0] for image in all_images] == [23, 23, 23, 9, 26, 27, 23]
    assert len(notices) == 1 and notices[0].startswith("3 of 7 files are left out. The first: ")

    expected = [PatchSampler(all_images, 16, 4, seed=1).batch(step) for step in range(12)]
    for steps, memory in ((range(12), 1 << 30), (range(11, -1, -1), 1 << 30), (range(12), 0)):
        notices = []
        sampler = PatchSampler(spoilt, 16, 4, seed=1, split="all", max_bytes=memory, notice=notices.append)
        assert all(np.array_equal(sampler.batch(step), expected[step]) for step in steps)
        assert len(notices) == 3 and notices[2].startswith("1 of 7 files cannot be decoded so far")


def test_held_out_images_are_the_first_that_can_be_used(spoilt):
    notices = []
    held_out = decode_usable(image_paths(spoilt), 2, notices.append)
    assert [image.shape[0] for image in held_out] == [23, 9]
    assert len(notices) == 1 and notices[0].startswith("4 of 6 files are left out. The first: ")


def test_notices_are_warnings_where_none_are_asked_for(spoilt):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PatchSampler(spoilt, 8, 1, split="all")
    assert [str(warning.message).split()[0] for warning in caught] == ["1", "2"]


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_that_are_no_colours_are_scaled_one_by_one(channels):
    """Two are not luma and transparency: a constant picture stays one."""
    values = np.arange(200, 0, -50, np.uint8)[:channels]
    picture = np.broadcast_to(values, (90, 90, channels))
    batch = PatchSampler([picture], 16, 16, scales=(0.3, 0.9)).batch(0)
    assert np.array_equal(batch, np.broadcast_to(values, batch.shape))


def test_batches_depend_on_seed_and_step_only(split):
    sampler = PatchSampler(split, 16, 4, seed=3)
    in_order = [sampler.batch(step) for step in range(6)]
    resumed = PatchSampler(split, 16, 4, seed=3)
    without_memory = PatchSampler(split, 16, 4, seed=3, max_bytes=0)
    for step in (5, 2, 0):
        assert np.array_equal(resumed.batch(step), in_order[step])
        assert np.array_equal(without_memory.batch(step), in_order[step])
    assert not np.array_equal(in_order[0], in_order[1])
    assert not np.array_equal(in_order[0], PatchSampler(split, 16, 4, seed=4).batch(0))


@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (5, 40), (40, 5), (17, 300)])
def test_images_of_any_size_give_patches(shape):
    batch = PatchSampler([noise(*shape)], 16, 8, scales=(0.4, 2.0)).batch(0)
    assert batch.shape == (8, 16, 16, 3) and batch.dtype == np.uint8


def test_unscaled_patches_hold_untouched_pixels():
    image = np.arange(64 * 64, dtype=np.uint32)  # each pixel's colour is its position
    image = np.stack([image >> 8, image & 255, image * 0], axis=-1).astype(np.uint8).reshape(64, 64, 3)
    plain = PatchSampler([image], 16, 32, scales=None, rotate=False).batch(0).astype(int)
    position = plain[..., 0] * 256 + plain[..., 1]
    top, left = np.divmod(position[:, 0, 0], 64)
    assert len(set(zip(top, left, strict=True))) > 25
    for i in range(32):
        assert np.array_equal(plain[i], image[top[i] : top[i] + 16, left[i] : left[i] + 16])

    turned = PatchSampler([image[:16, :16]], 16, 64, scales=None).batch(0)
    views = {np.rot90(side, k).tobytes() for k in range(4) for side in (image[:16, :16], image[:16, 15::-1])}
    assert {patch.tobytes() for patch in turned} == views


def test_half_of_the_patches_are_scaled_down_without_aliasing():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255  # the highest frequency: gone at half size
    batch = PatchSampler([stripes], 32, 100, scales=(0.5, 0.5)).batch(0)
    deviation = batch[:, 8:-8, 8:-8].std(axis=(1, 2, 3))
    assert 30 < (deviation < 10).sum() < 70 and ((deviation < 10) | (deviation > 120)).all()
