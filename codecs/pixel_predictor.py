"""Lossless files by a small network that learns each image (report of 2017, §3 and §6.1).

    image ─▶ planes ─▶ perceptron (60 known pixels → prediction) ─▶ errors ─▶ Huffman, or range coder

A layer for each plane: luma, then Co and Cg of YCoCg-R; a file that is cut behind the first decodes as gray. The
weights are learned for the image, rounded, and stored. Encoder and decoder predict in integers (kept in float64,
every sum below 2^53, so exact in any order). The decoder goes over all pixels that have their 60 neighbours at once,
a slanted front through the image.

Payload of a layer: coding (1 byte: 0 Huffman, 1 range coder); weights (one byte of their width in bits, 0 for none,
then the bits, for each of the network's tensors); the errors: for Huffman the length in bits (4 bytes), the
codewords' lengths, and their string; for the range coder the scale of each context (a byte) and the string.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from bitarray import bitarray
from bitarray.util import canonical_decode, canonical_huffman

from codec_zoo.codecs import bounds, range_coder
from codec_zoo.codecs.container import Bitstream, Layer, LayerKind
from codec_zoo.codecs.logistic_tables import SCALES, best_scale, tables
from codec_zoo.codecs.model_codec import ModelCodec, parse_layers
from codec_zoo.color import rgb_to_ycocg, ycocg_to_rgb
from codec_zoo.errors import BitstreamError, ImageError, UsageError
from codec_zoo.export.runtime import ExportedModel
from codec_zoo.presets import Preset, Recipe, get_preset

if TYPE_CHECKING:
    import keras

# The causal neighbourhood of a pixel: rows above it, and pixels to each side.
RADIUS = 5
NEIGHBOURS = [(-y, x) for y in range(RADIUS, 0, -1) for x in range(-RADIUS, RADIUS + 1)]
NEIGHBOURS += [(0, x) for x in range(-RADIUS, 0)]
LEFT, UPPER = NEIGHBOURS.index((0, -1)), NEIGHBOURS.index((-1, 0))
# A pixel's neighbours are known once the row above is this much further.
LAG = RADIUS + 1
# Bits behind the point: of weights, and of values between layers.
WEIGHT_BITS, VALUE_BITS = 10, 6
# Largest sum of |errors| around a pixel, the left and the upper one twice, in each context.
CONTEXTS = np.array([0, 1, 2, 3, 5, 7, 9, 12, 15, 19, 24, 30, 37, 46, 58, 72, 90, 115, 145, 185, 240, 320, 480])
AROUND = [(0, -1, 2), (-1, 0, 2), (-1, -1, 1), (-1, 1, 1), (0, -2, 1), (-2, 0, 1)]
# Pixels that the network learns from, at most.
SAMPLES = 65_536
# Pixels that are predicted, or put into decoding order, at once: whole, an image would take a kilobyte a pixel.
PART = 2**17
# Steps that TensorFlow makes at a time.
EXECUTED = 100
HUFFMAN, RANGE_CODER = 0, 1
# A front takes about 0.1 ms, however few its pixels are: longer images would take minutes.
MAX_FRONTS = 2**17
# Whole numbers below it are exact in float64, and so are their sums.
EXACT = 2.0**53
Weights = list[np.ndarray]


class PerceptronCodec(ModelCodec):
    """Lossless files of the image's own perceptron.

    Args:
        model: of a preset without a stream.
        coding: ``"range"`` or, as the report has it, ``"huffman"``.
        layers: 3, or 1 for luma alone.

    Raises:
        UsageError: another coding, or another number of layers.
    """

    name = "perceptron"

    def __init__(self, model: ExportedModel, coding: str = "range", layers: int | str = 3):
        if coding not in ("range", "huffman"):
            raise UsageError(f"--coding of {model.preset} is range or huffman. Received: {coding!r}")
        self.model = model
        self.coding = RANGE_CODER if coding == "range" else HUFFMAN
        self.layers = parse_layers(layers, 3, model.preset)

    @property
    def options(self) -> dict[str, str | int | float]:
        """See ``Codec.options``."""
        return {"coding": "range" if self.coding == RANGE_CODER else "huffman", "layers": self.layers}

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``uint8 [H, W, 1 or 3]`` of at most :data:`MAX_FRONTS`; see ``Codec.encode``."""
        if _is_too_long(image.shape[1], image.shape[0]):
            raise ImageError(
                f"{image.shape[1]}×{image.shape[0]} pixels are too many for {self.model.preset}: the width and {LAG} "
                f"times the height are at most {MAX_FRONTS}. Cut the picture up."
            )
        channels = (rgb_to_ycocg(image) if image.shape[2] == 3 else image.astype(np.int16)).transpose(2, 0, 1)
        planes = [channel + np.int16(_lowest(i)) for i, channel in enumerate(channels[: self.layers])]
        layers = []
        for i, (plane, learned) in enumerate(zip(planes, learn(planes, self.model.preset), strict=True)):
            levels = _levels(i)
            # A small image is not worth weights.
            usable = [learned] if learned and is_exact(learned, levels) else []
            payloads = [self._encode(plane, levels, weights) for weights in (None, *usable)]
            layers.append(Layer(LayerKind.PLANE, min(payloads, key=len)))
        return self.to_file(image, layers)

    def _encode(self, plane: np.ndarray, levels: int, weights: Weights | None) -> bytes:
        errors = _wrap(plane - predict_all(_pad(plane, levels), weights, levels), levels)
        coded = _encode_range(errors) if self.coding == RANGE_CODER else _encode_huffman(errors)
        return bytes([self.coding]) + _pack_weights(weights) + coded

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first layers: with fewer than three, a colour image comes back gray.

        Raises:
            BitstreamError: damaged, or not the layers of such a file.
        """
        kinds = {layer.kind for layer in stream.layers}
        if kinds != {LayerKind.PLANE} or len(stream.layers) > stream.channels:
            raise BitstreamError(f"the file's layers are not those of {self.model.preset}.")
        if _is_too_long(stream.width, stream.height):
            raise BitstreamError(
                f"the file claims {stream.width}×{stream.height} pixels, which no file of this model has."
            )
        count = min(count, len(stream.layers))
        wanted = stream.channels if count >= stream.channels else 1
        planes = [
            self._decode(stream.layers[i].payload, stream.height, stream.width, _levels(i)) - np.int16(_lowest(i))
            for i in range(wanted)
        ]
        if wanted < 3:
            return np.repeat(planes[0][..., None], stream.channels, axis=2).astype(np.uint8)
        image = np.empty((stream.height, stream.width, 3), np.uint8)
        for y, row in enumerate(zip(*planes, strict=True)):
            pixels = ycocg_to_rgb(np.stack(row, axis=-1))
            if pixels.min() < 0 or pixels.max() > 255:
                raise BitstreamError("the planes are not those of an 8-bit picture: the file is damaged.")
            image[y] = pixels
        return image

    def _decode(self, payload: bytes, height: int, width: int, levels: int) -> np.ndarray:
        coding, rest = payload[:1], payload[1:]
        weights, used = _unpack_weights(rest, get_preset(self.model.preset))
        if weights and not is_exact(weights, levels):
            raise BitstreamError("the weights of a plane are damaged: they are too large to compute with exactly.")
        if coding == bytes([HUFFMAN]):
            return _decode_plane(height, width, levels, weights, _HuffmanErrors(rest[used:], height, width))
        if coding == bytes([RANGE_CODER]):
            return _decode_plane(height, width, levels, weights, _RangeErrors(rest[used:], height, width))
        raise BitstreamError("a plane has a coding that is not known here.", "Update codec-zoo.")


def _levels(index: int) -> int:
    """How many values a pixel of plane number ``index`` can have."""
    return 256 if index == 0 else 511


def _lowest(index: int) -> int:
    """What makes them start at 0."""
    return 0 if index == 0 else 255


def _wrap(errors: np.ndarray, levels: int) -> np.ndarray:
    """Errors modulo the number of levels, around 0: the decoder knows the range."""
    return (errors + levels // 2) % levels - levels // 2


def _pad(plane: np.ndarray, levels: int) -> np.ndarray:
    """The plane, padded with values for the neighbours outside it: int16 ``[H + 5, W + 10]``.

    To the right a row goes on with its last pixel, to the left with the first of the row above; above all is gray.
    """
    height, width = plane.shape
    padded = np.full((height + RADIUS, width + 2 * RADIUS), levels // 2, np.int16)
    padded[RADIUS:, RADIUS : RADIUS + width] = plane
    padded[RADIUS:, RADIUS + width :] = plane[:, -1:]
    padded[RADIUS + 1 :, :RADIUS] = plane[:-1, :1]
    return padded


def predict(known: np.ndarray, weights: Weights | None, levels: int) -> np.ndarray:
    """Predictions, exact on every machine.

    Args:
        known: float64 ``[N, 60]``, whole numbers: the neighbours.
        weights: kernel and bias of each layer, whole numbers in float64; None predicts the reference.
        levels: of the plane.

    Returns:
        float64 ``[N]``, whole numbers in 0 … levels − 1.
    """
    reference = np.floor((known[:, LEFT] + known[:, UPPER]) / 2)
    if weights is None:
        return reference
    values = known - reference[:, None]
    for i in range(0, len(weights), 2):
        values = values @ weights[i] + weights[i + 1]
        if i + 2 < len(weights):
            # The first layer's inputs are whole pixels, the others' have VALUE_BITS behind the point.
            shift = WEIGHT_BITS if i else WEIGHT_BITS - VALUE_BITS
            values = np.floor(np.maximum(values, 0) * 2.0**-shift)
    rounded = np.floor(values[:, 0] * 2.0 ** -(WEIGHT_BITS + VALUE_BITS) + 0.5)
    return np.clip(reference + rounded, 0, levels - 1)


def is_exact(weights: Weights, levels: int) -> bool:
    """Whether :func:`predict` computes exactly with these weights, whatever the pixels are."""
    largest = levels - 1.0
    for i in range(0, len(weights), 2):
        largest = float(np.max(np.abs(weights[i]).sum(axis=0) * largest + np.abs(weights[i + 1])))
        if largest >= EXACT:
            return False
        largest *= 2.0 ** -(WEIGHT_BITS if i else WEIGHT_BITS - VALUE_BITS)
    return True


def predict_all(padded: np.ndarray, weights: Weights | None, levels: int) -> np.ndarray:
    """Predictions of a whole plane from its padded pixels: int16 ``[H, W]``."""
    height, width = padded.shape[0] - RADIUS, padded.shape[1] - 2 * RADIUS
    rows = max(1, PART // width)
    predicted = np.empty((height, width), np.int16)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        known = np.stack(
            [padded[RADIUS + top + y : RADIUS + bottom + y, RADIUS + x : RADIUS + x + width] for y, x in NEIGHBOURS],
            -1,
            dtype=np.float64,
        )
        predicted[top:bottom] = predict(known.reshape(-1, len(NEIGHBOURS)), weights, levels).reshape(-1, width)
    return predicted


def learn(planes: Sequence[np.ndarray], preset: str) -> list[Weights | None]:
    """Weights for an image's planes (int16 ``[H, W]``, from 0 up), rounded as :func:`predict` takes them.

    For each the network starts as the best linear predictor, the rest of it as the plane before left it.
    """
    network, fresh = _network(preset)
    # Nothing stays of the image before: a file does not depend on what was coded first.
    network.set_weights(fresh)
    recipe = get_preset(preset).recipe
    return [_learn(network, plane, recipe) for plane in planes]


def _learn(network: "keras.Model", plane: np.ndarray, recipe: Recipe) -> Weights | None:
    import keras

    if plane.size < 256 or plane.min() == plane.max():
        return None
    random = np.random.default_rng(0)
    chosen = random.choice(plane.size, min(plane.size, SAMPLES), replace=False)
    y, x = np.divmod(chosen, plane.shape[1])
    padded = _pad(plane, int(plane.max()) + 1)
    known = np.stack([padded[y + RADIUS + dy, x + RADIUS + dx] for dy, dx in NEIGHBOURS], axis=-1, dtype=np.float64)
    reference = np.floor((known[:, LEFT] + known[:, UPPER]) / 2)
    inputs, target = known - reference[:, None], plane[y, x] - reference
    gram = inputs.T @ inputs
    linear = np.linalg.solve(gram + 1e-4 * (np.trace(gram) + 1) / len(gram) * np.eye(len(gram)), inputs.T @ target)

    network.start_linear(linear)
    for variable in network.optimizer.variables:
        if variable is not network.optimizer.learning_rate:
            variable.assign(keras.ops.zeros_like(variable))
    scale = 1.0 / max(1.0, float(np.std(target)))
    # Small images see each of their pixels about twenty times.
    steps = min(recipe.steps, EXECUTED * math.ceil(20 * len(inputs) / recipe.batch_size / EXECUTED))
    order = random.integers(len(inputs), size=steps * recipe.batch_size)
    shown, wanted = ((values * scale).astype(np.float32)[order] for values in (inputs, target))
    network.fit(shown, wanted, recipe.batch_size, shuffle=False, verbose=0)

    weights = []
    for i, layer in enumerate(network.stack):
        weights.append(np.round(layer.kernel.numpy().astype(np.float64) * 2**WEIGHT_BITS))
        # Biases have the unit of the layer's sums: inputs times weights; and pixels are scaled back.
        unit = 2.0 ** (WEIGHT_BITS + (VALUE_BITS if i else 0)) / scale
        weights.append(np.round(layer.bias.numpy().astype(np.float64) * unit))
    return weights


@functools.cache
def _network(preset: str) -> "tuple[keras.Model, Weights]":
    """One network for all planes, so that TensorFlow traces its training once, and its random weights."""
    import keras

    keras.utils.set_random_seed(0)
    recipe = get_preset(preset).recipe
    network = get_preset(preset).create()
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps)
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="mse", steps_per_execution=EXECUTED)
    network.optimizer.build(network.trainable_variables)
    return network, network.get_weights()


def _pack_weights(weights: Weights | None) -> bytes:
    """Each tensor in as many bits a weight as its largest needs, two's complement."""
    if weights is None:
        return b"\0"
    parts = []
    for tensor in weights:
        values = tensor.ravel().astype(np.int64)
        width = max(1, *(int(v if v >= 0 else ~v).bit_length() + 1 for v in (values.min(), values.max())))
        bits = values[:, None] >> np.arange(width - 1, -1, -1) & 1
        parts += [bytes([width]), np.packbits(bits.astype(np.uint8)).tobytes()]
    return b"".join(parts)


def _unpack_weights(data: bytes, preset: Preset) -> tuple[Weights | None, int]:
    """Inverse of :func:`_pack_weights`, and how many bytes it read."""
    if data[:1] == b"\0":
        return None, 1
    widths = (len(NEIGHBOURS), *preset.config["hidden"], 1)
    shapes = [shape for a, b in itertools.pairwise(widths) for shape in ((a, b), (b,))]
    weights, position = [], 0
    for shape in shapes:
        width, count = int(data[position]) if position < len(data) else 0, math.prod(shape)
        end = position + 1 + (width * count + 7) // 8
        if not 1 <= width <= 32 or end > len(data):
            raise BitstreamError("the weights of a plane are cut or damaged.")
        bits = np.unpackbits(np.frombuffer(data[position + 1 : end], np.uint8), count=width * count)
        powers = 2 ** np.arange(width - 1, -1, -1, dtype=np.int64)
        powers[0] = -powers[0]
        weights.append((bits.reshape(count, width) @ powers).astype(np.float64).reshape(shape))
        position = end
    return weights, position


# --- errors -----------------------------------------------------------------------------------------------------


def _is_too_long(width: int, height: int) -> bool:
    """Whether an image has so many fronts that it would take minutes, however thin it is."""
    return width + LAG * (height - 1) > MAX_FRONTS


def _fronts(height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pixels in decoding order, many fronts at a time. The pixels of a front can be predicted at once.

    Yields:
        Rows, columns, and the ends of the fronts in them; a narrow image has empty fronts.
    """
    count = width + LAG * (height - 1)
    step = max(1, PART // min(height, -(-width // LAG)))
    for start in range(0, count, step):
        fronts = np.arange(start, min(start + step, count))
        top, bottom = np.maximum(0, -(-(fronts - width + 1) // LAG)), np.minimum(height - 1, fronts // LAG)
        sizes = np.maximum(0, bottom - top + 1)
        ends = np.cumsum(sizes)
        y = np.arange(ends[-1]) + np.repeat(top + sizes - ends, sizes)
        yield y, np.repeat(fronts, sizes) - LAG * y, ends


def _encode_huffman(errors: np.ndarray) -> bytes:
    values, counts = np.unique(errors, return_counts=True)
    code, lengths, symbols = canonical_huffman({int(v): int(c) for v, c in zip(values, counts, strict=True)})
    bits = bitarray()
    for row in errors:
        bits.encode(code, row.tolist())
    head = len(bits).to_bytes(4, "big") + bytes([len(lengths)])
    head += np.array([*lengths, *symbols], ">i2").tobytes()
    return head + bits.tobytes()


class _HuffmanErrors:
    """Errors of a plane, all decoded before the first is asked for."""

    def __init__(self, data: bytes, height: int, width: int):
        try:
            lengths = np.frombuffer(data[5 : 5 + 2 * data[4]], ">i2").astype(int).tolist()
            if len(lengths) != data[4] or min(lengths) < 0:
                raise ValueError("its table is cut")
            start = 5 + 2 * data[4]
            symbols = np.frombuffer(data[start : start + 2 * sum(lengths)], ">i2").astype(int).tolist()
            string, count = data[start + 2 * sum(lengths) :], int.from_bytes(data[:4], "big")
            # No codeword is shorter than a bit.
            if not height * width <= count or len(string) != (count + 7) // 8:
                raise ValueError(f"{len(string)} bytes for {count} bits and {height * width} pixels")
            bits = bitarray()
            bits.frombytes(string)
            del bits[count:]
            decoded = canonical_decode(bits, lengths, symbols)
            values = np.fromiter(decoded, np.int16, height * width)
            if next(decoded, None) is not None:
                raise ValueError("it has more codewords than the plane pixels")
        except (ValueError, IndexError) as error:
            raise BitstreamError(f"the Huffman code of a plane is damaged: {error}.") from error
        self._values = values.reshape(height, width)

    def take(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The errors of these pixels."""
        return self._values[y, x]


def _contexts(sizes: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The context of each of these pixels, from the |errors| known: ``[H + 2, W + 3]``, two rows and columns of zeros
    before, one column behind."""
    width = sizes.shape[1]
    offsets = np.array([dy * width + dx for dy, dx, _ in AROUND])
    around = sizes.reshape(-1)[((y + 2) * width + x + 2)[:, None] + offsets]
    return np.searchsorted(CONTEXTS, around @ np.array([weight for _, _, weight in AROUND]))


def _encode_range(errors: np.ndarray) -> bytes:
    height, width = errors.shape
    sizes = np.zeros((height + 2, width + 3), np.int16)
    sizes[2:, 2 : 2 + width] = np.abs(errors)
    values, contexts, done = np.empty(errors.size, np.int16), np.empty(errors.size, np.uint8), 0
    for y, x, _ in _fronts(height, width):
        part = slice(done, done + len(y))
        values[part], contexts[part], done = errors[y, x], _contexts(sizes, y, x), part.stop
    scales = np.zeros(len(CONTEXTS) + 1, np.int32)
    for context in range(len(scales)):
        scales[context] = best_scale(values[contexts == context])
    return scales.astype(np.uint8).tobytes() + range_coder.encode(values, scales[contexts], tables())


class _RangeErrors:
    """Errors of a plane, decoded front by front."""

    def __init__(self, data: bytes, height: int, width: int):
        count = len(CONTEXTS) + 1
        self._scales = np.frombuffer(data[:count], np.uint8).astype(np.int32)
        if len(self._scales) < count or self._scales.max() >= SCALES:
            raise BitstreamError("the scales of a plane are cut or damaged.")
        cheapest = tables().least_bits[self._scales].min()
        bounds.check_string(len(data) - count, height * width * cheapest, width, height)
        self._decoder = range_coder.Decoder(data[count:], tables(), height * width)
        self._sizes = np.zeros((height + 2, width + 3), np.int16)

    def take(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The errors of these pixels."""
        values = self._decoder.decode(self._scales[_contexts(self._sizes, y, x)])
        self._sizes[y + 2, x + 2] = np.abs(values)
        return values


def _decode_plane(height: int, width: int, levels: int, weights: Weights | None, errors: Any) -> np.ndarray:
    """The pixels of a plane: int16 ``[H, W]``."""
    padded = np.full((height + RADIUS, width + 2 * RADIUS), levels // 2, np.int16)
    flat, stride = padded.reshape(-1), width + 2 * RADIUS
    offsets = np.array([dy * stride + dx for dy, dx in NEIGHBOURS])
    for rows, columns, ends in _fronts(height, width):
        start = 0
        for end in ends.tolist():
            y, x, start = rows[start:end], columns[start:end], end
            if not y.size:
                continue
            places = (y + RADIUS) * stride + x + RADIUS
            predicted = predict(flat[places[:, None] + offsets].astype(np.float64), weights, levels)
            flat[places] = (predicted + errors.take(y, x)) % levels
            if x[-1] == 0 and y[-1] + 1 < height:
                padded[RADIUS + y[-1] + 1, :RADIUS] = flat[places[-1]]
            if x[0] == width - 1:
                padded[RADIUS + y[0], RADIUS + width :] = flat[places[0]]
    return padded[RADIUS:, RADIUS : RADIUS + width].copy()
