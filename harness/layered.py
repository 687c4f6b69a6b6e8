"""Files of a layered auto-encoder: a layer of the file for each layer of the model (Jia 2019; Ballé 2018 has one).

    picture ─▶ model.encode ─▶ y1 z1 y2 z2 …
                                  │  └─ model.entropy_parameters_k ─▶ rows of the table of y_k
                                  └───▶ range coder ─▶ layer k

Payload of a layer: check (4 bytes), length of z's string (LEB128), z's string, y's string. The check is the CRC-32 of
the tables' hash and the decoded integers: the range coder itself notices nothing.
"""

import zlib

import numpy as np

from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.harness import bitstream, range_coder
from codec_zoo.harness.bitstream import Bitstream, Layer, LayerKind
from codec_zoo.harness.exported import ExportedModel, parse_layers
from codec_zoo.harness.images import as_rgb, to_gray
from codec_zoo.harness.model_codec import ModelCodec
from codec_zoo.metrics import psnr


class LayeredCodec(ModelCodec):
    """Files of entropy-coded latents, from an exported model.

    Args:
        model: of kind ``layered``.
        quality: None: these models have no such dial, but layers.
        layers: how many layers to write at most; all by default.
        target_bpp: write the most layers whose file stays within so many bits a pixel; the base layer always.
        target_psnr: write the fewest layers that reach so many dB; all, if none does.

    Raises:
        UsageError: a quality, more layers than the model has, or two targets.
    """

    name = "layered"

    def __init__(
        self,
        model: ExportedModel,
        quality: float | None = None,
        layers: int | str | None = None,
        target_bpp: float | str | None = None,
        target_psnr: float | str | None = None,
    ):
        most = model.card["pipeline"]["layers"]
        if quality is not None:
            raise UsageError(f"{model.preset} has no quality: choose layers, 1 … {most}, or another preset.")
        self.layers = parse_layers(most if layers is None else layers, model)
        if target_bpp is not None and target_psnr is not None:
            raise UsageError("give a target of bits per pixel or of PSNR, not both.")
        try:
            self.target_bpp = None if target_bpp is None else float(target_bpp)
            self.target_psnr = None if target_psnr is None else float(target_psnr)
        except ValueError as error:
            raise UsageError(f"a target is a number ({error}).") from error
        self.model = model

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""
        rgb = as_rgb(image)
        coded = self.model.run("encode", images=rgb[None])
        layers = []
        for k in range(1, self.layers + 1):
            y, z = coded[f"y{k}"][0], coded[f"z{k}"][0]
            z_string = range_coder.encode(z, _channels(z.shape), self.model.tables[f"z{k}"])
            y_string = range_coder.encode(y, self._rows(k, z), self.model.tables["y"])
            payload = self._check(y, z) + _leb128(len(z_string)) + z_string + y_string
            layers.append(Layer(LayerKind.LATENT, payload))
        data = self.to_file(image, layers)
        return self._to_target(image, data)

    def _to_target(self, image: np.ndarray, data: bytes) -> bytes:
        """The file without the layers that a target does not ask for."""
        stream = bitstream.read(data)
        counts = range(1, len(stream.layers) + 1)
        if self.target_psnr is not None:
            reached = (k for k in counts if psnr(image, self.decode_layers(stream, k)) >= self.target_psnr)
            count = next(reached, counts[-1])
        elif self.target_bpp is not None:
            allowed = self.target_bpp * image.shape[0] * image.shape[1] / 8
            count = max([1, *(k for k in counts if len(bitstream.truncate(data, k)) <= allowed)])
        else:
            return data
        return self.to_file(image, stream.layers[:count])

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers.

        Raises:
            BitstreamError: the layers are not this model's, or contradict the header.
        """
        most = self.model.card["pipeline"]["layers"]
        layers = stream.layers[:count]
        if len(stream.layers) > most or any(layer.kind != LayerKind.LATENT for layer in layers):
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}.")
        latents = {f"y{k}": self._latents(stream, k, layer.payload)[None] for k, layer in enumerate(layers, 1)}
        size = np.array([[stream.height, stream.width]], np.int32)
        image = self.model.run(f"decode_{len(layers)}", **latents, size=size)["images"][0]
        return image if stream.channels == 3 else to_gray(image)

    def _latents(self, stream: Bitstream, k: int, payload: bytes) -> np.ndarray:
        """y of layer ``k``: int32 ``[h, w, C]``."""
        stride = self.model.card["pipeline"]["stride"]
        z_channels = self.model.card["signatures"][f"entropy_parameters_{k}"][f"z{k}"][1][-1]
        z_shape = -(-stream.height // stride), -(-stream.width // stride), z_channels
        length, start = _read_leb128(payload, 4)
        z = range_coder.decode(payload[start : start + length], _channels(z_shape), self.model.tables[f"z{k}"])
        y = range_coder.decode(payload[start + length :], self._rows(k, z), self.model.tables["y"])
        if self._check(y, z) != payload[:4]:
            raise BitstreamError(
                f"layer {k} decodes to other numbers than were coded: the file is damaged, or it was coded by an "
                "export with other tables. Use the export that coded it: --model DIR."
            )
        return y

    def _rows(self, k: int, z: np.ndarray) -> np.ndarray:
        """The table row of each value of y: int32 ``[h, w, C]``."""
        return self.model.run(f"entropy_parameters_{k}", **{f"z{k}": z[None]})["indexes"][0]

    def _check(self, y: np.ndarray, z: np.ndarray) -> bytes:
        crc = zlib.crc32(range_coder.hash_tables(self.model.tables))
        for latent in (z, y):
            crc = zlib.crc32(np.ascontiguousarray(latent, "<i4").tobytes(), crc)
        return crc.to_bytes(4, "big")


def _channels(shape: tuple[int, ...]) -> np.ndarray:
    """Each value's channel: its row in a prior's table."""
    return np.broadcast_to(np.arange(shape[-1], dtype=np.int32), shape)


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
