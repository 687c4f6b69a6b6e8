"""Rows of measurements: a codec that has changed is measured again, and rows of its versions are never mixed."""

import json
from pathlib import Path

import pytest

from codec_zoo.codecs.images import write_image
from codec_zoo.codecs.specs import codec_for, open_codec
from codec_zoo.codecs.standard import codec_qualities, list_codecs, make_codec
from codec_zoo.codecs.standard.bpg import BPG
from codec_zoo.codecs.standard.flif import available
from codec_zoo.codecs.standard.pillow_formats import JPEG
from codec_zoo.harness import evaluation, release
from codec_zoo.harness.papers.bench import Bench
from codec_zoo.harness.rows import current_rows, describe_codec, latest_rows, libraries, read_rows
from codec_zoo.presets import get_preset

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def pictures(photo, tmp_path):
    """A folder of two small pictures."""
    for i in range(2):
        write_image(tmp_path / "pictures" / f"{i}.png", photo[64 * i : 64 * i + 48, :56])
    return tmp_path / "pictures"


def test_a_row_names_everything_its_bytes_depend_on(pictures, tmp_path):
    (row, _) = evaluation.evaluate(["bpg-rgb444:40"], sorted(pictures.iterdir()), tmp_path / "rows.jsonl")
    assert row["codec_version"] == BPG.version and row["weights_sha256"] is None
    assert row["options"] == {"quality": 40, "domain": "rgb444", "bit_depth": 8}
    assert row["libraries"][0].startswith("x265 of PyAV ")
    assert len(row["image_sha256"]) == 64 and row["device"] and row["commit"] and row["python"]
    assert read_rows(tmp_path / "rows.jsonl")[0] == row


def test_a_new_version_of_a_codec_is_measured_again(pictures, tmp_path, monkeypatch):
    """Tables have the new rows only, with the pictures and without them."""
    specs = ["jpeg:30", "webp:30"]
    bench, without = (Bench(tmp_path, given) for given in ({"set12": pictures}, {}))
    before = bench.measure(specs, "set12")
    as_before = JPEG.save_arguments
    monkeypatch.setattr(JPEG, "version", JPEG.version + 1)
    monkeypatch.setattr(JPEG, "save_arguments", lambda self: {**as_before(self), "quality": 5})
    assert [row["spec"] for row in without.measure(specs, "set12")] == ["webp:30"] * 2
    after = bench.measure(specs, "set12")
    assert [row["codec_version"] - old["codec_version"] for row, old in zip(after, before, strict=True)] == [
        1,
        1,
        0,
        0,
    ]
    assert after[2:] == before[2:] and after[0]["bytes"] < before[0]["bytes"]
    file = tmp_path / "set12.jsonl"
    assert len(file.read_text().splitlines()) == 6, "only the changed codec was measured again"
    assert without.measure(specs, "set12") == after == bench.measure(specs, "set12")
    assert latest_rows(read_rows(file)) == after[2:] + after[:2]
    assert [point["pictures"] for point in evaluation.summarize(after)] == [2, 2]


def test_other_options_behind_the_same_spec_are_measured_again(pictures, tmp_path, monkeypatch):
    """As when a default changes."""
    paths, file = sorted(pictures.iterdir()), tmp_path / "rows.jsonl"
    evaluation.evaluate(["svac:50"], paths, file)
    monkeypatch.setattr("codec_zoo.codecs.standard.svac._NAMES", {2: "svac"})
    monkeypatch.setattr("codec_zoo.codecs.standard._CODECS", {"svac": ("svac", "SVAC", {"scale": 2})})
    rows = evaluation.evaluate(["svac:50"], paths, file)
    assert [row["options"] for row in rows] == [{"quality": 50, "scale": 2}] * 2
    assert len(read_rows(file)) == 4 and current_rows(read_rows(file), ["svac:50"]) == rows


def test_a_change_of_a_codec_inside_is_a_change(exports, monkeypatch):
    specs = ["svac:48", "bpg-ycbcr444:30", f"{exports}/fu2019-hybrid-s16-prelu:30", "jpeg:30"]
    before = [describe_codec(spec)["codec_version"] for spec in specs]
    monkeypatch.setattr(BPG, "version", BPG.version + 1)
    after = [describe_codec(spec)["codec_version"] for spec in specs]
    assert after == [version + 1 for version in before[:3]] + before[3:]


@pytest.mark.parametrize("name", [name for name in list_codecs() if name != "flif" or available()])
def test_options_of_a_standard_codec_make_it_again(name):
    for quality in (codec_qualities(name) or (None,))[:2]:
        codec = make_codec(name, quality)
        again = type(codec)(**json.loads(json.dumps(codec.options)))
        assert again.name == name and again.options == codec.options
        assert codec.options.get("quality") == quality
        assert all(name[-1].isdigit() for name in libraries(codec)) and libraries(codec)


def test_options_of_a_learned_codec_are_resolved(exports):
    """Defaults are among them, and they make the codec again."""
    for spec, some in (
        (f"{exports}/fu2019-hybrid-s16-prelu", {"quality": 32, "mapping": "auto", "residual_codec": "bpg-ycbcr444"}),
        (f"{exports}/fu2019-hybrid-s16-prelu,layers=1", {"layers": 1, "base_codec": "jxl-lossless"}),
        ("report2017-mlp,coding=huffman", {"coding": "huffman", "layers": 3}),
    ):
        codec = open_codec(spec)
        assert codec.options.items() >= some.items()
        assert json.loads(json.dumps(codec.options)) == codec.options
        if "layers=1" not in spec:
            assert codec_for(codec.model, **codec.options).options == codec.options


def test_lines_without_the_codecs_version_are_no_rows(pictures, tmp_path):
    file = tmp_path / "rows.jsonl"
    (row, _) = evaluation.evaluate(["png"], sorted(pictures.iterdir()), file)
    old = {key: value for key, value in row.items() if key != "codec_version"}
    file.write_text(json.dumps(old) + "\n" + '{"spec": "pn')
    assert read_rows(file) == []
    assert len(evaluation.evaluate(["png"], sorted(pictures.iterdir()), file)) == 2
    assert len(read_rows(file)) == 2


def test_a_first_row_that_was_cut_is_measured_again(pictures, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"spec": "pn')
    assert len(evaluation.evaluate(["png"], sorted(pictures.iterdir()), file)) == len(read_rows(file)) == 2


def test_cards_have_the_points_of_the_last_version(tmp_path):
    rows = [
        {"spec": "x:1", "codec": "x", "quality": 1, "weights_sha256": "w", "codec_version": version, "options": {}}
        | {"image": f"kodim0{i}.png", "image_sha256": f"{i}", "bpp": bpp, "psnr": 30.0, "ms_ssim": 0.9, "width": 8}
        for version, bpp, count in ((1, 1.0, 2), (2, 0.5, 1))
        for i in range(count)
    ]
    (tmp_path / "kodak.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (point,) = release.measured({"preset": "x", "weights_sha256": "w"}, tmp_path)
    assert (point["pictures"], point["bpp"]) == (1, 0.5)


def test_cards_of_presets_with_the_same_weights_have_their_own_points():
    """The preset of variable rate began with the weights of a fixed one."""
    for preset, count in (("balle2018-hyperprior-mse-4", 2), ("balle2018-hyperprior-mse-vbr", 14)):
        points = release.measured(release.make_card(get_preset(preset)), DOCS)
        assert len(points) == count and {point["codec"].partition(",")[0] for point in points} == {preset}


def specs_in_docs() -> dict[str, list[dict]]:
    """The rows that come with the repository, by spec."""
    found: dict[str, list[dict]] = {}
    for path in sorted(DOCS.glob("*/*.jsonl")):
        lines, rows = path.read_text().splitlines(), read_rows(path)
        assert len(rows) == len(lines), f"{path} has lines that are no rows"
        for row in rows:
            found.setdefault(row["spec"], []).append(row)
    return found


def check_current(found):
    for spec, rows in found.items():
        today = describe_codec(spec)
        for row in rows:
            assert {key: row[key] for key in today} == today, f"{spec} has changed: measure it again"


def test_rows_in_docs_are_of_standard_codecs_as_they_are():
    standard = {spec: rows for spec, rows in specs_in_docs().items() if spec.partition(":")[0] in list_codecs()}
    assert len(standard) > 30
    check_current(standard)


@pytest.mark.slow
def test_rows_in_docs_are_of_learned_codecs_as_they_are():
    learned = {spec: rows for spec, rows in specs_in_docs().items() if spec.partition(":")[0] not in list_codecs()}
    assert len(learned) > 100
    check_current(learned)
