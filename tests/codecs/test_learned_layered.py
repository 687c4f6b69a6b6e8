"""Layered auto-encoders: exact decoding everywhere, real files, cuts at every layer, damage."""

import dataclasses
import functools
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.container import Layer, LayerKind
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.payloads import _leb128, _read_leb128
from codec_zoo.codecs.tiling import TILE, Tiles, _tiles
from codec_zoo.entropy_models import bits, gaussian_likelihood, quantisation_step
from codec_zoo.errors import BitstreamError, CodecZooError, UsageError
from codec_zoo.export.runtime import UntrainedModel, open_model
from codec_zoo.export.saved_model import export_model
from codec_zoo.metrics import psnr
from codec_zoo.models.minnen2018 import ContextHyperprior
from codec_zoo.presets import get_preset
from codec_zoo.stream_coders import COARSEST

PRESET = "jia2019-sae-mse-e1"


@pytest.fixture(scope="module")
def fresh():
    """Untrained, but with spread latents; seeded, since the export of some weights rounds too many otherwise."""
    keras.utils.set_random_seed(0)
    model = get_preset(PRESET).create()
    spread(model)
    return model


def spread(model):
    """Give an untrained model latents and indexes as wide as a trained one's."""
    random = np.random.default_rng(0)
    for codec in model.coders():
        last = codec.analysis.layers[-1]
        last.kernel.assign(40 * np.asarray(last.kernel))
        if codec.prior_latent == "y":
            continue
        codec.hyper_analysis.layers[-1].kernel.assign(9 * np.asarray(codec.hyper_analysis.layers[-1].kernel))
        final = codec.hyper_synthesis.stages[-1]
        final.bias.assign(random.normal(2, 3, final.bias.shape))


@pytest.fixture(scope="module")
def folder(fresh, tmp_path_factory):
    directory = tmp_path_factory.mktemp("layered")
    export_model(PRESET, fresh, directory)
    return directory / PRESET


@pytest.fixture(scope="module")
def layered(folder):
    return open_model(str(folder))


def untrained(preset, tmp_path_factory, wake=spread, verify=True, **config):
    """An export of a narrow network, as if the preset were it; ``wake`` prepares its weights."""
    keras.utils.set_random_seed(0)
    config = {"channels": 8, "latent_channels": 12, "rate_weight": 100.0, **config}
    changed = dataclasses.replace(get_preset(preset), config=config)
    narrow = changed.create()
    wake(narrow)
    directory = tmp_path_factory.mktemp("narrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codec_zoo.export.saved_model.get_preset", lambda name: changed)
        export_model(preset, narrow, directory, verify=verify)
    return open_model(str(directory / preset))


@pytest.fixture(scope="module")
def hyperprior(tmp_path_factory):
    """Not verified: exports of its network with steps are, in test_variable_rate."""
    return untrained("balle2018-hyperprior-mse-3", tmp_path_factory, verify=False, hyper_channels=8)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (64, 64), (65, 3), (130, 203), (512, 768)])
def test_any_size(layered, noise, photo, size):
    picture = photo if size == (512, 768) else noise(*size)
    codec = LearnedCodec(layered)
    data = codec.encode(picture)
    decoded = codec.decode(data)
    coded = layered.run("encode", images=picture[None])
    by_hand = layered.run("decode", **coded)["images"][0]
    assert decoded.shape == picture.shape and np.array_equal(decoded, by_hand)


@pytest.mark.parametrize("size", [(1, 1), (65, 3), (130, 203)])
def test_models_of_one_layer(hyperprior, size, noise):
    picture = noise(*size)
    data = LearnedCodec(hyperprior).encode(picture)
    coded = hyperprior.run("encode", images=picture[None])
    by_hand = hyperprior.run("decode", **coded)["images"][0]
    assert np.array_equal(LearnedCodec(hyperprior).decode(data), by_hand)


@pytest.mark.parametrize("kind", ["hyperprior", "layered"])
def test_tiles_give_what_the_whole_picture_gives(kind, photo, request):
    """Small tiles, odd sides; but for values that float sums put on the other side of a half."""
    model = request.getfixturevalue(kind)
    picture = photo[:489, :611]
    stride, names = model.stream.stride, [latent.name for latent in model.stream.latents]
    at_once, in_tiles = (Tiles(model, stride, tile) for tile in (TILE, 128))
    whole, tiled = (run.analyse("encode", picture, names, {}) for run in (at_once, in_tiles))
    for name in whole:
        assert whole[name].shape == tiled[name].shape
        assert np.mean(whole[name] != tiled[name]) < 1e-4, name
    shown = [run.show("decode", whole, 489, 611) for run in (at_once, in_tiles)]
    differences = shown[0].astype(int) - shown[1]
    assert np.abs(differences).max() <= 1 and np.mean(differences != 0) < 1e-3
    assert len(list(_tiles(489, 611, 128, 64, 1))) == 5
    # The choice of tables is exact.
    rows = [
        run.run("entropy_parameters_1", 489, 611, ["indexes"], {"z1": whole["z1"]}) for run in (at_once, in_tiles)
    ]
    assert np.array_equal(rows[0]["indexes"], rows[1]["indexes"])


@pytest.fixture(scope="module")
def trained():
    return open_model(PRESET)


@pytest.mark.parametrize("tile", [1024, 128])
def test_a_searched_file_is_smaller_and_no_worse(trained, photo, tile):
    """Also in tiles: each layer codes what the layers below left over of the whole picture."""
    picture = photo[:300, :389]
    plain, searched = LearnedCodec(trained, tile=tile), LearnedCodec(trained, search=5, tile=tile)
    before, after = plain.encode(picture), searched.encode(picture)
    for count, most in ((1, 0.99), (2, 0.96)):
        cut = [container.truncate(data, count) for data in (before, after)]
        quality = [psnr(picture, plain.decode(data)) for data in cut]
        assert len(cut[1]) < most * len(cut[0]) and quality[1] > quality[0] - 0.05


def test_a_search_of_fewer_layers_is_the_start_of_one_of_all(trained, photo):
    picture = photo[:128, :128]
    whole, first = (LearnedCodec(trained, search=2, layers=count).encode(picture) for count in (2, 1))
    assert container.read(whole).layers[0] == container.read(first).layers[0]


def test_a_search_needs_rounds_and_squared_error(trained):
    with pytest.raises(UsageError, match="Received: 'yes'"):
        LearnedCodec(trained, search="yes")
    with pytest.raises(UsageError, match="trained for another measure"):
        LearnedCodec(UntrainedModel(get_preset("jia2019-sae-ms-ssim-e1")), search=1)


def test_gray(layered, photo):
    codec = LearnedCodec(layered)
    assert codec.decode(codec.encode(photo[:70, :80, :1])).shape == (70, 80, 1)


def test_every_cut_decodes_the_layers_that_are_whole(layered, photo):
    picture = photo[:100, :120]
    codec = LearnedCodec(layered)
    data = codec.encode(picture)
    stream = container.read(data)
    first = 24 + 8 + len(stream.layers[0].payload)
    one, two = codec.decode_layers(stream, 1), codec.decode_layers(stream, 2)
    assert not np.array_equal(one, two)
    for length in {first, first + 1, first + 8, (first + len(data)) // 2, len(data) - 1}:
        cut = container.read(data[:length])
        assert cut.missing == 1 and np.array_equal(codec.decode(data[:length]), one)
    for length in (0, 10, 24, 32, first - 1):
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])
    assert np.array_equal(
        LearnedCodec(layered, layers=1).decode(LearnedCodec(layered, layers=1).encode(picture)), one
    )


# Preset → k of its quantisation step.
TRAINED = [
    (name, step)
    for name in weights.index()
    if get_preset(name).stream.layers[0].checked
    for step in ([-40, 0, 60] if get_preset(name).stream.step else [None])
]


@functools.lru_cache(1)
def trained_model(name):
    """The model of a preset; of one preset after the other."""
    return weights.create(name)


@pytest.fixture(scope="module")
def piece(photo):
    """A quarter of the photograph: each layer has some kilobytes of it."""
    return photo[128:384, 192:576]


@pytest.mark.parametrize("name, step", TRAINED)
def test_exact_tables_cost_what_float_ones_would(name, step, piece):
    """≤ 0.5 % more bits for y than with the standard deviations that training saw."""
    model = trained_model(name)
    dials = {} if step is None else {"step": np.array([step], np.int32)}
    coded = model.encode(piece[None], **dials)
    for k, codec in enumerate(model.coders(), 1):
        latents = {latent: np.asarray(coded[f"{latent}{k}"]) for latent in codec.latent_channels_of}
        spent_z = float(np.sum(bits(codec.prior(latents["z"].astype(np.float32)))))
        exact = float(sum(codec.cross_entropies(latents, **dials).values())[0]) - spent_z
        y = np.asarray(codec.join(latents), np.float32)
        with_floats = float(np.sum(bits(gaussian_likelihood(y, float_scales(codec, latents, **dials)))))
        assert exact < with_floats * 1.005, (k, exact / with_floats)


def float_scales(codec, latents, step=None):
    """The standard deviations that training sees: float32, the shape of y."""
    values = {name: value.astype(np.float32) for name, value in latents.items()}
    if isinstance(codec, ContextHyperprior):
        return codec.join(codec.follow(values["z"], step, lambda name, mean, delta: values[name])[2])
    return codec.hyper_synthesis(values["z"], *([] if step is None else [quantisation_step(step)]))


@pytest.mark.parametrize("name, step", TRAINED)
def test_bytes_are_the_cross_entropy(name, step, piece):
    """Within 0.5 % and the container's overhead of what training minimises, on the same integers."""
    codecs = trained_model(name).coders()
    exported = open_model(name)
    dials = {} if step is None else {"step": np.array([step], np.int32)}
    coded = exported.run("encode", images=piece[None], **dials)
    codec = LearnedCodec(exported, **({} if step is None else {"quality": COARSEST - step}))
    payloads = [layer.payload for layer in container.read(codec.encode(piece)).layers]
    for k, (codec, payload) in enumerate(zip(codecs, payloads, strict=True), 1):
        latents = {latent: coded[f"{latent}{k}"] for latent in codec.latent_channels_of}
        ideal = float(sum(codec.cross_entropies(latents, **dials).values())[0]) / 8
        assert ideal * 0.995 < len(payload) < ideal * 1.005 + 8, (k, ideal, len(payload))


def test_targets_choose_layers(layered, photo):
    picture = photo[:128, :128]
    sizes = [len(LearnedCodec(layered, layers=k).encode(picture)) for k in (1, 2)]
    decoded = [LearnedCodec(layered).decode(LearnedCodec(layered, layers=k).encode(picture)) for k in (1, 2)]
    quality = sorted(psnr(picture, image) for image in decoded)

    def layers(**target):
        return len(container.read(LearnedCodec(layered, **target).encode(picture)).layers)

    bpp = [8 * size / 128**2 for size in sizes]
    assert layers(target_bpp=bpp[1]) == 2 and layers(target_bpp=bpp[1] - 0.001) == 1 and layers(target_bpp=1e-9) == 1
    assert layers(target_psnr=quality[0] - 0.1) == 1 and layers(target_psnr=99) == 2
    for wrong in ({"target_bpp": 1, "target_psnr": 30}, {"target_bpp": "x"}):
        with pytest.raises(UsageError):
            LearnedCodec(layered, **wrong)


def test_options(layered):
    for options in ({"tile": 100}, {"tile": 0}, {"layers": 3}, {"layers": 0}, {"layers": "x"}, {"quality": 30}):
        with pytest.raises(UsageError):
            LearnedCodec(layered, **options)


def test_500_mutated_files(layered, photo, mutants):
    codec = LearnedCodec(layered)
    data = codec.encode(photo[:64, :96])
    one = codec.decode_layers(container.read(data), 1)
    for mutant in mutants(data, 500):
        try:
            decoded = codec.decode(mutant)
        except CodecZooError:
            continue
        assert np.array_equal(decoded, one)


def test_lying_payloads_with_valid_checksums(layered, photo):
    codec = LearnedCodec(layered)
    card = layered.card
    true = container.read(codec.encode(photo[:64, :96])).layers[0].payload
    for payload in (b"", true[:3], true[:5], true[:4] + b"\xff" * 9, true[:4] + b"\x05", true[:-9], true[4:] + true):
        layers = [Layer(LayerKind.LATENT, payload)]
        data = container.write(card["preset"], card["weights_sha256"], 96, 64, 3, layers)
        with pytest.raises(BitstreamError):
            codec.decode(data)
    wrong = [Layer(LayerKind.BASE, true)]
    with pytest.raises(BitstreamError, match="not those of"):
        codec.decode(container.write(card["preset"], card["weights_sha256"], 96, 64, 3, wrong))


def test_other_tables_are_found_out(folder, photo):
    model = open_model.__wrapped__(str(folder))
    data = LearnedCodec(model).encode(photo[:64, :64])
    tables = dict(model.tables)
    tables["z1"] = dataclasses.replace(tables["z1"], offset=tables["z1"].offset + 1)
    model.__dict__["tables"] = tables
    with pytest.raises(BitstreamError, match="other tables"):
        LearnedCodec(model).decode(data)


def test_leb128():
    for value in (0, 1, 127, 128, 300, 2**28):
        assert _read_leb128(b"ab" + _leb128(value), 2) == (value, 2 + len(_leb128(value)))


# Environments of a process, and what a script does in it, one after the other.
SETTINGS = (
    ({}, ("plain", "single", "xla")),
    ({"TF_ENABLE_ONEDNN_OPTS": "0"}, ("no-onednn",)),
    ({"ONEDNN_MAX_CPU_ISA": "SSE41", "TF_ENABLE_ONEDNN_OPTS": "1"}, ("sse",)),
    ({"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}, ("one-thread",)),
)
# A script finds `folder`, `mode`, `given`, arrays by name; it makes `rows`, arrays by name.
_AROUND = """
import sys
import numpy as np
import tensorflow as tf
folder, given, got, *modes = sys.argv[1:]
model = tf.saved_model.load(folder)
given = dict(np.load(given))
for mode in modes:
{script}
    np.savez(f"{{got}}/{{mode}}.npz", **rows)
"""


def check_everywhere(script, folder, given, expected, tmp_path):
    """A script's arrays are equal with oneDNN off or held to SSE4.1, 1 thread and all, batches of 1, XLA."""
    np.savez(tmp_path / "given.npz", **given)
    program = _AROUND.format(script=textwrap.indent(script, "    "))
    for variables, modes in SETTINGS:
        command = [sys.executable, "-I", "-c", program, folder, tmp_path / "given.npz", tmp_path, *modes]
        subprocess.run(command, check=True, env={**os.environ, **variables})
        for mode in modes:
            with np.load(tmp_path / f"{mode}.npz") as found:
                assert found.files == list(expected)
                for name, rows in expected.items():
                    assert np.array_equal(found[name], rows), (mode, name)


_ENTROPY_PARAMETERS = """
z, function = given["z"], model.signatures["entropy_parameters_1"]
if mode == "xla":
    found = tf.function(lambda z: function(z1=z)["indexes"], jit_compile=True)(tf.constant(z)).numpy()
elif mode == "single":
    found = np.concatenate([function(z1=tf.constant(one[None]))["indexes"].numpy() for one in z])
else:
    found = function(z1=tf.constant(z))["indexes"].numpy()
rows = {"rows": found}
"""


def test_table_choice_is_exact_everywhere(fresh, folder, tmp_path):
    z = np.random.default_rng(2).integers(-40, 41, (8, 9, 12, 48)).astype(np.int32)
    expected = np.asarray(fresh.coders()[0].hyper_synthesis.exact(z))
    assert len(np.unique(expected)) > 40
    check_everywhere(_ENTROPY_PARAMETERS, folder / "1", {"z": z}, {"rows": expected}, tmp_path)


def test_exact_and_float_hyper_synthesis_agree(fresh):
    """What training saw and what files use differ by less than a row of the table."""
    from codec_zoo.entropy_models import scale_table

    z = np.random.default_rng(3).integers(-9, 10, (2, 6, 6, 48)).astype(np.int32)
    layer = fresh.coders()[0].hyper_synthesis
    scale = np.clip(np.asarray(layer(z.astype(np.float32))), None, scale_table()[-1])
    chosen = scale_table()[np.asarray(layer.exact(z))]
    assert np.abs(np.log(scale / chosen)).max() < 0.08


_ELSEWHERE = """
import sys
from pathlib import Path
import keras
import numpy as np
from keras import ops
from codec_zoo import weights
from codec_zoo.presets import get_preset
preset, stored, given, got = sys.argv[1:]
model = get_preset(preset).create()
weights.load(model, Path(stored))
z = ops.convert_to_tensor(np.load(given))
np.save(got, ops.convert_to_numpy(model.coders()[0].hyper_synthesis.exact(z)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_table_choice_is_exact_on_other_backends(backend, request, tmp_path):
    """They and TensorFlow choose the same rows, from the same half-precision weights."""
    installed = request.getfixturevalue(f"{backend}_environment")
    model = get_preset("jia2019-sae-mse-base").create()
    random = np.random.default_rng(4)
    bias = model.coders()[0].hyper_synthesis.stages[-1].bias
    bias.assign(random.normal(2, 3, bias.shape))
    stored, given, got = tmp_path / "a.weights.h5", tmp_path / "z.npy", tmp_path / "got.npy"
    weights.save(model, stored)
    weights.load(model, stored)
    z = random.integers(-40, 41, (2, 9, 12, 48)).astype(np.int32)
    np.save(given, z)
    command = [installed / "bin" / "python", "-c", _ELSEWHERE, "jia2019-sae-mse-base", stored, given, got]
    environment = {"PATH": os.environ["PATH"], "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    assert np.array_equal(np.load(got), np.asarray(model.coders()[0].hyper_synthesis.exact(z)))
