"""The coders of a stream: values of one latent ⇄ bytes. A decoder looks at all claims before it allocates."""

import dataclasses
import math
from collections.abc import Callable
from typing import cast

import numpy as np

from codec_zoo.codecs import bounds, range_coder
from codec_zoo.codecs.standard import (
    codec_qualities,
    codec_steps,
    default_quality,
    get_codec,
    get_ycbcr_codec,
    list_codecs,
    make_codec,
    takes_ycbcr,
)
from codec_zoo.codecs.standard.base import Codec, YCbCrCodec
from codec_zoo.errors import BitstreamError, ModelError
from codec_zoo.export.tables import Tables
from codec_zoo.stream_coders import Coder, FixedBits, ImageCodec, LosslessImage, RangeCoder, Raw

# The rows of a table for each value of a latent; None: its channel.
RowsOf = Callable[[], np.ndarray] | None


@dataclasses.dataclass(frozen=True)
class Place:
    """A latent of an image.

    Attributes:
        height: of the image, pixels.
        width: likewise.
        shape: of the latent, ``[h, w, C]``.
        layer: number of its layer, from 1, and its kind, for messages.
        block: side of a block, values; 0 where values are coded row by row.
    """

    height: int
    width: int
    shape: tuple[int, int, int]
    layer: tuple[int, str]
    block: int = 0


def check_coder(coder: Coder, where: str) -> None:
    """See that the standard codec of a coder is known here, codes such values, and has the coder's qualities.

    Args:
        coder: of a card.
        where: the model is, for messages.

    Raises:
        ModelError: it does not.
    """
    if not isinstance(coder, LosslessImage | ImageCodec):
        return
    known = coder.codec in list_codecs()
    if isinstance(coder, LosslessImage):
        fits, kind = known and not codec_qualities(coder.codec), "a lossless image codec"
    else:
        fits = known and bool(codec_steps(coder.codec)) and (not coder.ycbcr or takes_ycbcr(coder.codec))
        kind = f"an image codec with a dial{' for YCbCr' if coder.ycbcr else ''}"
    remedy = "Update codec-zoo, or export the model again."
    if not fits:
        raise ModelError(f"{where} names {coder.codec!r} as {kind}, and there is none of that name. {remedy}")
    if isinstance(coder, ImageCodec):
        for quality in (*coder.qualities, *([] if coder.quality is None else [coder.quality])):
            try:
                make_codec(coder.codec, quality)
            except ValueError as error:
                raise ModelError(f"{where} has a wrong quality for {coder.codec}: {error}. {remedy}") from error


def check_values(values: np.ndarray | None, coder: Coder, place: Place, what: str) -> np.ndarray:
    """The values that a model gives, as the card says they are.

    Args:
        values: ``[h, w, C]``, or None.
        coder: of them.
        place: of them.
        what: gives them, and their name, for the message.

    Raises:
        ModelError: they are missing, or of another shape or type.
    """
    dtype = {RangeCoder: "int32", Raw: getattr(coder, "dtype", "")}.get(type(coder), "uint8")
    return check_output(values, place.shape, dtype, what)


def check_output(values: np.ndarray | None, shape: tuple[int, ...], dtype: str, what: str) -> np.ndarray:
    """An output of a model, if it has the shape and the type that it must have. Arguments: :func:`check_values`."""
    if values is None:
        raise ModelError(f"{what} is missing, which the model's card names. Export the model again.")
    if values.shape != shape or values.dtype != dtype:
        raise ModelError(
            f"{what} as {values.dtype} {list(values.shape)}, and the model's card asks for {dtype} {list(shape)}. "
            "Export the model again."
        )
    return values


def encode(coder: Coder, values: np.ndarray, place: Place, tables: Callable[[str], Tables], rows: RowsOf) -> bytes:
    """Values ``[h, w, C]`` without loss.

    Args:
        coder: any but :class:`ImageCodec`.
        values: of the type that the coder takes.
        place: of them.
        tables: name → tables of the export.
        rows: see :data:`RowsOf`.
    """
    match coder:
        case RangeCoder(table):
            chosen = rows() if rows else rows_of_channels(place.shape)
            return range_coder.encode(values, chosen, tables(table))
        case LosslessImage(codec):
            return get_codec(codec).encode(_as_picture(values))
        case FixedBits(bits):
            unpacked = np.unpackbits(_in_blocks(values, place)[..., None], axis=-1)[..., 8 - bits :]
            return np.packbits(unpacked).tobytes()
        case Raw(dtype):
            return values.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    raise TypeError(f"not without loss: {coder}")


def decode(coder: Coder, data: bytes, place: Place, tables: Callable[[str], Tables], rows: RowsOf) -> np.ndarray:
    """Inverse of :func:`encode`.

    Raises:
        BitstreamError: the data is not that of such a latent.
    """
    match coder:
        case RangeCoder(table):
            return _decode_integers(data, place, tables(table), rows)
        case LosslessImage(codec, bits):
            height, width, channels = place.shape
            planes = 1 if channels in (1, 3) else channels
            size, kind = (width, height * planes), place.layer[1]
            picture = decode_picture(get_codec(codec), data, size, channels // planes, kind)
            if bits < 8 and picture.max() >= 2**bits:
                raise BitstreamError(f"the {kind} layer has values of more than {bits} bits: the file is damaged.")
            return picture if planes == 1 else np.moveaxis(picture.reshape(channels, height, width), 0, -1)
        case FixedBits(bits):
            count = math.prod(place.shape)
            _check_length(data, (count * bits + 7) // 8, place)
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(-1, bits)
            values = np.packbits(np.pad(unpacked, ((0, 0), (8 - bits, 0))), axis=-1)
            return _from_blocks(values, place)
        case Raw(dtype):
            stored = np.dtype(dtype).newbyteorder(">")
            _check_length(data, math.prod(place.shape) * stored.itemsize, place)
            return np.frombuffer(data, stored).reshape(place.shape).astype(dtype)
    raise TypeError(f"not without loss: {coder}")


def quality_of(coder: ImageCodec, quality: float | None) -> float:
    """The quality asked for, or the coder's own."""
    own = default_quality(coder.codec) if coder.quality is None else coder.quality
    return own if quality is None else quality


def encode_image(coder: ImageCodec, image: np.ndarray, quality: float, gray: bool) -> bytes:
    """``uint8 [h, w, 3]`` with loss; ``gray``: the image is a gray one."""
    codec = make_codec(coder.codec, quality)
    if coder.ycbcr:
        return cast(YCbCrCodec, codec).encode_ycbcr(image[..., :1] if gray and coder.gray else image)
    return codec.encode(image)


def decode_image(coder: ImageCodec, data: bytes, size: tuple[int, int], gray: bool, kind: str) -> np.ndarray:
    """Inverse of :func:`encode_image`: ``uint8 [h, w, 3]``.

    Args:
        coder: of the file.
        data: the file.
        size: width and height that it must have.
        gray: the image is a gray one.
        kind: of the layer, for messages.

    Raises:
        BitstreamError: damaged, or not of that size.
    """
    spec = f"{coder.codec}:{default_quality(coder.codec):g}"
    if not coder.ycbcr:
        return decode_picture(get_codec(spec), data, size, 3, kind)
    luma_alone = gray and coder.gray
    codec = get_ycbcr_codec(spec)
    image = decode_picture(codec, data, size, 1 if luma_alone else 3, kind, codec.decode_ycbcr)
    if luma_alone:
        image = np.concatenate([image, np.full((*image.shape[:2], 2), 128, np.uint8)], axis=-1)
    return image


def decode_picture(
    codec: Codec,
    data: bytes,
    size: tuple[int, int],
    channels: int,
    kind: str,
    decode: Callable[[bytes], np.ndarray] | None = None,
) -> np.ndarray:
    """A file of a standard codec, after a look at whether it has the size (width, height) that it must have."""
    declared = codec.declared_size(data)
    if declared != size:
        raise BitstreamError(
            f"the {kind} layer has {declared[0]}×{declared[1]} pixels, and the file's header asks for "
            f"{size[0]}×{size[1]}, another size: the file is damaged."
        )
    image = (decode or codec.decode)(data)
    if image.shape[2] != channels:
        raise BitstreamError(f"the {kind} layer has {image.shape[2]} channels, not {channels}: the file is damaged.")
    return image


def _decode_integers(data: bytes, place: Place, tables: Tables, rows: RowsOf) -> np.ndarray:
    height, width, channels = place.shape
    least = tables.least_bits
    each = least.sum() if rows is None else channels * least.min()
    bounds.check_string(len(data), height * width * each, place.width, place.height)
    chosen = rows() if rows else rows_of_channels(place.shape)
    try:
        return range_coder.decode(data, chosen, tables)
    except BitstreamError as error:  # with other tables than the encoder's, a string's length may not fit them
        raise other_numbers(place.layer[0]) from error


def other_numbers(layer: int) -> BitstreamError:
    """What to say of a layer whose integers are not those that were coded."""
    return BitstreamError(
        f"layer {layer} decodes to other numbers than were coded: the file is damaged, or it was coded by an export "
        "with other tables.",
        "Fetch the file again, or use the export that coded it: --model DIR.",
    )


def rows_of_channels(shape: tuple[int, ...], first: int = 0) -> np.ndarray:
    """Each value's row in a prior's table: its channel, after so many other rows."""
    return np.broadcast_to(np.arange(first, first + shape[-1], dtype=np.int32), shape)


def _as_picture(values: np.ndarray) -> np.ndarray:
    """RGB or gray as they are; other channels gray, one below the other."""
    if values.shape[2] in (1, 3):
        return values
    return np.concatenate(list(np.moveaxis(values, -1, 0)))[..., None]


def _in_blocks(values: np.ndarray, place: Place) -> np.ndarray:
    """Values in the order of the file: block by block."""
    if not place.block:
        return np.ascontiguousarray(values)
    height, width, channels = place.shape
    side = place.block
    grid = values.reshape(height // side, side, width // side, side, channels)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3, 4))


def _from_blocks(values: np.ndarray, place: Place) -> np.ndarray:
    """Inverse of :func:`_in_blocks`."""
    height, width, channels = place.shape
    side = place.block
    if not side:
        return values.reshape(place.shape)
    grid = values.reshape(height // side, width // side, side, side, channels)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3, 4)).reshape(place.shape)


def _check_length(data: bytes, wanted: int, place: Place) -> None:
    if len(data) != wanted:
        raise BitstreamError(
            f"the {place.layer[1]} layer has {len(data)} bytes of values, and {place.width}×{place.height} pixels "
            f"ask for {wanted}: the file is damaged."
        )
