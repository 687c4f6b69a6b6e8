"""The page of all reproductions, made from real files."""

import dataclasses
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.errors import UsageError
from codec_zoo.harness import embedding, report
from codec_zoo.harness.report import write_report
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict
from codec_zoo.metrics import psnr

HOSTILE = '</script><img src="https://evil.example/x.png" onerror="alert(1)">&amp; "quoted" \'single\''


@pytest.fixture
def calls(monkeypatch):
    """Work done in this process, which starts faster; gets the tasks of each piece of work."""
    calls = []

    def in_process(function, tasks, workers, title):
        calls.append(tasks)
        return ((task, function(*task)) for task in tasks)

    for module in (report, embedding):
        monkeypatch.setattr(module, "in_processes", in_process)
    return calls


def test_page_is_whole_and_loads_nothing(report_page, section, elements):
    found = elements(report_page)
    found.loads_nothing()
    style = re.search("<style>(.*?)</style>", report_page.read_text(), re.S)[1]
    assert "url(" not in style and "@import" not in style
    text = " ".join(found.text)
    for expected in (
        "All verdicts",
        section.title,
        "Table 1: numbers",
        "Figure 1",
        "reproduced",
        "care",
        "Provenance",
    ):
        assert expected in text
    assert section.rows[0]["commit"] in text


def test_headings_go_down_one_level_at_a_time(report_page, elements):
    levels = [int(tag[1]) for tag, _ in elements(report_page).found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_numbers_beside_pictures_are_those_of_the_rows(report_page, section):
    data = json.loads(re.search(r'class="data">(.*?)</script>', report_page.read_text(), re.S)[1])
    versions = [entry for entry in data["versions"] if entry["name"] != "original"]
    assert len(data["versions"]) == len(versions) + 2
    assert [(entry["name"], entry["picture"]) for entry in versions] == [
        (row["spec"], row["image"]) for row in section.rows
    ]
    for entry, row in zip(versions, section.rows, strict=True):
        assert f"{row['bpp']:.4f} bpp ({row['bytes']:,} bytes)" in entry["numbers"]
        assert f"PSNR {row['psnr']:.2f} dB" in entry["numbers"]


def test_pictures_are_what_the_files_decode_to(report_page, section, two_crops):
    for row in section.rows:
        stem = f"{row['spec'].replace(':', '-')}-{Path(row['image']).stem}-"
        (file,) = (path for path in (report_page.parent / "pictures").iterdir() if path.name.startswith(stem))
        original = np.asarray(Image.open(next(path for path in two_crops if path.name == row["image"])))
        assert psnr(original, np.asarray(Image.open(file))) == pytest.approx(row["psnr"], abs=1e-9)


def test_same_inputs_give_the_same_bytes(report_page, section, two_crops, tmp_path, calls):
    again = write_report([section], two_crops, tmp_path)
    assert again.read_bytes() == report_page.read_bytes()
    assert [f.read_bytes() for f in sorted((tmp_path / "pictures").iterdir())] == [
        f.read_bytes() for f in sorted((report_page.parent / "pictures").iterdir())
    ]


def test_resumes(report_page, section, two_crops, tmp_path, calls):
    shutil.copytree(report_page.parent / "pictures", tmp_path / "pictures")
    files = sorted((tmp_path / "pictures").iterdir())
    assert len(files) == 6  # two originals, two codecs
    before = {file: file.stat().st_mtime_ns for file in files}
    files[0].unlink()
    assert write_report([section], two_crops, tmp_path).read_bytes() == report_page.read_bytes()
    assert [target for _, _, target in calls[0]] == [files[0]]
    assert {file: file.stat().st_mtime_ns for file in files[1:]} == {file: before[file] for file in files[1:]}
    write_report([section], two_crops, tmp_path)
    assert calls[1:] == [[]]


def test_too_many_pictures_are_stored_with_loss_then_left_out(report_page, section, two_crops, tmp_path, calls):
    shutil.copytree(report_page.parent / "pictures", tmp_path / "pictures")
    lossless = sum(file.stat().st_size for file in (tmp_path / "pictures").iterdir())
    text = write_report([section], two_crops, tmp_path, picture_bytes=lossless - 1).read_text()
    assert "AVIF 4:4:4 of quality 90" in text and "mean PSNR 4" in text and "Left out" not in text
    none = write_report([section], two_crops, tmp_path, picture_bytes=1).read_text()
    assert f"left out, to keep this file small: {two_crops[0].name}, {two_crops[1].name}." in none
    assert write_report([section], two_crops, tmp_path, picture_bytes=1).read_text() == none
    smallest = sum(len(json.loads(file.read_text())["data"]) for file in tmp_path.rglob("*quality-80.json"))
    text = write_report([section], two_crops, tmp_path, picture_bytes=smallest * 3 // 4).read_text()
    assert "AVIF 4:4:4 of quality 80" in text and f"Left out, to keep this file small: {two_crops[1].name}." in text
    assert f'"picture": "{two_crops[0].name}"' in text and f'"picture": "{two_crops[1].name}"' not in text


def test_hostile_text_is_escaped(section, tmp_path, elements):
    rows = [
        {**row, "codec": HOSTILE, "spec": HOSTILE, "image": HOSTILE, "device": HOSTILE, "psnr": np.inf}
        for row in section.rows
    ]
    hostile = dataclasses.replace(
        section,
        title=HOSTILE,
        verdicts=[Verdict(HOSTILE, HOSTILE, HOSTILE, "reproduced")],
        further=[(HOSTILE, HOSTILE)],
        notes=HOSTILE,
        tables=[Table(HOSTILE, f"{HOSTILE} ![x](https://evil.example/y.png)", (HOSTILE,), [(HOSTILE,)])],
        charts=[Chart("x", HOSTILE, HOSTILE, [Curve(HOSTILE, [(1, 2), (9, np.inf)], HOSTILE)], HOSTILE)],
        rows=rows,
        shown=(),
    )
    path = write_report([hostile], [], tmp_path)
    found = elements(path)
    assert not found.all("img")
    assert len(found.all("script")) == 3  # data, plotly, ours
    assert HOSTILE in " ".join(found.text)  # shown as it is
    data = json.loads(re.search(r'class="data">(.*?)</script>', path.read_text(), re.S)[1])
    assert data["charts"][0]["curves"][0] == {"name": HOSTILE, "source": HOSTILE, "shown": True, "x": [1], "y": [2]}
    assert "Infinity" not in json.dumps(data)
    assert data["rows"][0][0] == HOSTILE and "∞" in data["rows"][0]


def test_nothing_to_show_is_a_page_too(tmp_path, elements):
    empty = Section("none", "No rows yet", [], [], [], [], [])
    assert "No rows yet" in " ".join(elements(write_report([empty], [], tmp_path)).text)


def test_unknown_codec_is_refused_before_the_work(section, two_crops, tmp_path):
    with pytest.raises(UsageError, match="no codec"):
        write_report([dataclasses.replace(section, shown=["jpgg:3"])], two_crops, tmp_path)
    assert not (tmp_path / "pictures").exists()


def test_page_opens_on_the_best_model_at_a_middle_rate(section):
    def row(spec, bpp, psnr, weights="a"):
        return {**section.rows[0], "spec": spec, "codec": spec, "bpp": bpp, "psnr": psnr, "weights_sha256": weights}

    rows = [
        row("low", 0.1, 25),
        row("good", 0.45, 31),
        row("worse", 0.5, 30),
        row("high", 1, 35),
        row("bpg", 0.5, 33, None),
    ]
    shown = [each["spec"] for each in rows]
    assert report.opening(dataclasses.replace(section, rows=rows, shown=shown)) == "good"
    assert report.opening(dataclasses.replace(section, rows=rows, shown=["bpg"])) == "bpg"
    assert report.opening(dataclasses.replace(section, rows=[], shown=["bpg", "low"])) == "bpg"
