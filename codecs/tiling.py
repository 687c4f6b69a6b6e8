"""Large images through an exported model in tiles, so that memory stays bounded and no seam shows.

A tile is run with the receptive field of the signature around it, and only its inside is kept: the values are those
of the whole image at once, but for the last bits of float sums. Where a server refuses a message as too large,
smaller tiles are tried.
"""

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping
from typing import TypeVar

import numpy as np

from codec_zoo.errors import MessageTooLargeError, ModelError
from codec_zoo.export.runtime import ExportedModel

# Side of a tile, pixels. Images of up to twice its area go in one piece.
TILE = 1024
# For models that look at few pixels around a place: smaller tiles cost them no time, and a quarter of the memory.
SMALL_TILE, FEW = 512, 64
# Smaller tiles are mostly what lies around them.
_SMALLEST = 128

T = TypeVar("T")


def default_tile(model: ExportedModel, stride: int) -> int:
    """Side of the tiles of a model, pixels: a multiple of its stride."""
    side = TILE if max(model.card["receptive_field"].values(), default=TILE) > FEW else SMALL_TILE
    return max(1, side // stride) * stride


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Runs the signatures of a model on images of any size.

    Attributes:
        model: exported.
        stride: sides of images are padded to multiples of it.
        tile: side of a tile, a multiple of the stride.
    """

    model: ExportedModel
    stride: int
    tile: int

    def analyse(
        self,
        signature: str,
        image: np.ndarray,
        wanted: Container[str],
        lower: Mapping[str, np.ndarray],
        **same: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Latents of an image.

        Args:
            signature: ``encode…``, or one that refines latents; each tile is refined for itself.
            image: ``uint8 [H, W, 3]``.
            wanted: names of the outputs that are kept.
            lower: latents of lower layers, ``[h, w, C]``.
            same: inputs that are the same for each tile.

        Returns:
            ``[h, w, C]`` each.
        """
        return self.run(signature, image.shape[0], image.shape[1], wanted, lower, image, **same)

    def show(
        self, signature: str, latents: Mapping[str, np.ndarray], height: int, width: int, **same: np.ndarray
    ) -> np.ndarray:
        """The image of latents, ``[h, w, C]``: ``uint8 [H, W, 3]``."""
        return self.run(signature, height, width, ("images",), latents, **same)["images"]

    def run(
        self,
        signature: str,
        height: int,
        width: int,
        wanted: Container[str],
        latents: Mapping[str, np.ndarray],
        image: np.ndarray | None = None,
        **same: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Outputs of a signature for an image of ``height`` by ``width`` pixels; see :meth:`analyse`.

        Raises:
            ModelError: the signature has no output that is wanted.
            MessageTooLargeError: the model is on a server that refuses even small tiles.
        """
        field = self.model.card["receptive_field"].get(signature)
        sized = "size" in self.model.card["signatures"].get(signature, {})
        margin = None if field is None else _padded(field, self.stride)

        def run(tile: int) -> dict[str, np.ndarray]:
            whole: dict[str, np.ndarray] = {}
            for rows, rows_around in _tiles(height, width, tile, margin, axis=0):
                for columns, columns_around in _tiles(height, width, tile, margin, axis=1):
                    inputs = dict(same)
                    if image is not None:
                        inputs["images"] = image[None, rows_around, columns_around]
                    for name, latent in latents.items():
                        step = _padded(height, self.stride) // latent.shape[0]
                        inputs[name] = latent[None, self._steps(rows_around, step), self._steps(columns_around, step)]
                    if sized:
                        sides = [rows_around.stop - rows_around.start, columns_around.stop - columns_around.start]
                        inputs["size"] = np.array([sides], np.int32)
                    outputs = self.model.run(signature, **inputs)
                    for name, part in outputs.items():
                        if name in wanted:
                            around = (rows, rows_around), (columns, columns_around)
                            self._keep(whole, name, part[0], height, width, *around)
            return whole

        found = _in_fitting_tiles(run, self.tile, self.stride if margin is not None else max(height, width))
        if not found:
            raise ModelError(f"{self.model.where}: {signature} gives no values of those that its card names.")
        return found

    def _keep(
        self,
        whole: dict[str, np.ndarray],
        name: str,
        part: np.ndarray,
        height: int,
        width: int,
        rows: tuple[slice, slice],
        columns: tuple[slice, slice],
    ) -> None:
        """Put the inside of a tile's output into its place; ``rows``, ``columns``: its own, and with those around.

        Raises:
            ModelError: the output is not one for such a tile.
        """
        stride = 1 if name == "images" else self.stride
        around = [_padded(pixels[1].stop - pixels[1].start, stride) for pixels in (rows, columns)]
        step = 1 if name == "images" or not part.size else around[0] // len(part)
        if part.ndim != 3 or [step * side for side in part.shape[:2]] != around:
            raise ModelError(
                f"{self.model.where} gives {name} {list(part.shape)} for {around[0]}×{around[1]} pixels: its card "
                "says otherwise. Export the model again."
            )
        if rows[0] == slice(0, height) and columns[0] == slice(0, width):
            whole[name] = part
            return
        if name not in whole:
            sides = (_padded(length, stride) // step for length in (height, width))
            whole[name] = np.empty((*sides, *part.shape[2:]), part.dtype)
        target = (
            (rows[0], columns[0])
            if name == "images"
            else tuple(self._steps(span[0], step) for span in (rows, columns))
        )
        inside = whole[name][target]
        top, left = ((inner.start - outer.start) // step for inner, outer in (rows, columns))
        inside[:] = part[top : top + inside.shape[0], left : left + inside.shape[1]]

    def _steps(self, pixels: slice, step: int) -> slice:
        """The values of a span of pixels; at the image's edge with those of its padding."""
        return slice(pixels.start // step, _padded(pixels.stop, self.stride) // step)


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


def _tiles(height: int, width: int, tile: int, margin: int | None, axis: int) -> Iterator[tuple[slice, slice]]:
    """Along one axis: the pixels of each tile, and those with ``margin`` more on both sides; None: one tile."""
    length = (height, width)[axis]
    if margin is None or margin >= length or height * width <= 2 * tile * tile:
        tile, margin = length, 0
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        yield slice(start, stop), slice(max(0, start - margin), min(length, stop + margin))


def _padded(length: int, stride: int) -> int:
    return -(-length // stride) * stride
