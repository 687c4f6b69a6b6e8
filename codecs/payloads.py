"""The payload of a layer, taken apart and put together as the stream says (``docs/bitstream.md``).

[check] [number of each choice] [quality] [strengths] [step] [overlap] [values, each but the last behind its length]
"""

import dataclasses
from collections.abc import Mapping, Sequence

from codec_zoo.codecs.container import LayerKind
from codec_zoo.errors import BitstreamError
from codec_zoo.stream import Quality, Step, Stream, StreamLayer, Strengths
from codec_zoo.stream_coders import Alternative, Choice

CHECK_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Payload:
    """The parts of a payload.

    Attributes:
        check: 4 bytes, or none.
        chosen: option → the alternative, of choices that have a number in the file.
        strengths: a byte each, or none.
        overlap: of blocks, pixels.
        values: the coded values of the other entries.
        step: k of the quantisation step; 0 where the stream has none.
        quality: of the image codec, a byte, or none.
    """

    check: bytes
    chosen: Mapping[str, Alternative]
    strengths: bytes
    overlap: int
    values: Sequence[bytes]
    step: int = 0
    quality: bytes = b""


def kind_of(layer: StreamLayer) -> LayerKind:
    """The number of a layer's kind."""
    return LayerKind[layer.kind.upper()]


def _numbered(layer: StreamLayer) -> list[Choice]:
    """The choices that have a byte in the layer."""
    coders = [getattr(entry, "coder", None) for entry in layer.entries]
    return [coder for coder in coders if isinstance(coder, Choice) and coder.numbered]


def _strengths(layer: StreamLayer) -> int:
    """Bytes of the strengths in a layer."""
    return sum(entry.count for entry in layer.entries if isinstance(entry, Strengths))


def _has(layer: StreamLayer, entry: type[Quality | Step]) -> bool:
    """Whether a layer has the byte of such an entry."""
    return any(isinstance(one, entry) for one in layer.entries)


def join(stream: Stream, layer: StreamLayer, parts: Payload) -> bytes:
    """The bytes of a payload; :func:`split` is the inverse."""
    numbers = [parts.chosen[choice.option].number or 0 for choice in _numbered(layer)]
    head = parts.check + bytes(numbers) + parts.quality + parts.strengths
    head += parts.step.to_bytes(1, "big", signed=True) * _has(layer, Step)
    if stream.block and layer.latents:
        head += bytes([parts.overlap])
    return head + b"".join(_leb128(len(data)) + data for data in parts.values[:-1]) + parts.values[-1]


def split(stream: Stream, layer: StreamLayer, payload: bytes) -> Payload:
    """The parts of a payload.

    Raises:
        BitstreamError: it is cut, or names a choice that the stream does not have.
    """
    position = CHECK_BYTES if layer.checked else 0
    check, chosen = payload[:position], {}
    for choice in _numbered(layer):
        number = payload[position : position + 1]
        known = (alternative for alternative in choice.alternatives if number and alternative.number == number[0])
        found = next(known, None)
        if found is None:
            raise BitstreamError(
                f"the {layer.kind} layer names no {choice.option.replace('_', ' ')} that is known here.",
                "Fetch the file again, or update codec-zoo.",
            )
        chosen[choice.option] = found
        position += 1
    quality = payload[position : position + _has(layer, Quality)]
    position += _has(layer, Quality)
    strengths = payload[position : position + _strengths(layer)]
    position += _strengths(layer)
    step = int.from_bytes(payload[position : position + _has(layer, Step)], "big", signed=True)
    position += _has(layer, Step)
    overlap = 0
    if stream.block and layer.latents:
        overlap = int.from_bytes(payload[position : position + 1], "big")
        position += 1
    if len(payload) < position or overlap > (stream.block or 0) // 2:
        raise BitstreamError(f"the {layer.kind} layer is cut or damaged.")
    values = []
    for _ in range(sum(not isinstance(entry, Quality | Strengths | Step) for entry in layer.entries) - 1):
        length, position = _read_leb128(payload, position)
        values.append(payload[position : position + length])
        position += length
    return Payload(check, chosen, strengths, overlap, [*values, payload[position:]], step, quality)


def _leb128(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _read_leb128(data: bytes, position: int) -> tuple[int, int]:
    """A number of :func:`_leb128` at ``position``, and the position after it."""
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise BitstreamError("a layer is damaged: the length in it is cut.")
