"""What every preset of the zoo keeps to, whatever its paper.

The presets are shared out among the files ``test_contract_*.py``, which take about equally long, so that workers run
side by side. Two marks keep the default run short. ``once``: by default for one preset of each architecture, slow for
the rest. ``measured``: by default also for every preset with weights.
"""

import json
import os
import warnings
from collections.abc import Mapping

import golden
import keras
import numpy as np
import pytest
from keras import ops

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.export.saved_model import verify_export
from codec_zoo.presets import Preset, list_presets
from codec_zoo.training.optimizers import make_optimizer

# What each file's presets begin with; the last file has all others.
SHARES = {"balle": ("balle2017-", "balle2018-"), "jia": ("jia2019-",), "report": ("report2017-",), "others": ("",)}


def presets_of(share: str) -> list[Preset]:
    """The presets of one file."""
    return [
        preset
        for preset in list_presets()
        if share == next(name for name, stems in SHARES.items() if preset.name.startswith(stems))
    ]


def is_trained(preset: Preset) -> bool:
    """Whether its files can be measured: it has weights, or each file brings its own."""
    return preset.name in weights.index() or not preset.trains


def architecture(preset: Preset) -> str:
    """Equal for presets whose networks differ in their weights alone, or in their loss."""
    shape = {key: value for key, value in preset.config.items() if "weight" not in key and key != "distortion"}
    return f"{preset.model.__name__} {shape!r}"


def representatives() -> set[str]:
    """The names of one preset of each architecture, with weights where there is one."""
    presets = sorted(list_presets(), key=is_trained)
    return set({architecture(preset): preset.name for preset in presets}.values())


def training_batch(preset: Preset) -> np.ndarray:
    """Two patches as the preset trains on them: ``uint8 [2, P, P, C]``."""
    side = 192 if "-ms-ssim-" in preset.name else 64
    kodak = golden.picture(side, 2 * side)
    patches = np.stack([kodak[:, :side], kodak[:, side:]])
    if preset.data == "decoded-luma":  # and true luma
        return np.stack([patches[..., 1] // 8 * 8, patches[..., 1]], axis=-1)
    if preset.data == "decoded-rgb":  # and true RGB, and the quality
        return np.concatenate([patches // 8 * 8, patches, np.full_like(patches[..., :1], 34)], axis=-1)
    return patches[..., :1] if preset.data == "luma" else patches


def numpy_values(variables) -> list[np.ndarray]:
    """Copies of Keras variables."""
    return [np.array(variable.numpy()) for variable in variables]


def outputs(model: keras.Model) -> list[np.ndarray]:
    """What a model answers to a picture, or, without signatures, to noise."""
    if not model.signatures:
        return [ops.convert_to_numpy(model(np.random.default_rng(0).normal(size=(9, 60)).astype("float32")))]
    given = {"images": golden.picture(64, 64)[None], "step": np.array([9], np.int32)}
    encode, decode = (model.signatures[name] for name in ("encode", "decode"))
    coded = encode.function(**{name: given[name] for name in encode.inputs})
    decoded = decode.function(**coded)
    return [ops.convert_to_numpy(value) for value in (*coded.values(), *decoded.values())]


class Contract:
    """The tests; ``conftest.py`` gives them the presets of :attr:`share`, and the fixtures."""

    share: str

    def test_it_builds(self, preset, model):
        """With the attributes that the training loop, the export and the codecs rely on."""
        assert isinstance(model, keras.Model) and model.built and model.count_params() > 0
        if not preset.trains:
            return
        assert type(model.stride) is int and preset.recipe.patch_size % model.stride == 0
        assert {"encode", "decode"} <= model.signatures.keys()
        for signature in model.signatures.values():
            assert callable(signature.function) and isinstance(signature.inputs, Mapping)
            for dtype, shape in (*signature.inputs.values(), *signature.outputs.values()):
                assert dtype in ("uint8", "int32", "float32")
                assert all(side is None or type(side) is int for side in shape)
        assert all(isinstance(prior, keras.layers.Layer) for prior in model.priors.values())
        known = {id(variable) for variable in model.variables}
        for learner in model.learners():
            assert learner.trainable_variables and {id(v) for v in learner.trainable_variables} <= known

    @pytest.mark.once
    def test_it_comes_back_from_its_config(self, model):
        """With the same weights it answers the same."""
        again = type(model).from_config(model.get_config())
        assert again.get_config() == model.get_config()
        again.set_weights(model.get_weights())
        for mine, other in zip(outputs(model), outputs(again), strict=True):
            assert np.array_equal(mine, other)

    @pytest.mark.once
    def test_it_comes_back_from_a_keras_file(self, model, tmp_path):
        """Architecture and weights, to the last bit."""
        keras.saving.save_model(model, tmp_path / "a.keras")
        again = keras.saving.load_model(tmp_path / "a.keras")
        assert type(again) is type(model)
        for mine, other in zip(numpy_values(model.weights), numpy_values(again.weights), strict=True):
            assert np.array_equal(mine, other)

    @pytest.mark.once
    def test_it_trains(self, preset):
        """Two steps of its recipe, so that both sides of a GAN learn; not compiled, which would take longer."""
        if not preset.trains:
            pytest.skip("it learns each picture, while it codes")
        keras.utils.set_random_seed(0)
        model, batch = preset.create(), training_batch(preset)
        learners = model.learners()
        for learner in learners:
            learner.compile(optimizer=make_optimizer(preset.recipe), run_eagerly=True, jit_compile=False)
        for step in range(2):
            before = numpy_values(model.trainable_variables)
            losses = model.learn(learners, batch, step)
            assert losses and all(np.isfinite(float(loss)) for loss in losses.values())
            after = numpy_values(model.trainable_variables)
            assert all(np.isfinite(value).all() for value in after)
            assert any((old != new).any() for old, new in zip(before, after, strict=True))

    @pytest.mark.measured
    def test_it_exports(self, preset, codec):
        """The card of the SavedModel names the preset and has the signatures of its model."""
        if not preset.trains:
            pytest.skip("there is nothing to export")
        card = json.loads((codec.model.folder / "assets" / "model_card.json").read_text())
        assert card["preset"] == preset.name and card["parameters"] > 0 and len(card["weights_sha256"]) == 64
        assert {"encode", "decode"} <= card["signatures"].keys() == card["outputs"].keys()
        assert card["outputs"]["encode"] == card["signatures"]["decode"]
        assert (codec.model.folder / "saved_model.pb").exists()

    @pytest.mark.slow
    def test_the_export_is_the_model(self, preset, codec):
        """In a fresh process that has TensorFlow alone; of one preset of each architecture."""
        if not preset.trains or preset.name not in representatives():
            pytest.skip("there is nothing to export, or another preset has the same architecture")
        keras.utils.set_random_seed(0)
        model = weights.create(preset.name) if is_trained(preset) else preset.create()
        verify_export(model, codec.model.folder)

    @pytest.mark.measured
    def test_it_codes(self, codec):
        """A file has the picture's shape, is the same each time, and decodes behind each of its layers."""
        for size in ((64, 96, 3), (37, 51, 1)):
            data = codec.encode(golden.picture(*size))
            stream = container.read(data)
            assert (stream.height, stream.width, stream.channels) == size and stream.missing == 0
            counts = range(1, len(stream.layers) + 1)
            shown = [codec.decode(container.truncate(data, count)) for count in counts]
            assert all(picture.shape == size and picture.dtype == np.uint8 for picture in shown)
            assert np.array_equal(shown[-1], codec.decode(data))
        assert codec.encode(golden.picture(*size)) == data

    @pytest.mark.measured
    @pytest.mark.filterwarnings("default:.*another processor")
    def test_its_file_is_the_golden_one(self, preset, measured):
        """To the last bit, or on another processor nearly; CODEC_ZOO_SAME_MACHINE=1 says that this is the same."""
        if not is_trained(preset):
            pytest.skip("no weights")
        expected = golden.load()[preset.name]["golden"]
        if measured == expected:
            return
        told = f"{preset.name} makes {measured} of the golden crop, and golden.json has {expected}."
        remedy = "If this is wanted: python tests/contract/make.py"
        assert os.environ.get("CODEC_ZOO_SAME_MACHINE") != "1", f"{told} {remedy}"
        assert golden.is_near(measured, expected), f"{told} {remedy}"
        warnings.warn(
            f"{told} It may be another processor's rounding: CODEC_ZOO_SAME_MACHINE=1 is strict.", stacklevel=1
        )

    @pytest.mark.measured
    def test_it_reaches_its_floor(self, preset, measured):
        """Worse weights, or a worse encoder, are noticed."""
        if not is_trained(preset):
            pytest.skip("no weights")
        floor = golden.load()[preset.name]["floor"]
        assert golden.reaches(measured, floor), f"{preset.name} reaches {measured}, its floor is {floor}"
