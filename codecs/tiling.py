"""Large pictures through an exported model in tiles, so that memory stays bounded and no seam shows.

A tile is run with as many pixels around it as the model's convolutions reach, and only its inside is kept: what
comes out is what the whole picture at once would give, but for the last bits of float sums. Where a server refuses
a message as too large, smaller tiles are tried.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from codec_zoo.errors import MessageTooLargeError
from codec_zoo.export.runtime import ExportedModel

# Side of a tile, pixels; a multiple of every model's stride. Pictures of up to twice its area go in one piece.
TILE = 1024
# Smaller tiles are mostly what lies around them.
_SMALLEST = 128

T = TypeVar("T")


def encode(model: ExportedModel, image: np.ndarray, tile: int = TILE) -> dict[str, np.ndarray]:
    """Latents of a picture.

    Args:
        model: of kind ``layered``.
        image: ``uint8 [H, W, 3]``.
        tile: side of a tile, a multiple of the model's stride.

    Returns:
        ``y1``, ``z1`` …: int32 ``[h, w, C]``.

    Raises:
        MessageTooLargeError: the model is on a server that refuses even small tiles.
    """
    stride = model.pipeline["stride"]
    return _in_fitting_tiles(lambda side: _latents(model, image, side, "encode", {}), tile, stride)


def search(
    model: ExportedModel,
    image: np.ndarray,
    layer: int,
    below: Mapping[str, np.ndarray],
    rounds: int,
    tile: int = TILE,
) -> dict[str, np.ndarray]:
    """Latents of one layer, by a search (``codec_zoo.export.search``).

    Each tile is searched for itself: at their borders latents do not know where those next to them went.

    Args:
        model: of kind ``layered``, with the signature ``search_k``.
        image: ``uint8 [H, W, 3]``.
        layer: k.
        below: ``y1`` … of the layers below, int32 ``[h, w, C]``.
        rounds: of the search, 0 or more.
        tile: see :func:`encode`.

    Returns:
        ``yk`` and, with a hyperprior, ``zk``, as :func:`encode` does.
    """
    signature, count = f"search_{layer}", np.array([rounds], np.int32)
    return _in_fitting_tiles(
        lambda side: _latents(model, image, side, signature, below, rounds=count),
        tile,
        model.pipeline["stride"],
    )


def _latents(
    model: ExportedModel,
    image: np.ndarray,
    tile: int,
    signature: str,
    below: Mapping[str, np.ndarray],
    **inputs: np.ndarray,
) -> dict[str, np.ndarray]:
    """Latents of a picture by a signature of it, of latents ``below`` and of what is the same for each tile."""
    height, width = image.shape[:2]
    stride, reach = model.pipeline["stride"], model.pipeline["reach"]["encode"]
    whole: dict[str, np.ndarray] = {}
    for rows, rows_around in _tiles(height, width, tile, reach, axis=0):
        for columns, columns_around in _tiles(height, width, tile, reach, axis=1):
            around = _around(below, rows_around, columns_around, height, stride)
            coded = model.run(signature, images=image[None, rows_around, columns_around], **around, **inputs)
            coded.pop("size", None)
            for name, latent in coded.items():
                step = _padded(rows_around.stop - rows_around.start, stride) // latent.shape[1]
                if name not in whole:
                    shape = _padded(height, stride) // step, _padded(width, stride) // step, latent.shape[3]
                    whole[name] = np.empty(shape, np.int32)
                target = whole[name][_steps(rows, stride, step), _steps(columns, stride, step)]
                top, left = ((s.start - a.start) // step for s, a in ((rows, rows_around), (columns, columns_around)))
                target[:] = latent[0, top : top + target.shape[0], left : left + target.shape[1]]
    return whole


def decode(
    model: ExportedModel, latents: Mapping[str, np.ndarray], height: int, width: int, tile: int = TILE
) -> np.ndarray:
    """The picture of ``y1`` … ``yk``: ``uint8 [H, W, 3]``; see :func:`encode`."""
    stride = model.pipeline["stride"]
    return _in_fitting_tiles(lambda side: _decode(model, latents, height, width, side), tile, stride)


def _decode(
    model: ExportedModel, latents: Mapping[str, np.ndarray], height: int, width: int, tile: int
) -> np.ndarray:
    stride, reach = model.pipeline["stride"], model.pipeline["reach"]["decode"]
    image = np.empty((height, width, 3), np.uint8)
    for rows, rows_around in _tiles(height, width, tile, reach, axis=0):
        for columns, columns_around in _tiles(height, width, tile, reach, axis=1):
            around = _around(latents, rows_around, columns_around, height, stride)
            size = [[rows_around.stop - rows_around.start, columns_around.stop - columns_around.start]]
            decoded = model.run(f"decode_{len(latents)}", **around, size=np.array(size, np.int32))["images"][0]
            top, left = rows.start - rows_around.start, columns.start - columns_around.start
            inside = image[rows, columns]
            inside[:] = decoded[top : top + inside.shape[0], left : left + inside.shape[1]]
    return image


def _around(
    latents: Mapping[str, np.ndarray], rows: slice, columns: slice, height: int, stride: int
) -> dict[str, np.ndarray]:
    """The latents of a tile's pixels: ``[1, h, w, C]`` each."""
    around = {}
    for name, latent in latents.items():
        step = _padded(height, stride) // latent.shape[0]
        around[name] = latent[None, _steps(rows, stride, step), _steps(columns, stride, step)]
    return around


def run_in_tiles(
    function: Callable[[np.ndarray], np.ndarray], image: np.ndarray, reach: int, tile: int = TILE
) -> np.ndarray:
    """``function`` of a picture, ``uint8 [H, W, C]``, that keeps its sides and looks at ``reach`` pixels around."""
    return _in_fitting_tiles(lambda side: _run_in_tiles(function, image, reach, side), tile, 1)


def _run_in_tiles(
    function: Callable[[np.ndarray], np.ndarray], image: np.ndarray, reach: int, tile: int
) -> np.ndarray:
    height, width = image.shape[:2]
    result = np.empty(0)
    for rows, rows_around in _tiles(height, width, tile, reach, axis=0):
        for columns, columns_around in _tiles(height, width, tile, reach, axis=1):
            top, left = rows.start - rows_around.start, columns.start - columns_around.start
            around = function(np.ascontiguousarray(image[rows_around, columns_around]))
            if not result.size:
                result = np.empty((height, width, *around.shape[2:]), around.dtype)
            inside = result[rows, columns]
            inside[:] = around[top : top + inside.shape[0], left : left + inside.shape[1]]
    return result


def _in_fitting_tiles(run: Callable[[int], T], tile: int, stride: int) -> T:
    """``run(tile)``, with ever smaller tiles, multiples of ``stride``, while messages are too large for a server."""
    while True:
        try:
            return run(tile)
        except MessageTooLargeError:
            smaller = tile // 2 // stride * stride
            if smaller < _SMALLEST:
                raise
            tile = smaller


def _tiles(height: int, width: int, tile: int, reach: int, axis: int) -> Iterator[tuple[slice, slice]]:
    """Along one axis: the pixels of each tile, and those with ``reach`` more on both sides."""
    length = (height, width)[axis]
    if height * width <= 2 * tile * tile:
        tile = length
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))


def _padded(length: int, stride: int) -> int:
    return -(-length // stride) * stride


def _steps(pixels: slice, stride: int, step: int) -> slice:
    """The latents of a span of pixels; at the picture's edge with those of its padding."""
    return slice(pixels.start // step, _padded(pixels.stop, stride) // step)
