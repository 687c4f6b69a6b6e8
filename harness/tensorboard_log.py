"""TensorBoard event files of a training run, written without TensorFlow."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter


class TensorBoardLog:
    """A :class:`codec_zoo.training.Logger` that writes to ``folder``."""

    def __init__(self, folder: Path):
        """Nothing is written before the first event: a run that is refused leaves no folder."""
        self._folder = folder

    @functools.cached_property
    def _writer(self) -> SummaryWriter:
        """``folder``, open for more events; a resumed run adds a file."""
        return SummaryWriter(str(self._folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, original: np.ndarray, reconstruction: np.ndarray) -> None:
        """Add a reconstruction (right) beside its original (left)."""
        pair = np.concatenate([original, reconstruction], axis=1)
        self._writer.add_image(name, pair, step, dataformats="HWC")

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Add a distribution."""
        self._writer.add_histogram(name, values, step)

    def hparams(self, parameters: Mapping[str, Any], results: Mapping[str, float]) -> None:
        """Add the run's settings and final scores to the HPARAMS tab."""
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in parameters.items()}
        scores = {f"hparam/{name}": value for name, value in results.items()}
        self._writer.add_hparams(plain, scores, name="hparams")
        self._writer.flush()
