"""Evaluate and benchmark: rows, means, failures, interrupts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.cli.main import cli as commands
from codec_zoo.cli.main import run
from codec_zoo.codecs.images import write_image
from codec_zoo.harness import evaluation
from codec_zoo.harness import reproduce as reproduction
from codec_zoo.harness.results import Section, Table, Verdict
from codec_zoo.interrupts import Terminated

PRESET = "fu2019-hybrid-s16-prelu"


def test_evaluate_says_what_it_converts_and_names_the_background(here, tmp_path):
    folder, rows = tmp_path / "photos", tmp_path / "rows.jsonl"
    folder.mkdir()
    rgba = np.full((32, 32, 4), 90, np.uint8)
    Image.fromarray(rgba).save(folder / "clear.png")
    Image.fromarray(rgba[..., 0].astype(np.uint16)).save(folder / "deep.png")
    evaluate = ("evaluate", "png", "--pictures", folder, "--workers", 1, "--output", rows, "--json")
    assert "--background" in here(*evaluate)[2]
    for color, count in (("white", 2), ("white", 2), ("#000", 4)):
        code, out, err = here(*evaluate, "--background", color)
        assert code == 0 and json.loads(out)["pictures"] == 2, err
        assert "note: 1 of 2 images, deep.png the first: 16 bits" in err
        lines = [json.loads(line) for line in rows.read_text().splitlines() if '"background"' in line]
        assert len(lines) == count and lines[-1]["background"] == [255 if color == "white" else 0] * 3


def test_json_has_no_infinity(here, tmp_path, photo):
    """The PSNR of what comes back as it was."""
    pictures, rows = tmp_path / "pictures", tmp_path / "rows.jsonl"
    write_image(pictures / "a.png", photo[:32, :32])
    arguments = ["evaluate", "png", "--pictures", pictures, "--workers", 1, "--json", "--output", rows]
    for _ in range(2):  # measured, and read from the rows
        code, out, _ = here(*arguments)
        point = json.loads(out, parse_constant=pytest.fail)
        assert code == 0 and point["psnr"] is None and point["lossless_pictures"] == 1
        assert json.loads(rows.read_text(), parse_constant=pytest.fail)["psnr"] is None
    assert "lossless" in here(*arguments[:-3], "--output", rows)[1]


def test_pictures_that_are_lossless_small_or_no_pictures(here, tmp_path, photo):
    """Means and deltas over the pictures that have a value, counts, and a list of failures behind the others."""
    pictures, rows = tmp_path / "pictures", tmp_path / "rows.jsonl"
    write_image(pictures / "black.png", np.zeros((64, 64, 3), np.uint8))
    write_image(pictures / "photo.png", photo[:192, :192])
    (pictures / "text.png").write_text("not a picture")
    codecs = ["jpeg", "webp", "--anchor", "jpeg"]
    arguments = ["evaluate", *codecs, "--pictures", pictures, "--output", rows, "--workers", 1]
    code, out, err = here(*arguments, "--json")
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
    code, out, err = here(*arguments)
    assert code == 1 and f"24 of 36 rows are in {rows} already" in err
    assert "(PSNR of 1 of 2 pictures, 1 lossless; MS-SSIM of 1 of 2 pictures)" in out.splitlines()[0]
    assert out.rstrip().endswith("(PSNR of 1 of 2 pictures; MS-SSIM of 1 of 2 pictures)")


def test_an_interrupted_evaluation_goes_on(tmp_path, photo, monkeypatch, capsys):
    """Also where no file is named: the cache keeps the rows until the command is through."""
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    for name, side in (("a", 32), ("b", 48)):
        write_image(tmp_path / "pictures" / f"{name}.png", photo[:side, :side])
    arguments = ["evaluate", "jpeg:50", "--pictures", str(tmp_path / "pictures"), "--workers", "1"]
    measure = evaluation.measure_file

    def interrupted(spec, path, **options):
        if path.name == "b.png":
            raise Terminated
        return measure(spec, path, **options)

    with monkeypatch.context() as patches:
        patches.setattr(evaluation, "measure_file", interrupted)
        assert commands.main(arguments, standalone_mode=False) == 143
    (kept,) = (tmp_path / "cache" / "evaluations").iterdir()
    err = capsys.readouterr().err
    assert err.endswith(f"stopped; rows measured: 1, in {kept}; the same command goes on\ninterrupted\n")
    assert commands.main(arguments, standalone_mode=False) is None
    assert f"note: 1 of 2 rows are in {kept} already" in capsys.readouterr().err and not kept.exists()


def test_a_cache_that_cannot_be_written_is_not_needed(cli, tmp_path, photo):
    write_image(tmp_path / "pictures" / "a.png", photo[:32, :32])
    arguments = ["evaluate", "png", "--pictures", tmp_path / "pictures", "--workers", 1]
    code, out, err = cli(*arguments, CODEC_ZOO_CACHE="/proc/nowhere")
    assert code == 0 and "lossless" in out, err


def test_evaluate_measures_files_and_resumes(cli, exports, tmp_path):
    rows, figure = tmp_path / "rows.jsonl", tmp_path / "rd.png"
    codecs = ["jpeg:50", f"{exports / PRESET}:36"]
    arguments = ["evaluate", *codecs, "--limit", "2", "--output", rows, "--figure", figure, "--json"]
    code, out, err = cli(*arguments)
    points = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(points) == 2, err
    with Image.open(figure) as drawn:
        assert drawn.size[0] > 500
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


def test_results_of_ones_own_are_beside_ours(here, tmp_path, photo):
    for name in "ab":
        write_image(tmp_path / "pictures" / f"{name}.png", photo[:200, :200])
    own = tmp_path / "own.jsonl"
    means = [{"codec": "my codec", "bpp": bpp, "psnr": psnr} for bpp, psnr in ((0.1, 25), (0.5, 33), (2, 45))]
    own.write_text("".join(json.dumps(mean) + "\n" for mean in means))
    arguments = ["evaluate", "webp", "--pictures", tmp_path / "pictures", "--workers", 1, "--anchor", "webp"]
    figure = tmp_path / "rd.svg"
    code, out, err = here(*arguments, "--own-results", own, "--figure", figure)
    assert code == 0, err
    assert "my codec" in figure.read_text() and out.count("my codec") == 4
    assert re.search(r"my codec +against webp: BD-rate \(PSNR\) [+-]", out)
    code, _, err = here(*arguments, "--own-results", tmp_path / "none.jsonl")
    assert code == 2 and "is not a file of results" in err
    own.write_text(json.dumps({"codec": "webp", "bpp": 1, "psnr": 30}))
    code, _, err = here(*arguments, "--own-results", own)
    assert code == 2 and "another name" in err and "measuring" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--published", "vtm"], "give --figure"),
        (["--published", "vtm", "--figure", "x.png", "--limit", "2"], "24 pictures"),
        (["--published", "elic,vtn", "--figure", "x.png"], "Did you mean vtm?"),
    ],
)
def test_published_curves_that_do_not_fit_are_refused(arguments, words, capsys):
    assert run(["evaluate", "jpeg:50", *arguments]) == 2
    assert words in capsys.readouterr().err


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


def test_verdicts_as_json(tmp_path, monkeypatch, capsys):
    """One object a paper, in place of the overview."""
    verdict = Verdict("BD-rate of Table 1", "-5 %", "-6 %", "reproduced")
    section = Section("fu2019", "Fu 2019", [verdict], [Table("t", "", ("a",), [("1",)])], [], [], [])
    monkeypatch.setattr(reproduction, "reproduce", lambda *arguments: [section])
    assert commands.main(["reproduce", "fu2019", "-o", str(tmp_path), "--json"], standalone_mode=False) is None
    said = json.loads(capsys.readouterr().out)
    assert said["paper"] == "fu2019" and said["verdicts"][0]["verdict"] == "reproduced"


def test_rows_are_not_added_to_other_files(here, tmp_path, photo):
    Image.fromarray(photo[:32, :32]).save(tmp_path / "photo.png")
    notes = tmp_path / "notes.json"
    notes.write_text('"my notes"\n')
    code, _, err = here("evaluate", "png", "--pictures", tmp_path, "-o", notes)
    assert code == 2 and "not a file of rows" in err and notes.read_text() == '"my notes"\n'
