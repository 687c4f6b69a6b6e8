"""LPIPS as an optional metric; a stand-in has the place of its package, which brings PyTorch."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from codec_zoo.errors import CodecZooError, MissingPackageError
from codec_zoo.harness import evaluation, perceptual


@pytest.fixture
def pictures(tmp_path, kodak_paths):
    """A piece of a photograph, and one that is too small."""
    for side in (96, 32):
        with Image.open(kodak_paths[0]) as image:
            image.crop((0, 0, side, side)).save(tmp_path / f"{side}.png")
    return sorted(tmp_path.glob("*.png"))


@pytest.fixture
def package(monkeypatch):
    """A stand-in of ``lpips`` and ``torch``: the distance is the mean absolute difference."""

    class Network:
        def __init__(self, net, verbose):
            assert net == "alex" and verbose is False

        def eval(self):
            return self

        def __call__(self, a, b):
            assert a.shape == b.shape == (1, 3, 96, 96) and a.dtype == np.float32
            assert a.min() >= -1 and a.max() <= 1
            return np.mean(np.abs(a - b))

    class NoGrad:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    perceptual.network.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Network))
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, no_grad=NoGrad))
    yield sys.modules["lpips"]
    perceptual.network.cache_clear()


def test_rows_have_it_where_it_is_asked_for(pictures, package, tmp_path):
    output = tmp_path / "rows.jsonl"
    plain = evaluation.evaluate(["jpeg:30"], pictures, output)
    assert not any("lpips" in row for row in plain) and "lpips" not in evaluation.summarize(plain)[0]
    rows = {row["image"]: row for row in evaluation.evaluate(["jpeg:30"], pictures, output, lpips=True)}
    assert 0 < rows["96.png"]["lpips"] < 1 and rows["32.png"]["lpips"] is None
    (point,) = evaluation.summarize(rows.values())
    assert point["lpips"] == rows["96.png"]["lpips"] and point["lpips_pictures"] == 1
    assert f"LPIPS {point['lpips']:.4f}" in evaluation.format_point(point)
    again = evaluation.evaluate(["jpeg:30"], pictures, output, lpips=True)
    assert {row["image"]: row for row in again} == rows  # they are in the file


def test_equal_images_have_none(package):
    image = np.full((96, 96, 3), 7, np.uint8)
    assert perceptual.lpips(image, image) == 0


def test_a_missing_package_is_named_before_the_work(pictures, monkeypatch):
    perceptual.network.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingPackageError, match=r"lpips.*codec-zoo\[lpips\]"):
        evaluation.evaluate(["jpeg:30"], pictures, lpips=True)


def test_weights_that_cannot_be_loaded(package, monkeypatch):
    def fails(**_):
        raise OSError("no network")

    monkeypatch.setattr(package, "LPIPS", fails)
    with pytest.raises(CodecZooError, match="TORCH_HOME"):
        perceptual.network()
