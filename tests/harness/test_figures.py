"""Figures from rows: the same bytes each time, one curve a layered model, published curves behind."""

import numpy as np

from codec_zoo.harness.evaluation import gains, summarize
from codec_zoo.harness.figures import draw_chart, rate_distortion
from codec_zoo.harness.results import Chart, Curve


def test_charts_are_drawn_the_same_each_time(section, tmp_path):
    drawn = [[p.read_bytes() for p in draw_chart(section.charts[0], tmp_path / name)] for name in "ab"]
    assert drawn[0] == drawn[1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["test-rd.png", "test-rd.svg"]
    assert b"<dc:date>" not in drawn[0][0]
    draw_chart(Chart("odd", "$ and $", "100 %", [Curve("$x", [(1, 2), (3, np.inf)]), Curve("none", [])]), tmp_path)


def test_figure_with_published_curves(section, tmp_path):
    drawn = {}
    for names in ((), ("vtm", "elic")):
        rate_distortion(summarize(section.rows), tmp_path / "rd.svg", names)
        drawn[names] = (tmp_path / "rd.svg").read_text()
    assert "VVC (VTM) (published)" in drawn["vtm", "elic"] and "published" not in drawn[()]
    # ELIC has no MS-SSIM here: VTM looks the same in both halves all the same.
    rate_distortion(summarize(section.rows), tmp_path / "rd.svg", ("elic", "vtm"))
    halves = (tmp_path / "rd.svg").read_text().split('id="axes_2"')
    assert [half.count("stroke: #bfbfbf") for half in halves] == [2, 1] and "stroke: #737373" not in halves[1]


def test_a_layered_model_is_one_curve(section, tmp_path):
    rows = [
        {**row, "spec": f"sae{cut},search=10", "codec": f"sae{cut},search=10", "bpp": bpp, "psnr": psnr}
        for cut, bpp, psnr in ((",layers=1", 0.1, 25), (",layers=2", 0.3, 28), ("", 0.9, 33))
        for row in section.rows[:2]
    ]
    rate_distortion(summarize(rows), tmp_path / "rd.svg")
    drawn = (tmp_path / "rd.svg").read_text()
    assert drawn.count("<!-- sae,search=10 -->") == 1 and "layers" not in drawn
    ours = [
        {**row, "spec": f"{row['spec']}{i}", "codec": "ours", "bpp": row["bpp"] * 0.8} for i, row in enumerate(rows)
    ]
    assert [gain["codec"] for gain in gains([*rows, *ours], "sae,search=10")] == ["ours"]
