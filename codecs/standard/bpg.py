"""BPG: HEVC intra pictures in Fabrice Bellard's still-picture file, written and read without his tools.

File: magic, two bytes of format, sizes as 7-bit groups (``ue7``), the part of the sequence parameter set that
intra decoding needs, then the HEVC picture parameter set and slices. Other decoders read these files, and
this one reads those of bpgenc (``tests/data/bpg``).
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from codec_zoo import color
from codec_zoo.codecs.standard import hevc
from codec_zoo.codecs.standard.base import YCbCrCodec, check_declared_size, check_rgb, checked_quality
from codec_zoo.codecs.standard.hevc import BitReader, BitWriter, IntraTools
from codec_zoo.errors import BitstreamError, ImageError

MAGIC = b"BPG\xfb"
MAX_SIDE = 2**16
# A decoder allocates by the declared size: a file must be worth it. A coding tree block has at most 64×64 pixels, and
# its prediction mode at least one bin without a context, which is one bit (H.265, §7.3.8.5 and 9.3.4.3.4). A flat
# picture of 4000×3000 takes x265 2,874 bytes, 4,175 pixels a byte.
MAX_PIXELS_PER_BYTE = 8 * 64 * 64
# Pixels that are converted between colour spaces at once.
_STRIP = 2**18

# pixel_format and color_space of the format.
GRAY, YUV420, YUV422, YUV444, YUV420_VIDEO, YUV422_VIDEO = range(6)
YCBCR_BT601, RGB = 0, 1

_CHROMA_FORMAT = {GRAY: 0, YUV420: 1, YUV422: 2, YUV444: 3}
_FFMPEG_FORMAT = {"ycbcr444": "yuv444p", "ycbcr420": "yuv420p", "rgb444": "gbrp"}


@dataclasses.dataclass(frozen=True)
class BPGFile:
    """A parsed BPG file.

    Attributes:
        pixel_format: GRAY, YUV420, YUV422 or YUV444.
        color_space: YCBCR_BT601 or RGB.
        depth: bits a sample, 8 … 12.
        width: of the picture; the coded size is this rounded up to ``tools.min_cb``.
        height: likewise.
        tools: for the sequence parameter set.
        picture: PPS and slices, with start codes between them.
    """

    pixel_format: int
    color_space: int
    depth: int
    width: int
    height: int
    tools: IntraTools
    picture: bytes

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height of the HEVC picture."""
        side = self.tools.min_cb
        return -(-self.width // side) * side, -(-self.height // side) * side


def _write_ue7(value: int) -> bytes:
    """A number in groups of 7 bits, highest first; the top bit says that another follows."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def _read_ue7(data: bytes, position: int) -> tuple[int, int]:
    """Inverse of :func:`_write_ue7`: the number, and the position after it."""
    value = 0
    for i in range(position, min(position + 5, len(data))):
        value = value << 7 | data[i] & 127
        if data[i] < 128:
            return value, i + 1
    raise BitstreamError("the BPG header is cut or damaged.")


def mux(file: BPGFile) -> bytes:
    """The bytes of a BPG file."""
    bits = BitWriter()
    tools = file.tools
    bits.ue(tools.log2_min_cb - 3, tools.log2_diff_cb, tools.log2_min_tb - 2, tools.log2_diff_tb)
    bits.ue(tools.max_depth_intra).u(int(tools.sao))
    hevc.write_pcm(bits, tools.pcm)
    bits.u(int(tools.strong_intra_smoothing))
    hevc.write_extension(bits, tools.range_flags)
    header = bits.to_bytes()
    return b"".join(
        [
            MAGIC,
            bytes([file.pixel_format << 5 | file.depth - 8, file.color_space << 4]),
            _write_ue7(file.width),
            _write_ue7(file.height),
            _write_ue7(0),  # the picture's data reaches to the end of the file
            _write_ue7(len(header)),
            header,
            file.picture,
        ]
    )


def demux(data: bytes) -> BPGFile:
    """Parse a BPG file.

    Raises:
        BitstreamError: not BPG, cut, damaged, of an impossible size, or with a feature that is not read here:
            alpha, animation, limited range, other colour spaces, implicit RDPCM, more than one slice.
    """
    if data[:4] != MAGIC:
        raise BitstreamError(f"this is not a BPG file: it starts with {data[:4].hex() or 'nothing'}.")
    if len(data) < 10:
        raise BitstreamError("the BPG file is cut inside its header.")
    pixel_format, alpha, depth = data[4] >> 5, data[4] >> 4 & 1, (data[4] & 15) + 8
    color_space, flags = data[5] >> 4, data[5] & 15
    pixel_format = {YUV420_VIDEO: YUV420, YUV422_VIDEO: YUV422}.get(pixel_format, pixel_format)
    has_extension = flags >> 3
    if alpha or flags & 0b111 or color_space not in (YCBCR_BT601, RGB):
        raise BitstreamError(
            "the BPG file uses alpha, limited range, animation or another colour space than BT.601 YCbCr and RGB.",
            "Convert it to a plain BPG first.",
        )
    if pixel_format not in _CHROMA_FORMAT or depth > 12 or (color_space == RGB and pixel_format != YUV444):
        raise BitstreamError("the BPG header is damaged: no such pixel format.")
    width, position = _read_ue7(data, 6)
    height, position = _read_ue7(data, position)
    length, position = _read_ue7(data, position)
    if has_extension:
        size, position = _read_ue7(data, position)
        position += size
    check_declared_size(width, height)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS_PER_BYTE * len(data):
        raise BitstreamError(f"the BPG file claims {width}×{height} pixels in {len(data)} bytes, which cannot be.")
    if length and position + length > len(data):
        raise BitstreamError(f"the BPG file is cut: {len(data) - position} of {length} bytes of the picture.")
    body = data[position : position + length] if length else data[position:]
    size, position = _read_ue7(body, 0)
    bits = BitReader(body[position : position + size])
    blocks = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    tools = IntraTools(
        log2_min_cb=blocks[0] + 3,
        log2_diff_cb=blocks[1],
        log2_min_tb=blocks[2] + 2,
        log2_diff_tb=blocks[3],
        max_depth_intra=bits.ue(),
        sao=bool(bits.u(1)),
        pcm=hevc.read_pcm(bits),
        strong_intra_smoothing=bool(bits.u(1)),
        range_flags=hevc.read_extension(bits),
    )
    if tools.log2_min_cb + tools.log2_diff_cb > 6 or tools.log2_min_tb + tools.log2_diff_tb > 5:
        raise BitstreamError("the BPG header is damaged: no such block sizes.")
    if tools.range_flags and tools.range_flags[2]:
        raise BitstreamError(
            "the BPG file uses implicit RDPCM (bpgenc -lossless), which FFmpeg decodes wrongly.", "Use bpgdec."
        )
    picture = body[position + size :]
    check_nals(picture, (hevc.PPS,), hevc.INTRA_SLICES)
    return BPGFile(pixel_format, color_space, depth, width, height, tools, picture)


def check_nals(stream: bytes, *kinds: tuple[int, ...]) -> None:
    """Raise ``BitstreamError`` unless an HEVC stream is made of one NAL unit of each of these kinds, in order.

    What else a decoder would take: other parameter sets, and slice after slice for the same pixels. FFmpeg ends the
    process on some units that are none: with zeros at their end, or three in a row (§7.4.2).
    """
    nals = hevc.split_nals(stream)
    if any(nal[-1] == 0 or b"\0\0\0" in nal or b"\0\0\2" in nal for nal in nals):
        raise BitstreamError("the HEVC data is cut or damaged: it has bytes that no NAL unit has.")
    found = [hevc.nal_type(nal) for nal in nals]
    if len(found) != len(kinds) or any(kind not in known for kind, known in zip(found, kinds, strict=True)):
        raise BitstreamError(
            f"the HEVC data has NAL units of types {', '.join(map(str, found[:8])) or 'none'}"
            f"{' …' if len(found) > 8 else ''}: a picture has one slice, an intra picture one picture parameter set "
            "before it."
        )


class BPG(YCbCrCodec):
    """BPG with x265's best still-picture settings.

    Args:
        quality: QP, 0 (finest) … 51, a whole number.
        domain: ``"ycbcr444"``, ``"ycbcr420"`` (BT.601, full range) or ``"rgb444"``.
        bit_depth: 8 or 10 bits a sample inside the codec.

    Raises:
        ValueError: an argument is none of these.
    """

    quality: int
    qualities: ClassVar = (44, 40, 36, 32, 28, 24, 20)
    steps: ClassVar = range(51, -1, -1)

    def __init__(self, quality: float = 32, domain: str = "ycbcr444", bit_depth: int = 8):
        if domain not in _FFMPEG_FORMAT or bit_depth not in (8, 10):
            raise ValueError(f"no such BPG format: {domain!r}, {bit_depth} bits")
        self.quality = int(checked_quality(quality, "the QP", 0, 51))
        self.domain = domain
        self.bit_depth = bit_depth
        self.name = f"bpg-{domain}" + ("-10bit" if bit_depth == 10 else "")

    @property
    def library(self) -> str:
        """See ``Codec.library``."""
        return hevc.library()

    def encode(self, image: np.ndarray) -> bytes:
        """Code a picture; see ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "BPG")
        min_cb = _smallest_block(image.shape[0], image.shape[1])
        planes = _to_planes(_pad(image, min_cb), self.domain, self.bit_depth)
        return self._encode_planes(planes, image.shape[0], image.shape[1], min_cb)

    def encode_ycbcr(self, picture: np.ndarray) -> bytes:
        """See ``YCbCrCodec.encode_ycbcr``; 8 bits, and not in the RGB domain."""
        check_rgb(picture, MAX_SIDE, "BPG")
        min_cb = _smallest_block(picture.shape[0], picture.shape[1])
        planes = list(np.moveaxis(_pad(picture, min_cb), 2, 0))
        if self.domain == "ycbcr420":
            planes[1:] = [halve(plane) for plane in planes[1:]]
        return self._encode_planes(planes, picture.shape[0], picture.shape[1], min_cb)

    def _encode_planes(self, planes: list[np.ndarray], height: int, width: int, min_cb: int) -> bytes:
        stream = self.encode_raw(planes, min_cb)
        nals = hevc.split_nals(stream)
        tools = next(hevc.parse_sps(nal) for nal in nals if hevc.nal_type(nal) == hevc.SPS)
        kept = [nal for nal in nals if hevc.nal_type(nal) == hevc.PPS or hevc.nal_type(nal) < 32]
        return mux(
            BPGFile(
                pixel_format=YUV420 if self.domain == "ycbcr420" else YUV444,
                color_space=RGB if self.domain == "rgb444" else YCBCR_BT601,
                depth=self.bit_depth,
                width=width,
                height=height,
                tools=tools,
                picture=b"\x00\x00\x01".join(kept),
            )
        )

    def encode_raw(self, planes: list[np.ndarray], min_cb: int) -> bytes:
        """The raw HEVC stream of sample planes, of which the file keeps PPS and slices."""
        suffix = "" if self.bit_depth == 8 else f"{self.bit_depth}le"
        return hevc.encode(planes, _FFMPEG_FORMAT[self.domain] + suffix, self.quality, min_cb)

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        file = demux(data)
        return file.width, file.height

    def decode(self, data: bytes) -> np.ndarray:
        """Decode any BPG file that :func:`demux` takes; see ``Codec.decode``."""
        file = demux(data)
        return _from_planes(_decode_planes(file), file)

    def decode_ycbcr(self, data: bytes) -> np.ndarray:
        """See ``YCbCrCodec.decode_ycbcr``; a BPG file in YCbCr, 8 bits, with chroma as this codec codes it."""
        file = demux(data)
        wanted = YUV420 if self.domain == "ycbcr420" else YUV444
        if (file.color_space, file.depth, file.pixel_format) != (YCBCR_BT601, 8, wanted):
            raise BitstreamError(f"the BPG file is not YCbCr 4:{'2:0' if wanted == YUV420 else '4:4'} in 8 bits.")
        return np.stack(_full_size(_decode_planes(file), file), axis=-1)


class RawHEVC(BPG):
    """The HEVC stream that :class:`BPG` puts into its files, as x265 wrote it.

    The difference in bytes is the cost of the container. Sides must be multiples of 8 from 16 up: a raw stream has
    no other size. YCbCr 4:4:4, 8 bits.
    """

    def __init__(self, quality: float = 32):
        super().__init__(quality)
        self.name = "hevc-ycbcr444"

    def encode(self, image: np.ndarray) -> bytes:
        """See ``Codec.encode``."""
        check_rgb(image, MAX_SIDE, "HEVC")
        height, width = image.shape[:2]
        if height % 8 or width % 8 or min(height, width) < 16:
            raise ImageError(f"raw HEVC takes sides of 16, 24, 32, … pixels. Received: {width}×{height}")
        return self.encode_raw(_to_planes(image, self.domain, self.bit_depth), 8)

    def declared_size(self, data: bytes) -> tuple[int, int]:
        """See ``Codec.declared_size``."""
        sets = [nal for nal in hevc.split_nals(data) if hevc.nal_type(nal) == hevc.SPS]
        if not sets:
            raise BitstreamError("this is not an HEVC stream: it has no sequence parameter set.")
        return hevc.read_size(sets[0])

    def decode(self, data: bytes) -> np.ndarray:
        """See ``Codec.decode``."""
        width, height = self.declared_size(data)
        check_declared_size(width, height)
        planes, _ = hevc.decode(data, width, height)
        return _in_strips(lambda rows: _ycbcr_to_rgb(rows, self.bit_depth), planes)


def _to_planes(image: np.ndarray, domain: str, depth: int) -> list[np.ndarray]:
    """``uint8 [H, W, 3]`` → the sample planes that are coded; chroma halved for 4:2:0."""
    samples = _in_strips(lambda rows: _convert(rows[0], domain, depth), [image])
    planes = list(np.moveaxis(samples, 2, 0))
    if domain == "ycbcr420":
        planes[1:] = [halve(plane) for plane in planes[1:]]
    return planes


def _convert(rgb: np.ndarray, domain: str, depth: int) -> np.ndarray:
    """RGB ``int64 [h, W, 3]``, 8 bits → the samples of a domain, ``uint8`` or ``uint16 [h, W, 3]``."""
    peak = (1 << depth) - 1
    if domain == "rgb444":
        channels = [(rgb[..., i] * peak * 2 + 255) // 510 for i in (1, 2, 0)]
    else:
        centre = 1 << (depth - 1)
        channels = []
        for weights, offset in ((color.TO_Y, 0), (color.TO_CB, centre), (color.TO_CR, centre)):
            value = (rgb[..., 0] * weights[0] + rgb[..., 1] * weights[1] + rgb[..., 2] * weights[2]) * peak
            channels.append(np.clip(_divide(value, 255 << color.BITS) + offset, 0, peak))
    return np.stack(channels, axis=-1).astype(np.uint8 if depth == 8 else np.uint16)


def _in_strips(convert: Callable[[list[np.ndarray]], np.ndarray], arrays: list[np.ndarray]) -> np.ndarray:
    """``convert`` of arrays ``[H, W, …]`` in int64, strips of rows at a time: whole, they take eight times the bytes.

    Returns:
        ``[H, W, 3]``, of the type that ``convert`` gives.
    """
    height, width = arrays[0].shape[:2]
    rows = max(1, _STRIP // width)
    result = np.empty(0)
    for top in range(0, height, rows):
        strip = convert([array[top : top + rows].astype(np.int64) for array in arrays])
        if not result.size:
            result = np.empty((height, width, 3), strip.dtype)
        result[top : top + rows] = strip
    return result


def halve(plane: np.ndarray) -> np.ndarray:
    """Means of 2×2 samples, rounded: ``uint8`` or ``uint16 [H, W]``, at most 14 bits, even sides → ``[H/2, W/2]``."""
    wide = plane.astype(np.uint16)
    return ((wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) >> 2).astype(plane.dtype)


def _divide(value: np.ndarray, divisor: int) -> np.ndarray:
    """Integer division, rounded to the nearest."""
    return (2 * value + divisor) // (2 * divisor)


def _smallest_block(height: int, width: int) -> int:
    """Side of the smallest coding block, of which coded sides are multiples.

    x265 takes no side under 16. With blocks of 16, a side up to 8 is coded as 16 by the format's own rule, so that
    the file stays a plain BPG file.
    """
    return 16 if min(width, height) <= 8 else 8


def _pad(picture: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row and column of ``[H, W, C]`` up to multiples of ``multiple``."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "edge")


def _decode_planes(file: BPGFile) -> list[np.ndarray]:
    """The planes as HEVC codes them, of the coded size."""
    width, height = file.coded_size
    chroma = _CHROMA_FORMAT[file.pixel_format]
    sets = hevc.make_parameter_sets(file.tools, chroma, width, height, file.depth)
    planes, found = hevc.decode(sets + b"\x00\x00\x01" + file.picture, width, height)
    expected = ("gray", "yuv420p", "yuv422p", "yuv444p")[chroma]
    if not found.startswith(expected):
        raise BitstreamError(f"the BPG picture decodes to {found}, its header says {expected}.")
    return planes


def _full_size(planes: list[np.ndarray], file: BPGFile) -> list[np.ndarray]:
    """Decoded planes, chroma interpolated, cropped to the true size; of the type that they have."""
    samples = list(planes)
    for axis, formats in ((0, (YUV420,)), (1, (YUV420, YUV422))):
        if file.pixel_format in formats:
            samples[1:] = [double(plane, axis) for plane in samples[1:]]
    return [plane[: file.height, : file.width] for plane in samples]


def _from_planes(planes: list[np.ndarray], file: BPGFile) -> np.ndarray:
    """Decoded sample planes → ``uint8 [H, W, 3]``, cropped to the true size."""
    return _in_strips(lambda rows: _to_rgb(rows, file), _full_size(planes, file))


def _to_rgb(samples: list[np.ndarray], file: BPGFile) -> np.ndarray:
    """Samples of a file, ``int64 [h, W]`` each → ``uint8 [h, W, 3]``."""
    peak = (1 << file.depth) - 1
    if file.pixel_format == GRAY:
        channels = [_divide(samples[0] * 255, peak)] * 3
    elif file.color_space == RGB:
        green, blue, red = (_divide(plane * 255, peak) for plane in samples)
        channels = [red, green, blue]
    else:
        return _ycbcr_to_rgb(samples, file.depth)
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def _ycbcr_to_rgb(samples: list[np.ndarray], depth: int) -> np.ndarray:
    """Y, Cb, Cr ``int64 [H, W]`` of ``depth`` bits → ``uint8 [H, W, 3]``."""
    centre, peak = 1 << (depth - 1), (1 << depth) - 1
    y, cb, cr = samples[0] << color.BITS, samples[1] - centre, samples[2] - centre
    scaled = [
        y + color.CR_TO_R * cr,
        y + color.CB_TO_G * cb + color.CR_TO_G * cr,
        y + color.CB_TO_B * cb,
    ]
    rgb = np.stack([_divide(value * 255, peak << color.BITS) for value in scaled], axis=-1)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def double(plane: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many samples along ``axis``, weights 3:1 between neighbours (samples lie at centres).

    Args:
        plane: ``uint8`` or ``uint16``, at most 14 bits, as is the result.
        axis: of it.
    """
    samples = np.moveaxis(plane, axis, 0)
    wide = samples.astype(np.uint16)
    result = np.empty((2 * len(wide), *wide.shape[1:]), plane.dtype)
    result[::2] = (3 * wide + np.concatenate([wide[:1], wide[:-1]]) + 2) >> 2
    result[1::2] = (3 * wide + np.concatenate([wide[1:], wide[-1:]]) + 2) >> 2
    return np.moveaxis(result, 0, axis)
