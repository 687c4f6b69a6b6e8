"""Published weights: rounded, compressed, without what a stack shares with the one below it."""

import dataclasses
import itertools
import json

import h5py
import keras
import numpy as np
import pytest

from codec_zoo import presets, weights
from codec_zoo.contract import CompressionModel
from codec_zoo.errors import ModelError, UsageError
from codec_zoo.presets import Recipe, get_preset
from codec_zoo.training import loop

STACK = [f"jia2019-sae-mse-{name}" for name in ("base", "e1", "e2")]


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """An empty folder of published weights, for small models of the same kind."""
    layer = {"channels": 20, "latent_channels": 20, "hyper_channels": 20}
    for count, name in enumerate(STACK, 1):
        config = {"layers": [layer] * count, "rate_weights": [100.0] * count}
        small = dataclasses.replace(get_preset(name), config=config)
        monkeypatch.setitem(presets._PRESETS, name, small)
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(weights, "FOLDER", folder)
    monkeypatch.setattr(loop, "commit", lambda: "0123456789ab")  # whatever is changed in this checkout
    return folder


def publish(tmp_path, name, model, below=None):
    """Publish a model as the run of a preset."""
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    weights.save(model, run / "best.weights.h5")
    record = dict.fromkeys(weights.RUN) | {"preset": name, "curve": [{"step": 1, "loss": 1.0}], "seconds": 1.0}
    (run / "run.json").write_text(json.dumps(record))
    assert weights.publish(run, below) == name


def values(model):
    return [keras.ops.convert_to_numpy(value) for value in model.weights]


def stack(tmp_path, seed=0):
    """Publish three layers, each on the one below; the models, as published."""
    keras.utils.set_random_seed(seed)
    models = []
    for name in STACK:
        model = get_preset(name).create()
        if models:
            model.load_lower_layers(models[-1])
        publish(tmp_path, name, model)
        models.append(weights.create(name))
    return models


def test_numbers_beyond_half_precision_are_kept(tmp_path):
    """Variances of a batch normalisation were: the published decoder gave noise."""
    model = CompressionModel()
    model.norm = keras.layers.BatchNormalization()
    model.norm.build((None, 8, 8, 3))
    model.built = True
    wide = np.array([1e-3, 1.0, 1e6], np.float32)
    model.norm.moving_variance.assign(wide)
    weights.save(model, tmp_path / "a.weights.h5")
    model.norm.moving_variance.assign(np.ones(3))
    weights.load(model, tmp_path / "a.weights.h5")
    assert np.array_equal(keras.ops.convert_to_numpy(model.norm.moving_variance), wide)


@pytest.mark.parametrize("name", ["balle2018-hyperprior-mse-3", "jiang2017-comcnn"])
def test_files_keep_the_groups_that_published_ones_have(tmp_path, name):
    """Whatever the attributes of the model are called today, what is saved comes back."""
    layout = {
        "balle2018-hyperprior-mse-3": ({"channels": 4, "latent_channels": 4, "hyper_channels": 4}, "transform_codec"),
        "jiang2017-comcnn": ({"branches": {"low": {"scale": 2, "qualities": (5,), "channels": 4}}}, "branch"),
    }
    config, group = layout[name]
    keras.utils.set_random_seed(0)
    model, again = (get_preset(name).model(**config) for _ in range(2))
    weights.save(model, tmp_path / "a.weights.h5")
    weights.load(again, tmp_path / "a.weights.h5")
    for ours, theirs in zip(values(model), values(again), strict=True):
        np.testing.assert_array_equal(ours.astype(np.float16), theirs.astype(np.float16))
    with h5py.File(tmp_path / "a.weights.h5") as file:
        assert any(list(file[top]) == [group] for top in ("codecs", "branches") if top in file)
    published = weights.weights_path(name)
    assert paths_of(tmp_path / "a.weights.h5") == paths_of(published)


def paths_of(file):
    """The names of all arrays in a file of weights."""
    found = set()
    with h5py.File(file) as opened:
        opened.visititems(lambda path, item: found.add(path) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize(
    ("name", "significant", "significant_analysis", "significant_hyper", "bytes_each"),
    [(STACK[0], 7, 6, 4, 1.17), ("report2017-cnn-ae", 7, 7, 7, 1.2), ("fu2019-hybrid-s8-relu", 5, 5, 5, 1.03)],
)
def test_large_arrays_keep_few_bits_and_small_ones_all_of_half_precision(
    zoo, tmp_path, name, significant, significant_analysis, significant_hyper, bytes_each
):
    """Seven in a synthesis, six in an analysis, four in hyper-transforms, five elsewhere."""
    keras.utils.set_random_seed(1)
    model = get_preset(name).create()
    publish(tmp_path, name, model)
    published = weights.create(name)
    for variable, before, after in zip(model.weights, values(model), values(published), strict=True):
        half = before.astype(np.float16).astype(np.float32)
        if before.size < weights.LARGE:
            np.testing.assert_array_equal(half, after)
        else:
            bits = {"analysis": significant_analysis}.get(variable.path.split("/")[0], significant)
            bits = significant_hyper if "hyper_" in variable.path else bits
            normal = np.abs(half) > 1e-4
            assert np.all(np.abs(after - half)[normal] <= np.abs(half)[normal] * 2.0**-bits)
            assert len(np.unique(np.frexp(after[normal])[0])) <= 2**bits
    assert (zoo / f"{name}.weights.h5").stat().st_size < bytes_each * model.count_params() + 100_000


def test_what_stands_on_lower_layers_holds_its_own_alone(zoo, tmp_path):
    models = stack(tmp_path)
    for lower, upper in itertools.pairwise(models):
        ours = values(upper)
        for mine, other in zip(ours[: len(lower.weights)], values(lower), strict=True):
            np.testing.assert_array_equal(mine, other)
    with h5py.File(zoo / f"{STACK[2]}.weights.h5") as file:
        assert file.attrs["stands_on"] == STACK[1]
        assert not list(file["codecs/transform_codec/analysis/layers/conv2d/vars"])
    own = models[2].count_params() - models[1].count_params()
    assert (zoo / f"{STACK[2]}.weights.h5").stat().st_size < 1.3 * own + 100_000


def test_new_weights_of_a_base_leave_those_above_as_they_were(zoo, tmp_path):
    before = [values(model) for model in stack(tmp_path)]
    keras.utils.set_random_seed(9)
    publish(tmp_path, STACK[0], get_preset(STACK[0]).create())
    after = [values(weights.create(name)) for name in STACK]
    assert any((a != b).any() for a, b in zip(before[0], after[0], strict=True))
    for old, new in zip(before[1:], after[1:], strict=True):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_goes_on_above_the_lower_layers_of_today(zoo, tmp_path):
    """A stack's own file may hold what was below it when it was trained."""
    stack(tmp_path)
    keras.utils.set_random_seed(9)
    publish(tmp_path, STACK[0], get_preset(STACK[0]).create())
    patches = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    loop.train(
        get_preset(STACK[1]),
        Recipe(patch_size=64, batch_size=1, steps=1, learning_rate=1e-9),
        lambda start: iter([patches] * 2),
        [patches[0]],
        tmp_path / "again",
        data="made",
        initial_weights=zoo / f"{STACK[1]}.weights.h5",
    )
    assert weights.publish(tmp_path / "again") == STACK[1]
    base, stacked = (values(weights.create(name)) for name in STACK[:2])
    for mine, other in zip(stacked[: len(base)], base, strict=True):
        np.testing.assert_array_equal(mine, other)
    with h5py.File(zoo / f"{STACK[1]}.weights.h5") as file:
        assert file.attrs["stands_on"] == STACK[0]


def test_weights_stand_on_those_of_another_architecture(zoo, tmp_path, monkeypatch):
    """What both have is left out, and the rest is the model's own."""
    config = {"channels": 8, "latent_channels": 8, "hyper_channels": 8}
    base, upper = "balle2018-hyperprior-mse-4", "minnen2018-context-mse-vbr"
    for name, more in ((base, {}), (upper, {"groups": (2, 6)})):
        small = dataclasses.replace(get_preset(name), config={**config, **more}, significant_bits=11)
        monkeypatch.setitem(presets._PRESETS, name, small)
    publish(tmp_path, base, get_preset(base).create())
    model, lower = get_preset(upper).create(), weights.create(base)
    for part in ("analysis", "synthesis"):
        getattr(model, part).set_weights(getattr(lower, part).get_weights())
    publish(tmp_path, upper, model, base)
    with h5py.File(zoo / f"{upper}.weights.h5") as file:
        assert file.attrs["stands_on"] == base
    held = {path.split("/")[2] for path in paths_of(zoo / f"{upper}.weights.h5")}
    assert held == {"hyper_analysis", "hyper_synthesis"}, "fresh priors are equal, too"
    loaded = weights.create(upper)
    for part in ("analysis", "synthesis"):
        for mine, theirs in zip(values(getattr(loaded, part)), values(getattr(lower, part)), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(UsageError, match="cannot stand on themselves"):
        publish(tmp_path, upper, model, upper)
    with pytest.raises(ModelError, match="no trained weights"):
        publish(tmp_path, base, lower, "balle2017-factorized-mse-vbr")


def test_published_weights_know_all_their_runs(zoo, tmp_path):
    """Also those of another preset; a run counts up to the weights that were kept of it."""
    base = get_preset(STACK[0]).create()
    publish(tmp_path, STACK[0], base)
    record = dict.fromkeys(weights.RUN) | {"preset": STACK[0], "step": 3, "seconds": 9.0}
    record["curve"] = [{"step": 2, "loss": 1.0}, {"step": 3, "loss": 2.0}]
    record["earlier"] = weights.history(zoo / f"{STACK[0]}.weights.h5")
    run = tmp_path / "again"
    run.mkdir()
    weights.save(base, run / "best.weights.h5")
    (run / "run.json").write_text(json.dumps(record))
    first, second = weights.history(run / "best.weights.h5")
    assert (first["step"], first["seconds"]) == (1, 1.0) and (second["step"], second["seconds"]) == (2, 9.0)
    assert weights.publish(run) == STACK[0]
    assert weights.history(zoo / f"{STACK[0]}.weights.h5") == [first, second]
    assert weights.history(zoo / f"{STACK[1]}.weights.h5") == [], "not published"


@pytest.mark.parametrize(
    ("name", "trained", "near"),
    [
        (
            "jia2019-sae-mse-e2",
            ["bpg-filter", "jia2019-sae-ms-ssim-e2", "jia2019-sae-mse-e1", "jia2019-sae-mse-e3"],
            "jia2019-sae-mse-e1, jia2019-sae-mse-e3, jia2019-sae-ms-ssim-e2",
        ),
        # None of its paper: of a class like its own before those of another.
        (
            "balle2017-factorized-mse-vbr",
            ["fu2019-hybrid-s8-relu", "balle2018-hyperprior-mse-vbr"],
            "balle2018-hyperprior-mse-vbr, fu2019-hybrid-s8-relu",
        ),
        ("bpg-filter", [], "none"),
    ],
)
def test_a_preset_without_weights_names_at_most_three_near_ones(zoo, name, trained, near):
    (zoo / weights.INDEX).write_text(json.dumps({each: {} for each in trained}))
    with pytest.raises(ModelError) as error:
        weights.create(name)
    assert f"These have: {near}; `codec-zoo list` shows all." in str(error.value)


def test_missing_and_foreign_lower_layers_are_named(zoo, tmp_path):
    stack(tmp_path)
    base, top = zoo / f"{STACK[0]}.weights.h5", get_preset(STACK[2]).create()
    good = base.read_bytes()
    for damaged in (good[:-1], None):
        base.unlink() if damaged is None else base.write_bytes(damaged)
        with pytest.raises(ModelError, match=f"other weights of {STACK[0]}"):
            weights.load(top, zoo / f"{STACK[2]}.weights.h5")
    base.write_bytes(good)
    weights.load(top, zoo / f"{STACK[2]}.weights.h5")


def test_a_full_disk_leaves_the_old_weights(zoo, tmp_path, monkeypatch):
    stack(tmp_path)
    files = {path: path.read_bytes() for path in zoo.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "_copy_packed", full)
    with pytest.raises(Exception, match="No space left"):
        publish(tmp_path, STACK[2], get_preset(STACK[2]).create())
    assert files == {path: path.read_bytes() for path in zoo.iterdir()}


@pytest.mark.parametrize("path", sorted(weights.FOLDER.glob("*.h5")), ids=lambda path: path.name.split(".")[0])
def test_published_weights_open_in_older_hdf5(path):
    """TensorFlow holds h5py back; files of the newest layout open in the newest HDF5 alone."""
    with h5py.File(path) as file:
        file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)


def test_weights_of_code_that_is_not_committed_are_refused(zoo, tmp_path, monkeypatch, capsys):
    """Of the run, and of the checkout at publication; outside of git a note."""
    run = tmp_path / "run"
    run.mkdir()
    weights.save(get_preset(STACK[0]).create(), run / "best.weights.h5")

    def record(commit):
        fields = dict.fromkeys(weights.RUN) | {"preset": STACK[0], "curve": [{"step": 1, "loss": 1.0}]}
        (run / "run.json").write_text(json.dumps({**fields, "commit": commit}))

    for commit in ("0123456789ab-dirty", "0123456789ab-dirty, 123456789abc"):
        record(commit)
        with pytest.raises(UsageError, match=rf"not committed \({commit}\)\. Commit them, train again"):
            weights.publish(run)
    record("0123456789ab")
    published = "zoo/pretrained/index.json"
    monkeypatch.setattr(weights, "changed_files", lambda package: [published, "zoo/presets.py", "cli/a b.py"])
    with pytest.raises(UsageError, match=r"code is not committed: zoo/presets\.py, cli/a b\.py\. .*git stash"):
        weights.publish(run)
    assert not list(zoo.iterdir())
    monkeypatch.setattr(weights, "changed_files", lambda package: [published])
    assert weights.publish(run) == STACK[0] and weights.entry(STACK[0])["commit"] == "0123456789ab"
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(weights, "changed_files", lambda package: None)
    record(None)
    assert weights.publish(run) == STACK[0] and "outside a git checkout" in capsys.readouterr().err
