"""TensorBoard reads what is written, the numbers agree, and a full disk costs curves, not the training."""

import dataclasses
import io
import json
import resource

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from codec_zoo.cli import rate_distortion_plane, side_by_side
from codec_zoo.cli.tensorboard_log import TensorBoardLog
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.presets import Recipe, get_preset
from codec_zoo.training import loop

LAYER = {"channels": 4, "latent_channels": 4, "hyper_channels": 4}
RECORD = {"preset": "a", "recipe": {"steps": 3, "note": "", "clip_norm": None}, "seed": 0, "initial_weights": None}


@pytest.fixture
def limit():
    """Set a limit on the size of files, which stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield set_limit
    set_limit(None)


def read(folder):
    """Step and name of all that TensorBoard finds."""
    events = [event for path in sorted(folder.glob("events.*")) for event in EventFileLoader(str(path)).Load()]
    return [(event.step, event.summary.value[0].tag) for event in events if event.summary.value]


def evaluated(noise, height=8, width=8):
    return EvaluatedImage(noise(height, width), noise(height, width), bpp=None, loss=1.0, latents={})


def test_it_can_be_read(tmp_path, noise):
    log = TensorBoardLog(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    log.scalars(1, {"loss": 0.5, "psnr": 30})
    log.picture(2, "held_out/0", evaluated(noise), {"psnr": 30.0})
    log.histogram(3, "latents/y", np.array([-3, 0, 0, 1e-3, 7]))
    log.rate_distortion(4, [{"step": 4, "bpp": 0.5, "psnr": 30.0}])
    assert read(tmp_path / "run") == [
        (1, "loss"),
        (1, "psnr"),
        (2, "held_out/0"),
        (3, "latents/y"),
        (4, "held_out/rate_distortion"),
    ]


def test_a_full_disk_is_said_once(tmp_path, noise, limit, capsys):
    log = TensorBoardLog(tmp_path)
    log.scalars(1, {"loss": 0.5})
    [path] = tmp_path.iterdir()
    limit(path.stat().st_size + 20)
    log.begin(1, RECORD)
    log.picture(2, "held_out/0", evaluated(noise, 64, 64), {"psnr": 30.0})
    log.scalars(3, {"loss": 0.4})
    log.end()
    limit(None)
    log.scalars(4, {"loss": 0.3})
    assert read(tmp_path) == [(1, "loss"), (4, "loss")]
    notes = capsys.readouterr().err
    assert notes.count("note: ") == 1 and "File too large. Training goes on without." in notes


def train(preset, folder, photo, *, steps, logger=True, resume=False, **changes):
    """A small model of a preset's family on two pieces of a photograph."""
    recipe = Recipe(**{"patch_size": 64, "batch_size": 2, "steps": steps, "learning_rate": 1e-3, **changes})
    side = recipe.patch_size
    patches = np.stack([photo[:side, :side], photo[:side, side : 2 * side]])
    return loop.train(
        preset,
        recipe,
        lambda start: iter([patches] * (40 - start)),
        [photo[:128, :192], photo[128:320, :192]],
        folder,
        data="a | photograph",
        log_every=4,
        evaluate_every=4,
        logger=TensorBoardLog(folder, "codec-zoo train a-preset") if logger else None,
        resume=resume,
    )


def small(name, **changes):
    preset = get_preset(name)
    return dataclasses.replace(preset, config={**preset.config, **changes})


SAE = small("jia2019-sae-mse-base", layers=[LAYER])


def curves(folder):
    """Name → step → value, of a run that was logged once a step."""
    events = EventAccumulator(str(folder))
    events.Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        points = events.Scalars(tag)
        found[tag] = {point.step: point.value for point in points}
        assert len(found[tag]) == len(points), tag
    return found


@pytest.mark.parametrize(
    "preset",
    [
        SAE,
        small("jia2019-sae-ms-ssim-base", layers=[LAYER]),
        small("balle2017-factorized-mse-vbr", channels=4, latent_channels=4),
        small("balle2018-hyperprior-mse-vbr", **LAYER),
    ],
    ids=lambda preset: preset.name,
)
def test_the_curves_agree(tmp_path, photo, preset):
    mean_squared, rising = "ms-ssim" not in preset.name, {"rate_rise": 4.0}
    side = {} if mean_squared else {"patch_size": 192}
    train(preset, tmp_path, photo, steps=8, clip_norm=1e-3, **rising, **side)
    found = curves(tmp_path)
    assert list(found["train/loss"]) == [1, 2, 3, 4, 8] and list(found["held_out/loss"]) == [4, 8]
    layer = {"bpp_y1", "bpp_z1"} if "balle2017" not in preset.name else {"bpp_y1"}
    for group in ("train", "held_out"):
        assert {tag for tag in found if tag.startswith(f"{group}/bpp_") and tag[-2:] in ("y1", "z1")} == {
            f"{group}/{name}" for name in layer
        }
    for step, loss in found["train/loss"].items():
        at = {tag.removeprefix("train/"): points[step] for tag, points in found.items() if step in points}
        assert loss == pytest.approx(at["loss_rate"] + at["loss_distortion"], rel=1e-5)
        assert at["bpp"] == pytest.approx(sum(at[name] for name in layer), rel=1e-5)
        assert at["psnr"] == pytest.approx(10 * np.log10(255**2 / at["mse"]), rel=1e-5)
        if step <= 3 and "vbr" not in preset.name:  # one step a point: λ is one number
            assert at["loss_rate"] == pytest.approx(at["lambda"] * at["bpp"], rel=1e-5)
            if mean_squared:
                assert at["loss_distortion"] == pytest.approx(at["mse"], rel=1e-5)
        assert at["optimizer/clipped_steps"] == 1 and at["optimizer/gradient_norm"] > 1e-3
        assert at["optimizer/learning_rate"] == pytest.approx(1e-3)
        assert at["speed/images_per_second"] > 0 and 0 <= at["speed/data_wait"] <= 1
    rate = preset.create().rate_weights[-1]
    assert found["train/lambda"][1] == pytest.approx(rate / 4) and found["train/lambda"][8] == pytest.approx(rate)
    for step in (4, 8):
        parts = sum(found[f"held_out/{name}"][step] for name in layer)
        assert found["held_out/bpp_cross_entropy"][step] == pytest.approx(parts, rel=1e-5)
        assert found["held_out/mse"][step] > 0
    assert found["held_out/bpp"] == found["held_out/bpp_cross_entropy"]


def test_a_resumed_run_is_one_run(tmp_path, photo):
    folder = tmp_path / "a-preset" / "first"
    train(SAE, folder, photo, steps=4)
    train(SAE, folder, photo, steps=8, resume=True)
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert list(runs.Runs()) == ["a-preset/first"]
    events = runs.GetAccumulator("a-preset/first")
    assert list(curves(folder)["train/loss"]) == [1, 2, 3, 4, 8]
    assert [event.step for event in events.Images("held_out/rate_distortion")] == [4, 8]

    [begun, resumed] = events.Tensors("run/text_summary")
    text = resumed.tensor_proto.string_val[0].decode()
    assert (begun.step, resumed.step) == (0, 4)
    recorded = json.loads((folder / loop.RECORD).read_text())
    for row in (
        "| command | `codec-zoo train a-preset` |",
        f"| preset | {SAE.name} |",
        r"| data | a \| photograph |",
        f"| commit | {recorded['commit'] or 'null'} |",
        f"| device | {recorded['device']} |",
        "| recipe: learning rate | 0.001 |",
    ):
        assert row in text.splitlines()


def test_hparams_are_of_the_run_itself(tmp_path, photo):
    train(SAE, tmp_path, photo, steps=4, clip_norm=2.0)
    found = {}
    for path in tmp_path.glob("events.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME:
                    content = value.metadata.plugin_data.content
                    found[value.tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    assert list(found) == [metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG]
    given = found[metadata.SESSION_START_INFO_TAG].session_start_info.hparams
    assert given["preset"].string_value == SAE.name and given["clip_norm"].number_value == 2
    assert given["started_from"].string_value == "fresh weights" and "note" not in given


def test_logs_change_nothing_and_no_logs_measure_nothing(tmp_path, photo, monkeypatch):
    runs = []
    for logger in (True, False):
        if not logger:
            monkeypatch.setattr(loop, "Recorder", None)
        train(SAE, tmp_path / str(logger), photo, steps=5, logger=logger, clip_norm=1.0)
        with np.load(tmp_path / str(logger) / loop.CHECKPOINT) as stored:
            runs.append({name: stored[name] for name in stored.files if name != "progress"})
    assert runs[0].keys() == runs[1].keys()
    for name, value in runs[0].items():
        np.testing.assert_allclose(value, runs[1][name], rtol=1e-5, atol=1e-7, err_msg=name)
    assert not list((tmp_path / "False").glob("events.*"))


@pytest.mark.parametrize(("height", "width", "channels"), [(900, 700, 3), (32, 32, 3), (300, 100, 1)])
def test_pictures_are_pixel_by_pixel(noise, height, width, channels):
    original, reconstruction = noise(height, width)[..., :channels], 255 - noise(height, width)[..., :channels]
    page = side_by_side.side_by_side(original, reconstruction, {"psnr": 31.234, "bpp": 0.5})
    scale = max(1, -(-side_by_side.LEAST // max(height, width)))
    shown = [min(side, side_by_side.LARGEST) for side in (height, width)]
    band = page.shape[0] - scale * shown[0]
    assert (page[:band] < 100).any() and page.shape[1] == 2 * scale * shown[1] + 8
    left, right = page[band::scale, : scale * shown[1] : scale], page[band::scale, -scale * shown[1] :: scale]
    top, start = (height - shown[0]) // 2, (width - shown[1]) // 2
    part = np.s_[top : top + shown[0], start : start + shown[1]]
    assert np.array_equal(left, np.broadcast_to(original[part], left.shape))
    assert np.array_equal(right, np.broadcast_to(reconstruction[part], right.shape))


def test_the_plane_has_every_rate(tmp_path):
    points = rate_distortion_plane._points(
        {"bpp": 1.0, "psnr": 30, "bpp_9": 0.5, "psnr_9": 28, "bpp_8": 0.2, "psnr_8": 26}, "psnr"
    )
    assert points == [(0.2, 26), (0.5, 28)]
    assert rate_distortion_plane._points({"bpp": 1.0, "ms_ssim": 0.99}, "ms_ssim") == [(1.0, pytest.approx(20))]
    one = {"step": 1, "bpp": 0.5, "psnr": 30.0, "bpp_y1": 0.4}
    first = rate_distortion_plane.draw([one])
    assert first.dtype == np.uint8 and first.shape[1] > first.shape[0] > 400
    two = [{**one, "ms_ssim": 0.9}, {**one, "bpp": 0.7, "psnr": np.inf, "ms_ssim": 1.0}]
    both = rate_distortion_plane.draw(two)
    assert both.shape[1] == 2 * first.shape[1]
    buffer = io.BytesIO()
    Image.fromarray(both).save(buffer, "PNG")
    assert buffer.tell() < 200_000
