"""Published curves, to draw beside ours."""

import numpy as np
import pytest

from codec_zoo.errors import UsageError
from codec_zoo.harness.published import published_curves


@pytest.mark.parametrize("metric", ["psnr", "ms_ssim"])
def test_published_curves(metric):
    curves = published_curves("kodak", metric)
    assert len({curve.name for curve in curves}) == len(curves) == (23 if metric == "psnr" else 20)
    for curve in curves:
        assert curve.source
        rates, values = np.transpose(curve.points)
        assert (np.diff(rates) > 0).all() and rates[0] > 0 and rates[-1] <= 4
        assert (values > 4).all() and (values < 50).all()
    best = {curve.name: np.interp(0.8, *np.transpose(curve.points)) for curve in curves}
    assert best["VVC (VTM)"] > best["BPG 4:4:4"] > best["WebP"] > best["JPEG 4:2:0"]


def test_three_published_curves_are_shown_at_first():
    shown = [curve.name for curve in published_curves("kodak", "psnr") if curve.shown]
    assert shown == ["Ballé 2018 (MSE)", "Minnen 2018 (MSE)", "VVC (VTM)"]
    assert all(curve.shown for curve in published_curves("kodak", "psnr", ["elic", "jpeg"]))


def test_published_curves_by_name():
    curves = published_curves("kodak", "psnr", ["vtm", "mean-scale"])
    assert [curve.name for curve in curves] == ["VVC (VTM)", "Mean–scale hyperprior (MSE)"]
    assert published_curves("kodak", "ms_ssim", ["elic"]) == []  # its PSNR alone is published here
    with pytest.raises(UsageError, match="no published curve 'vtn'"):
        published_curves("kodak", "psnr", ["vtn"])
    at_half = {c.name: np.interp(0.5, *np.transpose(c.points)) for c in published_curves("kodak", "psnr")}
    ladder = [
        "Ballé 2018 (MSE)",
        "Mean–scale hyperprior (MSE)",
        "Minnen 2018 (MSE)",
        "Minnen 2020 (MSE)",
        "ELIC 2022 (MSE)",
    ]
    assert sorted(ladder, key=at_half.get) == ladder


def test_published_curves_of_other_sets_are_refused():
    with pytest.raises(UsageError, match="kodak"):
        published_curves("tecnick", "psnr")
    with pytest.raises(UsageError, match="ms_ssim"):
        published_curves("kodak", "vmaf")
