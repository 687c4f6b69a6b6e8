"""The SVAC-like codec: rate of the paper, all scales, any size, damage."""

import numpy as np
import pytest

from codec_zoo.codecs.standard import get_codec, get_ycbcr_codec
from codec_zoo.codecs.standard.svac import hevc_qp
from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.metrics import psnr

NAMES = ("svac", "svac-half", "svac-quarter", "svac-eighth")


def test_the_scale_of_qp():
    """48 is 40 of HEVC, about 0.15 bpp; the ends are within HEVC's 0 … 51."""
    assert (hevc_qp(0), hevc_qp(48), hevc_qp(63)) == (4, 40, 51)
    assert all(hevc_qp(q) <= hevc_qp(q + 1) for q in range(63))


@pytest.mark.parametrize("name", NAMES)
def test_real_files(name, photo):
    codec = get_codec(f"{name}:40")
    picture = photo[:256, :256]
    data = codec.encode(picture)
    decoded = get_codec(f"{name}:0").decode(data)  # the file says what it needs
    assert len(data) < picture.size / 50 and psnr(picture, decoded) > 30
    assert codec.declared_size(data) == (256, 256)
    assert np.array_equal(codec.decode(data), decoded)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3), (33, 130)])
def test_any_size(name, size):
    picture = np.full((*size, 3), (30, 90, 200), np.uint8)
    codec = get_codec(f"{name}:40")
    decoded = codec.decode(codec.encode(picture))
    assert decoded.shape == picture.shape and np.abs(decoded.astype(int) - picture).max() < 8


@pytest.mark.parametrize("name", ["svac-half", "jpeg-420", "bpg-ycbcr420"])
def test_ycbcr_and_rgb_are_one_codec(name, photo):
    """What is coded from RGB is what is coded from its YCbCr; luma comes back at full size."""
    codec = get_ycbcr_codec(f"{name}:30")
    ycbcr = rgb_to_ycbcr(photo[:96, :128])
    decoded = codec.decode_ycbcr(codec.encode_ycbcr(ycbcr))
    assert decoded.shape == ycbcr.shape and psnr(ycbcr[..., 0], decoded[..., 0]) > 28
    if name != "jpeg-420":  # libjpeg converts RGB by its own arithmetic
        assert codec.encode(photo[:96, :128]) == codec.encode_ycbcr(ycbcr)


def test_gray_jpeg_stays_gray(photo):
    """Smaller than with flat chroma, and decoded to one channel."""
    codec = get_ycbcr_codec("jpeg-420:10")
    gray = photo[:128, :128, :1]
    data = codec.encode(gray)
    assert len(data) < len(codec.encode(np.repeat(gray, 3, axis=2)))
    assert codec.decode(data).shape == codec.decode_ycbcr(data).shape == gray.shape
    assert psnr(gray, codec.decode(data)) > 25


def test_errors(photo):
    for spec in ("svac:64", "svac:-1", "svac:4.5"):
        with pytest.raises(UsageError):
            get_codec(spec)
    with pytest.raises(UsageError, match="YCbCr"):
        get_ycbcr_codec("webp:30")
    data = get_codec("svac-half:40").encode(photo[:96, :96])
    for cut in (0, 1, 8, 9, 60, len(data) - 40):
        with pytest.raises(BitstreamError):
            get_codec("svac-half:40").decode(data[:cut])


def test_another_build_of_x265_is_named(photo):
    data = bytearray(get_codec("svac-half:40").encode(photo[:96, :96]))
    small = int.from_bytes(data[5:9], "big")
    data[9 + small] ^= 1
    with pytest.raises(BitstreamError, match="another build of x265"):
        get_codec("svac-half:40").decode(bytes(data))


def test_300_mutants(photo):
    """Errors or pictures, never a crash; wrong pictures are the container's checksum's business."""
    random = np.random.default_rng(0)
    for name in ("svac", "svac-quarter"):
        codec = get_codec(f"{name}:44")
        data = codec.encode(photo[:80, :80])
        for _ in range(150):
            mutant = bytearray(data)
            mutant[int(random.integers(len(mutant)))] ^= 1 << int(random.integers(8))
            try:
                codec.decode(bytes(mutant))
            except BitstreamError:
                continue
