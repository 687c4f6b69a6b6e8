"""BPG against files of the original bpgenc, and against the stream inside ours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.codecs.standard import bpg, hevc
from codec_zoo.codecs.standard.bpg import BPG, RawHEVC
from codec_zoo.datasets import kodak
from codec_zoo.errors import BitstreamError

VECTORS = Path(__file__).parents[2] / "data" / "bpg"
PHOTO = np.asarray(Image.open(f"{kodak.__path__[0]}/kodim23.png"))[:128, :192]


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*_q*.bpg")), ids=lambda path: path.stem)
def test_files_of_bpgenc_decode_as_with_bpgdec(path):
    expected = np.asarray(Image.open(path.with_suffix(".png")).convert("RGB")).astype(int)
    decoded = BPG().decode(path.read_bytes())
    assert decoded.shape == expected.shape
    if "420" in path.stem:
        assert np.mean(np.square(decoded - expected)) < 255**2 / 10**4.5
    else:
        assert np.abs(decoded - expected).max() <= 1


def test_all_vectors_are_here():
    assert len(list(VECTORS.glob("*_q*.bpg"))) == 6


def test_implicit_rdpcm_is_refused():
    with pytest.raises(BitstreamError, match="RDPCM"):
        BPG().decode((VECTORS / "lossless_implicit_rdpcm_must_be_refused.bpg").read_bytes())


def test_container_is_reversible():
    for path in VECTORS.glob("*_q*.bpg"):
        file = bpg.demux(path.read_bytes())
        assert bpg.demux(bpg.mux(file)) == file


def test_file_decodes_to_the_pixels_of_the_raw_stream_and_is_smaller():
    raw, file = RawHEVC(30), BPG(30)
    stream, data = raw.encode(PHOTO), file.encode(PHOTO)
    assert np.array_equal(raw.decode(stream), file.decode(data))
    assert len(data) < len(stream)
    slices = sum(len(nal) for nal in hevc.split_nals(stream) if hevc.nal_type(nal) < 32)
    assert len(data) - slices <= 30


@pytest.mark.parametrize("flag, byte, value", [("alpha", 4, 0x10), ("limited", 5, 2), ("animation", 5, 1)])
def test_features_not_read_are_refused(flag, byte, value):
    data = bytearray(BPG(40).encode(PHOTO[:16, :16]))
    data[byte] |= value
    with pytest.raises(BitstreamError, match="plain BPG"):
        BPG().decode(bytes(data))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**31])
def test_ue7(value):
    assert bpg._read_ue7(bpg._write_ue7(value), 0) == (value, len(bpg._write_ue7(value)))


def test_ten_bits_cost_nothing_in_fidelity():
    for color in ("ycbcr444", "rgb444"):
        decoded = BPG(0, color, 10).decode(BPG(0, color, 10).encode(PHOTO))
        assert np.abs(decoded.astype(int) - PHOTO).max() <= 2
