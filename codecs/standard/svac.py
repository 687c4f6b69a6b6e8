"""A codec like SVAC2's picture modes (Hu 2018, §2.1 and 2.2), made of HEVC; SVAC2 itself is not public.

**Intra**: one HEVC intra picture, YCbCr 4:2:0. **Multi-scale**: a small intra picture, then the whole picture as an
inter frame that is predicted from the small one scaled up.

QP has SVAC2's range, 0 … 63: HEVC's QP is 4 + ¾ · QP, rounded, so that QP 48 costs about 0.15 bits a pixel, as in
the paper (§4).

File: one byte, log2 of the scale (0: intra) times 64 plus QP. Intra: a BPG file. Multi-scale: width and height
(2 bytes each, big-endian), length of the small picture's BPG file (4 bytes) and that file, check (4 bytes), then the
inter frame's NAL unit. The inter frame refers to the upscaled picture, which the decoder codes losslessly itself, as
an HEVC frame of the same parameter sets; the check is their CRC-32, since another build of x265 might write others.
The upscaler works in integers. The encoder predicts from a frame of QP 0, which differs from the lossless one in half
a per cent of the samples by a level: it costs 0.001 dB and no exactness, since the decoder alone defines the picture.
"""

import struct
import zlib
from typing import ClassVar

import numpy as np
from PIL import Image

from codec_zoo import color
from codec_zoo.codecs.standard import hevc
from codec_zoo.codecs.standard.base import YCbCrCodec, check_declared_size, check_rgb, checked_quality
from codec_zoo.codecs.standard.bpg import BPG, MAX_SIDE, check_nals, double, halve
from codec_zoo.errors import BitstreamError

# A coding tree block of an inter frame has at most 64×64 pixels and at least two bins with contexts and one that ends
# slices, which together take more than 1/32 bit (H.265, §9.3.4.3).
MAX_PIXELS_PER_BYTE = 32 * 8 * 64 * 64
_START = b"\x00\x00\x01"
_HEADER = struct.Struct(">HHI")


def hevc_qp(quality: int) -> int:
    """HEVC's QP for one of 0 … 63."""
    return (16 + 3 * quality + 2) // 4


class SVAC(YCbCrCodec):
    """See the module.

    Args:
        quality: QP, 0 (finest) … 63, a whole number.
        scale: 1: intra; 2, 4 or 8: multi-scale, from a picture of 1/scale of the sides.

    Raises:
        ValueError: an argument is none of these.
    """

    quality: int
    qualities: ClassVar = (56, 52, 48, 44, 40, 34, 28)
    steps: ClassVar = range(63, -1, -1)

    def __init__(self, quality: float = 48, scale: int = 1):
        if scale not in _NAMES:
            raise ValueError(f"the scale must be 1, 2, 4 or 8. Received: {scale}")
        self.quality = int(checked_quality(quality, "the QP", 0, 63))
        self.scale = scale
        self.name = _NAMES[scale]

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``image``; see ``Codec.encode``."""
        check_rgb(image, MAX_SIDE - 1, self.name)
        return self.encode_ycbcr(color.rgb_to_ycbcr(image))

    def encode_ycbcr(self, picture: np.ndarray) -> bytes:
        """See ``YCbCrCodec.encode_ycbcr``."""
        check_rgb(picture, MAX_SIDE - 1, self.name)
        head = bytes([(self.scale.bit_length() - 1) * 64 + self.quality])
        codec = BPG(hevc_qp(self.quality), "ycbcr420")
        if self.scale == 1:
            return head + codec.encode_ycbcr(picture)
        height, width = picture.shape[:2]
        small_size = -(-width // self.scale), -(-height // self.scale)
        small = codec.encode_ycbcr(np.asarray(Image.fromarray(picture).resize(small_size, Image.Resampling.LANCZOS)))
        above = _planes(_upscale(codec.decode_ycbcr(small), self.scale, height, width))
        stream = hevc.encode_sequence([above, _planes(picture)], hevc_qp(self.quality))
        inter = [nal for nal in hevc.split_nals(stream) if hevc.nal_type(nal) < 32][-1]
        check = _check(hevc.encode_sequence([above], hevc_qp(self.quality), lossless=True))
        return head + _HEADER.pack(height, width, len(small)) + small + check + inter

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        scale, _, body = _split(data)
        if scale == 1:
            return BPG().declared_size(body)
        height, width, _ = _HEADER.unpack_from(body)
        return width, height

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a file of any scale and QP; see ``Codec.decode``."""
        return color.ycbcr_to_rgb(self.decode_ycbcr(data))

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``; multi-scale data of another x265 build is an error too."""
        scale, quality, body = _split(data)
        if scale == 1:
            return BPG(domain="ycbcr420").decode_ycbcr(body)
        height, width, length = _HEADER.unpack_from(body)
        check_declared_size(width, height)
        small, rest = body[_HEADER.size : _HEADER.size + length], body[_HEADER.size + length :]
        codec = BPG(domain="ycbcr420")
        if len(rest) < 7 or codec.declared_size(small) != (-(-width // scale), -(-height // scale)):
            raise BitstreamError("the multi-scale picture is cut or damaged.")
        inter = rest[4:]
        check_nals(_START + inter, hevc.INTER_SLICES)
        if width * height > MAX_PIXELS_PER_BYTE * len(inter):
            raise BitstreamError(
                f"the multi-scale picture claims {width}×{height} pixels in {len(inter)} bytes, which cannot be."
            )
        above = _planes(_upscale(codec.decode_ycbcr(small), scale, height, width))
        reference = hevc.encode_sequence([above], hevc_qp(quality), lossless=True)
        if _check(reference) != rest[:4]:
            raise BitstreamError(
                "the multi-scale picture is damaged, or was coded with another build of x265.",
                "Fetch the file again, or decode it with the PyAV version that coded it.",
            )
        rows, columns = above[0].shape
        (_, (y, *chroma)), _ = hevc.decode_sequence(reference + _START + inter, columns, rows, 2)
        full = [y, *(double(double(plane, 0), 1) for plane in chroma)]
        return np.stack([plane[:height, :width] for plane in full], axis=-1)


_NAMES = {1: "svac", 2: "svac-half", 4: "svac-quarter", 8: "svac-eighth"}


def _split(data: bytes) -> tuple[int, int, bytes]:
    """Scale, QP and the rest of a file."""
    if len(data) < 1 + _HEADER.size:
        raise BitstreamError("this is not an SVAC-like file, or it is cut.")
    return 1 << (data[0] >> 6), data[0] & 63, data[1:]


def _planes(picture: np.ndarray) -> list[np.ndarray]:
    """YCbCr ``uint8 [H, W, 3]`` → 4:2:0 planes, padded to multiples of 8 and to 64 at least."""
    height, width = picture.shape[:2]
    rows, columns = (max(64, -(-side // 8) * 8) - side for side in (height, width))
    padded = np.pad(picture, ((0, rows), (0, columns), (0, 0)), "edge")
    chroma = [halve(padded[..., i]) for i in (1, 2)]
    return [np.ascontiguousarray(padded[..., 0]), *chroma]


def _upscale(picture: np.ndarray, scale: int, height: int, width: int) -> np.ndarray:
    """``uint8 [h, w, 3]`` → ``[H, W, 3]`` by doubling, in integers."""
    planes = picture
    while scale > 1:
        planes = double(double(planes, 0), 1)
        scale //= 2
    return planes[:height, :width]


def _check(stream: bytes) -> bytes:
    """CRC-32 of a stream's sequence and picture parameter sets."""
    sets = [nal for nal in hevc.split_nals(stream) if hevc.nal_type(nal) in (hevc.SPS, hevc.PPS)]
    return zlib.crc32(_START.join(sets)).to_bytes(4, "big")
