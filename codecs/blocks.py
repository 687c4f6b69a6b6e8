"""Images through an exported model in blocks, each for itself (report of 2017, §4).

The latents of all blocks lie side by side, as if they were those of one image.
"""

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping

import numpy as np

from codec_zoo.export.runtime import ExportedModel

# Blocks that go through the model at once.
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Runs the signatures of a model on images of any size.

    Attributes:
        model: exported.
        side: of a block, pixels.
        overlap: by how many pixels neighbouring blocks overlap; they are blended there.
    """

    model: ExportedModel
    side: int
    overlap: int = 0

    def analyse(
        self,
        signature: str,
        image: np.ndarray,
        wanted: Container[str],
        lower: Mapping[str, np.ndarray],
        **same: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Latents of an image ``uint8 [H, W, 3]``; see ``codec_zoo.codecs.tiling.Tiles.analyse``."""
        rows = self.count(image.shape[0])
        given = {name: self.apart(latent, rows) for name, latent in lower.items()}
        parts: dict[str, list[np.ndarray]] = {}
        for start in range(0, rows * self.count(image.shape[1]), BATCH):
            blocks = self.cut(image, start, start + BATCH)
            lower_part = {name: values[start : start + BATCH] for name, values in given.items()}
            repeated = {name: np.repeat(value, len(blocks), axis=0) for name, value in same.items()}
            for name, values in self.model.run(signature, images=blocks, **lower_part, **repeated).items():
                if name in wanted:
                    parts.setdefault(name, []).append(values)
        return {name: side_by_side(np.concatenate(values), rows) for name, values in parts.items()}

    def show(
        self, signature: str, latents: Mapping[str, np.ndarray], height: int, width: int, **same: np.ndarray
    ) -> np.ndarray:
        """The image of latents: ``uint8 [H, W, 3]``."""
        rows = self.count(height)
        return self.blend(self.decode(signature, latents, rows, **same), height, width)

    def decode(
        self, signature: str, latents: Mapping[str, np.ndarray], rows: int, **same: np.ndarray
    ) -> Iterator[np.ndarray]:
        """The blocks of latents, ``uint8 [n, side, side, 3]``, in batches."""
        given = {name: self.apart(latent, rows) for name, latent in latents.items()}
        for start in range(0, len(next(iter(given.values()))), BATCH):
            part = {name: values[start : start + BATCH] for name, values in given.items()}
            count = len(next(iter(part.values())))
            if "size" in self.model.card["signatures"][signature]:
                part["size"] = np.full((count, 2), self.side, np.int32)
            outputs = self.model.run(signature, **part, **same)
            yield outputs["images"] if "images" in outputs else to_pixels(outputs["pictures"])

    def count(self, length: int) -> int:
        """How many blocks cover a side."""
        return max(1, -(-(length - self.overlap) // (self.side - self.overlap)))

    def cut(self, image: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Blocks of an image, row by row; the last row and column are repeated to fill them.

        Args:
            image: ``uint8 [H, W, C]``.
            start: number of the first block.
            stop: behind the last.

        Returns:
            ``uint8 [blocks, side, side, C]``.
        """
        step = self.side - self.overlap
        rows, columns = (self.count(length) for length in image.shape[:2])
        stop = min(rows * columns, rows * columns if stop is None else stop)
        first, last = start // columns, (stop - 1) // columns
        strip = image[first * step : last * step + self.side]
        missing = (last - first) * step + self.side - len(strip), columns * step + self.overlap - image.shape[1]
        padded = np.pad(strip, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        shape = (self.side, self.side, image.shape[2])
        windows = np.lib.stride_tricks.sliding_window_view(padded, shape)[::step, ::step]
        return windows.reshape(-1, *shape)[start - first * columns : stop - first * columns]

    def blend(self, batches: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
        """Inverse of :meth:`cut`, of blocks in batches: ``uint8 [height, width, C]``; overlapping ones fade."""
        side, step = self.side, self.side - self.overlap
        rows, columns = self.count(height), self.count(width)
        fade = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1))
        fade = np.minimum(fade, self.overlap + 1).astype(np.float32)
        weight = fade[:, None, None] * fade[None, :, None]
        across = np.zeros((columns * step + self.overlap, 1), np.float32)
        for column in range(columns):
            across[column * step : column * step + side, 0] += fade
        blocks = (block for batch in batches for block in batch)
        first = next(blocks)
        image = np.empty((height, width, first.shape[2]), np.uint8)
        # Sums of a row of blocks: all are integers below 2^24, exact in whatever order they are added.
        total, down = np.zeros((side, len(across), first.shape[2]), np.float32), np.zeros(side, np.float32)
        for row in range(rows):
            for column in range(columns):
                block = first if row == column == 0 else next(blocks)
                total[:, column * step : column * step + side] += weight * block
            down += fade
            done = side if row == rows - 1 else step
            top = row * step
            shown = total[:done, :width] / (down[:done, None, None] * across[:width])
            image[top : top + done] = np.rint(shown[: height - top])
            total[: side - step], down[: side - step] = total[step:].copy(), down[step:].copy()
            total[side - step :], down[side - step :] = 0, 0
        return image

    def apart(self, latent: np.ndarray, rows: int) -> np.ndarray:
        """Inverse of :func:`side_by_side`, for so many rows of blocks."""
        height, width, channels = latent.shape
        side = height // rows
        grid = latent.reshape(rows, side, width // side, side, channels).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grid.reshape(-1, side, side, channels))


def side_by_side(latents: np.ndarray, rows: int) -> np.ndarray:
    """Latents of blocks ``[n, h, h, C]`` in rows of blocks: ``[rows · h, columns · h, C]``."""
    count, side, _, channels = latents.shape
    grid = latents.reshape(rows, count // rows, side, side, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * side, -1, channels)


def to_pixels(pictures: np.ndarray) -> np.ndarray:
    """Float, about 0 … 255 → ``uint8``."""
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)
