"""Files of a model in training."""

import numpy as np
import pytest

from codec_zoo import weights
from codec_zoo.cli.unexported import UnexportedModel, file_sizes
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.export.runtime import open_model
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset
from codec_zoo.training import loop

PRESET = "jia2019-sae-mse-base"


@pytest.fixture(scope="module")
def model():
    return weights.create(PRESET)


def test_files_are_those_of_the_export(model, photo):
    image = photo[:130, :201]
    codec, exported = LearnedCodec(UnexportedModel(get_preset(PRESET), model)), LearnedCodec(open_model(PRESET))
    data = codec.encode(image)
    assert len(data) == pytest.approx(len(exported.encode(image)), abs=3)  # tables may differ by a count
    # The graph of an export adds floats in another order.
    differences = np.abs(codec.decode(data).astype(int) - exported.decode(exported.encode(image)))
    assert differences.max() <= 1 and differences.mean() < 1e-3
    assert psnr(image, codec.decode(data)) > 24


def test_held_out_rates_are_of_files(model, photo):
    images = [photo[:128, :192], photo[100:228, 100:292]]
    sizes = file_sizes(get_preset(PRESET))
    scores, probes, _ = loop.evaluate(model, images, sizes)
    bits = [8 * sizes(model)(image) / image[..., 0].size for image in images]
    assert scores["bpp"] == pytest.approx(np.mean(bits), rel=1e-12)
    # The header and the ends of strings are more than the cross-entropy has.
    entropy = np.mean([probe.bpp for probe in probes])
    assert entropy < scores["bpp"] < entropy + 8 * 60 / images[0][..., 0].size


def test_other_presets_have_a_rate_of_their_own():
    for preset in ("fu2019-hybrid-s16-prelu", "balle2018-hyperprior-mse-vbr"):
        assert file_sizes(get_preset(preset)) is None
