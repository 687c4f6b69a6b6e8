"""The report's networks: the numbers of its text, and that each of them learns."""

import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo.codecs.image_files import PatchSampler
from codec_zoo.models import report2017_gans
from codec_zoo.models.report2017_predictor import LosslessPredictor
from codec_zoo.presets import Recipe, get_preset, list_presets
from codec_zoo.training.optimizers import make_optimizer

NAMES = [preset.name for preset in list_presets() if preset.stream and preset.stream.block]


def test_all_variants_are_there():
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_sixteen_to_one(name, noise):
    """1,536 bits a block, whatever the latents are."""
    model = get_preset(name).create()
    coded = model.encode(noise(32, 32)[None])
    latents = [ops.convert_to_numpy(value) for key, value in coded.items() if key != "size"]
    assert sum(value.size for value in latents) * model.bits == 1536
    assert all(value.dtype == np.uint8 and value.max() < 2**model.bits for value in latents)


def test_decoders_are_as_small_as_the_report_says():
    weights = [get_preset(f"report2017-cnn-ae{suffix}").create().tuned_weights for suffix in ("", "-ft")]
    assert 1250 < weights[0] < 1350 and weights[1] < weights[0]


def test_recipes_are_the_report_s():
    for name in NAMES:
        recipe = get_preset(name).recipe
        expected = ("rmsprop", 2e-5) if name.endswith("-w") else ("adam", 2e-4 if name.endswith("-dc") else 1e-5)
        assert (recipe.optimizer, recipe.learning_rate) == expected
        assert recipe.beta_1 == (0.5 if name.endswith("-dc") else 0.9)


def test_a_changed_decoder_is_differentiable(noise):
    """``reconstruct`` without change is ``decode``, and another change gives another picture."""
    model = get_preset("report2017-cnn-ae-ft").create()
    coded = model.encode(noise(32, 32)[None])
    none = np.zeros(model.tuned_weights, np.float32)
    plain = ops.convert_to_numpy(model.reconstruct(coded["latents1"], none)["pictures"])
    assert np.array_equal(np.clip(np.rint(plain), 0, 255), ops.convert_to_numpy(model.decode(**coded)["images"]))
    brighter = none.copy()
    brighter[-3:] = 0.1
    assert np.allclose(
        ops.convert_to_numpy(model.reconstruct(coded["latents1"], brighter)["pictures"]), plain + 25.5, atol=1e-3
    )


@pytest.mark.parametrize("name", ["report2017-cnn-ae", "report2017-cnn-rnn-ae", "report2017-gan-ae-l2-w"])
def test_it_learns(name, photo):
    """Pictures come back nearer after a few steps, whoever judges them."""
    keras.utils.set_random_seed(0)
    model = get_preset(name).create()
    sampler = PatchSampler([photo], 32, 8, scales=None)
    learners = model.learners()
    recipe = Recipe(32, 8, 1000, 2e-3, optimizer=get_preset(name).recipe.optimizer)
    for learner in learners:
        learner.compile(optimizer=make_optimizer(recipe))
    losses = [model.learn(learners, sampler.batch(0), step) for step in range(24)]
    assert {name for loss in losses for name in loss} == {
        "loss" if learner is model else f"loss_{learner.name}" for learner in learners
    }
    falling = [float(loss[name]) for loss in losses for name in loss if name != "loss_discriminator"]
    assert falling[-1] < 0.9 * falling[0]


@pytest.mark.parametrize("adversarial", ["w", "dc"])
def test_critic_and_generator_take_turns(adversarial, photo):
    """Each changes its own weights alone; Wasserstein's critic stays within its bounds."""
    model = get_preset(f"report2017-gan-ae-l1-{adversarial}").create()
    learners = model.learners()
    for learner in learners:
        learner.compile(optimizer=make_optimizer(Recipe(32, 4, 100, 1e-3)))
    sampler = PatchSampler([photo], 32, 4, scales=None)
    for step, parts in enumerate(([model.discriminator], [model.encoder, model.generator])):
        before = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
        model.learn(learners, sampler.batch(0), step)
        own = {id(variable) for part in parts for variable in part.trainable_variables}
        for variable, old in zip(model.trainable_variables, before, strict=True):
            changed = not np.array_equal(ops.convert_to_numpy(variable), old)
            assert not changed or id(variable) in own
        assert any(
            not np.array_equal(ops.convert_to_numpy(variable), old)
            for variable, old in zip(model.trainable_variables, before, strict=True)
        )
    largest = max(float(ops.max(ops.abs(weight))) for weight in model.discriminator.trainable_variables)
    assert (largest <= report2017_gans.CLIP + 1e-9) == (adversarial == "w")


def test_predictor_starts_linear():
    """Before it learns, it is the linear predictor that it was given."""
    random = np.random.default_rng(0)
    network, weights = LosslessPredictor((16, 8)), random.normal(size=60).astype(np.float32)
    network.start_linear(weights)
    inputs = random.normal(size=(100, 60)).astype(np.float32)
    assert np.allclose(ops.convert_to_numpy(network(inputs))[:, 0], inputs @ weights, atol=1e-4)
