"""One network for all rates: the quantisation step in the file, exact table rows, the dial, targets, training."""

import dataclasses
import os
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_learned_layered import check_everywhere, spread, untrained

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.specs import codec_for, qualities_of
from codec_zoo.entropy_models import SCALE_RATIO, quantisation_step, scale_table
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.export.tables import build_tables, tables_of
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset
from codec_zoo.stream import Step
from codec_zoo.stream_coders import COARSEST, FINEST, QUALITIES
from codec_zoo.training import loop

PRESET, FIXED = "balle2018-hyperprior-mse-vbr", "balle2018-hyperprior-mse-4"
FACTORIZED = "balle2017-factorized-mse-vbr"
STEPS = np.array([FINEST, -45, -8, 0, 3, 40, 77, COARSEST], np.int32)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    return untrained(PRESET, tmp_path_factory, hyper_channels=8)


@pytest.fixture(scope="module")
def factorized(tmp_path_factory):
    return untrained(FACTORIZED, tmp_path_factory)


def factorized_model():
    """The model of that export."""
    keras.utils.set_random_seed(0)
    model = get_preset(FACTORIZED).model(channels=8, latent_channels=12, rate_weight=100.0)
    spread(model)
    return model


@pytest.fixture(params=["narrow", "factorized"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def trained():
    return open_model(PRESET)


@pytest.fixture
def hyper_synthesis():
    """With scales from far below the table to its upper end."""
    keras.utils.set_random_seed(0)
    model = get_preset(PRESET).model(channels=8, latent_channels=12, hyper_channels=8)
    spread(model)
    return model.hyper_synthesis


@pytest.fixture
def hyper_latents():
    return np.random.default_rng(2).integers(-40, 41, (len(STEPS), 5, 6, 8)).astype(np.int32)


# --- rows -------------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_scales_over_the_step(hyper_synthesis, hyper_latents):
    """The nearest row in the logarithm, as floats compute it."""
    exact = np.asarray(hyper_synthesis.exact(hyper_latents, STEPS))
    scale = np.asarray(hyper_synthesis(hyper_latents.astype(np.float32), quantisation_step(STEPS)))
    chosen = scale_table()[exact]
    inside = scale < scale_table()[-1]
    assert np.abs(np.log(scale / chosen))[inside].max() < 0.5 * np.log(SCALE_RATIO) + 0.02
    assert len(np.unique(exact)) > 50 and exact.min() == 0 and exact.dtype == np.int32


def test_a_step_of_eight_is_a_row_and_none_is_the_fixed_model(hyper_synthesis, hyper_latents):
    fixed = np.asarray(hyper_synthesis.exact(hyper_latents))

    def rows(k):
        return np.asarray(hyper_synthesis.exact(hyper_latents, np.full(len(hyper_latents), k, np.int32)))

    assert np.array_equal(rows(0), fixed)
    for k in (8, 40, 120):
        assert np.array_equal(rows(k), np.maximum(fixed - k // 8, 0))
    for k in (-8, -64, FINEST):  # scales below the table are known for what they are
        inside = (fixed > 0) & (fixed < 63)
        assert np.array_equal(rows(k)[inside], np.minimum(fixed - k // 8, 63)[inside])
    neighbours = np.array([rows(k) for k in range(-20, 21)])
    assert np.all((np.diff(neighbours, axis=0) == 0) | (np.diff(neighbours, axis=0) == -1))


def test_steps_are_even_in_the_logarithm():
    delta = np.asarray(quantisation_step(np.arange(FINEST, COARSEST + 1, dtype=np.int32))).ravel()
    np.testing.assert_allclose(delta, (256 / 0.11) ** (np.arange(-128, 128) / 504), rtol=1e-6)


_ROWS = """
z, step, function = given["z"], given["step"], model.signatures["entropy_parameters_1"]
if mode == "xla":
    run = tf.function(lambda z, k: function(z1=z, step=k)["indexes"], jit_compile=True)
    found = run(tf.constant(z), tf.constant(step)).numpy()
elif mode == "single":
    pairs = zip(z, step)
    found = [function(z1=tf.constant(a[None]), step=tf.constant(k[None]))["indexes"].numpy() for a, k in pairs]
    found = np.concatenate(found)
else:
    found = function(z1=tf.constant(z), step=tf.constant(step))["indexes"].numpy()
rows = {"rows": found}
"""


def test_rows_are_exact_everywhere(narrow, hyper_latents, tmp_path):
    expected = narrow.run("entropy_parameters_1", z1=hyper_latents, step=STEPS)["indexes"]
    assert len(np.unique(expected)) > 40
    check_everywhere(_ROWS, narrow.folder, {"z": hyper_latents, "step": STEPS}, {"rows": expected}, tmp_path)


_ELSEWHERE = """
import sys
import numpy as np
from keras import ops
from codec_zoo.models.balle2018 import VariableRateHyperprior
given, got = sys.argv[1:]
stored = np.load(given)
layer = VariableRateHyperprior(channels=8, latent_channels=12, hyper_channels=8).hyper_synthesis
layer.set_weights([stored[name] for name in stored.files[2:]])
z, step = (ops.convert_to_tensor(stored[name]) for name in ("z", "step"))
np.save(got, ops.convert_to_numpy(layer.exact(z, step)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_rows_are_exact_on_other_backends(backend, hyper_synthesis, hyper_latents, request, tmp_path):
    installed = request.getfixturevalue(f"{backend}_environment")
    kept = {f"w{i:02}": np.asarray(value) for i, value in enumerate(hyper_synthesis.get_weights())}
    given, got = tmp_path / "given.npz", tmp_path / "got.npy"
    np.savez(given, z=hyper_latents, step=STEPS, **kept)
    environment = {"PATH": os.environ["PATH"], "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    command = [installed / "bin" / "python", "-c", _ELSEWHERE, given, got]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    assert np.array_equal(np.load(got), np.asarray(hyper_synthesis.exact(hyper_latents, STEPS)))


# --- files ------------------------------------------------------------------------------------------------------


def test_the_step_of_training_gives_the_strings_of_the_fixed_preset(trained, photo):
    """And so the same picture: a byte more in the file."""
    image = photo[:128, :192]
    fixed = LearnedCodec(open_model(FIXED))
    mine, other = LearnedCodec(trained).encode(image), fixed.encode(image)
    (here,), (there,) = (container.read(data).layers for data in (mine, other))
    assert here.payload == there.payload[:4] + b"\0" + there.payload[4:]
    assert np.array_equal(LearnedCodec(trained).decode(mine), fixed.decode(other))


@pytest.mark.parametrize("size", [(1, 1), (65, 3), (130, 203)])
@pytest.mark.parametrize("quality", [QUALITIES[0], 100, QUALITIES[-1]])
def test_every_quality_decodes(model, noise, size, quality):
    """By any codec of the model: the file has the step."""
    picture, step = noise(*size), np.array([COARSEST - quality], np.int32)
    data = LearnedCodec(model, quality=quality).encode(picture)
    coded = model.run("encode", images=picture[None], step=step)
    by_hand = model.run("decode", **coded)["images"][0]
    assert np.array_equal(LearnedCodec(model).decode(data), by_hand)
    assert container.read(data).layers[0].payload[4:5] == step.astype(np.int8).tobytes()


def test_tiles_and_gray_pictures(model, photo):
    whole, tiled = (LearnedCodec(model, quality=90, tile=tile) for tile in (1024, 128))
    data = whole.encode(photo[:300, :389])
    assert np.mean(whole.decode(data) != tiled.decode(data)) < 1e-3
    assert abs(len(tiled.encode(photo[:300, :389])) - len(data)) < 0.001 * len(data) + 4
    assert whole.decode(whole.encode(photo[:70, :80, :1])).shape == (70, 80, 1)


def test_another_step_in_the_file_is_found(model, photo):
    """Also behind a checksum that is made anew, where another step has other rows."""
    data = LearnedCodec(model, quality=120).encode(photo[:64, :96])
    stream = container.read(data)
    (layer,), card = stream.layers, model.card
    for k in (8, 40, 255, *([0, 6] if "z1" in card["signatures"]["encode"] else [])):
        payload = layer.payload[:4] + bytes([k]) + layer.payload[5:]
        changed = container.write(card["preset"], card["weights_sha256"], 96, 64, 3, [Layer(layer.kind, payload)])
        with pytest.raises(BitstreamError):
            LearnedCodec(model).decode(changed)
    for length in (3, 4):
        cut = [Layer(layer.kind, layer.payload[:length])]
        with pytest.raises(BitstreamError):
            LearnedCodec(model).decode(container.write(card["preset"], card["weights_sha256"], 96, 64, 3, cut))


@pytest.mark.parametrize("quality", [60, 127, 170])
def test_a_searched_file_is_better_at_each_step(trained, photo, quality):
    """λ follows the step: D + λ·Δ²·R falls, with no more bits where ``encode`` rounds to the nearest."""
    image = photo[:256, :256]
    plain, searched = (LearnedCodec(trained, quality=quality, search=rounds) for rounds in (0, 5))
    before, after = plain.encode(image), searched.encode(image)
    weight = get_preset(PRESET).config["rate_weight"] * SCALE_RATIO ** ((COARSEST - quality) / 4)

    def cost(data):
        squared_error = np.mean(np.square(plain.decode(data).astype(float) - image))
        return squared_error + weight * 8 * len(data) / image[..., 0].size

    assert cost(after) < 0.98 * cost(before)
    assert len(after) < len(before) or quality < COARSEST


@pytest.mark.parametrize("k", [20, 60, 110])
def test_rounding_towards_zero_is_worth_its_error(photo, k, monkeypatch):
    """D + λ·Δ²·R falls where steps are coarse; integers only come nearer to zero, by one."""
    model, step = weights.create(PRESET), np.array([k], np.int32)
    aware = model.evaluate_image(photo, step=step)
    monkeypatch.setattr(type(model), "bit_worth", lambda self, step: 0.0)
    nearest = model.evaluate_image(photo, step=step)
    assert aware.loss < 0.995 * nearest.loss and aware.bpp < 0.96 * nearest.bpp
    y, y_nearest = (np.abs(result.latents["y1"]) for result in (aware, nearest))
    assert set(np.unique(y_nearest - y)) == {0, 1}


@pytest.mark.parametrize("k", [FINEST, -3, 0])
def test_fine_steps_round_to_the_nearest(photo, k):
    model, step = weights.create(PRESET), np.array([k], np.int32)
    residual = photo[None, :128, :128].astype(np.float32) / 255 - 0.5
    y = np.asarray(model.latents(residual)["y"] / quantisation_step(step))
    assert np.array_equal(np.asarray(model.encode_residual(residual, step=step)["y"]), np.round(y).astype(np.int32))


def test_the_tables_of_a_prior_are_of_its_steps():
    """A set of rows for every eighth step, each with the mass between the edges of Δ; no bits are lost by that."""
    keras.utils.set_random_seed(0)
    model = get_preset(FACTORIZED).model(channels=8, latent_channels=3)
    tables = tables_of(build_tables(model))["y1"]
    assert len(tables.offset) == 32 * 3 and len(model.prior_steps) == 32
    np.testing.assert_allclose(np.diff(np.log(model.prior_steps)), np.log(SCALE_RATIO))
    for group, delta in enumerate(model.prior_steps):
        row = 3 * group + 1
        cumulative = tables.cdf[tables.starts[row] + 1 : tables.starts[row + 1]] / 2**16
        edges = np.float32((tables.offset[row] - 0.5 + np.arange(len(cumulative) - 1)) * delta)
        logits = np.asarray(model.prior.logits(np.broadcast_to(edges, (3, 1, len(edges)))))[1, 0]
        expected = 1 / (1 + np.exp(-logits.astype(float)))
        assert np.abs(np.diff(cumulative)[:-1] - np.diff(expected)).max() < 0.03 / 2**8, group


@pytest.mark.parametrize("quality", [40, 128, 200])
def test_files_of_a_prior_have_its_bits(factorized, photo, quality):
    image = photo[:256, :384]
    model = factorized_model()
    expected = model.evaluate_image(image, step=np.array([COARSEST - quality], np.int32)).bpp
    data = LearnedCodec(factorized, quality=quality).encode(image)
    assert 8 * (len(data) - 40) / image[..., 0].size == pytest.approx(expected, rel=0.02)


# --- the dial ---------------------------------------------------------------------------------------------------


def test_size_and_quality_rise_with_the_dial(trained, photo):
    image = photo[:128, :192]
    codecs = [LearnedCodec(trained, quality=quality) for quality in qualities_of(PRESET)]
    files = [codec.encode(image) for codec in codecs]
    shown = [psnr(image, codec.decode(data)) for codec, data in zip(codecs, files, strict=True)]
    assert len(files) == 10 and list(map(len, files)) == sorted(map(len, files)) and shown == sorted(shown)


def test_targets_are_hit(trained, photo, monkeypatch):
    """Within two per cent of the rate, with few files on the way."""
    image, calls, run = photo[:256, :384], [], trained.run
    monkeypatch.setattr(trained, "run", lambda name, **inputs: calls.append(name) or run(name, **inputs))
    for wanted in (0.1, 0.3, 0.9):
        calls.clear()
        reached = 8 * len(LearnedCodec(trained, target_bpp=wanted).encode(image)) / image[..., 0].size
        assert 0.98 * wanted < reached <= wanted
        assert calls.count("encode") <= 10 and "decode" not in calls
    for wanted in (29.0, 33.0, 35.0):
        data = LearnedCodec(trained, target_psnr=wanted).encode(image)
        assert wanted <= psnr(image, LearnedCodec(trained).decode(data)) < wanted + 0.1
    smallest = LearnedCodec(trained, quality=QUALITIES[0]).encode(image)
    assert LearnedCodec(trained, target_bpp=1e-6).encode(image) == smallest


def test_qualities_that_are_none_are_refused(narrow):
    for wrong in (-1, 256, 3.5):
        with pytest.raises(UsageError, match=r"-q of .*-vbr is a whole number, 0 … 255\. Received"):
            codec_for(narrow, quality=wrong)
    with pytest.raises(UsageError, match="-q and --target-bpp both say"):
        codec_for(narrow, quality=3, target_bpp=1)


def test_the_step_is_declared_where_it_can_be():
    stream = get_preset(PRESET).stream
    assert isinstance(stream.dial, Step) and stream.dial == stream.step
    (layer,) = stream.layers
    twice = dataclasses.replace(layer, entries=(Step((1,)), *layer.entries))
    with pytest.raises(ValueError, match="one step at most"):
        dataclasses.replace(stream, layers=(twice,))
    with pytest.raises(ValueError, match="qualities are 0 … 255"):
        Step((3, 256))


# --- training ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small():
    keras.utils.set_random_seed(0)
    preset = get_preset(PRESET)
    config = {"channels": 8, "latent_channels": 12, "hyper_channels": 8, "rate_weight": 80.0}
    return dataclasses.replace(preset, config=config)


def test_the_loss_is_that_of_files(small, photo):
    """D/Δ + λ·Δ·R, as the evaluation at each rate has it; noise stands for rounding in R alone."""
    model, image = small.create(), photo[:256, :256]
    model.initialize(np.stack([image] * 8))
    for k in (-40, 0, 60):
        step = np.array([k], np.int32)
        inputs = {"images": image[None], "step": step}
        delta = np.asarray(quantisation_step(step)).item()
        shown = model.evaluate_image(image, step=step)
        rate = 80.0 * delta**2 * shown.bpp
        outputs = model(inputs)
        distortion, loss = (float(model.compute_loss(inputs, np.float32([x]), outputs)) for x in (0.0, 80.0))
        assert distortion == pytest.approx((shown.loss - rate) / delta, rel=0.03)
        assert loss - distortion == pytest.approx(rate / delta, rel=0.2)


def test_training_draws_a_step_an_image(small, photo, tmp_path):
    """By the number of the batch alone, each from another quarter; the held-out curve has the loss at five rates."""
    drawn = []

    class Recorder:
        def train_on_batch(self, inputs, weights):
            drawn.append(inputs["step"].tolist())
            assert np.all(weights == 80.0)
            return 0.0

    model, batch = small.create(), np.zeros((4, 64, 64, 3), np.uint8)
    for step in [*range(200), 7]:
        model.learn([Recorder()], batch, step)
    finest, coarsest = model.steps
    quarter = (coarsest - finest + 1) / 4
    assert drawn[7] == drawn[-1] != drawn[8]
    for place, found in enumerate(zip(*drawn, strict=True)):
        first = finest + place * quarter
        assert first - 1 < min(found) < first + 4 and first + quarter - 4 < max(found) <= first + quarter

    patches = np.stack([photo[:64, :64], photo[64:128, :64]])
    progress = loop.train(
        small,
        dataclasses.replace(small.recipe, patch_size=64, batch_size=2, steps=4, learning_rate=1e-3),
        lambda start: iter([patches] * 4),
        [photo[:128, :128]],
        tmp_path / "run",
        data="made",
        evaluate_every=2,
    )
    point = progress.curve[-1]
    losses = [value for name, value in point.items() if name.startswith("loss_")]
    assert len(losses) == 5 and point["loss"] == pytest.approx(np.mean(losses))
    rates = [value for name, value in point.items() if name.startswith("bpp_")]
    assert rates == sorted(rates) or rates == sorted(rates, reverse=True)


def test_gradients_reach_all_parts(small, photo):
    model, images = small.create(), photo[None, :128, :128]
    inputs = {"images": images, "step": np.array([30], np.int32)}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs, np.float32([80.0]), model(inputs, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(g).all() for g in gradients) and sum(float(np.abs(g).sum()) > 0 for g in gradients) > 20


def test_its_weights_are_those_of_the_fixed_preset():
    """Until it is trained by itself: its file refers to theirs."""
    record = weights.entry(PRESET)
    if record[weights.BELOW]:
        assert record[weights.BELOW] == FIXED
        assert weights.weights_path(PRESET).stat().st_size < 20_000
