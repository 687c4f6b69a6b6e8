"""Mixed resolution: the papers' networks, the start, who learns when, that coding is real."""

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.codecs.image_files import PatchSampler
from codec_zoo.metrics import psnr
from codec_zoo.models import zhao2018
from codec_zoo.models.jiang2017 import CompactRepresentation
from codec_zoo.models.zhao2018 import MixedResolution, code_gray
from codec_zoo.presets import Recipe, get_preset
from codec_zoo.training import loop
from codec_zoo.training.optimizers import make_optimizer

LOW = {"scale": 2, "qualities": (5, 10), "channels": 8}


def kernels(network):
    return [tuple(w.shape) for w in network.weights if len(w.shape) == 4]


def test_zhaos_networks():
    """§2.2."""
    low, high = get_preset("zhao2018-mixed").create().branches
    inner = [(3, 3, 128, 128)] * 6
    assert kernels(low.description) == [(9, 9, 1, 128), *inner, (9, 9, 128, 1)]
    assert kernels(low.post) == kernels(low.virtual) == [(9, 9, 1, 128), *inner, (9, 9, 1, 128)]
    assert kernels(high.post) == kernels(low.description)
    strides = [layer.strides for layer in low.description.layers]
    assert strides == [(1, 1), (2, 2), *[(1, 1)] * 6] and low.post.layers[-1].strides == (2, 2)
    assert all(layer.strides == (1, 1) for layer in (*high.description.layers, *high.post.layers))


def test_jiangs_networks():
    (branch,) = get_preset("jiang2017-comcnn").create().branches
    assert kernels(branch.description) == [(3, 3, 1, 64), (3, 3, 64, 64), (3, 3, 64, 1)]
    assert kernels(branch.post) == [(3, 3, 1, 64), *[(3, 3, 64, 64)] * 18, (3, 3, 64, 1)]
    assert sum("norm" in layer.name for layer in branch.post.layers) == 18


def test_it_starts_as_jpeg_of_a_resampled_picture(photo):
    model = MixedResolution({"low": LOW, "high": {**LOW, "scale": 1}})
    luma = photo[..., 1:2]
    small = luma.astype(float).reshape(256, 2, 384, 2, 1).mean((1, 3))
    low, high = model.branches
    assert np.abs(np.asarray(low.represent(luma[None]))[0] - small).max() < 1e-3
    assert np.array_equal(np.asarray(high.represent(luma[None]))[0], luma)
    assert psnr(luma, np.asarray(low.restore(low.represent(luma[None])))[0]) > 30


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (MixedResolution, {**LOW, "method": "virtual"}),
        (MixedResolution, {**LOW, "method": "jiang"}),
        (CompactRepresentation, LOW),
    ],
)
def test_networks_take_turns_and_learn(kind, config, photo, tmp_path, monkeypatch):
    """Each turn changes one network of one branch, and the loss of each falls."""
    keras.utils.set_random_seed(0)
    monkeypatch.setattr(zhao2018, "TURN", 20)
    model = kind({"low": config, "high": {**config, "scale": 1}})
    learners = model.learners()
    for learner in learners:
        learner.compile(optimizer=make_optimizer(Recipe(48, 4, 1000, 3e-3)))
    sampler = PatchSampler([photo[..., 1:2]], 48, 4, scales=None)
    for turn, learner in enumerate(learners):
        before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        losses = [float(*model.learn(learners, sampler.batch(0), 20 * turn + i).values()) for i in range(20)]
        mine = {id(v) for v in learner.trainable_variables}
        changed = [
            id(v)
            for v, old in zip(model.trainable_variables, before, strict=True)
            if not np.array_equal(ops.convert_to_numpy(v), old)
        ]
        assert changed and set(changed) <= mine
        assert np.mean(losses[-4:]) < np.mean(losses[:4]), turn


def test_a_run_resumes(photo, tmp_path):
    """All optimizers of all networks come back: interrupted and uninterrupted runs end alike."""
    import dataclasses

    preset = dataclasses.replace(get_preset("zhao2018-mixed"), config={"branches": {"low": LOW}})
    pictures = [photo[:96, :96, :1]]

    def run(folder, steps, **options):
        recipe = Recipe(patch_size=32, batch_size=2, steps=12, learning_rate=1e-3, schedule="halving")

        def batches(start):
            sampler = PatchSampler(pictures, 32, 2, scales=None)
            yield from (sampler.batch(step) for step in range(start, steps))

        loop.train(preset, recipe, batches, pictures, folder, data="made", evaluate_every=6, **options)
        with np.load(folder / loop.CHECKPOINT) as stored:
            return {name: stored[name] for name in stored.files if name != "progress"}

    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 5)
    parts = run(tmp_path / "parts", 12, resume=True)
    assert whole.keys() == parts.keys()
    assert all(np.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-6) for name in whole)


def test_coding_is_jpegs(photo):
    decoded, size = code_gray(photo[..., :1], 10)
    assert 1000 < size < 20_000 and 24 < psnr(photo[..., :1], decoded) < 40


def test_odd_pictures_and_odd_methods(photo):
    model = MixedResolution({"low": LOW})
    result = model.evaluate_image(photo[:101, :77, :1])
    assert result.reconstruction.shape == result.original.shape == (100, 76, 1) and result.bpp > 0
    with pytest.raises(ValueError, match="method"):
        MixedResolution({"low": {**LOW, "method": "x"}})
