"""HEVC intra pictures: parameter sets bit by bit (ITU-T H.265, §7.3), x265 and FFmpeg's decoder by PyAV."""

import dataclasses
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np

from codec_zoo.errors import BitstreamError, CodecZooError

VPS, SPS, PPS = 32, 33, 34
# Slices of pictures that decoding starts at, IDR and CRA, and of those that refer to others (§7.4.2.2).
INTRA_SLICES, INTER_SLICES = (19, 20, 21), (0, 1)
_START = b"\x00\x00\x01"
# Follows a stream when it is decoded a second time.
_FILLER = b"\xff" * 16
# Profile space 0, tier 0, profile 4 (format range extensions), its compatibility flag, then constraint
# flags: progressive, frames only; level 255 (no limits). §7.3.3.
_PROFILE_TIER_LEVEL = (4 << 88) | (1 << (87 - 4)) | (0b1001 << 52) | 255


def library() -> str:
    """The build of x265 and of FFmpeg's decoder: neither says its version, that of PyAV's wheel stands for both."""
    return f"x265 of PyAV {av.__version__}"


class BitReader:
    """Reads bits, most significant first. Reading past the end raises ``BitstreamError``."""

    def __init__(self, data: bytes):
        self._bits = int.from_bytes(data, "big")
        self._left = 8 * len(data)
        self.size = self._left

    @property
    def position(self) -> int:
        """Bits read so far."""
        return self.size - self._left

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        if count > self._left:
            raise BitstreamError("the HEVC parameter sets are cut short.")
        self._left -= count
        return self._bits >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (§9.2)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise BitstreamError("the HEVC parameter sets are damaged.")
        return (1 << zeros) - 1 + self.u(zeros)


class BitWriter:
    """Writes bits, most significant first."""

    def __init__(self) -> None:
        self._bits = ""

    def u(self, value: int, count: int = 1) -> "BitWriter":
        """Append ``value`` in ``count`` bits."""
        self._bits += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> "BitWriter":
        """Append unsigned Exp-Golomb numbers."""
        for value in values:
            length = (value + 1).bit_length()
            self.u(value + 1, 2 * length - 1)
        return self

    def to_bytes(self) -> bytes:
        """The bits so far, filled up with zeros."""
        padded = self._bits + "0" * (-len(self._bits) % 8)
        return int(padded or "0", 2).to_bytes(len(padded) // 8, "big")


@dataclasses.dataclass(frozen=True)
class IntraTools:
    """The part of a sequence parameter set that intra decoding depends on (§7.3.2.2).

    ``range_flags`` are the nine of the range extension, ``pcm`` the five fields of PCM coding; both None if
    absent.
    """

    log2_min_cb: int
    log2_diff_cb: int
    log2_min_tb: int
    log2_diff_tb: int
    max_depth_intra: int
    sao: bool
    pcm: tuple[int, int, int, int, int] | None
    strong_intra_smoothing: bool
    range_flags: tuple[int, ...] | None

    @property
    def min_cb(self) -> int:
        """Side of the smallest coding block; coded sizes are multiples of it."""
        return 1 << self.log2_min_cb


def split_nals(stream: bytes) -> list[bytes]:
    """An Annex B byte stream → its NAL units, without start codes."""
    parts = stream.replace(b"\x00" + _START, _START).split(_START)
    return [part for part in parts if part]


def nal_type(nal: bytes) -> int:
    """Type of a NAL unit (§7.3.1.2)."""
    return nal[0] >> 1 & 63


def _unescape(nal: bytes) -> bytes:
    """The raw payload behind a NAL unit's two header bytes, emulation prevention removed."""
    return nal[2:].replace(b"\x00\x00\x03", b"\x00\x00")


def _make_nal(kind: int, bits: BitWriter) -> bytes:
    """A NAL unit from a payload: trailing bit, emulation prevention, header."""
    payload = bits.u(1).to_bytes()
    escaped = bytearray()
    zeros = 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes([kind << 1, 1]) + bytes(escaped)


def read_pcm(bits: BitReader) -> tuple[int, int, int, int, int] | None:
    """``pcm_enabled_flag`` and the fields it brings."""
    return (bits.u(4), bits.u(4), bits.ue(), bits.ue(), bits.u(1)) if bits.u(1) else None


def write_pcm(bits: BitWriter, pcm: tuple[int, int, int, int, int] | None) -> None:
    """Inverse of :func:`read_pcm`."""
    bits.u(int(pcm is not None))
    if pcm:
        bits.u(pcm[0], 4).u(pcm[1], 4).ue(pcm[2], pcm[3]).u(pcm[4])


def read_extension(bits: BitReader) -> tuple[int, ...] | None:
    """``sps_extension_present_flag`` and the range extension's nine flags."""
    if not bits.u(1):
        return None
    has_range, others = bits.u(1), bits.u(7)
    if others:
        raise BitstreamError(
            "the picture uses HEVC extensions beyond range extensions: not supported.", "Code it without them."
        )
    return tuple(bits.u(1) for _ in range(9)) if has_range else None


def write_extension(bits: BitWriter, flags: tuple[int, ...] | None) -> None:
    """Inverse of :func:`read_extension`."""
    bits.u(int(flags is not None))
    if flags is not None:
        bits.u(1).u(0, 7)
        for flag in flags:
            bits.u(flag)


def read_size(nal: bytes) -> tuple[int, int]:
    """Coded width and height of a sequence parameter set of one sub-layer."""
    bits = BitReader(_unescape(nal))
    bits.u(8 + 96)
    bits.ue()
    if bits.ue() == 3:
        bits.u(1)
    return bits.ue(), bits.ue()


def parse_sps(nal: bytes) -> IntraTools:
    """Read a sequence parameter set as x265 writes them for one still picture.

    Raises:
        CodecZooError: it uses something that a BPG file cannot carry.
    """
    bits = BitReader(_unescape(nal))
    bits.u(4)
    sub_layers = bits.u(3)
    bits.u(1 + 96)
    sps_id, chroma_format = bits.ue(), bits.ue()
    separate_planes = chroma_format == 3 and bits.u(1)
    bits.ue(), bits.ue()  # width, height
    if bits.u(1):
        for _ in range(4):
            bits.ue()  # conformance window
    depths = bits.ue(), bits.ue()
    bits.ue()  # log2_max_pic_order_cnt_lsb
    bits.u(1)
    for _ in range(3):
        bits.ue()  # buffering of the one sub-layer
    blocks = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    bits.ue()
    depth_intra = bits.ue()
    scaling_list, _amp, sao = bits.u(1), bits.u(1), bits.u(1)
    pcm = read_pcm(bits)
    reference_sets, long_term = bits.ue(), bits.u(1)
    if sub_layers or sps_id or separate_planes or depths[0] != depths[1] or scaling_list:
        raise CodecZooError("this x265 build writes parameter sets that BPG cannot carry.")
    if reference_sets or long_term:
        raise CodecZooError("this x265 build writes reference picture sets in a still picture.")
    bits.u(1)
    strong = bits.u(1)
    if bits.u(1):
        _skip_vui(bits)
    return IntraTools(
        log2_min_cb=blocks[0] + 3,
        log2_diff_cb=blocks[1],
        log2_min_tb=blocks[2] + 2,
        log2_diff_tb=blocks[3],
        max_depth_intra=depth_intra,
        sao=bool(sao),
        pcm=pcm,
        strong_intra_smoothing=bool(strong),
        range_flags=read_extension(bits),
    )


def _skip_vui(bits: BitReader) -> None:
    """Read past the video usability information (§E.2.1)."""
    if bits.u(1) and bits.u(8) == 255:  # aspect ratio
        bits.u(32)
    if bits.u(1):  # overscan
        bits.u(1)
    if bits.u(1):  # video signal type
        bits.u(4)
        if bits.u(1):
            bits.u(24)
    if bits.u(1):  # chroma location
        bits.ue(), bits.ue()
    bits.u(3)
    if bits.u(1):  # display window
        for _ in range(4):
            bits.ue()
    if bits.u(1):  # timing
        bits.u(64)
        if bits.u(1):
            bits.ue()
        if bits.u(1):
            raise CodecZooError("this x265 build writes HRD parameters in a still picture.")
    if bits.u(1):  # bitstream restriction
        bits.u(3)
        for _ in range(5):
            bits.ue()


def make_parameter_sets(tools: IntraTools, chroma_format: int, width: int, height: int, depth: int) -> bytes:
    """VPS and SPS, with start codes, of a still picture of the given coded size.

    Args:
        tools: of the picture.
        chroma_format: 0 gray, 1 4:2:0, 2 4:2:2, 3 4:4:4.
        width: coded, a multiple of ``tools.min_cb``.
        height: likewise.
        depth: bits a sample.
    """
    vps = BitWriter().u(0, 4).u(0b11, 2).u(0, 6).u(0, 3).u(1).u(0xFFFF, 16).u(_PROFILE_TIER_LEVEL, 96)
    vps.u(1).ue(0, 0, 0).u(0, 6).ue(0).u(0).u(0)
    sps = BitWriter().u(0, 4).u(0, 3).u(1).u(_PROFILE_TIER_LEVEL, 96).ue(0, chroma_format)
    if chroma_format == 3:
        sps.u(0)
    sps.ue(width, height).u(0).ue(depth - 8, depth - 8, 4).u(1).ue(0, 0, 0)
    sps.ue(tools.log2_min_cb - 3, tools.log2_diff_cb, tools.log2_min_tb - 2, tools.log2_diff_tb)
    sps.ue(tools.max_depth_intra, tools.max_depth_intra).u(0).u(1).u(int(tools.sao))
    write_pcm(sps, tools.pcm)
    sps.ue(0).u(0).u(0).u(int(tools.strong_intra_smoothing)).u(0)
    write_extension(sps, tools.range_flags)
    return _START + _make_nal(VPS, vps) + _START + _make_nal(SPS, sps)


def encode(planes: list[np.ndarray], pixel_format: str, qp: int, min_cu: int) -> bytes:
    """Code one picture with x265.

    Args:
        planes: sample arrays, ``uint8`` or ``uint16 [h, w]``; the first gives the picture's size, at least
            16×16.
        pixel_format: FFmpeg's name, e.g. ``"yuv444p"``.
        qp: 0 … 51.
        min_cu: side of the smallest coding block, 8 or 16.

    Returns:
        An Annex B byte stream: VPS, SPS, PPS, slices.
    """
    own = {
        "keyint": 1,
        "min-keyint": 1,
        "bframes": 0,
        "ipratio": "1.0",
        "min-cu-size": min_cu,
        "qp": qp,
    }
    return _run_x265([planes], pixel_format, own)


def encode_sequence(frames: list[list[np.ndarray]], qp: int, lossless: bool = False) -> bytes:
    """Code an intra frame at QP 0, or losslessly, and inter frames that refer to it.

    Args:
        frames: planes of each, 4:2:0, ``uint8``; sides of 64 or more, multiples of 8.
        qp: of the inter frames, 0 … 51. Frames of one ``qp``, lossless or not, can refer to each other.
        lossless: code all frames without loss.

    Returns:
        An Annex B byte stream: VPS, SPS, PPS, slices.
    """
    own = {
        "keyint": -1,
        "bframes": 0,
        "ref": 1,
        "weightp": 0,
        "sao": 0,
        "cu-lossless": 1,
        "min-cu-size": 8,
        "qp": qp,
        "ipratio": 2 ** (qp / 6),
    }
    return _run_x265(frames, "yuv420p", own | ({"lossless": 1} if lossless else {}))


def _run_x265(frames: list[list[np.ndarray]], pixel_format: str, own: Mapping[str, object]) -> bytes:
    """Code frames on one thread, without anything in the stream but parameter sets and slices."""
    height, width = frames[0][0].shape
    parameters = {
        "log-level": "none",
        "info": 0,
        "hrd": 0,
        "aud": 0,
        "hash": 0,
        "scenecut": 0,
        "frame-threads": 1,
        "pools": "none",
        "wpp": 0,
        "repeat-headers": 1,
        "annexb": 1,
        "total-frames": len(frames),
        "tskip": 1,
        # Long thin pictures, of which the level would ask for larger coding blocks than they have.
        "allow-non-conformance": 1,
        **own,
    }
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.framerate = Fraction(1)
    context.options = {
        "preset": "slower",
        "tune": "psnr",
        "x265-params": ":".join(f"{key}={value}" for key, value in parameters.items()),
    }
    packets = []
    try:
        for number, planes in enumerate(frames):
            packets += context.encode(_to_frame(planes, pixel_format, number))
        packets += context.encode(None)
    except av.FFmpegError as error:
        raise CodecZooError(f"x265 cannot code {width}×{height} pixels: {error}. Cut the picture up.") from error
    return b"".join(bytes(packet) for packet in packets)


def _to_frame(planes: list[np.ndarray], pixel_format: str, number: int) -> av.VideoFrame:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    frame.pts = number
    for plane, samples in zip(frame.planes, planes, strict=True):
        raw = np.ascontiguousarray(samples).view(np.uint8)
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : raw.shape[1]] = raw
        plane.update(padded)  # type: ignore[arg-type]  # it takes any buffer
    return frame


def decode(stream: bytes, width: int, height: int) -> tuple[list[np.ndarray], str]:
    """Decode the one picture of an Annex B byte stream.

    Args:
        stream: with parameter sets.
        width: coded size that the picture must have.
        height: likewise.

    Returns:
        The planes, ``uint8`` or ``uint16``, and FFmpeg's name of their format.

    Raises:
        BitstreamError: as :func:`decode_sequence`.
    """
    (planes,), name = decode_sequence(stream, width, height, 1)
    return planes, name


def decode_sequence(stream: bytes, width: int, height: int, count: int) -> tuple[list[list[np.ndarray]], str]:
    """Decode the frames of an Annex B byte stream.

    FFmpeg takes a slice that is cut, and one that ends before the picture does, for a whole picture. So the stream
    is decoded twice, the second time with other bytes behind its end and other values where the frames go: a whole
    picture depends on neither.

    Args:
        stream: with parameter sets.
        width: coded size that the frames must have.
        height: likewise.
        count: of frames; decoding stops at the first beyond it.

    Returns:
        The planes of each frame, and FFmpeg's name of their format.

    Raises:
        BitstreamError: FFmpeg reports damage, the stream is cut, or it holds another number or size of frames.
    """
    context = av.VideoCodecContext.create("hevc", "r")
    context.thread_count = 1
    context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    first, name = _decode_frames(context, stream, width, height, count, spoil=True)
    context.flush_buffers()
    second, _ = _decode_frames(context, stream + _FILLER, width, height, count)
    for planes, again in zip(first, second, strict=True):
        if not all(map(np.array_equal, planes, again)):
            raise BitstreamError("the HEVC picture is cut: not all of its blocks are there.")
    return first, name


def _decode_frames(
    context: av.VideoCodecContext, stream: bytes, width: int, height: int, count: int, spoil: bool = False
) -> tuple[list[list[np.ndarray]], str]:
    """The planes of each frame, and their format; with ``spoil`` the decoder's own memory is overwritten behind it,
    which it takes for the next frames."""
    frames = []
    try:
        packets = context.parse(stream) + context.parse(b"")
        for packet in [*packets, None]:
            for frame in context.decode(packet):
                frames.append(frame)
                if len(frames) > count:
                    raise BitstreamError(f"the HEVC stream is damaged: more than {count} frames.")
                if frame.is_corrupt or (frame.width, frame.height) != (width, height):
                    raise BitstreamError(
                        f"the HEVC picture is damaged: {frame.width}×{frame.height} of {width}×{height} pixels."
                    )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise BitstreamError(f"the HEVC picture is damaged: {error}") from error
    if len(frames) != count:
        raise BitstreamError(f"the HEVC stream is damaged: {len(frames)} of {count} frames.")
    planes = [_planes_of(frame) for frame in frames]
    if spoil:
        for frame in frames:
            for plane in frame.planes:
                np.frombuffer(memoryview(plane), np.uint8)[:] = 0xA5
    return planes, frames[0].format.name


def _planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Sample arrays, ``uint8`` or ``uint16``."""
    kind = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else "<u2")
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
        planes.append(rows.view(kind)[:, : plane.width].copy())
    return planes
