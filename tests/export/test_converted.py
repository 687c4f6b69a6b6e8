"""Exports to ONNX and LiteRT: the model's integers, its pixels within a level, and the same files."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper

from codec_zoo import weights
from codec_zoo.codecs.specs import codec_for
from codec_zoo.contract import Signature
from codec_zoo.errors import ModelError
from codec_zoo.export import onnx_files, saved_model
from codec_zoo.export.card import FILE, parse_card
from codec_zoo.export.litert_file import open_litert
from codec_zoo.export.runtime import OnnxModel, open_model

# A hyperprior, whose tables are chosen in float64, and a model without a range coder.
SMALL = ("jia2019-sae-mse-base", "report2017-cnn-ae-ft")
OTHERS = sorted(set(weights.index()) - set(SMALL))
PRESETS = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


def compare(preset, form, folder, run):
    """All integers are the model's, and no sample of an image is off by more than a level."""
    exported = json.loads((folder / "assets" / FILE).read_text())["signatures"]
    for name, inputs, values in saved_model._samples(weights.create(preset).signatures):
        if name not in exported:
            assert form == "litert" and not name.startswith(("encode", "decode"))
            continue
        got = run(name, **inputs)
        assert got.keys() == values.keys()
        for key, value in values.items():
            assert got[key].dtype == value.dtype and got[key].shape == value.shape
            if np.issubdtype(value.dtype, np.floating):
                np.testing.assert_allclose(got[key], value, rtol=1e-4, atol=1e-2)
            else:
                limit = 1 if name.startswith(("decode", "changes")) else 0
                assert np.abs(got[key].astype(int) - value).max() <= limit, (name, key)


@pytest.mark.parametrize("preset", PRESETS)
def test_onnx_is_the_model(preset, tmp_path):
    folder = saved_model.export_pretrained(preset, tmp_path, verify=False, form="onnx")
    compare(preset, "onnx", folder, OnnxModel(folder).run)


@pytest.mark.parametrize("preset", PRESETS)
def test_litert_is_the_model(preset, tmp_path):
    folder = saved_model.export_pretrained(preset, tmp_path, verify=False, form="litert")
    compare(preset, "litert", folder, open_litert(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved_model.export_pretrained(SMALL[0], tmp_path_factory.mktemp("onnx"), form="onnx")


def test_files_are_the_same(folder, photo):
    converted, saved = codec_for(open_model(str(folder))), codec_for(open_model(SMALL[0]))
    assert isinstance(converted.model, OnnxModel) and converted.library.startswith("ONNX Runtime")
    data = converted.encode(photo)
    assert data == saved.encode(photo)
    assert np.abs(converted.decode(data).astype(int) - saved.decode(data)).max() <= 1


def test_weights_are_written_once(folder):
    """``decode_1`` and ``decode`` share theirs; the card says nothing of a search."""
    stored = (folder / onnx_files.WEIGHTS).stat().st_size
    named = [
        int(next(entry.value for entry in tensor.external_data if entry.key == "length"))
        for file in folder.glob("*.onnx")
        for tensor in onnx.load(file, load_external_data=False).graph.initializer
        if tensor.external_data
    ]
    assert stored < 0.9 * sum(named)
    card = parse_card((folder / "assets" / FILE).read_bytes(), "here")
    assert "search_1" not in card["signatures"] and card["stream"]["layers"][0]["refine"] is None


def test_a_graph_that_does_not_fit(folder, tmp_path):
    model = OnnxModel(folder)
    with pytest.raises(ModelError, match="no signature 'search_1'"):
        model.run("search_1")
    with pytest.raises(ModelError, match="does not run in ONNX Runtime"):
        model.run("encode", images=np.zeros((1, 8, 8, 3), np.float32))


def test_an_operation_that_onnx_lacks(tmp_path):
    spec = {"images": ("float32", (None,))}
    odd = Signature(lambda images: {"images": tf.raw_ops.Betainc(a=images, b=images, x=images)}, spec, spec)
    with pytest.raises(ModelError, match="the signature encode"):
        onnx_files.write_onnx({"encode": odd}, tmp_path)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (1, 2)])
@pytest.mark.parametrize(("transposed", "stride", "side"), [(False, 1, 3), (True, 2, 5), (True, 2, 4), (True, 1, 3)])
def test_float64_convolutions_become_products(transposed, stride, side, padding):
    """The float32 operation is the oracle, on small integers."""
    random = np.random.default_rng(0)
    kernel = random.integers(-8, 9, (4, 6, side, side))
    x = random.integers(-8, 9, (2, 4 if transposed else 6, 7, 5))
    bias = random.integers(-8, 9, 6 if transposed else 4)
    operation, (before, after) = "ConvTranspose" if transposed else "Conv", padding

    def model(dtype, element):
        pads, strides = [before, before, after, after], [stride, stride]
        node = helper.make_node(operation, ["x", "kernel", "bias"], ["y"], pads=pads, strides=strides)
        named = (("kernel", kernel), ("bias", bias))
        constants = [numpy_helper.from_array(values.astype(dtype), name) for name, values in named]
        x_info, y_info = (helper.make_tensor_value_info(name, element, [None] * 4) for name in "xy")
        graph = helper.make_graph([node], "g", [x_info], [y_info], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx_files.OPSET)], ir_version=10)

    single, double = model("float32", onnx.TensorProto.FLOAT), model("float64", onnx.TensorProto.DOUBLE)
    onnx_files._replace_float64_convolutions(double.graph)
    assert operation not in {node.op_type for node in double.graph.node}
    results = []
    for made, dtype in ((single, "float32"), (double, "float64")):
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"x": x.astype(dtype)})[0])
    assert np.array_equal(*results)


# Runs as if TensorFlow and Keras were not installed, and sees that they are not imported.
WITHOUT = """
import importlib.util, sys
found = importlib.util.find_spec
hidden = ("tensorflow", "keras")
importlib.util.find_spec = lambda name, package=None: None if name in hidden else found(name, package)
from codec_zoo.cli.main import main
try:
    main()
finally:
    assert not [name for name in sys.modules if name.split(".")[0] in hidden]
"""


def test_without_tensorflow(folder, tmp_path, photo):
    from PIL import Image

    Image.fromarray(photo).save(tmp_path / "a.png")
    environment = {"CODEC_ZOO_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}

    def run(*arguments):
        command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    done = run("compress", tmp_path / "a.png", "--model", folder.parent, "-o", tmp_path / "a.czoo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.czoo").read_bytes() == codec_for(open_model(SMALL[0])).encode(photo)
    missing = run("decompress", tmp_path / "a.czoo", "-o", tmp_path / "b.png")
    assert missing.returncode and "--format onnx" in missing.stderr and "Traceback" not in missing.stderr
    (tmp_path / "cache" / "models" / "onnx").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "onnx" / SMALL[0]).symlink_to(folder.parent)
    done = run("decompress", tmp_path / "a.czoo", "-o", tmp_path / "b.png")
    assert done.returncode == 0 and (tmp_path / "b.png").exists(), done.stderr
