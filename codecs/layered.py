"""Files of a layered auto-encoder: a layer for each of the model (Jia 2019; one in Ballé 2017 and 2018).

    picture ─▶ model.encode ─▶ y1 z1 y2 z2 …
                                  │  └─ model.entropy_parameters_k ─▶ rows of the table of y_k
                                  └───▶ range coder ─▶ layer k

Payload of a layer: check (4 bytes), length of z's string (LEB128), z's string, y's string; without a hyperprior
(Ballé 2017) check and y's string. The check is the CRC-32 of the tables' hash and the decoded integers: the range
coder itself notices nothing.
"""

import functools
import zlib

import numpy as np

from codec_zoo.codecs import bounds, container, range_coder, tiling
from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.model_codec import ModelCodec, parse_target
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import ExportedModel, parse_layers, parse_rounds
from codec_zoo.export.tables import Tables, hash_tables
from codec_zoo.metrics import psnr


class LayeredCodec(ModelCodec):
    """Files of entropy-coded latents, from an exported model.

    Args:
        model: of kind ``layered``.
        quality: None: these models have no such dial, but layers.
        layers: how many layers to write; all by default.
        target_bpp: write the most layers whose file stays within so many bits a pixel; the base layer always.
        target_psnr: write the fewest layers that reach so many dB; all, if none does.
        search: rounds of a search for better latents (``codec_zoo.export.search``); none by default.
        tile: side of the tiles that larger pictures go through, a multiple of the model's stride.

    Raises:
        UsageError: a quality, more layers than the model has, two of layers and targets, a target for a model of one
            layer, a search by a model that has none, or a tile of another size.
    """

    name = "layered"

    def __init__(
        self,
        model: ExportedModel,
        quality: float | None = None,
        layers: int | str | None = None,
        target_bpp: float | str | None = None,
        target_psnr: float | str | None = None,
        search: int | str = 0,
        tile: int | str = tiling.TILE,
    ):
        most = model.pipeline["layers"]
        if quality is not None:
            raise UsageError(f"{model.preset} has no quality (-q): choose --layers, 1 … {most}, or another preset.")
        given = {"--layers": layers, "--target-bpp": target_bpp, "--target-psnr": target_psnr}
        dials = [option for option, value in given.items() if value is not None]
        if len(dials) > 1:
            raise UsageError(f"{' and '.join(dials)} both say how many layers to write: give one of them.")
        if most == 1 and dials and not layers:
            raise UsageError(
                f"{dials[0]} chooses how many layers to write, and {model.preset} has one. Choose a preset of "
                "another rate, or one with layers: jia2019-sae-mse-e4."
            )
        self.layers = parse_layers(most if layers is None else layers, model)
        self.target_bpp = parse_target("--target-bpp", target_bpp)
        self.target_psnr = parse_target("--target-psnr", target_psnr)
        self.search = parse_rounds(search, model)
        stride = model.pipeline["stride"]
        if not str(tile).isdecimal() or not int(tile) or int(tile) % stride:
            raise UsageError(f"a tile of {model.preset} is a multiple of {stride}. Received: {tile!r}")
        self.tile = int(tile)
        self.model = model

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 3]`` (or ``[H, W, 1]``, decoded as gray again); see ``Codec.encode``."""
        coded = self._code(as_rgb(image))
        layers = []
        for k in range(1, self.layers + 1):
            y, z = coded[f"y{k}"], coded.get(f"z{k}")
            payload = self._check(y, z)
            if z is not None:
                z_string = range_coder.encode(z, _channels(z.shape), self.model.tables[f"z{k}"])
                payload += _leb128(len(z_string)) + z_string
            payload += range_coder.encode(y, *self._distribution(k, y.shape, z))
            layers.append(Layer(LayerKind.LATENT, payload))
        data = self.to_file(image, layers)
        return self._to_target(image, data)

    def _code(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Latents of ``uint8 [H, W, 3]``, by a search where one is asked for."""
        if not self.search:
            return tiling.encode(self.model, image, self.tile)
        coded: dict[str, np.ndarray] = {}
        for k in range(1, self.layers + 1):
            below = {f"y{i}": coded[f"y{i}"] for i in range(1, k)}
            coded |= tiling.search(self.model, image, k, below, self.search, self.tile)
        return coded

    def _to_target(self, image: np.ndarray, data: bytes) -> bytes:
        """The file without the layers that a target does not ask for."""
        stream = container.read(data)
        counts = range(1, len(stream.layers) + 1)
        if self.target_psnr is not None:
            reached = (k for k in counts if psnr(image, self.decode_layers(stream, k)) >= self.target_psnr)
            count = next(reached, counts[-1])
        elif self.target_bpp is not None:
            allowed = self.target_bpp * image.shape[0] * image.shape[1] / 8
            count = max([1, *(k for k in counts if len(container.truncate(data, k)) <= allowed)])
        else:
            return data
        return self.to_file(image, stream.layers[:count])

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers.

        Raises:
            BitstreamError: the layers are not this model's, or contradict the header.
        """
        most = self.model.pipeline["layers"]
        layers = stream.layers[:count]
        if len(stream.layers) > most or any(layer.kind != LayerKind.LATENT for layer in layers):
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}.")
        latents = {f"y{k}": self._latents(stream, k, layer.payload) for k, layer in enumerate(layers, 1)}
        image = tiling.decode(self.model, latents, stream.height, stream.width, self.tile)
        return image if stream.channels == 3 else to_gray(image)

    def _latents(self, stream: Bitstream, k: int, payload: bytes) -> np.ndarray:
        """y of layer ``k``: int32 ``[h, w, C]``."""
        signatures = self.model.card["signatures"]
        z, start = None, 4
        if f"entropy_parameters_{k}" in signatures:
            z_channels = signatures[f"entropy_parameters_{k}"][f"z{k}"][1][-1]
            z_shape = self._shape(stream, self.model.pipeline["stride"], z_channels)
            length, start = _read_leb128(payload, start)
            z_bits = z_shape[0] * z_shape[1] * self._least_bits[f"z{k}"].sum()
            bounds.check_string(min(length, len(payload) - start), z_bits, stream.width, stream.height)
            z = _decode(k, payload[start : start + length], _channels(z_shape), self.model.tables[f"z{k}"])
            start += length
        y_shape = self._shape(stream, self.model.pipeline["latent_stride"], signatures["decode"][f"y{k}"][1][-1])
        places = y_shape[0] * y_shape[1]
        least = self._least_bits[f"y{k}"].sum() if z is None else y_shape[2] * self._least_bits["y"].min()
        bounds.check_string(len(payload) - start, places * least, stream.width, stream.height)
        y = _decode(k, payload[start:], *self._distribution(k, y_shape, z))
        if self._check(y, z) != payload[:4]:
            raise _other_numbers(k)
        return y

    def _shape(self, stream: Bitstream, step: int, channels: int) -> tuple[int, int, int]:
        """Shape of a latent of which one value stands for ``step`` pixels."""
        stride = self.model.pipeline["stride"]
        height, width = (-(-side // stride) * stride // step for side in (stream.height, stream.width))
        return height, width, channels

    def _distribution(self, k: int, shape: tuple[int, ...], z: np.ndarray | None) -> tuple[np.ndarray, Tables]:
        """The table row of each value of y (int32 ``[h, w, C]``), and the tables."""
        if z is None:
            return _channels(shape), self.model.tables[f"y{k}"]
        return self.model.run(f"entropy_parameters_{k}", **{f"z{k}": z[None]})["indexes"][0], self.model.tables["y"]

    def _check(self, y: np.ndarray, z: np.ndarray | None) -> bytes:
        crc = self._tables_crc
        for latent in (z, y):
            if latent is not None:
                crc = zlib.crc32(np.ascontiguousarray(latent, "<i4").tobytes(), crc)
        return crc.to_bytes(4, "big")

    @functools.cached_property
    def _least_bits(self) -> dict[str, np.ndarray]:
        return {name: bounds.least_bits(tables) for name, tables in self.model.tables.items()}

    @functools.cached_property
    def _tables_crc(self) -> int:
        return zlib.crc32(hash_tables(self.model.tables))


def _decode(k: int, data: bytes, rows: np.ndarray, tables: Tables) -> np.ndarray:
    """The numbers of a string of layer ``k``. With other tables than the encoder's, its length may not fit them."""
    try:
        return range_coder.decode(data, rows, tables)
    except BitstreamError as error:
        raise _other_numbers(k) from error


def _other_numbers(k: int) -> BitstreamError:
    return BitstreamError(
        f"layer {k} decodes to other numbers than were coded: the file is damaged, or it was coded by an export with "
        "other tables.",
        "Fetch the file again, or use the export that coded it: --model DIR.",
    )


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
