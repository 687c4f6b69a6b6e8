"""The ``.czoo`` container: a header, then layers in decoding order, each with its length and checksum.

The byte layout is written down in ``docs/bitstream.md``. A file may be cut: every whole layer that is
still there can be used.
"""

import dataclasses
import enum
import struct
import zlib
from collections.abc import Sequence

from codec_zoo.codecs.standard.base import MAX_PIXELS
from codec_zoo.errors import BitstreamError, ImageError
from codec_zoo.presets import preset_id

MAGIC = b"CZOO"
VERSION = 1
HEADER_BYTES = 24
LAYER_HEADER_BYTES = 8
MAX_LAYERS = 15
MAX_SIDE = 2**24 - 1
MAX_LAYER_BYTES = 2**28 - 1


class LayerKind(enum.IntEnum):
    """What a layer's payload is; the number is in the file."""

    BASE = 1
    RESIDUAL = 2
    LATENT = 3
    PICTURE = 4
    REPRESENTATION = 5
    PLANE = 6
    WEIGHTS = 7
    FILTERED = 8


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a file."""

    kind: LayerKind
    payload: bytes


@dataclasses.dataclass(frozen=True)
class Bitstream:
    """A parsed ``.czoo`` file.

    Attributes:
        preset_id: :func:`preset_id` of the preset that coded it.
        weights_id: first 4 bytes of the SHA-256 of its weights.
        width: pixels.
        height: pixels.
        channels: 1 (gray) or 3 (RGB): what the decoder gives back.
        layers: those that are there, whole and in order.
        layers_coded: how many the encoder wrote; more than ``len(layers)`` in a file that was cut.
    """

    preset_id: bytes
    weights_id: bytes
    width: int
    height: int
    channels: int
    layers: tuple[Layer, ...]
    layers_coded: int

    @property
    def missing(self) -> int:
        """Layers that the encoder wrote and a cut took away."""
        return self.layers_coded - len(self.layers)


def write(preset: str, weights_sha256: str, width: int, height: int, channels: int, layers: Sequence[Layer]) -> bytes:
    """Put a file together.

    Args:
        preset: name of the preset.
        weights_sha256: of its weights, hex.
        width: 1 … 2^24 − 1 pixels.
        height: likewise; at most ``MAX_PIXELS`` together.
        channels: 1 or 3.
        layers: 1 to 15, in decoding order.

    Raises:
        ImageError: the image or a layer is larger than the format allows.
    """
    check_size(width, height, ImageError)
    if channels not in (1, 3) or not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"1 or 3 channels and 1 … {MAX_LAYERS} layers. Received: {channels}, {len(layers)}")
    head = struct.pack(
        ">4sBB4s4s3s3s",
        MAGIC,
        VERSION,
        len(layers) << 4 | channels,
        preset_id(preset),
        bytes.fromhex(weights_sha256)[:4],
        width.to_bytes(3, "big"),
        height.to_bytes(3, "big"),
    )
    parts = [head, struct.pack(">I", zlib.crc32(head))]
    for number, layer in enumerate(layers):
        if len(layer.payload) > MAX_LAYER_BYTES:
            raise ImageError("a layer is larger than 256 MB: choose a lower rate or a smaller picture.")
        word = struct.pack(">I", layer.kind << 28 | len(layer.payload))
        parts += [word, _layer_crc(head, number, word, layer.payload), layer.payload]
    return b"".join(parts)


def read(data: bytes) -> Bitstream:
    """Parse a file; layers that a cut took away are reported, not an error, as long as one is whole.

    Raises:
        BitstreamError: not a ``.czoo`` file, of a newer version, damaged, with a size that no image
            has, or without one whole layer.
    """
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise BitstreamError(
            f"this is not a .czoo file: it starts with {data[:4].hex()}.", "Give one that `codec-zoo compress` wrote."
        )
    if len(data) < HEADER_BYTES:
        raise BitstreamError(f"the file is cut inside its header ({len(data)} of {HEADER_BYTES} bytes).")
    head, crc = data[: HEADER_BYTES - 4], data[HEADER_BYTES - 4 : HEADER_BYTES]
    _, version, layout, preset, weights, wide, high = struct.unpack(">4sBB4s4s3s3s", head)
    if version != VERSION:
        raise BitstreamError(
            f"the file has version {version} of the .czoo format, this program reads version {VERSION}.",
            "Update codec-zoo, or fetch the file again if it is damaged.",
        )
    if struct.unpack(">I", crc)[0] != zlib.crc32(head):
        raise BitstreamError("the file's header is damaged (its checksum is wrong).")
    width, height = int.from_bytes(wide, "big"), int.from_bytes(high, "big")
    channels, coded = layout & 15, layout >> 4
    check_size(width, height, BitstreamError)
    if channels not in (1, 3) or not coded:
        raise BitstreamError(f"the header claims {channels} channels and {coded} layers: not a valid file.")

    layers: list[Layer] = []
    position = HEADER_BYTES
    for number in range(coded):
        start = position + LAYER_HEADER_BYTES
        if start > len(data):
            break
        word = data[position : position + 4]
        kind, length = word[0] >> 4, int.from_bytes(word, "big") & MAX_LAYER_BYTES
        payload = data[start : start + length]
        whole = len(payload) == length
        if whole and data[position + 4 : start] != _layer_crc(head, number, word, payload):
            raise BitstreamError(f"layer {number + 1} of {coded} is damaged (its checksum is wrong).")
        if not whole:
            break
        if kind not in tuple(LayerKind):
            raise BitstreamError(f"layer {number + 1} is of an unknown kind ({kind}).", "Update codec-zoo.")
        layers.append(Layer(LayerKind(kind), payload))
        position = start + length
    if not layers:
        raise BitstreamError("the file is cut inside its first layer: nothing to decode.")
    if len(layers) == coded and position != len(data):
        raise BitstreamError(f"{len(data) - position} bytes follow the last layer: not a valid file.")
    return Bitstream(preset, weights, width, height, channels, tuple(layers), coded)


def truncate(data: bytes, layers: int) -> bytes:
    """The part of a file up to the end of its layer number ``layers``.

    Raises:
        BitstreamError: damaged, or it has fewer layers.
    """
    present = read(data).layers
    if not 1 <= layers <= len(present):
        raise BitstreamError(
            f"the file cannot be cut to {layers} layers: its whole layers are {len(present)}.",
            f"Ask for 1 … {len(present)}.",
        )
    return data[: HEADER_BYTES + sum(LAYER_HEADER_BYTES + len(layer.payload) for layer in present[:layers])]


def check_size(width: int, height: int, error: type[Exception]) -> None:
    """Raise ``error`` unless the sides are ones that the format and this program take."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise error(
            f"a picture of {width}×{height} pixels is out of range: sides from 1 up, at most "
            f"{MAX_PIXELS // 2**20} megapixels (2^20)."
        )


def _layer_crc(head: bytes, number: int, word: bytes, payload: bytes) -> bytes:
    """CRC-32 of a layer, bound to its file and place, so that layers cannot be swapped between files."""
    crc = zlib.crc32(bytes([number]) + word, zlib.crc32(head))
    return struct.pack(">I", zlib.crc32(payload, crc))
