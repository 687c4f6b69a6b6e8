"""The command line as a user meets it: results, messages, exit codes; never a traceback."""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo import weights
from codec_zoo.cli import main as cli_module
from codec_zoo.codecs.images import read_image, write_image
from codec_zoo.harness import evaluation
from codec_zoo.interrupts import Terminated
from codec_zoo.metrics import psnr
from codec_zoo.presets import DEFAULT_PRESET

PRESET = "fu2019-hybrid-s16-prelu"


def test_help_is_instant(cli):
    cli("--help")
    started = time.monotonic()
    code, out, _ = cli("--help")
    assert time.monotonic() - started < 1.5  # 0.1 s on an idle machine
    assert code == 0
    for command in [
        "list",
        "train",
        "export",
        "compress",
        "decompress",
        "inspect",
        "evaluate",
        "publish",
        "download",
    ]:
        assert command in out


def test_list(cli):
    code, out, _ = cli("list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and PRESET in [row["preset"] for row in rows]
    assert next(row for row in rows if row["preset"] == PRESET)["trained_steps"] > 0
    assert [row["preset"] for row in rows if row["default"]] == [DEFAULT_PRESET]
    _, out, _ = cli("list")
    (default,) = (line for line in out.splitlines() if line.endswith("the default of compress"))
    assert default.startswith(f"{DEFAULT_PRESET} ") and f"[default: {DEFAULT_PRESET}]" in cli("compress", "--help")[1]
    trained = {line.split()[0]: line.rpartition("trained: ")[2] for line in out.splitlines()}
    index = weights.index()["hu2018-filter-bpg-q36"]
    steps = sum(run["step"] for run in (index, *index["earlier"]))
    assert len(index["earlier"]) == 3 and trained["hu2018-filter-bpg-q36"] == f"{steps:,} steps"
    assert trained["report2017-mlp"] == "by each file"
    assert trained["balle2017-factorized-mse-1"] == "not yet"


@pytest.mark.parametrize("kind", ["rgb", "gray", "exif", "cmyk", "16-bit"])
def test_the_decoded_picture_is_what_the_encoder_said(cli, exports, tmp_path, kind):
    random = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(random.normal(0, 1, (60, 90, 3)), 0), 1)
    array = (128 + 100 * smooth / np.abs(smooth).max()).astype(np.uint8)
    path, options = tmp_path / "in.png", {}
    image = Image.fromarray(array)
    if kind == "gray":
        image = image.convert("L")
    elif kind == "exif":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    elif kind == "cmyk":
        path, image = tmp_path / "in.tif", image.convert("CMYK")
    elif kind == "16-bit":
        image = Image.fromarray(array[..., 0].astype(np.uint16) * 257)
    image.save(path, **options)

    file, back, model = tmp_path / "a.czoo", tmp_path / "b.png", exports / PRESET
    code, out, err = cli("compress", path, "-o", file, "--model", model, "-q", 20, "--json")
    said = json.loads(out)
    assert code == 0 and said["bytes"] == file.stat().st_size, err
    assert ("note:" in err) == (kind in ("cmyk", "16-bit"))
    code, out, err = cli("decompress", file, "-o", back, "--model", model, "--json")
    assert code == 0 and json.loads(out)["pixels_sha256"] == said["pixels_sha256"], err
    original, decoded = read_image(path), read_image(back)
    assert original.shape == decoded.shape
    assert psnr(original, decoded) == pytest.approx(said["psnr"]) and said["psnr"] > 30


def test_a_background_for_transparent_pictures(cli, exports, tmp_path):
    path, file, back = tmp_path / "in.png", tmp_path / "a.czoo", tmp_path / "b.png"
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[16:48, 16:48] = 0, 0, 255, 255
    Image.fromarray(picture).save(path)
    arguments = ("compress", path, "-o", file, "--model", exports / PRESET, "-q", 20)
    code, _, err = cli(*arguments)
    assert code == 2 and "--background" in err and not file.exists()
    code, _, err = cli(*arguments, "--background", "whitish")
    assert code == 2 and "no such colour: 'whitish'" in err and not file.exists()
    code, _, err = cli(*arguments, "--background", "lime")
    assert code == 0 and not err
    assert cli("decompress", file, "-o", back, "--model", exports / PRESET)[0] == 0
    decoded = read_image(back).astype(int)
    assert np.abs(decoded[:8] - [0, 255, 0]).mean() < 12 and np.abs(decoded[24:40, 24:40] - [0, 0, 255]).mean() < 12


def test_evaluate_says_what_it_converts_and_names_the_background(cli, tmp_path):
    folder, rows = tmp_path / "photos", tmp_path / "rows.jsonl"
    folder.mkdir()
    rgba = np.full((32, 32, 4), 90, np.uint8)
    Image.fromarray(rgba).save(folder / "clear.png")
    Image.fromarray(rgba[..., 0].astype(np.uint16)).save(folder / "deep.png")
    evaluate = ("evaluate", "png", "--pictures", folder, "--workers", 1, "--output", rows, "--json")
    assert "--background" in cli(*evaluate)[2]
    for color, count in (("white", 2), ("white", 2), ("#000", 4)):
        code, out, err = cli(*evaluate, "--background", color)
        assert code == 0 and json.loads(out)["pictures"] == 2, err
        assert "note: 1 of 2 images, deep.png the first: 16 bits" in err
        lines = [json.loads(line) for line in rows.read_text().splitlines() if '"background"' in line]
        assert len(lines) == count and lines[-1]["background"] == [255 if color == "white" else 0] * 3


def test_compress_inspect_cut_decompress_with_the_zoos_own_model(cli, kodak_paths, tmp_path):
    files = tmp_path / "files"
    code, out, err = cli("compress", *kodak_paths[:2], "-o", f"{files}/", "--model", PRESET)
    assert code == 0 and out.count("bpp") == 2, err
    file = files / "kodim01.czoo"
    code, out, _ = cli("inspect", file, "--json")
    seen = json.loads(out)
    assert code == 0 and seen["preset"] == PRESET and (seen["width"], seen["height"]) == (768, 512)
    assert [layer["kind"] for layer in seen["layers"]] == ["base", "residual"]

    cut = tmp_path / "cut.czoo"
    cut.write_bytes(file.read_bytes()[: 24 + 8 + seen["layers"][0]["bytes"] + 100])
    assert "missing  1 of 2" in cli("inspect", cut)[1]
    code, out, err = cli("decompress", cut)
    assert code == 0 and "1 of 2 layers are missing" in err
    code, _, _ = cli("decompress", file, "--layers", 1, "-o", tmp_path / "base.png")
    assert code == 0 and np.array_equal(read_image(tmp_path / "base.png"), read_image(tmp_path / "cut.decoded.png"))
    for layers, said in ((2, "2 layers"), (1, "1 layer")):
        code, out, err = cli("truncate", file, "--layers", layers, "-o", tmp_path / "short.czoo")
        assert code == 0 and f"{said}, {(tmp_path / 'short.czoo').stat().st_size:,} bytes" in out, err
    code, out, err = cli("decompress", tmp_path / "short.czoo", "--format", "pnm")
    assert code == 0 and out.rstrip().endswith("768×512, 1 layer"), err
    assert np.array_equal(read_image(tmp_path / "base.png"), read_image(tmp_path / "short.decoded.pnm"))


def test_mistakes(cli, exports, tmp_path, photo):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    good = tmp_path / "good.png"
    Image.fromarray(photo[:32, :32]).save(good)
    foreign = tmp_path / "foreign.czoo"
    foreign.write_bytes(good.read_bytes())
    damaged = tmp_path / "damaged"
    for split, data in (("train", good.read_bytes()), ("val", good.read_bytes()[:100])):
        (damaged / split).mkdir(parents=True)
        (damaged / split / ("b.png" if split == "val" else "a.png")).write_bytes(data)
    model = ["--model", str(exports / PRESET)]
    for arguments, words, code in [
        (["compress", tmp_path / "nothing.png", *model], "no file", 2),
        (["compress", text, *model], "not a picture", 2),
        (["compress", good, "-q", "99", *model], "QP", 2),
        (["compress", good, "-q", "inf", *model], "--quality is a finite number", 2),
        (["compress", good, "--server-version", "2", *model], "give --server too", 2),
        (["compress", good, "--timeout", "nan", *model], "not a finite number", 2),
        (["compress", good, "-q", "32", "--search", "5", *model], "--search is for balle2017-*", 2),
        (["compress", tmp_path / "damaged" / "none*", *model], "no file matches", 2),
        (["compress", good, "-o", tmp_path / f"{300 * 'x'}.czoo", *model], "File name too long", 1),
        (["compress", good, "-o", good, *model], "is written as .czoo", 2),
        (["compress", good, "-o", "/proc/nowhere/a.czoo", *model], "cannot write", 1),
        (["compress", good, "--model", "fu2019-hybrid-s16-prelo"], PRESET, 2),
        (["compress", good, "--model", tmp_path], "not an exported model", 1),
        (["compress", good, "--residual-codec", "png", *model], "residual", 2),
        (["decompress", foreign], f"{foreign}: this is not a .czoo file", 2),
        (["decompress", tmp_path / "nothing.czoo"], "cannot read", 2),
        (["inspect", foreign], f"{foreign}: this is not a .czoo file", 2),
        (["truncate", foreign, "--layers", "1", "-o", tmp_path / "a.czoo"], "that `codec-zoo compress` wrote", 2),
        (["evaluate", "jpg"], "Did you mean jpeg", 2),
        (["evaluate", "jpeg:x"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:nan"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:101"], "1 … 100", 2),
        (["evaluate", f"{PRESET},quality=32"], "NAME[,KEY=VALUE…]", 2),
        (["evaluate", "jpeg:10", "--anchor", "jpeg:10"], "without a quality: jpeg.", 2),
        (["evaluate", "jpeg:10", "--figure", "x.xyz"], "PNG, SVG or PDF", 2),
        (["evaluate", "jpeg:10", "--output", tmp_path], "not a file of rows", 2),
        (["evaluate", "jpeg:50", "--pictures", tmp_path / "none"], "no such folder", 2),
        (["export", "nothing", tmp_path], "no preset", 2),
        (["train", PRESET, "--data", tmp_path / "none"], "no such folder", 2),
        (["train", PRESET, "--data", damaged, "--patch-size", 64, "--logs", tmp_path / "damaged"], "b.png", 2),
        (["train", PRESET, "--resume", "--logs", tmp_path / "logs"], "no run to resume", 2),
        (["nonsense"], "No such command", 2),
    ]:
        status, _, err = cli(*arguments)
        assert (status, words in err) == (code, True), (arguments, status, err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "foreign.czoo", "good.png", "text.png"]


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--target-bpp", 0.0001, "is missed: {bpp:.4f} bpp is the least"),
        ("--target-psnr", 90, "is missed: {psnr:.2f} dB is the best"),
        ("--target-bpp", 20, None),
        ("--target-psnr", 5, None),
    ],
)
def test_a_missed_target_is_said(cli, tmp_path, photo, option, value, words):
    """What was asked and what came of it: a note, and fields; the file is there."""
    write_image(tmp_path / "a.png", photo[:64, :64])
    code, out, err = cli("compress", tmp_path / "a.png", "--model", "jia2019-sae-mse-e1", option, value, "--json")
    said = json.loads(out)
    assert code == 0 and (tmp_path / "a.czoo").stat().st_size == said["bytes"]
    assert said["target_met"] == (words is None) and said[option[2:].replace("-", "_")] == value
    assert (words.format(**said) in err) if words else "missed" not in err


def test_json_has_no_infinity(cli, tmp_path, photo):
    """The PSNR of what comes back as it was."""
    pictures, rows = tmp_path / "pictures", tmp_path / "rows.jsonl"
    write_image(pictures / "a.png", photo[:32, :32])
    arguments = ["evaluate", "png", "--pictures", pictures, "--json", "--output", rows]
    for _ in range(2):  # measured, and read from the rows
        code, out, _ = cli(*arguments)
        point = json.loads(out, parse_constant=pytest.fail)
        assert code == 0 and point["psnr"] is None and point["lossless_pictures"] == 1
        assert json.loads(rows.read_text(), parse_constant=pytest.fail)["psnr"] is None
    assert "lossless" in cli(*arguments[:-3], "--output", rows)[1]


def test_pictures_that_are_lossless_small_or_no_pictures(cli, tmp_path, photo):
    """Means and deltas over the pictures that have a value, counts, and a list of failures behind the others."""
    pictures, rows = tmp_path / "pictures", tmp_path / "rows.jsonl"
    write_image(pictures / "black.png", np.zeros((64, 64, 3), np.uint8))
    write_image(pictures / "photo.png", photo[:192, :192])
    (pictures / "text.png").write_text("not a picture")
    codecs = ["jpeg", "webp", "--anchor", "jpeg"]
    arguments = ["evaluate", *codecs, "--pictures", pictures, "--output", rows, "--workers", 1]
    code, out, err = cli(*arguments, "--json")
    *points, gain = map(json.loads, out.splitlines())
    assert code == 1 and len(points) == 12
    assert err.rstrip().endswith(
        "12 of 36 measurements failed, on 1 of 3 pictures:\n"
        f"  {pictures}/text.png is not a picture that can be read, or is damaged: unknown format."
    )
    measured = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(measured) == 24 and not [row for row in measured if row["image"] == "text.png"]
    for point in points:
        (of_photo,) = (row for row in measured if row["spec"] == point["spec"] and row["image"] == "photo.png")
        assert (point["pictures"], point["ms_ssim_pictures"], point["ms_ssim_bpp"]) == (2, 1, of_photo["bpp"])
        assert point["psnr_pictures"] + point["lossless_pictures"] == 2
        assert (point["psnr"] == of_photo["psnr"]) == (point["lossless_pictures"] == 1)
    assert {point["lossless_pictures"] for point in points} == {0, 1}
    assert (gain["pictures"], gain["psnr_pictures"], gain["ms_ssim_pictures"]) == (2, 1, 1)
    of_photo = [row for row in measured if row["image"] == "photo.png"]
    (alone,) = evaluation.gains(of_photo, "jpeg")
    assert gain["bd_rate_psnr"] == alone["bd_rate_psnr"] < 0 and gain["bd_rate_ms_ssim"] == alone["bd_rate_ms_ssim"]
    code, out, err = cli(*arguments)
    assert code == 1 and f"24 of 36 rows are in {rows} already" in err
    assert "(PSNR of 1 of 2 pictures, 1 lossless; MS-SSIM of 1 of 2 pictures)" in out.splitlines()[0]
    assert out.rstrip().endswith("(PSNR of 1 of 2 pictures; MS-SSIM of 1 of 2 pictures)")


def test_an_interrupted_evaluation_goes_on(tmp_path, photo, monkeypatch, capsys):
    """Also where no file is named: the cache keeps the rows until the command is through."""
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    for name, side in (("a", 32), ("b", 48)):
        write_image(tmp_path / "pictures" / f"{name}.png", photo[:side, :side])
    arguments = ["evaluate", "jpeg:50", "--pictures", str(tmp_path / "pictures"), "--workers", "1"]
    measure = evaluation.measure

    def interrupted(spec, path, **options):
        if path.name == "b.png":
            raise Terminated
        return measure(spec, path, **options)

    with monkeypatch.context() as patches:
        patches.setattr(evaluation, "measure", interrupted)
        assert cli_module.cli.main(arguments, standalone_mode=False) == 143
    (kept,) = (tmp_path / "cache" / "evaluations").iterdir()
    err = capsys.readouterr().err
    assert err.endswith(f"stopped; rows measured: 1, in {kept}; the same command goes on\ninterrupted\n")
    assert cli_module.cli.main(arguments, standalone_mode=False) is None
    assert f"note: 1 of 2 rows are in {kept} already" in capsys.readouterr().err and not kept.exists()


def test_a_cache_that_cannot_be_written_is_not_needed(cli, tmp_path, photo):
    write_image(tmp_path / "pictures" / "a.png", photo[:32, :32])
    arguments = ["evaluate", "png", "--pictures", tmp_path / "pictures", "--workers", 1]
    code, out, err = cli(*arguments, CODEC_ZOO_CACHE="/proc/nowhere")
    assert code == 0 and "lossless" in out, err


def test_names_of_files_may_be_anything(cli, exports, tmp_path, photo):
    picture = os.fsencode(tmp_path) + b"/caf\xe9.png"
    write_image(tmp_path / "a.png", photo[:32, :32])
    os.rename(tmp_path / "a.png", picture)
    arguments = ["compress", os.fsdecode(picture), "--model", exports / PRESET]
    code, out, err = cli(*arguments, PYTHONIOENCODING="utf-8:strict")
    assert code == 0 and "caf\\udce9.czoo" in out, err


def test_evaluate_measures_files_and_resumes(cli, exports, tmp_path):
    rows, figure = tmp_path / "rows.jsonl", tmp_path / "rd.png"
    codecs = ["jpeg:50", f"{exports / PRESET}:36"]
    arguments = ["evaluate", *codecs, "--limit", "2", "--output", rows, "--figure", figure, "--json"]
    code, out, err = cli(*arguments)
    points = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(points) == 2, err
    assert Image.open(figure).size[0] > 500
    measured = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(measured) == 4
    for row in measured:
        assert row["bpp"] == 8 * row["bytes"] / (768 * 512) and 20 < row["psnr"] < 45 and 0.8 < row["ms_ssim"] < 1
        assert 20 < row["psnr_y"] < 45 and 0.5 < row["ssim"] < 1
        assert {"device", "commit", "weights_sha256", "image_sha256", "encode_s", "decode_s"} <= row.keys()
    # the last line was cut by a crash: only that row is measured again, with the same result
    rows.write_text("".join(line + "\n" for line in rows.read_text().splitlines()[:3]) + '{"spec": "jp')
    code, again, _ = cli(*arguments)
    wanted = ("spec", "bpp", "psnr", "ms_ssim")
    assert code == 0
    assert [[json.loads(line)[k] for k in wanted] for line in again.splitlines()] == [
        [point[k] for k in wanted] for point in points
    ]


def test_train_stop_and_resume(cli, tmp_path, kodak_paths):
    pictures = tmp_path / "pictures"
    for i, path in enumerate(kodak_paths[:4]):
        target = pictures / ("val" if i == 3 else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).crop((0, 0, 192, 192)).save(target)
    options = ["--data", pictures, "--batch-size", 2, "--patch-size", 64, "--logs", tmp_path / "logs", "--run", "a"]
    code, out, err = cli("train", PRESET, *options, "--steps", 2, "--evaluate-every", 2)
    assert code == 0 and "held-out psnr" in out, err
    code, out, err = cli("train", PRESET, *options, "--steps", 4, "--evaluate-every", 2, "--resume")
    assert code == 0 and "done: step 4" in out, err
    run = tmp_path / "logs" / PRESET / "a"
    assert list(run.glob("events.out.tfevents*"))
    assert [point["step"] for point in json.loads((run / "run.json").read_text())["curve"]] == [2, 4]
    assert cli("train", PRESET, *options, "--steps", 4)[0] == 2  # the run exists
    code, out, err = cli("train", PRESET, *options, "--run", "b", "--momentum", 0.5)
    assert code == 2 and "the optimizer is adam" in err
    assert not (run.parent / "b").exists()
    code, out, err = cli("export", PRESET, tmp_path / "out", "--from-run", run, "--no-verify")
    assert code == 0 and (tmp_path / "out" / PRESET / "1" / "saved_model.pb").exists(), err


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


def test_pictures_on_a_full_disk(cli, exports, photo, tmp_path):
    """/dev/full stands for it: writing fails with ENOSPC, and nothing half-written stays."""
    good = tmp_path / "good.png"
    Image.fromarray(photo[:32, :32]).save(good)
    small = tmp_path / "small"
    small.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", small]).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (small / "filler").write_bytes(b"x" * 4096)
        code, _, err = cli("compress", good, "-o", small / "a.czoo", "--model", exports / PRESET)
        assert code == 1 and "No space left" in err
        assert [path.name for path in small.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_benchmark(cli):
    picture = Path(__file__).parents[2] / "datasets" / "kodak" / "kodim23.png"
    arguments = ("benchmark", picture, "jia2019-sae-mse-base", "jpeg:50", "--json")
    code, out, _ = cli(*arguments, "--threads", "1")
    learned, jpeg = map(json.loads, out.splitlines())
    assert code == 0 and jpeg["encode_transform_s"] is None
    for way in ("encode", "decode"):
        assert 0 < learned[f"{way}_transform_s"] < learned[f"{way}_s"]
    assert 2**27 < learned["peak_memory_bytes"] < 2**33
    code, _, err = cli("benchmark", picture, "nope")
    assert code == 2 and "no codec" in err


def test_the_default_model_codes_text(cli, tmp_path, screenshot):
    """Hard edges and coloured letters, without a model or a quality named; and more quality for more bytes."""
    write_image(tmp_path / "a.png", screenshot)
    reached = []
    for quality in ([], ["-q", 20]):
        code, out, err = cli("compress", tmp_path / "a.png", *quality, "-o", tmp_path / "a.czoo", "--json")
        assert code == 0, err
        reached.append(json.loads(out)["psnr"])
    assert json.loads(cli("inspect", tmp_path / "a.czoo", "--json")[1])["preset"] == DEFAULT_PRESET
    assert reached[0] > 25 and reached[1] > 37


def test_a_filter_is_optional(cli, tmp_path):
    """Compressed with the trained filter; decoded with and without it, from Python's and the codec's own pixels."""
    picture = Path(__file__).parents[2] / "datasets" / "kodak" / "kodim23.png"
    file, mended, plain = tmp_path / "a.czoo", tmp_path / "mended.png", tmp_path / "plain.png"
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "-o", file)
    assert code == 0, err
    assert cli("decompress", file, "-o", mended)[0] == 0
    assert cli("decompress", file, "--no-filter", "-o", plain)[0] == 0
    original = read_image(picture)
    assert psnr(original, read_image(mended)) > psnr(original, read_image(plain)) + 0.05
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "--codec", "webp", "-o", file)
    assert code == 2 and "svac" in err
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "--codec", "jpeg-420", "-o", file)
    assert code == 0 and "note: jpeg-420 codes at its quality 55; -q sets another." in err
