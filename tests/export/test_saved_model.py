"""Exports: stock ops, same values in a fresh process, whole or not at all."""

import dataclasses
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from codec_zoo import weights
from codec_zoo.codecs.specs import codec_for
from codec_zoo.errors import CodecZooError, ModelError
from codec_zoo.export import card, runtime, saved_model
from codec_zoo.export.runtime import LocalModel
from codec_zoo.metrics import psnr
from codec_zoo.presets import get_preset

PRESET = "fu2019-hybrid-s16-prelu"


def test_signatures_and_card(exports, model):
    loaded = tf.saved_model.load(str(exports / PRESET / "1"))
    assert set(loaded.signatures) == {"describe", "encode", "decode", "serving_default"}
    encode = loaded.signatures["encode"].structured_outputs
    assert encode["compact"].dtype == tf.uint8 and encode["size"].dtype == tf.int32
    card = json.loads((exports / PRESET / "1" / "assets" / "model_card.json").read_text())
    assert card["preset"] == PRESET and card["licence"] == "Apache-2.0"
    assert card["stream"]["layers"][0]["kind"] == "base" and card["receptive_field"]["decode"] > 0
    assert card["training"]["step"] > 0 and len(card["weights_sha256"]) == 64


def test_batches_and_sizes(model, photo):
    batch = np.stack([photo[:70, :50], photo[100:170, 100:150]])
    coded = model.run("encode", images=batch)
    assert coded["compact"].shape == (2, 5, 4, 3) and np.array_equal(coded["size"], [[70, 50]] * 2)
    images = model.run("decode", **coded)["images"]
    assert images.shape == batch.shape
    single = model.run("encode", images=batch[1:])
    assert np.abs(single["compact"].astype(int) - coded["compact"][1:]).max() <= 1


def test_stock_ops_only(exports):
    """TensorFlow alone knows every op; nothing of ours or of tensorflow-compression is in the graph."""
    graph = saved_model_pb2.SavedModel.FromString((exports / PRESET / "1" / "saved_model.pb").read_bytes())
    names = {
        node.op
        for meta in graph.meta_graphs
        for nodes in [meta.graph_def.node, *(f.node_def for f in meta.graph_def.library.function)]
        for node in nodes
    }
    program = (
        "import sys, tensorflow as tf; "
        "print(all(hasattr(tf.raw_ops, name) or name == 'Const' for name in sys.argv[1:]))"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program, *names], capture_output=True, text=True)
    assert answer.stdout.strip() == "True", names


def test_verification_notices_other_weights(exports):
    model = get_preset(PRESET).create()
    with pytest.raises(ModelError, match="other values"):
        saved_model.verify_export(model, exports / PRESET / "1")


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise ModelError("made to fail")

    monkeypatch.setattr(saved_model, "verify_export", fail)
    with pytest.raises(ModelError, match="made to fail"):
        saved_model.export_model(PRESET, get_preset(PRESET).create(), tmp_path)
    assert not list((tmp_path / PRESET).iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(CodecZooError, match="cannot write"):
        saved_model.export_model(PRESET, get_preset(PRESET).create(), tmp_path / "file")


def test_a_full_disk(tmp_path, monkeypatch):
    """TensorFlow and HDF5 have errors of their own for it."""

    def full(error):
        def fail(*_, **__):
            raise error

        return fail

    monkeypatch.setattr(tf.saved_model, "save", full(tf.errors.ResourceExhaustedError(None, None, "No space left")))
    with pytest.raises(CodecZooError, match=r"cannot write .*No space left"):
        saved_model.export_model(PRESET, get_preset(PRESET).create(), tmp_path)
    monkeypatch.setattr(weights, "_copy_halved", full(RuntimeError("errno = 28")))
    with pytest.raises(CodecZooError, match=r"cannot write .*errno = 28"):
        weights.save(get_preset(PRESET).create(), tmp_path / "a.weights.h5")
    assert not list((tmp_path / PRESET).iterdir()) and not (tmp_path / "a.weights.h5").exists()


def test_not_a_model(tmp_path):
    with pytest.raises(ModelError, match="not an exported model"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    ("damaged", "data", "words"),
    [
        ("variables/variables.data-00000-of-00001", b"cut", "00001 cut or changed"),
        ("saved_model.pb", b"cut", "saved_model.pb cut or changed"),
        ("assets/model_card.json", b'{"schema": %d}' % card.SCHEMA, "lacks .*stream"),
        ("assets/model_card.json", b'{"schema": 7}', "another schema"),
        ("assets.extra/files.json", b"[]", "names no files"),
    ],
)
def test_a_damaged_export(exports, tmp_path, damaged, data, words):
    folder = tmp_path / "1"
    shutil.copytree(exports / PRESET / "1", folder)
    (folder / damaged).write_bytes(data)
    with pytest.raises(ModelError, match=words):
        LocalModel(folder)


def test_a_cache_that_can_only_be_read(monkeypatch):
    """What is in it is used without a lock, which is a file."""
    folder = runtime.export_to_cache("report2017-cnn-ae-ft")

    def fail(*_):
        raise AssertionError("a lock")

    monkeypatch.setattr(runtime, "FileLock", fail)
    assert runtime.export_to_cache("report2017-cnn-ae-ft") == folder


def test_decode_takes_all_that_encode_gives(photo):
    """Also of a model whose ``z`` only the entropy coder needs, and of one with a dial."""
    for name, dials in (
        ("jia2019-sae-mse-e1", {}),
        ("balle2018-hyperprior-mse-vbr", {"step": np.array([8], np.int32)}),
    ):
        model = runtime.open_model(name)
        coded = model.run("encode", images=photo[None, :70, :50], **dials)
        assert "z1" in coded and model.run("decode", **coded)["images"].shape == (1, 70, 50, 3)


def test_declared_outputs_are_checked():
    """The card says of a model what it gives."""
    encode = get_preset(PRESET).create().signatures["encode"]
    for outputs, words in (
        ({}, "other outputs"),
        ({**encode.outputs, "size": ("int64", (None, 2))}, "size is int32"),
    ):
        wrong = dataclasses.replace(encode, outputs=outputs)
        with pytest.raises(ModelError, match=words):
            saved_model.trace(wrong).get_concrete_function()


def test_products_in_bfloat16(cli, tmp_path, photo):
    """Files go both ways between the precisions, since both choose the same tables."""
    name = "jia2019-sae-mse-base"
    code, _, err = cli("export", name, tmp_path, "--precision", "mixed_bfloat16")
    assert code == 0, err
    assert keras.config.dtype_policy().name == "float32"
    fast, exact = (codec_for(runtime.open_model(model)) for model in (str(tmp_path / name), name))
    assert fast.model.card["precision"] == "bfloat16_products" and exact.model.card["precision"] == "float32"
    assert fast.model.card["weights_sha256"] == exact.model.card["weights_sha256"]
    files = [codec.encode(photo) for codec in (fast, exact)]
    assert files[0] != files[1]
    scores = [psnr(photo, codec.decode(data)) for data in files for codec in (fast, exact)]
    assert max(scores) - min(scores) < 0.01, scores
    z = exact.model.run("encode", images=photo[None])["z1"]
    rows = [codec.model.run("entropy_parameters_1", z1=z)["indexes"] for codec in (fast, exact)]
    assert np.array_equal(*rows)
    code, _, err = cli("export", name, tmp_path / "onnx", "--format", "onnx", "--precision", "mixed_bfloat16")
    assert code == 2 and "--precision mixed_bfloat16 is for a SavedModel" in err
