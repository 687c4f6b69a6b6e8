"""Golden records and quality floors: what is near, what falls below, and that a floor does not sink unasked."""

import json

import golden
import make
import pytest
from contract import is_trained

from codec_zoo.presets import list_presets

RECORD = {"sha256": "a", "bytes": 1000, "psnr": 30.0}
FLOOR = {"bytes": 1000, "psnr": 30.0}


def test_every_preset_with_weights_has_its_records():
    expected = [preset.name for preset in list_presets() if is_trained(preset)]
    assert list(golden.load()) == expected
    for name, records in golden.load().items():
        assert golden.reaches(records["golden"], records["floor"]), name


@pytest.mark.parametrize(
    ("found", "near", "reaches"),
    [
        (RECORD, True, True),
        ({"bytes": 1004, "psnr": 29.981}, True, True),
        ({"bytes": 1006, "psnr": 30.0}, False, False),
        ({"bytes": 1000, "psnr": 29.97}, False, False),
        ({"bytes": 990, "psnr": 30.0}, False, True),
        ({"bytes": 1000, "psnr": 31.0}, False, True),
        ({"bytes": 1000}, False, True),
    ],
)
def test_what_is_near_and_what_reaches(found, near, reaches):
    assert golden.is_near(found, RECORD) is near
    assert golden.reaches(found, FLOOR) is reaches


def test_a_lossless_codec_has_to_stay_so():
    assert golden.is_near({"bytes": 1001}, {"bytes": 1000}) and golden.reaches({"bytes": 1001}, {"bytes": 1000})
    assert not golden.is_near({"bytes": 900, "psnr": 60.0}, {"bytes": 900})
    assert not golden.reaches({"bytes": 900, "psnr": 60.0}, {"bytes": 1000})


def test_a_floor_rises_by_itself_and_sinks_by_name_alone():
    records = {}
    golden.renew(records, "x", RECORD)
    assert records["x"] == {"golden": RECORD, "floor": FLOOR}
    near = {"sha256": "b", "bytes": 1004, "psnr": 29.99}
    golden.renew(records, "x", near)
    assert records["x"] == {"golden": near, "floor": FLOOR}, "it does not sink bit by bit"
    better = {"sha256": "c", "bytes": 900, "psnr": 31.0}
    golden.renew(records, "x", better)
    assert records["x"]["floor"] == {"bytes": 900, "psnr": 31.0}
    with pytest.raises(ValueError, match=r"falls below its floor.*--lower x"):
        golden.renew(records, "x", RECORD)
    assert records["x"]["golden"] == better
    golden.renew(records, "x", RECORD, lower=True)
    assert records["x"] == {"golden": RECORD, "floor": FLOOR}


def test_the_command_refuses_to_lower_a_floor(tmp_path, monkeypatch):
    """And writes nothing then; with ``--lower`` it does."""
    preset, file = "hu2018-filter-jpeg-q20", tmp_path / "golden.json"
    records = {preset: {**golden.load()[preset], "floor": {"bytes": 1000, "psnr": 50.0}}}
    file.write_text(json.dumps(records))
    monkeypatch.setattr(golden, "FILE", file)
    with pytest.raises(SystemExit, match=f"--lower {preset}"):
        make.main([preset])
    assert golden.load() == records
    make.main(["--lower", preset])
    assert golden.load()[preset]["floor"]["psnr"] < 50
    with pytest.raises(SystemExit):
        make.main(["unknown"])
