"""Train, resume and export."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from codec_zoo import weights
from codec_zoo.cli.main import cli as commands
from codec_zoo.presets import get_preset

PRESET = "fu2019-hybrid-s16-prelu"


def test_train_stop_and_resume(cli, tmp_path, kodak_paths):
    pictures = tmp_path / "pictures"
    for i, path in enumerate(kodak_paths[:4]):
        target = pictures / ("val" if i == 3 else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).crop((0, 0, 192, 192)).save(target)
    options = ["--data", pictures, "--batch-size", 2, "--patch-size", 64, "--logs", tmp_path / "logs", "--run", "a"]
    code, out, err = cli("train", PRESET, *options, "--steps", 2, "--evaluate-every", 2)
    assert code == 0 and "held-out psnr" in out, err
    code, out, err = cli("train", PRESET, *options, "--steps", 4, "--evaluate-every", 2, "--resume", "--json")
    run, said = tmp_path / "logs" / PRESET / "a", json.loads(out)
    assert code == 0 and "held-out psnr" in err, err
    assert (said["preset"], said["run"], said["step"]) == (PRESET, str(run), 4) and said["held_out"]["psnr"] > 0
    assert list(run.glob("events.out.tfevents*"))
    assert [point["step"] for point in json.loads((run / "run.json").read_text())["curve"]] == [2, 4]
    assert cli("train", PRESET, *options, "--steps", 4)[0] == 2  # the run exists
    code, out, err = cli("train", PRESET, *options, "--run", "b", "--momentum", 0.5)
    assert code == 2 and "the optimizer is adam" in err
    assert not (run.parent / "b").exists()
    export = ("export", PRESET, tmp_path / "out", "--from-run", run, "--no-verify", "--model-version", 3, "--json")
    code, out, err = cli(*export)
    said = json.loads(out)
    assert code == 0 and said["folder"] == str(tmp_path / "out" / PRESET / "3"), err
    assert (said["version"], said["verified"]) == (3, False)
    assert (tmp_path / "out" / PRESET / "3" / "saved_model.pb").exists()


def test_publish_says_what_it_wrote(tmp_path, monkeypatch, capsys):
    """Into a folder of weights of the test's own."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    run = tmp_path / "run"
    for folder in (weights.FOLDER, run):
        folder.mkdir()
    weights.save(get_preset(PRESET).create(), run / "best.weights.h5")
    record = dict.fromkeys(weights.RUN) | {"preset": PRESET, "curve": [{"step": 1, "loss": 1.0}], "seconds": 1.0}
    (run / "run.json").write_text(json.dumps(record))
    for options in ([], ["--json"]):
        assert commands.main(["publish", str(run), *options], standalone_mode=False) is None
    text, line = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert text.startswith(f"{PRESET}: ") and said["preset"] == PRESET
    assert weights.hash_file(Path(said["file"])) == said["sha256"] and Path(said["file"]).parent == weights.FOLDER


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    [PRESET, "jia2019-sae-mse-base", "jia2019-sae-ms-ssim-base", "report2017-gan-dc", "jiang2017-comcnn"],
)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_without_tensorflow(backend, preset, request, tmp_path, kodak_paths):
    """A fresh environment with JAX or PyTorch alone: the same command, the same checkpoint, resumed."""
    installed = request.getfixturevalue(f"{backend}_environment")
    for split, path in (("train", kodak_paths[0]), ("val", kodak_paths[1])):
        (tmp_path / "pictures" / split).mkdir(parents=True)
        Image.open(path).crop((0, 0, 192, 192)).save(tmp_path / "pictures" / split / path.name)
    side = "192" if "ms-ssim" in preset else "64"
    command = [installed / "bin" / "codec-zoo", "train", preset, "--data", tmp_path / "pictures"]
    command += ["--batch-size", "2", "--patch-size", side, "--logs", tmp_path / "logs", "--run", "a"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for options in (["--steps", "2"], ["--steps", "4", "--resume"]):
        subprocess.run([*command, *options], env=environment, cwd=tmp_path, check=True)
    record = json.loads((tmp_path / "logs" / preset / "a" / "run.json").read_text())
    assert record["backend"] == backend and record["step"] == 4
    assert not list(installed.glob("lib/*/site-packages/tensorflow"))
