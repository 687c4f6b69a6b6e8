"""Mean, scale and context: exact rows in each group, files, tiles, search; one group alone; the start of training."""

import os
import subprocess

import keras
import numpy as np
import pytest
from test_learned_layered import check_everywhere, spread, untrained

from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.tiling import TILE, Tiles
from codec_zoo.entropy_models import SCALE_RATIO, quantisation_step, quantisation_step_integers, scale_table
from codec_zoo.errors import BitstreamError
from codec_zoo.models.minnen2018 import ContextHyperprior
from codec_zoo.presets import get_preset
from codec_zoo.stream import Latent, Step
from codec_zoo.stream_coders import COARSEST, FINEST, QUALITIES

PRESET = "minnen2018-context-mse-vbr"
GROUPS = (2, 4, 6)
NAMES = ("y", "y_b", "y_c")
STEPS = np.array([FINEST, -45, 0, 3, 77, COARSEST], np.int32)


def wake(model):
    """Give means and contexts an effect: they start without one."""
    spread(model)
    random = np.random.default_rng(1)
    layer = model.hyper_synthesis
    layer.means.kernel.assign(random.normal(0, 0.1, layer.means.kernel.shape))
    for correction in layer.corrections:
        correction.kernel.assign(random.normal(0, 0.2, correction.kernel.shape))


def make(groups=GROUPS):
    keras.utils.set_random_seed(0)
    model = ContextHyperprior(groups, channels=8, latent_channels=12, hyper_channels=8, context_channels=6)
    wake(model)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    config = {"groups": GROUPS, "hyper_channels": 8, "context_channels": 6}
    return untrained(PRESET, tmp_path_factory, wake=wake, **config)


@pytest.fixture(scope="module")
def integers():
    """z and r of each group, for each of the steps."""
    random = np.random.default_rng(2)
    z = random.integers(-40, 41, (len(STEPS), 3, 4, 8)).astype(np.int32)
    return z, [random.integers(-9, 10, (len(STEPS), 12, 16, count)).astype(np.int32) for count in GROUPS]


# --- rows -------------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_scales_over_the_step(model, integers):
    """The nearest row in the logarithm, as floats compute it, in each group."""
    z, groups = integers
    delta = quantisation_step(STEPS)
    features = model.hyper_synthesis.features(z.astype(np.float32))
    for i, count in enumerate(GROUPS):
        exact = np.asarray(model.hyper_synthesis.exact_rows(z, groups[:i], STEPS))
        lower = [np.asarray(delta) * group for group in groups[:i]]
        scale = np.asarray(model.hyper_synthesis.parameters(features, lower, delta)[1])
        inside = scale < scale_table()[-1]
        assert np.abs(np.log(scale / scale_table()[exact]))[inside].max() < 0.5 * np.log(SCALE_RATIO) + 0.05
        assert exact.shape == groups[i].shape == (len(STEPS), 12, 16, count) and exact.dtype == np.int32
        assert len(np.unique(exact)) > 20


def test_a_context_moves_the_rows_and_the_means_of_higher_groups(model, integers):
    z, groups = integers
    changed = [groups[0] + 3, *groups[1:]]
    rows = [np.asarray(model.hyper_synthesis.exact_rows(z, lower[:1], STEPS)) for lower in (groups, changed)]
    assert np.mean(rows[0] != rows[1]) > 0.1
    delta, features = quantisation_step(STEPS), model.hyper_synthesis.features(z.astype(np.float32))
    means = [
        np.asarray(model.hyper_synthesis.parameters(features, [np.asarray(delta) * lower[0]], delta)[0])
        for lower in (groups, changed)
    ]
    assert np.abs(means[0] - means[1]).max() > 0.1


def test_integer_steps_are_the_steps():
    steps = np.arange(FINEST, COARSEST + 1, dtype=np.int32)
    exact = np.asarray(quantisation_step_integers(steps, 10))
    assert np.array_equal(exact, np.round(exact)) and exact.dtype == np.float64
    np.testing.assert_allclose(exact / 1024, np.asarray(quantisation_step(steps)), atol=0.6 / 1024)


def test_weights_that_could_overflow_are_refused():
    for find in (lambda layer: layer.contexts[0], lambda layer: layer.corrections[1]):
        model = make()
        kernel = find(model.hyper_synthesis).kernel
        kernel.assign(np.full(kernel.shape, 1e5))
        with pytest.raises(ValueError, match="beyond exact float64 integers"):
            model.signatures  # noqa: B018


_ROWS = """
stored = {name: tf.constant(value) for name, value in given.items()}
rows = {}
for suffix, names in (("", ["z1"]), ("_b", ["z1", "y1"]), ("_c", ["z1", "y1", "y_b1"])):
    function = model.signatures[f"entropy_parameters{suffix}_1"]
    call = lambda **given: function(**given)["indexes"]
    if mode == "xla":
        call = tf.function(call, jit_compile=True)
    inputs = {name: stored[name] for name in [*names, "step"]}
    if mode == "single":
        one = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(len(stored["step"]))]
        rows["rows" + suffix] = np.concatenate([call(**given) for given in one])
    else:
        rows["rows" + suffix] = call(**inputs).numpy()
"""


def test_rows_are_exact_everywhere(narrow, integers, tmp_path):
    """In each group."""
    z, groups = integers
    known = {"step": STEPS, "z1": z}
    expected = {}
    for suffix, group in zip(("", "_b", "_c"), groups, strict=True):
        expected["rows" + suffix] = narrow.run(f"entropy_parameters{suffix}_1", **known)["indexes"]
        known[f"y{suffix}1"] = group
    check_everywhere(_ROWS, narrow.folder, known, expected, tmp_path)


_ELSEWHERE = """
import sys
import numpy as np
from keras import ops
from codec_zoo.models.minnen2018 import ContextHyperprior
given, got = sys.argv[1:]
stored = np.load(given)
model = ContextHyperprior((2, 4, 6), channels=8, latent_channels=12, hyper_channels=8, context_channels=6)
model.hyper_synthesis.set_weights([stored[name] for name in stored.files if name.startswith("w")])
z, step, *groups = (ops.convert_to_tensor(stored[name]) for name in ("z", "step", "g0", "g1"))
rows = [model.hyper_synthesis.exact_rows(z, groups[:i], step) for i in range(3)]
np.savez(got, *map(ops.convert_to_numpy, rows))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_rows_are_exact_on_other_backends(backend, model, integers, request, tmp_path):
    installed = request.getfixturevalue(f"{backend}_environment")
    z, groups = integers
    kept = {f"w{i:02}": np.asarray(value) for i, value in enumerate(model.hyper_synthesis.get_weights())}
    given, got = tmp_path / "given.npz", tmp_path / "got.npz"
    np.savez(given, z=z, step=STEPS, g0=groups[0], g1=groups[1], **kept)
    environment = {"PATH": os.environ["PATH"], "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    command = [installed / "bin" / "python", "-c", _ELSEWHERE, given, got]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    with np.load(got) as found:
        for i, name in enumerate(found.files):
            expected = np.asarray(model.hyper_synthesis.exact_rows(z, groups[:i], STEPS))
            assert np.array_equal(found[name], expected), name


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (65, 3), (130, 203)])
@pytest.mark.parametrize("quality", [QUALITIES[0], 100, QUALITIES[-1]])
def test_every_quality_decodes(narrow, noise, size, quality):
    picture, step = noise(*size), np.array([COARSEST - quality], np.int32)
    data = LearnedCodec(narrow, quality=quality).encode(picture)
    coded = narrow.run("encode", images=picture[None], step=step)
    assert {"z1", "y1", "y_b1", "y_c1"} < set(coded)
    by_hand = narrow.run("decode", **coded)["images"][0]
    assert np.array_equal(LearnedCodec(narrow).decode(data), by_hand)


def test_integers_are_what_means_leave_over(model, photo):
    """ŷ is within half a step of y, whatever the means are; coarse steps also round further towards the mean."""
    images = photo[None, :128, :128].astype(np.float32)
    residual = (images - model.GRAY) / 255
    y = np.asarray(model.latents(residual)["y"])
    for k in (-30, 0, 50):
        step = np.array([k], np.int32)
        coded = model.encode_residual(residual, step=step)
        values = {name: np.asarray(value, np.float32) for name, value in coded.items()}
        _, decoded, _ = model.follow(values["z"], step, lambda name, *_, held=values: held[name])
        largest = np.abs(np.asarray(model.join(decoded)) - y).max() / np.asarray(quantisation_step(step))
        assert 0.45 < largest <= (0.5005 if k <= 0 else 0.9)


def test_tiles_give_what_the_whole_picture_gives(narrow, photo):
    picture, step = photo[:489, :611], {"step": np.array([20], np.int32)}
    names = [latent.name for latent in narrow.stream.latents]
    at_once, in_tiles = (Tiles(narrow, narrow.stream.stride, tile) for tile in (TILE, 128))
    whole, tiled = (run.analyse("encode", picture, names, {}, **step) for run in (at_once, in_tiles))
    for name in names:
        assert np.mean(whole[name] != tiled[name]) < 1e-3, name
    shown = [run.run("decode", 489, 611, ["images"], whole, **step)["images"] for run in (at_once, in_tiles)]
    differences = shown[0].astype(int) - shown[1]
    assert np.abs(differences).max() <= 1 and np.mean(differences != 0) < 1e-3
    known = {"z1": whole["z1"]}
    for suffix in ("", "_b", "_c"):  # the choice of tables is exact
        rows = [
            run.run(f"entropy_parameters{suffix}_1", 489, 611, ["indexes"], known, **step)["indexes"]
            for run in (at_once, in_tiles)
        ]
        assert np.array_equal(*rows)
        known[f"y{suffix}1"] = whole[f"y{suffix}1"]


def test_a_value_of_a_lower_group_that_is_changed_is_found(narrow, photo):
    """The tables of higher groups depend on it, and a checksum is over all integers."""
    data = LearnedCodec(narrow, quality=120).encode(photo[:64, :96])
    (layer,) = container.read(data).layers
    card = narrow.card
    for place in range(6, len(layer.payload), len(layer.payload) // 40):
        payload = bytearray(layer.payload)
        payload[place] ^= 16
        changed = container.write(
            card["preset"], card["weights_sha256"], 96, 64, 3, [Layer(layer.kind, bytes(payload))]
        )
        with pytest.raises(BitstreamError):
            LearnedCodec(narrow).decode(changed)


def test_a_searched_file_is_better(narrow, photo):
    image = photo[:256, :256]
    plain, searched = (LearnedCodec(narrow, quality=127, search=rounds) for rounds in (0, 3))
    before, after = plain.encode(image), searched.encode(image)

    def cost(data):
        squared_error = np.mean(np.square(plain.decode(data).astype(float) - image))
        return squared_error + 100 * 8 * len(data) / image[..., 0].size

    assert cost(after) < 0.99 * cost(before)


def test_the_stream_has_a_latent_for_each_group():
    stream = get_preset(PRESET).stream
    (layer,) = stream.layers
    assert isinstance(layer.entries[0], Step)
    latents = [entry for entry in layer.entries if isinstance(entry, Latent)]
    assert [latent.name for latent in latents] == ["z1", "y1", "y_b1", "y_c1", "y_d1"]
    assert latents[3].coder.rows.inputs == ("z1", "y1", "y_b1")


# --- training ---------------------------------------------------------------------------------------------------


def test_one_group_is_a_mean_and_a_scale(photo):
    """No context: the integers are less the mean, and decode to within half a step."""
    model = make((12,))
    assert not model.hyper_synthesis.contexts and list(model.latent_channels_of) == ["y", "z"]
    result = model.evaluate_image(photo[:64, :64], step=np.array([0], np.int32))
    assert set(result.bpp_of_latents) == {"y1", "z1"}


def test_it_starts_as_the_hyperprior_without_a_mean(photo):
    """Fresh means and contexts change nothing."""
    keras.utils.set_random_seed(0)
    model = ContextHyperprior(GROUPS, channels=8, latent_channels=12, hyper_channels=8, context_channels=6)
    spread(model)
    residual = photo[None, :128, :128].astype(np.float32) / 255 - 0.5
    coded = model.encode_residual(residual, step=np.array([0], np.int32))
    y = np.asarray(model.latents(residual)["y"])
    assert np.array_equal(np.asarray(model.join(coded)), np.round(y).astype(np.int32))
    assert np.array_equal(
        np.concatenate([np.asarray(rows) for rows in model._rows(coded, np.array([0], np.int32)).values()], -1),
        np.asarray(model.hyper_synthesis.exact(coded["z"], np.array([0], np.int32))),
    )


def test_a_training_step_reaches_every_weight(photo):
    """Means and contexts learn, beside the transforms."""
    model = make()
    model.compile(optimizer=keras.optimizers.SGD(1e-2))
    before = [np.asarray(weight) for weight in model.trainable_weights]
    model.learn([model], np.stack([photo[:128, :128], photo[128:256, :128]]), 0)
    still = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(np.asarray(weight), old)
    ]
    assert not still and all(np.isfinite(weight).all() for weight in model.trainable_weights)


def test_there_are_ten_groups_at_most():
    with pytest.raises(ValueError, match="1 … 10 groups"):
        ContextHyperprior((1,) * 11, channels=8, latent_channels=11, hyper_channels=8)


def test_groups_add_up_to_the_channels():
    with pytest.raises(ValueError, match="add up to latent_channels, 12"):
        ContextHyperprior((2, 4), channels=8, latent_channels=12, hyper_channels=8)
