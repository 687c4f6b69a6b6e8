"""Fine-tuning a narrow decoder to one image: changes of its weights, which travel in its file (report of 2017)."""

import numpy as np

from codec_zoo.codecs.blocks import Blocks
from codec_zoo.errors import BitstreamError

# Steps, on so many of an image's blocks, each with the best of some dampings.
STEPS, BLOCKS, DAMPINGS = 2, 64, (1e-3, 1e-2, 1e-1, 1e0)
# The largest change of a weight that a file may hold.
MAX_CHANGE = 1000.0
# A weight's change that its effect is measured by, and how many blocks' effects are in memory at once.
NUDGE, BATCH = 1e-2, 32


class FineTuning:
    """Finds changes of weights by Levenberg and Marquardt's method.

    Pixels are taken as linear in the weights, as they are in each of them alone between the kinks of ReLUs.

    Args:
        blocks: run the model.
        signature: of the decoder with changed weights.
        names: of its inputs: the latents, the changes.
        count: of weights.
    """

    def __init__(self, blocks: Blocks, signature: str, names: tuple[str, str], count: int):
        self.blocks, self.signature, self.names, self.count = blocks, signature, names, count

    def find(self, latents: np.ndarray, image: np.ndarray) -> bytes | None:
        """What to add to the weights for this image (§4.1, Fig. 8): a payload, or None if nothing is gained.

        Args:
            latents: ``uint8 [h, w, C]``, of all blocks side by side.
            image: ``uint8 [H, W, 3]``, the truth.
        """
        rows = self.blocks.count(image.shape[0])
        apart = self.blocks.apart(latents, rows)
        chosen = np.unique(np.linspace(0, len(apart) - 1, BLOCKS).round().astype(int))
        known, truth = apart[chosen], np.concatenate([self.blocks.cut(image, i, i + 1) for i in chosen])

        def error(payload: bytes) -> float:
            """Mean squared error of the chosen blocks."""
            decoded = np.clip(np.rint(self._run(known, read_weights(payload, self.count))), 0, 255).astype(np.uint8)
            return float(np.mean(np.square(decoded.astype(np.float32) - truth)))

        best = np.zeros(self.count, np.float32)
        for _ in range(STEPS):
            squares, products = self._normal_equations(known, truth, best)
            diagonal = np.diag(np.diag(squares) + 1e-6 * np.trace(squares) / self.count + 1e-12)
            steps = [np.linalg.solve(squares + damping * diagonal, products) for damping in DAMPINGS]
            changed = [np.clip(best + step, -MAX_CHANGE, MAX_CHANGE).astype(np.float32) for step in steps]
            best = min([best, *changed], key=lambda change: error(write_weights(change)))
        payload = write_weights(best)
        without = write_weights(np.zeros(self.count, np.float32))
        gained = self._error_of_all(latents, image, payload) < self._error_of_all(latents, image, without)
        return payload if gained else None

    def _error_of_all(self, latents: np.ndarray, image: np.ndarray, payload: bytes) -> int:
        """Squared error of all blocks."""
        name, changes = self.names
        given = {changes: read_weights(payload, self.count)}
        total, start = 0, 0
        rows = self.blocks.count(image.shape[0])
        for decoded in self.blocks.decode(self.signature, {name: latents}, rows, **given):
            truth = self.blocks.cut(image, start, start + len(decoded))
            total += int(np.square(decoded.astype(np.int32) - truth).sum(dtype=np.int64))
            start += len(decoded)
        return total

    def _run(self, latents: np.ndarray, change: np.ndarray) -> np.ndarray:
        name, changes = self.names
        return self.blocks.model.run(self.signature, **{name: latents, changes: change})["pictures"]

    def _normal_equations(
        self, latents: np.ndarray, truth: np.ndarray, change: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of pixels by weights at ``change``: JᵀJ ``[weights, weights]`` and Jᵀ(truth − decoded), float64."""
        squares, products = np.zeros((len(change), len(change))), np.zeros(len(change))
        for start in range(0, len(truth), BATCH):
            part = latents[start : start + BATCH]
            decoded = self._run(part, change)
            effects = np.empty((len(change), decoded.size), np.float32)
            for i, effect in enumerate(effects):
                nudged = change.copy()
                nudged[i] += NUDGE
                effect[:] = (self._run(part, nudged) - decoded).ravel() / NUDGE
            squares += effects @ effects.T
            products += effects @ (truth[start : start + BATCH] - decoded).ravel()
        return squares, products


def write_weights(change: np.ndarray) -> bytes:
    """The payload of a layer of weights: their unit, float32, and a signed byte for each."""
    unit = np.float32(max(float(np.abs(change).max()), 1e-12) / 127)
    return np.array(unit, ">f4").tobytes() + np.rint(change / unit).astype(np.int8).tobytes()


def read_weights(payload: bytes, count: int) -> np.ndarray:
    """What a layer of weights adds: float32 ``[count]``.

    Raises:
        BitstreamError: it is damaged.
    """
    unit = np.frombuffer(payload[:4].ljust(4, b"\0"), ">f4")[0]
    if len(payload) != 4 + count or not 0 < unit <= np.float32(MAX_CHANGE / 127):
        raise BitstreamError(f"the layer of weights is damaged: {len(payload)} bytes, of unit {unit:g}.")
    return (np.frombuffer(payload[4:], np.int8) * unit).astype(np.float32)
