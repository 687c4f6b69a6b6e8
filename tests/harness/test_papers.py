"""Reproductions of papers: curves, gains, verdicts, and rows that are measured once."""

import json
from pathlib import Path

import numpy as np
import pytest

from codec_zoo.codecs.images import read_image, write_image
from codec_zoo.errors import UsageError
from codec_zoo.harness import evaluation
from codec_zoo.harness.papers import balle2018, bench, hu2018, jia2019, zhao2018
from codec_zoo.harness.papers.bench import Bench
from codec_zoo.harness.results import Table, Verdict

# https://github.com/chuanminj/MIPR2019: bpp.csv of each folder.
SUPPLEMENT = Path(__file__).parents[1] / "data" / "jia2019-supplement"
ANCHOR = [(0.1, 25.0), (0.2, 28.0), (0.4, 31.0), (0.8, 34.0)]


def test_bjontegaard_deltas():
    """A tenth fewer bits at each quality is −10 %, at both methods; a decibel more at each rate is +1 dB."""
    fewer = [(0.9 * bpp, psnr) for bpp, psnr in ANCHOR]
    better = [(bpp, psnr + 1) for bpp, psnr in ANCHOR]
    for method in ("akima", "cubic"):
        assert evaluation.bd_rate(ANCHOR, fewer, method) == pytest.approx(-10)
        assert evaluation.bd_psnr(ANCHOR, better[::-1], method) == pytest.approx(1)
    assert evaluation.bd_rate(ANCHOR[:3], fewer[:3]) == pytest.approx(-10)
    with pytest.raises(UsageError, match="3 points"):
        evaluation.bd_rate(ANCHOR[:2], fewer)
    with pytest.raises(UsageError, match="nothing in common"):
        evaluation.bd_rate(ANCHOR, [(bpp, psnr + 20) for bpp, psnr in ANCHOR])
    assert bench.delta(ANCHOR, [(bpp, psnr + 20) for bpp, psnr in ANCHOR]) == ""


def measured_rows(codec: str, factor: float, image: str, *psnr: float) -> list[dict]:
    """Rows of a picture at four qualities; ``factor`` times the bits of ANCHOR."""
    return [
        {"codec": codec, "spec": f"{codec}:{i}", "quality": i, "weights_sha256": None, "image_sha256": image}
        | {"bpp": factor * bpp, "psnr": value, "ms_ssim": None}
        for i, ((bpp, _), value) in enumerate(zip(ANCHOR, psnr, strict=True))
    ]


def test_gains_against_an_anchor():
    qualities = [psnr for _, psnr in ANCHOR]
    rows = measured_rows("a", 1, "x", *qualities) + measured_rows("b", 0.9, "x", *qualities)
    (gain,) = evaluation.gains(rows, "a")
    assert gain["codec"] == "b" and gain["bd_rate_psnr"] == pytest.approx(-10) and gain["bd_psnr"] > 0.4
    assert gain["bd_rate_ms_ssim"] is None
    assert "-10.00 %" in evaluation.format_gain(gain) and "(MS-SSIM) –" in evaluation.format_gain(gain)
    assert "pictures" not in evaluation.format_gain(gain)
    # A picture that is lossless at some qualities of one codec, and a quality at which all are.
    rows += measured_rows("a", 0.1, "flat", 60, 61, np.inf, np.inf) + measured_rows("b", 0.2, "flat", 50, 60, 70, 80)
    rows += [
        {"codec": "b", "spec": "b:9", "quality": 9, "weights_sha256": None, "image_sha256": image}
        | {"bpp": 9.0, "psnr": np.inf, "ms_ssim": None}
        for image in ("x", "flat")
    ]
    (mixed,) = evaluation.gains(rows, "a")
    assert mixed == {**gain, "pictures": 2}
    assert evaluation.format_gain(mixed).endswith("(PSNR of 1 of 2 pictures)")
    (nothing,) = evaluation.gains([row for row in rows if row["image_sha256"] == "flat"], "a")
    assert nothing["bd_rate_psnr"] is None


def test_gains_of_curves_that_do_not_rise():
    """Several qualities of a flat picture give the same file, or the same pixels."""
    rows = measured_rows("a", 1, "x", 25, 28, 31, 34)
    rows += [{**row, "bpp": 0.3} for row in measured_rows("same file", 1, "x", 30, 30, 30, 30)]
    rows += measured_rows("same pixels", 1, "x", 25, 29, 29, 34) + measured_rows("falling", 1, "x", 25, 29, 28, 34)
    found = evaluation.gains(rows, "a")
    assert [gain["bd_rate_psnr"] for gain in found] == [None] * 3
    once = [row for row in rows if row["spec"] != "falling:1"]
    (*_, rising) = evaluation.gains([*once, {**once[-1], "spec": "falling:7"}], "a")
    assert rising["bd_rate_psnr"] > 0


def test_means_in_tables_say_of_how_many_pictures():
    rows = [
        {**row, "encode_s": 0.1, "decode_s": 0.1}
        for row in measured_rows("a", 1, "x", 25, 28, 31, 34) + measured_rows("a", 1, "y", 27, 28, 31, np.inf)
    ]
    cells = [(psnr, similarity) for _, _, _, psnr, similarity, _, _ in bench.points_table("", "", rows).rows]
    assert cells == [("26.00", ""), ("28.00", ""), ("31.00", ""), ("34.00 (1 of 2 pictures)", "")]


def test_curve_of_similarity_is_in_decibels():
    points = [{"bpp": 0.4, "ms_ssim": 0.99}, {"bpp": 0.1, "ms_ssim": 0.9}]
    points += [{"bpp": 0.2, "ms_ssim": None}, {"bpp": 9.0, "ms_ssim": 1.0}]
    assert evaluation.curve(points, "ms_ssim") == [(0.1, pytest.approx(10)), (0.4, pytest.approx(20))]


def test_above_is_at_every_rate_that_both_have():
    above = [(0.05, 0.0), (0.3, 30.0), (0.9, 0.0)]
    assert bench.is_above(above, ANCHOR)
    assert not bench.is_above([*above, (0.15, 26.0)], ANCHOR)
    assert not bench.is_above([(0.05, 40.0)], ANCHOR), "no rate in common proves nothing"


def test_upper_envelope_takes_the_better_resolution():
    low = [(0.1, 24.0), (0.2, 26.0), (0.4, 26.5)]
    high = [(0.15, 23.0), (0.3, 27.0), (0.6, 30.0)]
    points = {
        f"{zhao2018.MIXED}, {name}": [{"bpp": bpp, "psnr": psnr} for bpp, psnr in pairs]
        for name, pairs in (("low", low), ("high", high))
    }
    assert zhao2018.upper_envelope(points, zhao2018.MIXED, "psnr") == [low[0], low[1], high[1], high[2]]
    assert zhao2018._switch(points) == 0.3


def test_gain_is_that_of_each_picture():
    rows = [
        {"codec": f"f{switch}", "image": image, "psnr_y": value}
        for switch, values in (("", (30.5, 31.0)), (",filter=off", (30.0, 31.0)))
        for image, value in zip("ab", values, strict=True)
    ]
    assert hu2018.gains(rows, "f") == {"a": 0.5, "b": 0.0}


def test_the_filters_claim_is_of_rgb_and_of_the_papers_filter():
    """Gains chosen for each picture, or luma, prove less; other pictures, nothing."""
    name = next(iter(hu2018.FILTERS))

    def rows(full: float, chosen: float) -> list[dict]:
        return [
            {"codec": f"{name}{switch}", "image": image, "psnr": 30 + gain, "psnr_y": 31 + 2 * gain}
            for switch, gain_of_b in (("", chosen), (",filter=on", full), (",filter=off", 0.0))
            for image, gain in (("a", 0.2 * (switch != ",filter=off")), ("b", gain_of_b))
        ]

    def verdict(full: float, chosen: float) -> str:
        (found,) = hu2018._verdicts({"clic": rows(full, chosen)}, [name])
        return found.verdict

    assert verdict(0.3, 0.3) == "reproduced"
    assert verdict(0.1, 0.3) == "ordering holds"
    assert verdict(-0.1, 0.1) == "ordering holds"
    assert verdict(-0.3, 0.1) == "not reached"
    assert hu2018._verdicts({"kodak": rows(0.3, 0.3)}, [name]) == []


def test_zhao_is_held_against_bm3d_in_both_measures():
    def points(psnr: float, ssim: float):
        return [{"bpp": 0.1 * k, "psnr": psnr + k, "ssim": ssim + 0.01 * k} for k in (1, 2, 4)]

    def verdicts(psnr: float, ssim: float) -> dict[str, str]:
        ours = {f"{zhao2018.MIXED}, {key}": points(psnr, ssim) for key in zhao2018.BRANCHES}
        both = {"jpeg": points(20, 0.5), zhao2018.DEBLOCKED: points(25, 0.7), **ours}
        return {found.claim: found.verdict for found in zhao2018._verdicts("them", both)}

    claim = "The codec is better than JPEG with BM3D as a filter, them (Fig. 2)"
    assert verdicts(26, 0.8)[claim] == "reproduced"
    assert verdicts(26, 0.6)[claim] == verdicts(24, 0.8)[claim] == "not reached"
    assert verdicts(24, 0.6)["The codec is better than JPEG at every rate, them (Fig. 2)"] == "reproduced"


def test_rows_are_measured_once_and_enough_without_the_pictures(photo, tmp_path, monkeypatch):
    """Interrupted, resumed, or without the pictures: the same rows."""
    pictures = tmp_path / "pictures"
    for i in range(3):
        write_image(pictures / f"{i}.png", photo[64 * i : 64 * i + 64, :96])
    specs = ["jpeg:30", "webp:30"]
    first = Bench(tmp_path / "a", {"set12": pictures}).measure(specs, "set12")
    assert [row["spec"] for row in first] == 3 * specs[:1] + 3 * specs[1:]
    file = tmp_path / "a" / "set12.jsonl"
    kept = file.read_text().splitlines()
    file.write_text("\n".join(kept[:2]) + "\n" + kept[2][:40])  # cut in the middle of a row
    again = Bench(tmp_path / "a", {"set12": pictures}).measure(specs, "set12")
    numbers = ("spec", "image", "bytes", "psnr", "ssim", "image_sha256")
    assert [[row[key] for key in numbers] for row in again] == [[row[key] for key in numbers] for row in first]
    monkeypatch.setattr(evaluation, "measure_file", None)
    assert Bench(tmp_path / "a", {}).measure(specs, "set12") == again
    assert Bench(tmp_path / "b", {}).measure(specs, "set12") == []


def test_authors_points_are_a_curve():
    for track, points in jia2019.AUTHORS.items():
        rates = [bpp for bpp, *_ in points]
        assert rates == sorted(rates), track
        assert all(0 < ms_ssim < 1 and 20 < psnr < 40 for _, psnr, ms_ssim in points)


def test_authors_rates_are_bits_a_sample():
    """The supplement's rates, called bits a pixel, are the bytes of files over 3 · 768 · 512 samples.

    All are whole bytes so, of pixels about a third, as by chance. And what a layer adds is even: in 2018 strings of
    TensorFlow Compression's range coder were words of 16 bits, but for the one in 256 whose last byte is zero.
    """
    whole, rates, added = [], [], []
    for track, points in jia2019.AUTHORS.items():
        lines = (SUPPLEMENT / f"{track}.csv").read_text().splitlines()
        table = np.array([[float(cell) for cell in line.split(",")[1:]] for line in lines])
        np.testing.assert_allclose(table.mean(0), [rate for rate, *_ in points], atol=5e-7)
        size = table * jia2019.SAMPLES * 768 * 512 / 8
        whole += list(np.abs(size - size.round()).ravel() < 1e-3)
        added += list(np.diff(size.round(), axis=1, prepend=0).ravel())
        rates += list(size.ravel() / jia2019.SAMPLES)
    assert len(whole) == 216 and all(whole)
    assert sum(count % 2 for count in added) == 1
    assert sum(abs(rate - round(rate)) < 1e-3 for rate in rates) == 78


def test_verdicts_of_the_auto_encoder_for_ms_ssim():
    def found(ms_ssim, bpp=0.1):
        points = {"jia2019-sae-ms-ssim-base": {"bpp": bpp, "psnr": 25.0, "ms_ssim": ms_ssim}}
        return [v.verdict for v in jia2019._ms_ssim_verdicts(points)]

    # There BPG has 9.8 dB, Ballé 2018 11.4 dB.
    assert found(0.95) == ["reproduced"] * 2 and found(0.8) == ["not reached"] * 2
    assert found(1 - 10**-1.05) == ["reproduced", "not reached"]
    assert len(found(0.9, bpp=0.05)) == 1 and jia2019._ms_ssim_verdicts({}) == []
    assert jia2019._cuts(["a", "b"]) == ["b,layers=1", "b"] and jia2019._cuts([]) == []


def test_verdict_on_the_hyperprior_is_of_all_rates():
    def verdict(*differences):
        curve = balle2018._published(balle2018.OWN)
        points = [
            {"bpp": bpp, "psnr": psnr + difference}
            for (bpp, psnr), difference in zip(curve, differences, strict=False)
        ]
        return balle2018._verdicts(points, points)[0].verdict

    assert verdict(0.2, 0.0, -0.05) == "reproduced"
    assert verdict(0.2, 0.0, -0.2) == "ordering holds"
    assert verdict(-0.3, -0.2, -0.2) == "not reached"


def test_table_in_markdown():
    table = Table("T", "note", ("codec", "bpp"), (("a", "1.50"), ("b", "−2 %")))
    assert table.markdown() == "### T\n\nnote\n\n| codec | bpp |\n| --- | ---: |\n| a | 1.50 |\n| b | −2 % |\n"
    assert Table("T", "not measured", (), ()).markdown() == "### T\n\nnot measured\n"
    with pytest.raises(ValueError, match="verdict"):
        Verdict("claim", "", "", "excellent")


def test_residual_table_counts_both_signs():
    from codec_zoo.harness.papers import fu2019

    counts = np.zeros(511, np.int64)
    counts[[255, 255 + 10, 255 - 11, 255 + 200]] = 1
    assert [row[1] for row in fu2019._residual_table(counts).rows] == ["50.00%", "75.00%", "75.00%", "75.00%"]


def test_layers_of_a_hybrid_are_shown(model, photo, tmp_path, monkeypatch):
    """The base layer alone, then three qualities: each a file, and all side by side."""
    from codec_zoo.harness.papers import fu2019

    monkeypatch.setattr(fu2019, "open_model", lambda name: model)
    write_image(tmp_path / "a.png", photo[:64, 128:])
    fu2019.show_layers(tmp_path / "a.png", tmp_path)
    sizes = [(tmp_path / "files" / f"a-{name}.czoo").stat().st_size for name in ("base", "q40", "q32", "q24")]
    assert sizes == sorted(sizes) and len(set(sizes)) == 4
    assert read_image(tmp_path / "layers.png").shape == (64, 5 * 256, 3)


def test_training_has_all_runs(monkeypatch):
    """Those that came before as well; and it says so where the first went on from one without a record."""
    recipe = {"recipe": {"batch_size": 8}}
    first = {"step": 1000, "seconds": 60.0, "device": "a", "initial_weights": None, **recipe}
    last = {"step": 500, "seconds": 120.0, "device": "b", "initial_weights": "x/y.weights.h5", **recipe}
    monkeypatch.setattr(bench.weights, "index", lambda: {"one": {**last, "earlier": [first]}})
    assert bench.training_table(["one", "none"], "much").rows == [("`one`", "2", "1,500", "12,000", "3", "a, b")]
    first["initial_weights"] = "x/z.weights.h5"
    assert bench.training_table(["one"], "much").rows[0][1] == "at least 2"


def test_what_is_no_row_is_measured_once(tmp_path):
    kept = Bench(tmp_path, {}).kept
    assert kept("a", 1, None) is None
    assert kept("a", 1, lambda: [1.5]) == [1.5]
    assert kept("a", 1, lambda: [2.5]) == [1.5] and kept("a", 1, None) == [1.5]
    assert kept("a", 2, None) is None and kept("a", 2, lambda: [3.5]) == [3.5]


def test_ablation_judges_what_was_trained_alike(monkeypatch):
    """Fig. 8: variants of other training, or one that needs fewer bits than the paper's choice, prove nothing."""
    from codec_zoo.harness.papers import fu2019

    names = [f"fu2019-hybrid-s{variant}" for variant in ("8-relu", "16-relu", "32-relu", "32-prelu", "16-prelu")]
    small, relu, large, better, longer = names
    records = {
        name: {"recipe": {"steps": 3 if name == longer else 1, "batch_size": 8}, "initial_weights": None, "step": 1}
        | {"seconds": 60.0}
        | {"device": "a", "precision": "float32"}
        for name in names
    }
    records[large]["recipe"] |= {"momentum": 0.95}  # the default: the others are from before there was this option
    monkeypatch.setattr(bench.weights, "index", lambda: records)

    def points(factor):
        return [{"bpp": factor * bpp, "psnr": psnr, "ms_ssim": 0.9 + psnr / 1000} for bpp, psnr in ANCHOR]

    curves = {small: points(1.1), relu: points(1.0), large: points(1.3), better: points(1.2), longer: points(0.8)}
    above_small, above_large, kinds = fu2019._ablation_verdicts(curves)
    assert above_small.ours == "8-relu +10.0 % against 16-relu"
    assert above_large.ours == "32-relu +30.0 % against 16-relu"
    assert kinds.ours == "32-relu +8.3 % against 32-prelu", "S16's differ in their training"
    assert {above_small.verdict, above_large.verdict, kinds.verdict} == {"reproduced"}
    records[relu]["step"] = 2  # its best weights are later ones of the same training
    above_small, above_large, _ = fu2019._ablation_verdicts({**curves, small: points(0.9)})
    assert (above_small.verdict, above_large.verdict) == ("not reached", "reproduced")
    assert above_small.ours == "8-relu -10.0 % against 16-relu"
    assert fu2019._ablation_verdicts({longer: curves[longer]}) == []
    # Of two that were not trained alike, one that is ahead with less proves the claim wrong; with more, nothing.
    ahead = {relu: curves[relu], large: points(0.9)}
    for patches, expected in ((4, [("not reached", "32-relu -10.0 % against 16-relu with less training")]), (16, [])):
        records[large]["recipe"]["batch_size"] = patches
        assert [(found.verdict, found.ours) for found in fu2019._ablation_verdicts(ahead)] == expected
    # Nor does one precision with another, unless the one that should be worse is ahead.
    records[large]["recipe"]["batch_size"] = 8
    records[large]["precision"] = "bfloat16"
    expected = [("not reached", "32-relu -10.0 % against 16-relu in another precision")]
    assert [(found.verdict, found.ours) for found in fu2019._ablation_verdicts(ahead)] == expected
    assert fu2019._ablation_verdicts({**ahead, large: points(1.1)}) == []
    bases = {f"{name},layers=1": [{"bpp": 0.05, "psnr": 23.5, "ms_ssim": 0.8}] for name in curves}
    in_rgb = {fu2019._in_rgb(name): points(2.0 if name == small else 1.0) for name in curves}
    lines = fu2019._ablation_table(names, {**curves, **bases, **in_rgb}).rows
    assert lines[0] == (small, "0.0500", "23.50", "0.8000", "+100.0 %", "+100.0 %", "+10.0 %", "+10.0 %")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody1999"], "report2017"),
        (["fu2019", "--picture-set", "x"], "SET=DIR"),
        (["fu2019", "--picture-set", "x=y"], "set12"),
    ],
)
def test_mistakes_on_the_command_line(cli, arguments, words, tmp_path):
    code, _, err = cli("reproduce", *arguments, "--output", tmp_path / "out")
    assert code == 2 and words in err
    assert not (tmp_path / "out").exists()
    assert json.dumps(err).count("Traceback") == 0


def test_quality_at_a_rate():
    assert bench.at_rate(ANCHOR, 0.2 * 2**0.5) == pytest.approx(29.5)
    assert bench.at_rate(ANCHOR, 0.05) is None
