"""Several processes train as one: the same losses and weights, and a clear end when one is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.errors import UsageError
from codec_zoo.training import loop
from codec_zoo.training.workers import Workers

PRESET = "report2017-cnn-ae"
NOISY = "jia2019-sae-mse-base"  # noise on latents, a rate, a hyperprior


@pytest.fixture
def options(tmp_path, kodak_paths):
    """A short training, of batches that two workers cannot halve."""
    for i, path in enumerate(kodak_paths[:4]):
        target = tmp_path / "pictures" / ("val" if i == 3 else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).crop((0, 0, 192, 192)).save(target)
    values = {"--data": tmp_path / "pictures", "--logs": tmp_path / "logs", "--batch-size": 3, "--patch-size": 64}
    values |= {"--learning-rate": 1e-3, "--clip-norm": 1.0, "--evaluate-every": 4}
    return [str(word) for pair in values.items() for word in pair]


def start(options, preset=PRESET, seeds=(0, 0), variable=False):
    """The workers' processes, told by options or by TF_CONFIG."""
    sockets = [socket.socket() for _ in seeds]
    for listener in sockets:
        listener.bind(("localhost", 0))
    addresses = [f"localhost:{listener.getsockname()[1]}" for listener in sockets]
    for listener in sockets:
        listener.close()
    processes = []
    for index, seed in enumerate(seeds):
        command = [Path(sys.executable).with_name("codec-zoo"), "train", preset, *options, "--seed", str(seed)]
        # A proxy that does not answer: workers on this machine are reached without it.
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "http_proxy": "http://localhost:1"}
        if variable:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
        else:
            command += ["--cluster", ",".join(addresses), "--cluster-index", str(index)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **pipes))
    return processes


def finish(processes):
    """Exit code, stdout and stderr of each."""
    try:
        results = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any("Traceback" in out + err for out, err, _ in results), results
    return [(code, out, err) for out, err, code in results]


def training_loss(run):
    """The loss of each line of the training curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


def variables(run):
    with np.load(run / loop.CHECKPOINT) as stored:
        return {name: stored[name] for name in stored.files if name != "progress"}


def check_equal(run, other):
    """Losses, held-out scores and all variables, up to the order of float32 sums."""
    np.testing.assert_allclose(training_loss(run), training_loss(other), rtol=1e-4)
    curves = [json.loads((folder / loop.RECORD).read_text())["curve"] for folder in (run, other)]
    assert [point["step"] for point in curves[0]] == [point["step"] for point in curves[1]]
    for ours, theirs in zip(*curves, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    check_variables(run, other)


def check_variables(run, other):
    theirs = variables(other)
    for name, value in variables(run).items():
        difference = np.abs(value.astype(np.float64) - theirs[name].astype(np.float64))
        assert np.mean(difference) <= 1e-3 * max(np.mean(np.abs(theirs[name].astype(np.float64))), 1e-3), name


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_cover_the_batch(count):
    shares = []
    for index in range(count):
        workers = Workers()
        workers.index, workers.count = index, count
        shares.append(np.arange(8)[workers.share(8)])
    assert np.concatenate(shares).tolist() == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_mistakes(monkeypatch):
    from codec_zoo.cli.distributed import find_workers

    workers = Workers()
    workers.count = 4
    with pytest.raises(UsageError, match="--batch-size"):
        workers.share(3)
    for arguments, words in [
        (("a:1,b", 0), "HOST:PORT"),
        (("a:1,b:x", 0), "HOST:PORT"),
        (("a:1,a:1", 0), "address of its own"),
        (("a:1,b:2", 2), "0 … 1"),
        (("a:1,b:2", None), "--cluster-index"),
        ((None, 1), "give both"),
    ]:
        with pytest.raises(UsageError, match=words):
            find_workers(*arguments)
    assert find_workers("a:1, b:2", 1) == (["a:1", "b:2"], 1) and find_workers("a:1", 0) is None
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_workers(None, None) is None
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    for text, expected in [
        ({"cluster": cluster, "task": {"type": "worker", "index": 1}}, (["a:1", "b:2", "c:3"], 2)),
        ({"cluster": cluster, "task": {"type": "chief", "index": 0}}, (["a:1", "b:2", "c:3"], 0)),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, None),
    ]:
        monkeypatch.setenv("TF_CONFIG", json.dumps(text))
        assert find_workers(None, None) == expected
    for text in ["{", "[]", json.dumps({"cluster": cluster, "task": {"type": "ps", "index": 0}})]:
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(UsageError, match="TF_CONFIG"):
            find_workers(None, None)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [PRESET, NOISY])
def test_two_processes_train_as_one(options, tmp_path, preset):
    logs = tmp_path / "logs" / preset
    options += ["--steps", "8", "--run"]
    processes = [*start([*options, "two"], preset), *start([*options, "one"], preset, seeds=(0,))]
    (code, out, err), (other, other_out, other_err), (alone, _, alone_err) = finish(processes)
    assert (code, other, alone) == (0, 0, 0), err + other_err + alone_err
    assert "done: step 8" in out and "worker 0 has the run" in other_out and "held-out" not in other_out
    assert sorted(path.name for path in logs.iterdir()) == ["one", "two"]
    check_equal(logs / "two", logs / "one")
    records = [json.loads((logs / name / loop.RECORD).read_text()) for name in ("two", "one")]
    assert [record["workers"] for record in records] == [2, 1]


@pytest.mark.slow
def test_workers_with_other_options(options):
    """The seed of worker 1 differs: it says so, worker 0 that it lost it."""
    (first, _, first_err), (second, _, second_err) = finish(start([*options, "--steps", "4"], seeds=(0, 1)))
    assert second == 2 and "another preset, recipe, data or seed" in second_err
    assert first == 1 and "lost the others" in first_err


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_lost_worker_ends_the_others_and_resume_goes_on(options, tmp_path, killed):
    """To the last bit of the variables that two workers have whom nobody stopped."""
    run, whole = (tmp_path / "logs" / PRESET / name for name in ("two", "whole"))
    assert all(code == 0 for code, _, _ in finish(start([*options, "--steps", "4", "--run", "two"], variable=True)))
    long = start([*options, "--steps", "100000", "--run", "two", "--resume"])
    while "held-out" not in (line := long[0].stdout.readline()):
        assert line, finish(long)
    long[killed].send_signal(signal.SIGKILL)
    started = time.monotonic()
    code, _, err = finish(long)[1 - killed]
    print(f"the other ended after {time.monotonic() - started:.1f} s: {err.splitlines()[-1]}")
    assert code == 1 and "lost the others" in err and "--resume" in err

    with np.load(run / loop.CHECKPOINT) as stored:
        steps = json.loads(stored["progress"].tobytes())["step"] + 8
    words = [*options, "--steps", str(steps), "--run"]
    assert all(code == 0 for code, _, _ in finish(start([*words, "two", "--resume"])))
    assert all(code == 0 for code, _, _ in finish(start([*words, "whole"])))
    expected = variables(whole)
    for name, value in variables(run).items():
        assert np.array_equal(value, expected[name]), name
