"""Codecs of one's own measured, and results of one's own read."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

import codec_zoo as cz
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.harness import evaluation
from codec_zoo.harness.own_codecs import read_results
from codec_zoo.harness.rows import read_rows


class Jpeg:
    """As a user may write it: no class of ours."""

    def __init__(self, quality=50):
        self.quality = quality
        self.calls = []

    def encode(self, image):
        self.calls.append(image.shape)
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality)
        return file.getvalue()

    def decode(self, data):
        return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def pictures(tmp_path, kodak_paths):
    """Two pieces of photographs."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for source in kodak_paths[:2]:
        Image.open(source).crop((0, 0, 200, 180)).save(folder / source.name)
    return folder


def test_rows_of_an_object_are_as_ours(pictures):
    codec = Jpeg(30)
    rows = cz.measure(codec, pictures)
    ours = evaluation.evaluate(["jpeg:30"], sorted(pictures.iterdir()))
    assert [row.keys() for row in rows] == [row.keys() for row in ours]
    assert len(codec.calls) == 3  # the first is not timed
    for row, our in zip(rows, ours, strict=True):
        assert (row["spec"], row["codec"], row["quality"], row["options"]) == ("Jpeg:30", "Jpeg", 30, {})
        assert {key: row[key] for key in ("image", "image_sha256", "width", "height")} == {
            key: our[key] for key in ("image", "image_sha256", "width", "height")
        }
        assert row["bpp"] == 8 * row["bytes"] / (200 * 180) and row["psnr"] > 25 and 0 < row["ms_ssim"] < 1


def test_images_are_files_pillow_images_and_arrays(pictures):
    path = sorted(pictures.iterdir())[0]
    with Image.open(path) as image:
        array = np.asarray(image)
        rows = cz.measure(Jpeg(), [path, str(path), image, array, array], name="mine", quality=7)
    assert [row["image"] for row in rows] == [path.name] * 3 + ["image-4", "image-5"]
    assert len({row["psnr"] for row in rows}) == 1 and rows[2]["image_sha256"] == rows[3]["image_sha256"]
    assert {row["spec"] for row in rows} == {"mine:7"}
    assert cz.measure(Jpeg(), path)[0]["psnr"] == rows[0]["psnr"]


def test_a_name_is_measured_as_evaluate_does(pictures):
    timed = {"encode_s", "decode_s"}
    rows = cz.measure("webp:40", pictures)
    ours = evaluation.evaluate(["webp:40"], sorted(pictures.iterdir()))
    assert [{key: row[key] for key in row.keys() - timed} for row in rows] == [
        {key: row[key] for key in row.keys() - timed} for row in ours
    ]
    with pytest.raises(UsageError, match="leave out"):
        cz.measure("webp:40", pictures, name="mine")


def test_rows_of_one_quality_are_replaced_in_the_file(pictures, tmp_path):
    output = tmp_path / "own.jsonl"
    for quality in (30, 60, 30):
        cz.measure(Jpeg(quality), pictures, output=output)
    assert sorted(row["spec"] for row in read_rows(output)) == ["Jpeg:30"] * 2 + ["Jpeg:60"] * 2
    cz.measure("png", pictures, output=output)
    assert [row["psnr"] for row in read_rows(output)][-1] == math.inf


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (object(), "has no encode"),
        (type("Half", (), {"encode": lambda self, image: b""})(), "has no decode"),
        (type("Text", (), {"encode": lambda self, i: "", "decode": lambda self, d: d})(), "must return bytes"),
        (type("Float", (), {"encode": lambda self, i: b"1", "decode": lambda self, d: np.zeros(3)})(), "float64"),
    ],
)
def test_other_objects_are_refused(codec, message, pictures):
    with pytest.raises(CodecZooError, match=message):
        cz.measure(codec, pictures)


@pytest.mark.parametrize("images", [[], np.zeros((8, 8, 3), np.uint8), 3, [np.zeros((8, 8, 3))]])
def test_other_images_are_refused(images):
    with pytest.raises(UsageError, match="image"):
        cz.measure(Jpeg(), images)


def _write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_results_beside_ours(pictures, tmp_path):
    paths = sorted(pictures.iterdir())
    rows = evaluation.evaluate(["jpeg:30", "jpeg:50", "jpeg:70"], paths)
    hashes = {row["image_sha256"]: row["image"] for row in rows}
    means = [
        {"codec": "mean", "bpp": point["bpp"] * 0.9, "psnr": point["psnr"]} for point in evaluation.summarize(rows)
    ]
    each = [
        {
            "codec": "each",
            "quality": row["quality"],
            "image": row["image"],
            "bpp": row["bpp"] / 2,
            "psnr": row["psnr"],
        }
        for row in rows
    ]
    other = {"codec": "each", "quality": 30, "image": "other.png", "bpp": 1, "psnr": 9}
    own = read_results(_write(tmp_path / "own.jsonl", *means, *each, other, ""), hashes, ["jpeg"])
    points = evaluation.summarize([*rows, *own])
    assert [point["codec"] for point in points] == ["jpeg"] * 3 + ["mean"] * 3 + ["each"] * 3
    assert all(evaluation.format_point(point) for point in points)
    gains = {gain["codec"]: gain for gain in evaluation.gains([*rows, *own], "jpeg")}
    assert gains["mean"]["bd_rate_psnr"] == pytest.approx(-10, abs=0.01)
    assert gains["each"]["bd_rate_psnr"] == pytest.approx(-50, abs=0.01)
    assert gains["mean"]["bd_rate_ms_ssim"] is None and gains["each"]["pictures"] == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: a result is a JSON object"),
        ([1], "line 1: a result is a JSON object"),
        ({"bpp": 1, "psnr": 30}, "JSON object"),
        ({"codec": "a", "psnr": 30}, "bpp is bits a pixel"),
        ({"codec": "a", "bpp": 1}, "neither psnr nor ms_ssim"),
        ({"codec": "a", "bpp": 1, "ms_ssim": 14.2}, "not in dB"),
        ({"codec": "a", "bpp": "1", "psnr": 30}, "bpp is a number"),
        ({"codec": "jpeg", "bpp": 1, "psnr": 30}, "another name"),
        ({"codec": "a", "bpp": 1, "psnr": 30, "image": "kodim01"}, "no result of a on kodim02.png"),
        ({"codec": "a", "bpp": 1, "psnr": 30, "image": "x.png"}, "no result of the images"),
    ],
)
def test_results_that_are_none(line, message, tmp_path):
    file = _write(tmp_path / "own.jsonl", line)
    with pytest.raises(UsageError, match=message):
        read_results(file, {"a" * 64: "kodim01.png", "b" * 64: "kodim02.png"}, ["jpeg"])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"own\.jsonl is not a file of results"):
        read_results(tmp_path / "own.jsonl", {})
