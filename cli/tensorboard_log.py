"""TensorBoard event files of a training run, written without TensorFlow."""

import functools
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

# Edges of a histogram's bins, 10 % apart.
_POSITIVE = 1e-12 * 1.1 ** np.arange(774)
_EDGES = np.concatenate([-_POSITIVE[::-1], [0], _POSITIVE])


class TensorBoardLog:
    """A :class:`codec_zoo.training.loop.Logger` that writes to ``folder``.

    Where it cannot write, it says so once, and training goes on: a run needs its checkpoints, not its curves. What
    comes later is written again as soon as there is room.
    """

    def __init__(self, folder: Path):
        """Nothing is written before the first event: a run that is refused leaves no folder."""
        self._folder = folder
        self._failed = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        for name, value in values.items():
            self._write(self._path, summary.scalar(name, value), step)

    def picture(self, step: int, name: str, original: np.ndarray, reconstruction: np.ndarray) -> None:
        """Add a reconstruction (right) beside its original (left)."""
        pair = np.concatenate([original, reconstruction], axis=1)
        self._write(self._path, summary.image(name, pair, dataformats="HWC"), step)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Add a distribution."""
        self._write(self._path, summary.histogram(name, values, _EDGES), step)

    def hparams(self, parameters: Mapping[str, Any], results: Mapping[str, float]) -> None:
        """Add the run's settings and final scores to the HPARAMS tab."""
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in parameters.items()}
        scores = {f"hparam/{name}": value for name, value in results.items()}
        points = [summary.scalar(name, value) for name, value in scores.items()]
        for value in (*summary.hparams(plain, scores), *points):
            self._write(self._folder / "hparams" / self._path.name, value, 0)

    @functools.cached_property
    def _path(self) -> Path:
        """The file of this sitting; a resumed run adds another."""
        return self._folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"

    def _write(self, path: Path, value: Any, step: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as file:
                size = file.tell()
                try:
                    if not size:
                        _write_record(file, Event(wall_time=time.time(), file_version="brain.Event:2"))
                    _write_record(file, Event(wall_time=time.time(), step=step, summary=value))
                except OSError:
                    file.truncate(size)  # behind half a record, TensorBoard would read no further
                    raise
        except OSError as error:
            if not self._failed:
                text = f"curves and pictures cannot be written to {path}: {error.strerror}. Training goes on without."
                print(f"note: {text}", file=sys.stderr, flush=True)
            self._failed = True


def _write_record(file: Any, event: Event) -> None:
    """Append an event in TFRecord's frame: length and data, each with its checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    record = length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
    while record:
        record = record[file.write(record) :]
