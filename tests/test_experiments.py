"""The pages of experiments are made from committed data, and every script is described."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from codec_zoo import weights

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))
PAGES = ROOT / "docs" / "experiments"


@pytest.fixture(scope="module")
def history(experiment):
    """The script that writes the tables of runs."""
    return experiment("training_history")


def test_tables_of_runs_are_made_from_the_committed_file(history):
    for page in history.PRESETS:
        text = (PAGES / f"{page}.md").read_text()
        assert text.count(history.BEGIN) == text.count(history.END) == 1
        assert text == history.page_with_table(page), "run: python experiments/training_history.py"
        assert f"({page}.md)" in (PAGES / "index.md").read_text()


def test_every_script_is_described():
    described = (ROOT / "experiments" / "README.md").read_text()
    assert SCRIPTS and [path.name for path in SCRIPTS if f"`{path.name}`" not in described] == []


def test_pages_name_scripts_that_exist():
    for path in [*PAGES.glob("*.md"), *(ROOT / "docs" / "results").glob("*.md")]:
        words = path.read_text().replace("`", " ").replace(")", " ").split()
        named = {word for word in words if word.startswith("experiments/") and word.endswith(".py")}
        assert {name for name in named if not (ROOT / name).exists()} == set(), path


def test_weights_for_compressai_are_of_the_same_network(experiment, tmp_path, photo):
    """PyTorch pads two samples before a convolution of stride 2, TensorFlow one: all is turned by 180 degrees."""
    preset = "balle2018-hyperprior-mse-3"
    experiment("compare_compressai").write_weights(preset, tmp_path / "weights.npz")
    arrays = np.load(tmp_path / "weights.npz")
    first, gdn, *_ = weights.create(preset).analysis.layers
    images = photo[None, :64, :96].astype("float32")
    turned = images[:, ::-1, ::-1]
    kernel = arrays["g_a.0.weight"].transpose(2, 3, 1, 0)
    outputs = tf.nn.conv2d(turned, kernel, 2, [(0, 0), (2, 2), (2, 2), (0, 0)]) + arrays["g_a.0.bias"]
    assert np.allclose(outputs[:, ::-1, ::-1], first(images), atol=1e-2)
    pool = arrays["g_a.1.beta"] + tf.square(outputs) @ arrays["g_a.1.gamma"].T
    assert np.allclose((outputs * tf.math.rsqrt(pool))[:, ::-1, ::-1], gdn(first(images)), atol=1e-2)
    with pytest.raises(SystemExit, match="CompressAI has"):
        experiment("compare_compressai").write_weights("jia2019-sae-mse-base", tmp_path / "other.npz")
