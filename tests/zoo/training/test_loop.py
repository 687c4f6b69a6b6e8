"""Training: learns, survives kill -9, resumes to the same result, refuses what does not fit."""

import dataclasses
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from codec_zoo import weights
from codec_zoo.codecs.image_files import PatchSampler
from codec_zoo.errors import CodecZooError, ModelError, UsageError
from codec_zoo.interrupts import exit_status
from codec_zoo.presets import Recipe, get_preset
from codec_zoo.training import loop

TINY = dataclasses.replace(
    get_preset("fu2019-hybrid-s8-relu"), config={"widths": (8, 8, 8), "activation": "relu", "dropout": 0.1}
)
RECIPE = Recipe(patch_size=32, batch_size=2, steps=12, learning_rate=1e-3, schedule="cosine", warmup_steps=2)


def pictures(count=3):
    random = np.random.default_rng(3)
    return [np.kron(random.integers(0, 256, (6, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(count)]


def batches(start):
    sampler = PatchSampler(pictures(), RECIPE.patch_size, RECIPE.batch_size)
    step = start
    while True:
        yield sampler.batch(step)
        step += 1


def run(folder, recipe=RECIPE, **options):
    return loop.train(TINY, recipe, batches, pictures(1), folder, data="made", evaluate_every=6, **options)


def variables(folder):
    with np.load(folder / loop.CHECKPOINT) as stored:
        return {name: stored[name] for name in stored.files if name != "progress"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of all steps, without a break; to read, or to copy."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(whole, tmp_path / "copied"))


def test_it_learns(tmp_path):
    recipe = dataclasses.replace(RECIPE, steps=240, learning_rate=3e-3, clip_norm=0.1)
    progress = run(tmp_path, recipe)
    assert progress.curve[-1]["psnr"] > progress.curve[0]["psnr"] + 1
    record = json.loads((tmp_path / loop.RECORD).read_text())
    assert record["preset"] == TINY.name and record["step"] == 240 and record["seconds"] > 0
    assert {"device", "backend", "data", "recipe", "commit"} <= record.keys()


@pytest.fixture
def complaints(monkeypatch):
    """What Python says of errors in the clean-up after an error."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    return found


@pytest.mark.parametrize(("size", "file"), [("16k", "best.weights.h5"), ("200k", "checkpoint.npz")])
def test_a_full_disk_is_one_error(tmp_path, complaints, capfd, size, file):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        with pytest.raises(CodecZooError, match=f"cannot write .*{file}: No space left"):
            run(folder / "run")
        gc.collect()
        assert not complaints and capfd.readouterr().err == ""
        assert not list((folder / "run").glob(".*"))
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_checkpoint_that_cannot_be_written(tmp_path, complaints):
    """A limit on the size of files stands for a full disk. The checkpoint before stays."""
    model = TINY.create()
    model.initialize(next(batches(0)))
    loop.save_checkpoint(tmp_path / "a.npz", model, [], loop.Progress())
    before = (tmp_path / "a.npz").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CodecZooError, match=r"cannot write .*a\.npz: File too large"):
            loop.save_checkpoint(tmp_path / "a.npz", model, [], loop.Progress(step=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert not complaints
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"] and (tmp_path / "a.npz").read_bytes() == before


def test_the_weight_of_the_rate_rises_to_its_own():
    recipe = dataclasses.replace(RECIPE, steps=100, rate_rise=16.0)
    assert [recipe.rate_share(step) for step in (0, 10, 20, 40, 99)] == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1, 1])
    assert dataclasses.replace(RECIPE, steps=100).rate_share(0) == 1.0


def test_a_rate_that_rises_is_in_the_loss(tmp_path):
    """Latents that cost nearly nothing at the start: the loss is lower by what they cost."""
    preset = get_preset("jia2019-sae-mse-base")
    layer = {"channels": 4, "latent_channels": 4, "hyper_channels": 4}
    preset = dataclasses.replace(preset, config={"layers": [layer], "rate_weights": [3000.0]})
    first: dict[float, float] = {}
    for rise in (1.0, 1e6):
        recipe = Recipe(patch_size=64, batch_size=2, steps=1, learning_rate=1e-6, rate_rise=rise)
        patches = PatchSampler(pictures(), 64, 2).batch(0)
        loop.train(
            preset,
            recipe,
            lambda start, patches=patches: iter([patches] * 40),
            pictures(1),
            tmp_path / str(rise),
            data="made",
            log_every=1,
            report=lambda step, values, rise=rise: first.setdefault(rise, values.get("loss", 0.0)),
        )
    assert first[1.0] > first[1e6] + 1


def test_a_rate_cannot_rise_where_there_is_none(tmp_path):
    with pytest.raises(UsageError, match="rate"):
        run(tmp_path, dataclasses.replace(RECIPE, rate_rise=10.0))


def test_records_name_published_weights_as_any_machine_has_them(tmp_path):
    assert loop._as_others_see(weights.FOLDER / "a.weights.h5") == "zoo/pretrained/a.weights.h5"
    assert loop._as_others_see(tmp_path / "a.weights.h5") == str(tmp_path / "a.weights.h5")


_ON_JAX = """
import keras
import numpy as np
from codec_zoo.training import loop
from codec_zoo.training.jax_steps import JaxSteps
from codec_zoo.models.fu2019 import HybridAutoencoder
from codec_zoo.models.jia2019 import ScalableAutoencoder
from codec_zoo.presets import Recipe
from codec_zoo.training.optimizers import make_optimizer
from codec_zoo.training.recorder import Recorder

recipe = Recipe(64, 2, 10, 1e-3, optimizer="muon", schedule="cosine", warmup_steps=2, clip_norm=1.0)
for make in (
    lambda: HybridAutoencoder((8, 8, 8), "relu", dropout=0.1),
    lambda: ScalableAutoencoder([{"channels": 8, "latent_channels": 4, "hyper_channels": 4}], rate_weights=[300.0]),
):
    states = []
    for queued in (False, True):
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(optimizer=make_optimizer(recipe), jit_compile=True)
        model.optimizer.build(model.trainable_variables)
        if queued:
            model.recorder = Recorder(model.recorded, model.optimizer)
        learner = JaxSteps(model, model.recorder) if queued else model
        random = np.random.default_rng(0)
        batches = [random.integers(0, 256, (2, 64, 64, 3), np.uint8) for _ in range(3)]
        losses = [float(model.learn([learner], batch, step)["loss"]) for step, batch in enumerate(batches)]
        if queued:
            learner.write_back()
            means = model.recorder.take()
            assert means["optimizer/gradient_norm"] > 0 and 0 <= means["optimizer/clipped_steps"] <= 1
            if model.recorded:
                np.testing.assert_allclose(means["loss_distortion"] + means["loss_rate"], np.mean(losses), rtol=1e-5)
        states.append([losses, *(np.asarray(variable.value) for variable in loop._state(model, [model]))])
    assert int(model.optimizer.iterations) == 3
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
"""


@pytest.mark.slow
def test_queued_steps_on_jax_are_those_of_keras(jax_environment, tmp_path):
    """Losses, weights, random generators and optimizer behind three steps, queued and recorded, and one by one."""
    environment = {"PATH": os.environ["PATH"], "KERAS_BACKEND": "jax"}
    subprocess.run([jax_environment / "bin" / "python", "-c", _ON_JAX], check=True, env=environment, cwd=tmp_path)


@pytest.fixture
def ctrl_c():
    """A Ctrl-C for this process, with Python's own handler, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_the_average_of_the_weights_is_what_counts(tmp_path, ctrl_c, monkeypatch):
    """It is evaluated and kept; the run itself goes on with the weights, also behind a break."""
    recipe = dataclasses.replace(RECIPE, schedule="constant", warmup_steps=0, average=0.9)
    plain = run(tmp_path / "plain", dataclasses.replace(recipe, average=0.0))
    averaged = run(tmp_path / "whole", recipe)
    with np.load(tmp_path / "plain" / loop.CHECKPOINT) as one, np.load(tmp_path / "whole" / loop.CHECKPOINT) as other:
        count = len(TINY.create().variables)
        for i in range(count):
            np.testing.assert_allclose(one[f"v{i}"], other[f"v{i}"], rtol=1e-5, atol=1e-7)
    kept, last = TINY.create(), TINY.create()
    weights.load(kept, tmp_path / "whole" / loop.BEST)
    weights.load(last, tmp_path / "plain" / loop.BEST)
    differences = [np.abs(a.numpy() - b.numpy()).max() for a, b in zip(kept.variables, last.variables, strict=True)]
    assert max(differences) > 1e-3
    assert averaged.curve[-1]["loss"] != plain.curve[-1]["loss"]

    learn, calls = TINY.model.learn, iter(range(1, 100))

    def then_press(*arguments):
        result = learn(*arguments)
        if next(calls) == 8:
            ctrl_c()
        return result

    with monkeypatch.context() as patches:
        patches.setattr(TINY.model, "learn", then_press)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", recipe)
    run(tmp_path / "parts", recipe, resume=True)
    whole, parts = variables(tmp_path / "whole"), variables(tmp_path / "parts")
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("moment", ["step 8", "step 6", "evaluation"])
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(whole, tmp_path, monkeypatch, ctrl_c, moment):
    """In a step of which the weights have changed already, in one before an evaluation, and in that."""

    def then_press(function, when):
        calls = iter(range(1, 100))

        def wrapped(*arguments):
            result = function(*arguments)
            if next(calls) == when:
                ctrl_c()
            return result

        return wrapped

    with monkeypatch.context() as patches:
        if moment == "evaluation":
            patches.setattr(loop, "evaluate", then_press(loop.evaluate, 1))
        else:
            patches.setattr(TINY.model, "learn", then_press(TINY.model.learn, int(moment[-1])))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    progress = run(tmp_path / "parts", resume=True)
    assert progress.step == RECIPE.steps and [point["step"] for point in progress.curve] == [6, 12]
    expected, parts = variables(whole), variables(tmp_path / "parts")
    assert expected.keys() == parts.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(("number", "status", "saved"), [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, True)])
def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch, ctrl_c, number, status, saved):
    """SIGTERM is as Ctrl-C, but `timeout` sends it twice."""
    learn = TINY.model.learn

    def signalled_twice(self, learners, batch, step):
        if step == 5:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return learn(self, learners, batch, step)

    monkeypatch.setattr(TINY.model, "learn", signalled_twice)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as ended:
        run(tmp_path)
    assert exit_status(ended.value) == status and signal.getsignal(number) is before
    assert (tmp_path / loop.CHECKPOINT).exists() == saved


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path):
    folder = tmp_path / "run"
    wild = dataclasses.replace(RECIPE, steps=40, learning_rate=1e30, schedule="constant", warmup_steps=0)
    for every in (0.0, 60.0):  # seen when it is saved, and by its loss
        with pytest.raises(CodecZooError, match=r"training diverged\. Begin another run"):
            run(folder / str(every), wild, checkpoint_every_s=every, log_every=20)
    for file in folder.rglob(loop.CHECKPOINT):
        assert all(np.isfinite(value).all() for value in variables(file.parent).values())


def test_a_run_is_resumed_as_it_was_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "commit", lambda: "a-dirty")
    run(tmp_path / "run")
    monkeypatch.setattr(loop, "commit", lambda: "b")
    longer = dataclasses.replace(RECIPE, steps=14)
    for other, words in (
        ({"recipe": dataclasses.replace(longer, learning_rate=2e-3)}, "learning_rate 0.001, not 0.002"),
        ({"seed": 3}, "seed 0, not 3"),
    ):
        with pytest.raises(UsageError, match=words):
            run(tmp_path / "run", **{"recipe": longer, **other}, resume=True)
    assert json.loads((tmp_path / "run" / loop.RECORD).read_text())["step"] == 12
    assert run(tmp_path / "run", longer, resume=True).step == 14
    assert json.loads((tmp_path / "run" / loop.RECORD).read_text())["commit"] == "a-dirty, b"


def test_held_out_pictures_that_are_too_small_are_passed_over(tmp_path):
    preset = dataclasses.replace(
        get_preset("jia2019-sae-ms-ssim-base"),
        config={
            "layers": [{"channels": 4, "latent_channels": 4, "hyper_channels": 4}],
            "rate_weights": [50.0],
            "distortion": "ms_ssim",
        },
    )
    recipe = dataclasses.replace(RECIPE, patch_size=192, steps=1)
    sampler = PatchSampler(pictures(), recipe.patch_size, recipe.batch_size)
    large = np.kron(pictures(1)[0], np.ones((4, 4, 1), np.uint8))

    def train(recipe, held_out, folder):
        return loop.train(preset, recipe, lambda start: iter([sampler.batch(0)]), held_out, folder, data="made")

    assert len(train(recipe, [pictures(1)[0], large], tmp_path / "a").curve) == 1
    for wrong in ((recipe, pictures(1)), (dataclasses.replace(recipe, patch_size=128), [large])):
        with pytest.raises(UsageError, match="176 pixels"):
            train(*wrong, tmp_path / "b")


def test_a_resumed_run_remembers_what_it_started_from(copied, tmp_path, monkeypatch, ctrl_c):
    start = copied / "best.weights.h5"
    learn = TINY.model.learn

    def interrupted(self, learners, batch, step):
        if step == 7:
            ctrl_c()
        return learn(self, learners, batch, step)

    with monkeypatch.context() as patches, pytest.raises(KeyboardInterrupt):
        patches.setattr(TINY.model, "learn", interrupted)
        run(tmp_path / "next", initial_weights=start)
    first = json.loads((copied / "run.json").read_text())
    (copied / "run.json").unlink()
    run(tmp_path / "next", resume=True)
    record = json.loads((tmp_path / "next" / "run.json").read_text())
    assert record["initial_weights"] == str(start)
    (earlier,) = record["earlier"]
    assert earlier["seconds"] == first["seconds"] and earlier["step"] in (6, 12)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
import test_loop as t
from pathlib import Path
t.run(Path(sys.argv[1]), t.dataclasses.replace(t.RECIPE, steps=100_000), checkpoint_every_s=0.2)
"""


def test_kill_9_loses_nothing_but_the_last_moments(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parent)])
    checkpoint = folder / loop.CHECKPOINT
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with np.load(checkpoint) as stored:
        step = json.loads(stored["progress"].tobytes())["step"]
    assert step > 0
    progress = run(folder, dataclasses.replace(RECIPE, steps=step + 3), resume=True)
    assert progress.step == step + 3


def test_a_run_is_not_overwritten_by_mistake(whole):
    before = variables(whole)
    with pytest.raises(UsageError, match="already holds a run"):
        run(whole)
    assert all(np.array_equal(value, before[name]) for name, value in variables(whole).items())


def test_a_damaged_checkpoint_is_named(copied):
    (copied / loop.CHECKPOINT).write_bytes(b"PK damaged")
    with pytest.raises(CodecZooError, match="cannot resume"):
        run(copied, resume=True)


def test_patch_size_must_fit(tmp_path):
    with pytest.raises(UsageError, match="multiple of 8"):
        run(tmp_path, dataclasses.replace(RECIPE, patch_size=30))


def test_divergence_stops_the_run(tmp_path):
    with pytest.raises(CodecZooError, match="diverged"):
        run(tmp_path, dataclasses.replace(RECIPE, learning_rate=1e30, schedule="constant", warmup_steps=0))


def test_half_precision_weights_come_back(tmp_path):
    keras.utils.set_random_seed(2)
    model = TINY.create()
    path = tmp_path / "a.weights.h5"
    weights.save(model, path)
    again = TINY.create()
    weights.load(again, path)
    for a, b in zip(model.weights, again.weights, strict=True):
        a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        np.testing.assert_array_equal(a.astype(np.float16), b.astype(np.float16))
    assert path.stat().st_size < 2 * model.count_params() + 200_000


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    weights.save(TINY.create(), path)
    with pytest.raises(ModelError, match="cannot load"):
        weights.load(get_preset("fu2019-hybrid-s32-relu").create(), path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot load"):
        weights.load(TINY.create(), path)


def test_publish_needs_a_run(tmp_path):
    with pytest.raises(ModelError, match=r"run\.json"):
        weights.publish(tmp_path)


def test_index_matches_the_files():
    for record in weights.index().values():
        assert weights.hash_file(weights.FOLDER / record["file"]) == record["sha256"]
    assert sum(path.stat().st_size for path in weights.FOLDER.glob("*.h5")) <= 60e6
