"""LPIPS as an optional metric; a stand-in has the place of its package, which brings PyTorch."""

import pickle
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

import codec_zoo as cz
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
def package(tmp_path, monkeypatch):
    """A stand-in of ``lpips``, ``torch`` and ``torchvision``: the distance is the mean absolute difference."""

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
    hub = types.SimpleNamespace(get_dir=lambda: str(tmp_path / "hub"))
    torch = types.SimpleNamespace(from_numpy=lambda array: array, no_grad=NoGrad, hub=hub)
    weights = types.SimpleNamespace(IMAGENET1K_V1=types.SimpleNamespace(url="https://example.org/models/alex.pth"))
    models = types.SimpleNamespace(AlexNet_Weights=weights)
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Network))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(models=models))
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

    class Unused:
        def encode(self, image):
            raise AssertionError("the error comes first")

        decode = encode

    with pytest.raises(MissingPackageError, match="lpips"):
        cz.measure(Unused(), pictures, lpips=True)


def test_missing_weights_are_named_with_their_place(package, tmp_path, monkeypatch):
    def fails(**_):
        raise OSError("no network")

    monkeypatch.setattr(package, "LPIPS", fails)
    path = tmp_path / "hub" / "checkpoints" / "alex.pth"
    missing = f"{path} is missing, and its download failed (no network): the weights of AlexNet"
    with pytest.raises(
        CodecZooError, match=re.escape(missing) + ".* https://example.org/models/alex.pth .*TORCH_HOME"
    ):
        perceptual.network()


@pytest.mark.parametrize("error", [EOFError, KeyError, RuntimeError, pickle.UnpicklingError])
def test_damaged_weights_are_named(package, tmp_path, monkeypatch, error):
    def fails(**_):
        raise error("what PyTorch says")

    monkeypatch.setattr(package, "LPIPS", fails)
    path = tmp_path / "hub" / "checkpoints" / "alex.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(CodecZooError, match=re.escape(f"{path} is damaged: ")):
        perceptual.network()


def test_a_download_is_not_told_on_stdout(package, monkeypatch, capsys):
    def downloads(**_):
        print("Downloading")
        return types.SimpleNamespace(eval=lambda: None)

    monkeypatch.setattr(package, "LPIPS", downloads)
    perceptual.network()
    assert capsys.readouterr() == ("", "Downloading\n")


def test_triton_is_hidden_while_pytorch_loads_after_tensorflow(package, monkeypatch):
    """The two crash in one process."""
    hidden = []

    def loads(**_):
        hidden.append("triton" in sys.modules and sys.modules["triton"] is None)
        return types.SimpleNamespace(eval=lambda: None)

    monkeypatch.setattr(package, "LPIPS", loads)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    for tensorflow in (True, False):
        if tensorflow:
            monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace())
        else:
            monkeypatch.delitem(sys.modules, "tensorflow")
        perceptual.network.cache_clear()
        perceptual.network()
        assert "triton" not in sys.modules
    assert hidden == [True, False]


def test_releases_of_pytorch_that_do_not_fit_are_named(package, monkeypatch):
    class Breaks:
        def find_spec(self, name, *_):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(sys, "meta_path", [Breaks(), *sys.meta_path])
    with pytest.raises(CodecZooError, match=r"nms does not exist.*belong together"):
        perceptual.network()
