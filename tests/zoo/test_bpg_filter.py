"""The filter behind BPG: where it starts, what the QP and the strengths do, that it learns."""

import keras
import numpy as np
import pytest

from codec_zoo.filter_layers import RGB_STEPS
from codec_zoo.models.bpg_filter import QUALITIES, TO_RGB, BPGFilter, error_size
from codec_zoo.presets import get_preset
from codec_zoo.receptive_field import receptive_fields


@pytest.fixture
def model():
    """Small, and one that changes images, at each QP in another way."""
    keras.utils.set_random_seed(0)
    model = BPGFilter(channels=8, coarse_channels=12, coarse_blocks=2)
    random = np.random.default_rng(0)
    for variable in (model.last.kernel, model.factors.kernel):
        variable.assign(random.normal(0, 0.1, variable.shape))
    return model


def numpy(value):
    return keras.ops.convert_to_numpy(value)


def test_it_is_as_large_as_planned():
    assert 200_000 < get_preset("bpg-filter").create().count_params() < 600_000


@pytest.mark.parametrize("size", [(1, 1), (9, 14), (16, 13)])
def test_it_starts_as_the_codecs_picture(noise, size):
    model = BPGFilter(channels=8, coarse_channels=12, coarse_blocks=2)
    image = noise(*size)
    got = numpy(model.decode(**model.encode(image[None]))["images"])[0]
    assert np.array_equal(got, image)


def test_strengths_multiply_y_cb_and_cr(model, noise):
    """Zeros are the codec's picture; the exported changes at their strengths are what is shown, but for rounding."""
    strengths = np.array([[0, 0, 0], [1, 1, 1], [0.5, -1.5, 1.25]], np.float32)
    images = np.repeat(64 + noise(24, 22)[None] // 2, len(strengths), axis=0)
    quality = np.full((len(strengths), 1), 30, np.float32)
    shown = numpy(model.decode(images, quality, strengths)["images"]).astype(float)
    changes = (numpy(model.changes(images, quality)["changes"]).astype(float) - 128) / RGB_STEPS
    changes = changes.reshape(*images.shape, 3)
    assert np.abs(changes).max() < 30 and np.abs(changes).mean() > 0.1
    expected = np.clip(images + np.einsum("nhwpk,nk->nhwp", changes, strengths), 0, 255)
    assert np.array_equal(shown[0], images[0]) and np.abs(shown - expected).max() <= 0.5 + 3.25 / 2 / RGB_STEPS
    assert len({picture.tobytes() for picture in shown}) == len(strengths)
    gray = numpy(model.residual(images, quality)) @ np.array(TO_RGB)
    assert np.abs(gray - changes.sum(-1)).max() <= 1.51 / RGB_STEPS


def test_each_image_of_a_batch_has_its_own_quality(model, noise):
    """Those beyond the trained ones are taken for the nearest."""
    image = noise(16, 16)[None]
    qualities = np.array([[24.0], [40.0], [QUALITIES[1]], [51.0]], np.float32)
    together = numpy(model.residual(np.repeat(image, 4, axis=0), qualities))
    for one, quality in zip(together, qualities, strict=True):
        np.testing.assert_allclose(numpy(model.residual(image, quality[None]))[0], one, atol=1e-4)
    assert not np.allclose(together[0] / error_size(24), together[1] / error_size(40), atol=1e-3)
    assert np.array_equal(together[2], together[3])


def test_an_odd_side_changes_nothing_far_from_it(model, noise):
    image, quality = noise(97, 95)[None], np.array([[33.0]], np.float32)
    field = receptive_fields(model)["decode"]
    odd, even = (numpy(model.residual(part, quality)) for part in (image, image[:, :96, :94]))
    inside = np.s_[:, : 96 - field, : 94 - field]
    assert odd.shape == (1, 97, 95, 3) and np.abs(odd[inside] - even[inside]).max() < 1e-3


def test_the_loss_is_a_share_of_bpgs(model):
    """Without a filter it is about one where the error is that of the QP; half as much error costs a quarter."""
    true = np.random.default_rng(0).integers(60, 196, (2, 64, 64, 3))
    for quality in (22, 34, 44):
        error = float(error_size(quality))
        decoded = np.clip(np.round(true + np.random.default_rng(1).normal(0, error, true.shape)), 0, 255)
        pairs = np.concatenate([decoded, true, np.full((2, 64, 64, 1), quality)], axis=-1).astype(np.uint8)
        nothing = np.zeros_like(true, np.float32)
        assert float(model.compute_loss(x=pairs, y_pred=nothing)) == pytest.approx(1, abs=0.05)
        half = (true - decoded) / 2 @ np.linalg.inv(np.array(TO_RGB))
        left = float(model.compute_loss(x=pairs, y_pred=half.astype(np.float32)))
        assert left == pytest.approx(0.25, abs=0.02)


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = BPGFilter(channels=8, coarse_channels=12, coarse_blocks=1)
    random = np.random.default_rng(0)
    true = np.kron(random.integers(0, 256, (8, 6, 6, 3)), np.ones((1, 8, 8, 1)))
    decoded = np.clip(true + random.integers(-9, 10, true.shape), 0, 255)
    pairs = np.concatenate([decoded, true, np.full((8, 48, 48, 1), 32)], axis=-1).astype(np.uint8)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    losses = [float(model.train_on_batch(pairs)) for _ in range(100)]
    assert losses[-1] < 0.8 * losses[0]
    scored = model.evaluate_image(pairs[0])
    assert scored.original.shape == scored.reconstruction.shape == (48, 48, 3) and scored.loss < losses[0]
