import math

import numpy as np
import pytest
from keras import ops

from codec_zoo.errors import UsageError
from codec_zoo.metrics import ms_ssim, psnr, ssim


def noisy_pair(size, seed=0):
    random = np.random.default_rng(seed)
    a = np.clip(np.cumsum(random.normal(0, 9, (2, *size, 3)), axis=2) + 128, 0, 255)
    return a.astype(np.uint8), np.clip(a + random.normal(0, 12, a.shape), 0, 255).astype(np.uint8)


def test_psnr_by_hand():
    a = np.zeros((2, 2, 3), np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize("size", [(176, 176), (181, 203), (256, 192)])
def test_ms_ssim_is_that_of_tensorflow(size):
    tf = pytest.importorskip("tensorflow")
    a, b = noisy_pair(size)
    theirs = tf.image.ssim_multiscale(a, b, 255).numpy()
    for ours in (ms_ssim(a, b), ms_ssim(ops.convert_to_tensor(a), ops.convert_to_tensor(b))):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), theirs, atol=2e-5)
        assert ours.shape == (2,)


def test_ssim_refuses_small_pictures():
    small = np.zeros((1, 10, 40, 1), np.uint8)
    with pytest.raises(UsageError, match="11 pixels"):
        ssim(small, small)


def test_ms_ssim_has_a_gradient_where_pictures_are_opposites():
    """There a scale's contrast is below 0, and counts as 0."""
    import tensorflow as tf

    picture = np.random.default_rng(0).uniform(0, 255, (1, 176, 177, 1)).astype(np.float32)
    opposite = tf.constant(255 - picture)
    with tf.GradientTape() as tape:
        tape.watch(opposite)
        value = ms_ssim(tf.constant(picture), opposite)
    assert value.numpy() == 0 and np.isfinite(tape.gradient(value, opposite)).all()
    assert ms_ssim(picture, 255 - picture) == 0


def test_ms_ssim_refuses_small_pictures():
    with pytest.raises(UsageError, match="176"):
        ms_ssim(np.zeros((1, 175, 200, 3)), np.zeros((1, 175, 200, 3)))
