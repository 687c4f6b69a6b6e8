"""TensorBoard event files of a training run, written without TensorFlow."""

import functools
import json
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from codec_zoo.cli.side_by_side import side_by_side
from codec_zoo.metrics import EvaluatedImage

# Edges of a histogram's bins, 10 % apart.
_POSITIVE = 1e-12 * 1.1 ** np.arange(774)
_EDGES = np.concatenate([-_POSITIVE[::-1], [0], _POSITIVE])


class TensorBoardLog:
    """A :class:`codec_zoo.training.loop.Logger` that writes to ``folder``.

    Where it cannot write, it says so once, and training goes on: a run needs its checkpoints, not its curves. What
    comes later is written again as soon as there is room.

    Nothing is written before the first event: a run that is refused leaves no folder.

    Args:
        folder: of the run.
        command: that started it, for the TEXT tab.
    """

    def __init__(self, folder: Path, command: str = ""):
        self._folder = folder
        self._command = command
        self._parameters: dict[str, Any] = {}
        self._failed = False

    def begin(self, step: int, record: Mapping[str, Any]) -> None:
        """Add the run to the tabs TEXT and HPARAMS."""
        recipe = {name: value for name, value in record["recipe"].items() if name != "note"}
        started_from = record["initial_weights"] or "fresh weights"
        self._parameters = {
            "preset": record["preset"],
            **{name: value for name, value in recipe.items() if value is not None},
            "seed": record["seed"],
            "started_from": started_from,
        }
        # Without the first part, TensorBoard finds the settings that differ between runs, and shows them first.
        _, start, _ = summary.hparams(self._parameters, {})
        for value in (start, summary.text("run", self._describe(record))):
            self._write(value, step)

    def _describe(self, record: Mapping[str, Any]) -> str:
        """The record of a run as a table in Markdown."""
        told = {"command": f"`{self._command}`"} if self._command else {}
        recipe = record["recipe"]
        rows = {
            **told,
            **{name: value for name, value in record.items() if name not in ("recipe", "earlier")},
            **{f"recipe: {name}": value for name, value in recipe.items()},
        }
        lines = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *lines])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        for name, value in values.items():
            self._write(summary.scalar(name, value), step)

    def picture(self, step: int, name: str, result: EvaluatedImage, scores: Mapping[str, float]) -> None:
        """Add the middle of a reconstruction (right) beside its original (left), with rate and PSNR."""
        pair = side_by_side(result.original, result.reconstruction, scores)
        self._write(summary.image(name, pair, dataformats="HWC"), step)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Add a distribution."""
        self._write(summary.histogram(name, values, _EDGES), step)

    def rate_distortion(self, step: int, curve: Sequence[Mapping[str, float]]) -> None:
        """Add a picture of the rate–distortion plane; nothing where Matplotlib or a codec's package is missing."""
        try:
            from codec_zoo.cli.rate_distortion_plane import draw
        except ModuleNotFoundError:
            return
        self._write(summary.image("held_out/rate_distortion", draw(curve), dataformats="HWC"), step)

    def end(self) -> None:
        """Mark the run as done in the HPARAMS tab."""
        *_, end = summary.hparams(self._parameters, {})
        self._write(end, 0)

    @functools.cached_property
    def _path(self) -> Path:
        """The file of this sitting; a resumed run adds another."""
        return self._folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"

    def _write(self, value: Any, step: int) -> None:
        path = self._path
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


def _cell(value: Any) -> str:
    """A value in a row of a table in Markdown."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _write_record(file: Any, event: Event) -> None:
    """Append an event in TFRecord's frame: length and data, each with its checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    record = length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
    while record:
        record = record[file.write(record) :]
