"""Files of a block auto-encoder: blocks of 32×32 pixels, each coded for itself (report of 2017, §4).

    picture ─▶ blocks ─▶ model.encode ─▶ latents, all blocks side by side ─▶ layer
    picture ◀─ blended ◀─ model.decode ◀──────────────────────────────────────┘

A layer for each step of the model; behind the only step of one that is fine-tuned to the picture, a layer with what
was added to the decoder's weights, without which the file still decodes.

Payload of a latent layer: coding (0: each latent in the model's number of bits, as in the report; 1: lossless JPEG
XL), by how many pixels blocks overlap, then the latents. Payload of the weights: their unit, float32, and a signed
byte for each.
"""

import numpy as np

from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.standard import get_codec
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import ExportedModel, LocalModel, parse_layers, parse_rounds

BLOCK = 32
# Blocks that go through the model at once.
BATCH = 256
FIXED, CODED = 0, 1
# Fine-tuning: steps, on so many of a picture's blocks, each with the best of some dampings.
TUNING_STEPS, TUNING_BLOCKS, DAMPINGS = 2, 64, (1e-3, 1e-2, 1e-1, 1e0)
# The largest change of a weight that a file may hold.
MAX_CHANGE = 1000.0
# A weight's change that its effect is measured by, and how many blocks' effects are in memory at once.
NUDGE, TUNING_BATCH = 1e-2, 32


class BlockCodec(ModelCodec):
    """Files of blocks, from an exported model.

    Args:
        model: of kind ``blocks``.
        layers: how many of the model's steps to write; all by default.
        coding: ``"jxl"``, or ``"fixed"`` for latents of the report's fixed length.
        overlap: by how many pixels neighbouring blocks overlap, 0 … 16; they are blended there, at the price of more
            blocks.
        tune: ``"yes"`` (the default) or ``"no"``: whether a model with a narrow decoder learns the picture; for such
            models alone.
        search: rounds of a search for better latents (``codec_zoo.export.search``); none by default.

    Raises:
        UsageError: an argument is none of these.
    """

    name = "blocks"

    def __init__(
        self,
        model: ExportedModel,
        layers: int | str | None = None,
        coding: str = "jxl",
        overlap: int | str = 0,
        tune: str | None = None,
        search: int | str = 0,
    ):
        stride, tuned = model.pipeline["stride"], model.pipeline["tuned"]
        if coding not in ("jxl", "fixed"):
            raise UsageError(f"--coding of {model.preset} is jxl or fixed. Received: {coding!r}")
        if not str(overlap).isdecimal() or int(overlap) not in range(0, BLOCK // 2 + 1, stride):
            raise UsageError(f"--overlap of {model.preset} is 0, {stride} … {BLOCK // 2}. Received: {overlap!r}")
        if tune not in (None, "yes", "no"):
            raise UsageError(f"--tune is yes or no. Received: {tune!r}")
        if tune == "yes" and not tuned:
            raise UsageError(f"--tune is for report2017-cnn-ae-ft: the decoder of {model.preset} is not tuned.")
        self.model = model
        self.layers = parse_layers(model.pipeline["layers"] if layers is None else layers, model)
        self.coding = CODED if coding == "jxl" else FIXED
        self.overlap = int(overlap)
        self.search = parse_rounds(search, model)
        self.tuner: LocalModel | None = None
        if tuned and tune != "no":
            if not isinstance(model, LocalModel):
                raise UsageError(
                    f"{model.preset} learns each picture, for which a server would be asked a thousand times: "
                    "choose --tune no."
                )
            self.tuner = model

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 1 or 3]``; see ``Codec.encode``."""
        blocks = cut(as_rgb(image), self.overlap)
        coded = [self._code(part) for part in _batches(blocks)]
        latents = [np.concatenate([part[f"latents{i + 1}"] for part in coded]) for i in range(self.layers)]
        rows = _count(image.shape[0], self.overlap)
        layers = [Layer(LayerKind.LATENT, self._pack(values, rows)) for values in latents]
        if self.tuner:
            layers += fine_tune(self.tuner, latents[0], blocks)
        return self.to_file(image, layers)

    def _code(self, blocks: np.ndarray) -> dict[str, np.ndarray]:
        """``latents1`` … of some blocks, by a search where one is asked for."""
        if not self.search:
            return self.model.run("encode", images=blocks)
        coded: dict[str, np.ndarray] = {}
        rounds = np.full(len(blocks), self.search, np.int32)
        for k in range(1, self.layers + 1):
            coded |= self.model.run(f"search_{k}", images=blocks, **coded, rounds=rounds)
        return coded

    def _pack(self, latents: np.ndarray, rows: int) -> bytes:
        """The payload of latents ``uint8 [blocks, h, w, C]``."""
        head = bytes([self.coding, self.overlap])
        if self.coding == FIXED:
            bits = np.unpackbits(latents[..., None], axis=-1)[..., 8 - self.model.pipeline["bits"] :]
            return head + np.packbits(bits).tobytes()
        return head + get_codec("jxl-lossless").encode(_side_by_side(latents, rows))

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers.

        Raises:
            BitstreamError: damaged, or not the layers of such a file.
        """
        layers, pipeline = list(stream.layers), self.model.pipeline
        tuned = layers.pop() if len(layers) > 1 and layers[-1].kind == LayerKind.WEIGHTS else None
        if {layer.kind for layer in layers} != {LayerKind.LATENT} or len(layers) > pipeline["layers"]:
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}.")
        if tuned and not pipeline["tuned"]:
            raise BitstreamError(f"the file has weights for a decoder, which {self.model.preset} does not take.")
        unpacked = [self._unpack(layer.payload, stream) for layer in layers[:count]]
        overlaps = {overlap for _, overlap in unpacked}
        if len(overlaps) > 1:
            raise BitstreamError("the layers' blocks overlap differently: the file is damaged.")
        given = {f"latents{i}": latents for i, (latents, _) in enumerate(unpacked, 1)}
        if tuned and count > 1:
            blocks = reconstruct(self.model, given["latents1"], _read_weights(tuned.payload, self.model))
        else:
            blocks = self._decode_blocks(given)
        image = blend(blocks, stream.height, stream.width, overlaps.pop())
        return image if stream.channels == 3 else to_gray(image)

    def _decode_blocks(self, latents: dict[str, np.ndarray]) -> np.ndarray:
        size = np.array([[BLOCK, BLOCK]], np.int32)
        total = len(latents["latents1"])
        parts = []
        for start in range(0, total, BATCH):
            part = {name: values[start : start + BATCH] for name, values in latents.items()}
            sizes = np.repeat(size, len(part["latents1"]), axis=0)
            parts.append(self.model.run(f"decode_{len(latents)}", **part, size=sizes)["images"])
        return np.concatenate(parts)

    def _unpack(self, payload: bytes, stream: Bitstream) -> tuple[np.ndarray, int]:
        """Inverse of :meth:`_pack`: the latents, and the overlap."""
        pipeline = self.model.pipeline
        side, channels, bits = BLOCK // pipeline["stride"], pipeline["latents"], pipeline["bits"]
        if len(payload) < 2 or payload[1] > BLOCK // 2 or payload[0] not in (FIXED, CODED):
            raise BitstreamError(
                "a layer of latents is damaged, or coded in a way that is not known here.",
                "Fetch it again, or update codec-zoo.",
            )
        overlap, data = payload[1], payload[2:]
        rows, columns = _count(stream.height, overlap), _count(stream.width, overlap)
        if payload[0] == FIXED:
            count = rows * columns * side * side * channels
            if len(data) != (count * bits + 7) // 8:
                raise BitstreamError("a layer of latents is longer or shorter than the picture asks for.")
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(-1, bits)
            padded = np.pad(unpacked, ((0, 0), (8 - bits, 0)))
            return np.packbits(padded, axis=-1).reshape(-1, side, side, channels), overlap
        codec = get_codec("jxl-lossless")
        planes = 1 if channels == 3 else channels
        wanted = columns * side, rows * side * planes
        if codec.declared_size(data) != wanted:
            raise BitstreamError("a layer of latents has another size than the file's header asks for.")
        picture = codec.decode(data)
        if picture.shape[2] != channels // planes or picture.max() >= 2**bits:
            raise BitstreamError(f"the latents are not those of {self.model.preset}: the file is damaged.")
        return _cut_apart(picture, rows, columns, side, channels), overlap


def _batches(blocks: np.ndarray) -> list[np.ndarray]:
    return [blocks[i : i + BATCH] for i in range(0, len(blocks), BATCH)]


def _count(length: int, overlap: int) -> int:
    """How many blocks cover a side."""
    return max(1, -(-(length - overlap) // (BLOCK - overlap)))


def cut(image: np.ndarray, overlap: int = 0) -> np.ndarray:
    """The blocks of a picture, row by row; the last row and column are repeated to fill them.

    Args:
        image: ``uint8 [H, W, C]``.
        overlap: pixels.

    Returns:
        ``uint8 [blocks, 32, 32, C]``.
    """
    step = BLOCK - overlap
    counts = [_count(length, overlap) for length in image.shape[:2]]
    missing = [count * step + overlap - length for count, length in zip(counts, image.shape[:2], strict=True)]
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (BLOCK, BLOCK, image.shape[2]))[::step, ::step]
    return np.ascontiguousarray(windows.reshape(-1, BLOCK, BLOCK, image.shape[2]))


def blend(blocks: np.ndarray, height: int, width: int, overlap: int = 0) -> np.ndarray:
    """Inverse of :func:`cut`: ``uint8 [height, width, C]``; overlapping blocks fade into each other."""
    step = BLOCK - overlap
    rows, columns = _count(height, overlap), _count(width, overlap)
    fade = np.minimum(np.arange(1, BLOCK + 1), np.arange(BLOCK, 0, -1))
    fade = np.minimum(fade, overlap + 1).astype(np.float32)
    weight = fade[:, None, None] * fade[None, :, None]
    total = np.zeros((rows * step + overlap, columns * step + overlap, blocks.shape[3]), np.float32)
    weights = np.zeros((*total.shape[:2], 1), np.float32)
    for i, block in enumerate(blocks):
        y, x = i // columns * step, i % columns * step
        total[y : y + BLOCK, x : x + BLOCK] += weight * block
        weights[y : y + BLOCK, x : x + BLOCK] += weight
    return np.rint(total[:height, :width] / weights[:height, :width]).astype(np.uint8)


def _side_by_side(latents: np.ndarray, rows: int) -> np.ndarray:
    """Latents as a picture: ``[rows · h, columns · w, 3]``, or gray with the channels below each other."""
    count, side, _, channels = latents.shape
    grid = latents.reshape(rows, count // rows, side, side, channels).transpose(0, 2, 1, 3, 4)
    picture = grid.reshape(rows * side, -1, channels)
    return picture if channels == 3 else np.concatenate(list(np.moveaxis(picture, -1, 0)))[..., None]


def _cut_apart(picture: np.ndarray, rows: int, columns: int, side: int, channels: int) -> np.ndarray:
    """Inverse of :func:`_side_by_side`."""
    if channels != 3:
        picture = np.moveaxis(picture.reshape(channels, rows * side, columns * side), 0, -1)
    grid = picture.reshape(rows, side, columns, side, channels).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(-1, side, side, channels))


def reconstruct(model: ExportedModel, latents: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Blocks of a decoder with changed weights: ``uint8 [blocks, 32, 32, 3]``."""
    parts = [model.run("reconstruct", latents1=part, change=change)["pictures"] for part in _batches(latents)]
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


def fine_tune(model: ExportedModel, latents: np.ndarray, blocks: np.ndarray) -> list[Layer]:
    """What to add to the decoder's weights for this picture (§4.1, Fig. 8), if it gains anything.

    By Levenberg and Marquardt's method: pixels are taken as linear in the weights, as they are in each of them alone
    between the kinks of ReLUs.

    Args:
        model: with the signature ``reconstruct``.
        latents: ``uint8 [blocks, 8, 8, C]``.
        blocks: ``uint8 [blocks, 32, 32, 3]``, the truth.

    Returns:
        The layer with the weights, or none.
    """
    (count,) = model.card["signatures"]["reconstruct"]["change"][1]
    chosen = np.unique(np.linspace(0, len(blocks) - 1, TUNING_BLOCKS).round().astype(int))

    def squared_error(payload: bytes, which: np.ndarray | slice = slice(None)) -> float:
        decoded = reconstruct(model, latents[which], _read_weights(payload, model))
        return float(np.mean(np.square(decoded.astype(np.float32) - blocks[which])))

    best = none = np.zeros(count, np.float32)
    for _ in range(TUNING_STEPS):
        squares, products = _normal_equations(model, latents[chosen], blocks[chosen], best)
        diagonal = np.diag(np.diag(squares) + 1e-6 * np.trace(squares) / count + 1e-12)
        steps = [np.linalg.solve(squares + damping * diagonal, products) for damping in DAMPINGS]
        changed = [np.clip(best + step, -MAX_CHANGE, MAX_CHANGE).astype(np.float32) for step in steps]
        candidates = [best, *changed]
        best = min(candidates, key=lambda change: squared_error(_write_weights(change), chosen))
    payload = _write_weights(best)
    gained = squared_error(payload) < squared_error(_write_weights(none))
    return [Layer(LayerKind.WEIGHTS, payload)] if gained else []


def _normal_equations(
    model: ExportedModel, latents: np.ndarray, blocks: np.ndarray, change: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of pixels by weights at ``change``: JᵀJ ``[weights, weights]`` and Jᵀ(truth − decoded), float64."""
    squares, products = np.zeros((len(change), len(change))), np.zeros(len(change))
    for start in range(0, len(blocks), TUNING_BATCH):
        part = latents[start : start + TUNING_BATCH]
        decoded = model.run("reconstruct", latents1=part, change=change)["pictures"]
        effects = np.empty((len(change), decoded.size), np.float32)
        for i, effect in enumerate(effects):
            nudged = change.copy()
            nudged[i] += NUDGE
            effect[:] = (model.run("reconstruct", latents1=part, change=nudged)["pictures"] - decoded).ravel() / NUDGE
        squares += effects @ effects.T
        products += effects @ (blocks[start : start + TUNING_BATCH] - decoded).ravel()
    return squares, products


def _write_weights(change: np.ndarray) -> bytes:
    """The payload of a layer of weights."""
    unit = np.float32(max(float(np.abs(change).max()), 1e-12) / 127)
    return np.array(unit, ">f4").tobytes() + np.rint(change / unit).astype(np.int8).tobytes()


def _read_weights(payload: bytes, model: ExportedModel) -> np.ndarray:
    """What a layer of weights adds: float32."""
    (count,) = model.card["signatures"]["reconstruct"]["change"][1]
    unit = np.frombuffer(payload[:4].ljust(4, b"\0"), ">f4")[0]
    if len(payload) != 4 + count or not 0 < unit <= np.float32(MAX_CHANGE / 127):
        raise BitstreamError(f"the layer of weights is damaged: {len(payload)} bytes, of unit {unit:g}.")
    return (np.frombuffer(payload[4:], np.int8) * unit).astype(np.float32)
