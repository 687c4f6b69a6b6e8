"""Transform codes in training: where they start, both objectives, their streams."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from codec_zoo import weights
from codec_zoo.codecs.image_files import PatchSampler
from codec_zoo.convolutions import policy
from codec_zoo.metrics import psnr
from codec_zoo.models.balle2017 import FactorizedPriorModel
from codec_zoo.models.balle2018 import ScaleHyperprior
from codec_zoo.models.jia2019 import ScalableAutoencoder
from codec_zoo.presets import get_preset


@pytest.fixture(scope="module")
def patches(photo_module):
    return PatchSampler([photo_module], 256, 16).batch(0)


@pytest.fixture(scope="module")
def photo_module():
    from codec_zoo.codecs.image_reader import read_rgb
    from codec_zoo.harness.evaluation import find_pictures

    return read_rgb(find_pictures("kodak")[22])


SMALL = {"channels": 48, "latent_channels": 48}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (ScaleHyperprior, {**SMALL, "hyper_channels": 8, "kernels": (9, 5, 5), "strides": (4, 2, 2)}),
        (FactorizedPriorModel, SMALL),
        (ScaleHyperprior, {"channels": 64, "latent_channels": 96, "hyper_channels": 8}),
    ],
)
def test_a_start_from_the_data_is_a_transform_code(kind, config, patches, photo_module):
    """Before any training: far above a gray image, and a smaller λ gives finer quantisation."""
    quality = []
    for rate_weight in (300.0, 3.0):
        model = kind(**config, rate_weight=rate_weight)
        model.initialize(patches)
        quality.append(psnr(photo_module, model.evaluate_image(photo_module).reconstruction))
    assert quality[0] > psnr(photo_module, np.full_like(photo_module, 127)) + 12
    assert quality[1] > quality[0] + 0.5


def test_an_upper_layer_starts_from_what_is_left_over(patches, photo_module):
    layer = {**SMALL, "hyper_channels": 8}
    base = ScalableAutoencoder([layer], [300.0])
    base.initialize(patches)
    stack = ScalableAutoencoder([layer, {"channels": 96, "latent_channels": 96, "hyper_channels": 8}], [300.0, 10.0])
    stack.load_lower_layers(base)
    stack.initialize(patches)
    lower = base.evaluate_image(photo_module).reconstruction
    assert psnr(photo_module, stack.evaluate_image(photo_module).reconstruction) > psnr(photo_module, lower) + 0.5
    assert not stack.codecs[0].trainable


def test_normalized_activations_leave_the_codec_alone(patches, photo_module):
    """Inside both transforms channels have a root mean square of 1, pools the same strength; images are equal."""
    layer = {**SMALL, "hyper_channels": 8}
    base = ScalableAutoencoder([layer], [300.0])
    base.initialize(patches)
    model = ScalableAutoencoder([layer, layer], [300.0, 30.0])
    model.load_lower_layers(base)
    model.initialize(patches)
    for gdn in (model.codecs[1].analysis.get_layer("gdn0"), model.codecs[1].synthesis.get_layer("igdn1")):
        gdn.gamma_root.assign(-20 * gdn.gamma_root)  # γ is a square: training takes roots to either side
    before = model.evaluate_image(photo_module)
    model.normalize_activations(patches)
    after = model.evaluate_image(photo_module)
    assert psnr(before.reconstruction, after.reconstruction) > 55
    assert after.bpp == pytest.approx(before.bpp, rel=1e-3)
    top, residuals = model.codecs[1], model.residuals(patches[:8])
    for network, values in (
        (top.analysis, residuals),
        (top.synthesis, top.encode_residual(residuals)["y"].numpy().astype("f4")),
    ):
        for stage in network.layers[:-1]:
            values = stage(values)
            if "conv" in stage.name:
                assert np.sqrt(np.mean(np.square(values))) == pytest.approx(1.0, rel=1e-3)


def test_both_objectives(patches):
    """D is the squared error, or 100 · (1 − MS-SSIM), each on what a decoder shows; so says the evaluation."""
    for distortion, low, high in (("mse", 100, 65025), ("ms_ssim", 1, 100)):
        model = FactorizedPriorModel(8, 8, rate_weight=1e-6, distortion=distortion)
        model.initialize(patches)
        loss = float(model.compute_loss(patches[:1], np.float32([1e-6]), model(patches[:1])))
        assert low < loss < high and model.evaluate_image(patches[0]).loss == pytest.approx(loss, rel=0.03)
    with pytest.raises(ValueError, match="distortion"):
        FactorizedPriorModel(8, 8, distortion="l1")


def with_policy(chosen, make):
    keras.mixed_precision.set_dtype_policy(chosen)
    try:
        return make()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_gradients_of_half_precision_are_those_of_float32(photo_module):
    """Those of Keras's mixed_bfloat16 are not: on a CPU TensorFlow sums in bfloat16 too."""
    images = np.stack([photo_module[y : y + 192, :192] for y in (0, 100, 200, 300)])
    found = []
    for precision in ("float32", "mixed_bfloat16"):
        model = with_policy(policy(precision), get_preset("jia2019-sae-mse-base").create)
        model.set_weights(weights.create("jia2019-sae-mse-base").get_weights())
        with tf.GradientTape() as tape:
            loss = model.compute_loss(images, np.full(4, 3000.0, np.float32), model(images, training=True))
        found.append([np.asarray(g).ravel() for g in tape.gradient(loss, model.trainable_variables)])
    for variable, exact, fast in zip(model.trainable_variables, *found, strict=True):
        assert exact @ fast > 0.9 * np.linalg.norm(exact) * np.linalg.norm(fast), variable.path
        assert np.linalg.norm(fast) == pytest.approx(np.linalg.norm(exact), rel=0.25), variable.path


def test_half_precision_trains_and_codes(patches, photo_module):
    """With transforms in bfloat16 latents stay integers and pictures close to float32's."""
    layer = {**SMALL, "hyper_channels": 8}
    reference = ScalableAutoencoder([layer, layer], [300.0, 30.0])
    model = with_policy(policy("mixed_bfloat16"), lambda: ScalableAutoencoder([layer, layer], [300.0, 30.0]))
    reference.initialize(patches)
    model.set_weights(reference.get_weights())
    model.compile(optimizer=keras.optimizers.Adam(1e-9))
    assert np.isfinite(model.learn([model], patches[:1], 0)["loss"])
    result = model.evaluate_image(photo_module)
    assert result.latents["y2"].dtype == np.int32
    assert psnr(reference.evaluate_image(photo_module).reconstruction, result.reconstruction) > 30


def test_the_streams_strides_are_the_networks():
    layer = {"channels": 4, "latent_channels": 4, "hyper_channels": 4}
    model = ScalableAutoencoder([layer, layer], [1.0, 1.0])
    known = ScalableAutoencoder.make_stream([layer, layer], [1.0, 1.0])
    assert known.stride == model.stride and known.count == 2
    strides = {latent.name: latent.stride for latent in known.latents}
    assert strides == {"z1": 64, "y1": 16, "z2": 64, "y2": 16}
