"""TensorBoard reads what is written, and a full disk costs curves, not the training."""

import resource

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from codec_zoo.cli.tensorboard_log import TensorBoardLog


@pytest.fixture
def limit():
    """Set a limit on the size of files, which stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield set_limit
    set_limit(None)


def read(folder):
    """Step and name of all that TensorBoard finds."""
    [path] = folder.glob("events.out.tfevents.*")
    return [(event.step, event.summary.value[0].tag) for event in EventFileLoader(str(path)).Load() if event.step]


def test_it_can_be_read(tmp_path, noise):
    log = TensorBoardLog(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    log.scalars(1, {"loss": 0.5, "psnr": 30})
    log.picture(2, "held_out/0", noise(8, 8), noise(8, 8))
    log.histogram(3, "latents/y", np.array([-3, 0, 0, 1e-3, 7]))
    log.hparams({"steps": 3, "schedule": "cosine", "clip_norm": None}, {"loss": 0.5})
    assert read(tmp_path / "run") == [(1, "loss"), (1, "psnr"), (2, "held_out/0"), (3, "latents/y")]
    [path] = (tmp_path / "run" / "hparams").iterdir()
    tags = [event.summary.value[0].tag for event in EventFileLoader(str(path)).Load() if event.summary.value]
    assert tags[:3] == [f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info")]
    assert tags[3:] == ["hparam/loss"]


def test_a_full_disk_is_said_once(tmp_path, noise, limit, capsys):
    log = TensorBoardLog(tmp_path)
    log.scalars(1, {"loss": 0.5})
    [path] = tmp_path.iterdir()
    limit(path.stat().st_size + 20)
    log.picture(2, "held_out/0", noise(64, 64), noise(64, 64))
    log.scalars(3, {"loss": 0.4})
    limit(None)
    log.scalars(4, {"loss": 0.3})
    assert read(tmp_path) == [(1, "loss"), (4, "loss")]
    notes = capsys.readouterr().err
    assert notes.count("note: ") == 1 and "File too large. Training goes on without." in notes
