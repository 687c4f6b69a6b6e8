"""The page of all reproductions, made from real files, and driven in a real browser."""

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
from codec_zoo.harness.evaluation import evaluate, gains, summarize
from codec_zoo.harness.figures import draw_chart, rate_distortion
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.report import write_report
from codec_zoo.harness.results import Chart, Curve, Section, Table, Verdict
from codec_zoo.metrics import psnr

HOSTILE = '</script><img src="https://evil.example/x.png" onerror="alert(1)">&amp; "quoted" \'single\''
SPECS = ("jpeg:30", "webp:40")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, kodak_paths):
    """Two pieces of photographs, large enough for MS-SSIM."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for source in (kodak_paths[2], kodak_paths[22]):
        paths.append(folder / source.name)
        Image.open(source).crop((200, 100, 400, 290)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def section(pictures):
    """A paper with one of everything, measured."""
    rows = evaluate(SPECS, pictures)
    mean = {spec: [np.mean([r[key] for r in rows if r["spec"] == spec]) for key in ("bpp", "psnr")] for spec in SPECS}
    curves = [Curve(spec, [tuple(mean[spec]), (2.0, 40.0)]) for spec in SPECS]
    return Section(
        paper="test2020",
        title="Tester 2020: A paper",
        verdicts=[Verdict("WebP beats JPEG (Table 1)", "+1 dB", "+2 dB", "reproduced"), _verdict("not reached")],
        tables=[Table("Table 1: numbers", "With **care**.", ("codec", "PSNR, dB"), [("a", "9.5"), ("b", "10.25")])],
        charts=[Chart("test-rd", "Figure 1", "PSNR, dB", [*curves, *published_curves("kodak", "psnr")], "A note.")],
        rows=rows,
        shown=SPECS,
    )


@pytest.fixture(scope="module")
def choices(pictures, tmp_path_factory):
    """A page with two codecs at two rates each, a layered model's row, and a wide table."""
    specs = ("jpeg:20", "jpeg:60", "webp:10", "webp:60")
    name = "fu2019-hybrid-s16-prelu"
    header = (
        "codec",
        "base, bpp",
        *(f"{metric}, against {name}" for metric in ("PSNR", "MS-SSIM", "PSNR-Y", "SSIM")),
    )
    wide = Table("Wide", "", header, [(f"{name},residual_codec=bpg-rgb444", "0.0673", *["+12.3 %"] * 4)] * 3)
    long = Verdict(
        "Stride 16 needs fewer bits than stride 8. " * 3, "slightly fewer at 16", "+1.3 %", "ordering holds"
    )
    first = Section(
        "one", "One 2019: A representation of images", [long], [wide], [], evaluate(specs, pictures), specs
    )
    second = dataclasses.replace(first, paper="two", title="Two 2020: B")
    return write_report([first, second], pictures, tmp_path_factory.mktemp("choices"))


@pytest.fixture(scope="module")
def page(section, pictures, tmp_path_factory):
    return write_report([section], pictures, tmp_path_factory.mktemp("report"))


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


def _verdict(verdict: str) -> Verdict:
    return Verdict("claim", "", "0", verdict)


def test_page_is_whole_and_loads_nothing(page, section, elements):
    found = elements(page)
    found.loads_nothing()
    style = re.search("<style>(.*?)</style>", page.read_text(), re.S)[1]
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


def test_headings_go_down_one_level_at_a_time(page, elements):
    levels = [int(tag[1]) for tag, _ in elements(page).found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_numbers_beside_pictures_are_those_of_the_rows(page, section):
    data = json.loads(re.search(r'class="data">(.*?)</script>', page.read_text(), re.S)[1])
    versions = [entry for entry in data["versions"] if entry["name"] != "original"]
    assert len(data["versions"]) == len(versions) + 2
    assert [(entry["name"], entry["picture"]) for entry in versions] == [
        (row["spec"], row["image"]) for row in section.rows
    ]
    for entry, row in zip(versions, section.rows, strict=True):
        assert f"{row['bpp']:.4f} bpp ({row['bytes']:,} bytes)" in entry["numbers"]
        assert f"PSNR {row['psnr']:.2f} dB" in entry["numbers"]


def test_pictures_are_what_the_files_decode_to(page, section, pictures):
    for row in section.rows:
        stem = f"{row['spec'].replace(':', '-')}-{Path(row['image']).stem}-"
        (file,) = (path for path in (page.parent / "pictures").iterdir() if path.name.startswith(stem))
        original = np.asarray(Image.open(next(path for path in pictures if path.name == row["image"])))
        assert psnr(original, np.asarray(Image.open(file))) == pytest.approx(row["psnr"], abs=1e-9)


def test_same_inputs_give_the_same_bytes(page, section, pictures, tmp_path, calls):
    again = write_report([section], pictures, tmp_path)
    assert again.read_bytes() == page.read_bytes()
    assert [f.read_bytes() for f in sorted((tmp_path / "pictures").iterdir())] == [
        f.read_bytes() for f in sorted((page.parent / "pictures").iterdir())
    ]


def test_resumes(page, section, pictures, tmp_path, calls):
    shutil.copytree(page.parent / "pictures", tmp_path / "pictures")
    files = sorted((tmp_path / "pictures").iterdir())
    assert len(files) == 6  # two originals, two codecs
    before = {file: file.stat().st_mtime_ns for file in files}
    files[0].unlink()
    assert write_report([section], pictures, tmp_path).read_bytes() == page.read_bytes()
    assert [target for _, _, target in calls[0]] == [files[0]]
    assert {file: file.stat().st_mtime_ns for file in files[1:]} == {file: before[file] for file in files[1:]}
    write_report([section], pictures, tmp_path)
    assert calls[1:] == [[]]


def test_too_many_pictures_are_stored_with_loss_then_left_out(page, section, pictures, tmp_path, calls):
    shutil.copytree(page.parent / "pictures", tmp_path / "pictures")
    lossless = sum(file.stat().st_size for file in (tmp_path / "pictures").iterdir())
    text = write_report([section], pictures, tmp_path, picture_bytes=lossless - 1).read_text()
    assert "AVIF 4:4:4 of quality 90" in text and "mean PSNR 4" in text and "Left out" not in text
    none = write_report([section], pictures, tmp_path, picture_bytes=1).read_text()
    assert f"left out, to keep this file small: {pictures[0].name}, {pictures[1].name}." in none
    assert write_report([section], pictures, tmp_path, picture_bytes=1).read_text() == none
    smallest = sum(len(json.loads(file.read_text())["data"]) for file in tmp_path.rglob("*quality-80.json"))
    text = write_report([section], pictures, tmp_path, picture_bytes=smallest * 3 // 4).read_text()
    assert "AVIF 4:4:4 of quality 80" in text and f"Left out, to keep this file small: {pictures[1].name}." in text
    assert f'"picture": "{pictures[0].name}"' in text and f'"picture": "{pictures[1].name}"' not in text


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


def test_unknown_codec_is_refused_before_the_work(section, pictures, tmp_path):
    with pytest.raises(UsageError, match="no codec"):
        write_report([dataclasses.replace(section, shown=["jpgg:3"])], pictures, tmp_path)
    assert not (tmp_path / "pictures").exists()


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


@pytest.mark.slow
def test_page_in_a_browser(browser, page, section):
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    errors, requests = [], []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and errors.append(message.text))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector(".viewer[data-loaded]")
    paper = tab.locator("section.paper")

    # A curve goes and comes back; hovering names it; nothing offers to upload the chart.
    traces = paper.locator(".scatterlayer .trace")
    assert traces.count() == 5
    box = paper.get_by_role("checkbox", name="jpeg:30", exact=True)
    box.uncheck()
    tab.wait_for_function("document.querySelectorAll('.scatterlayer .trace').length === 4")
    box.check()
    tab.wait_for_function("document.querySelectorAll('.scatterlayer .trace').length === 5")
    point = paper.locator(".scatterlayer .trace .point").first.bounding_box()
    tab.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    hover = paper.locator(".hovertext")
    hover.wait_for()
    assert "bpp" in hover.text_content() and "PSNR, dB" in hover.text_content()
    titles = paper.locator(".modebar-btn").evaluate_all("all => all.map(button => button.dataset.title)")
    assert titles == ["Download plot as a PNG", "Zoom in", "Zoom out", "Reset axes"]
    before = tab.evaluate("document.querySelector('.chart').layout.xaxis.range.slice()")
    paper.locator("[data-title='Zoom in']").click()
    tab.wait_for_function("old => document.querySelector('.chart').layout.xaxis.range[1] < old", arg=before[1])

    # Published curves are told apart by colour, and off but for three.
    published = paper.locator(".legend fieldset", has_text="Published").get_by_role("checkbox")
    assert [box.is_checked() for box in published.all()].count(True) == 3
    colors = tab.evaluate(
        "document.querySelector('.chart').data.filter(({ mode }) => mode === 'lines')"
        ".map(({ line }) => line.color + line.dash)"
    )
    assert len(colors) == len(set(colors)) == 23

    # A table of numbers sorts as numbers, by keyboard too.
    table = paper.get_by_role("table", name="Table 1: numbers")
    heading = table.locator("th").nth(1)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert table.locator("tbody td:nth-child(2)").all_text_contents() == ["9.5", "10.25"]
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert table.locator("tbody td:nth-child(2)").all_text_contents() == ["10.25", "9.5"]

    # Rows of each picture: one codec, all, those that are searched for.
    rows = paper.locator(".rows")
    assert rows.locator("tbody tr").count() == 2
    rows.locator("select.codec").select_option("all")
    assert rows.locator("tbody tr").count() == 4
    rows.get_by_label("Picture contains").fill(section.rows[0]["image"])
    assert rows.locator("tbody tr").count() == 2

    # The line moves with the mouse and with keys; the picture before it is the original.
    viewer = paper.locator(".viewer")
    slider = viewer.locator("input[type=range]")
    assert slider.input_value() == "50"
    slider.press("ArrowRight")
    assert slider.input_value() == "50.5"
    picture = viewer.locator(".scroller").bounding_box()
    middle = picture["y"] + picture["height"] / 2
    tab.mouse.move(picture["x"] + picture["width"] * 0.505, middle)
    tab.mouse.down()
    tab.mouse.move(picture["x"] + picture["width"] * 0.25, middle, steps=4)
    tab.mouse.up()
    assert float(slider.input_value()) == pytest.approx(25, abs=1)
    clip = viewer.locator("canvas.left").evaluate("canvas => canvas.style.clipPath")
    assert float(re.search(r"0(?:px)? ([\d.]+)px", clip)[1]) == pytest.approx(150, abs=3)  # of 200

    viewer.get_by_role("combobox", name="Right").select_option("jpeg:30")
    tab.wait_for_selector(".viewer[data-loaded$='jpeg:30']")

    # The canvases hold the very pixels of the lossless files.
    def pixels(name):
        return tab.evaluate(
            "name => { const c = document.querySelector(`canvas.${name}`);"
            " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }",
            name,
        )

    files = sorted((page.parent / "pictures").iterdir())
    stem = Path(section.rows[0]["image"]).stem
    images = {}
    for name, prefix in (("left", f"original-{stem}"), ("right", f"jpeg-30-{stem}")):
        images[name] = np.asarray(Image.open(next(f for f in files if f.name.startswith(prefix))).convert("RGB"))
        found = np.array(pixels(name), np.uint8).reshape(*images[name].shape[:2], 4)[..., :3]
        assert (found == images[name]).all()

    viewer.get_by_role("combobox", name="View").select_option("difference")
    viewer.get_by_role("combobox", name="Amplified").select_option("4×")
    expected = np.minimum(255, 4 * np.abs(images["left"].astype(int) - images["right"]))
    assert (np.array(pixels("difference")).reshape(*expected.shape[:2], 4)[..., :3] == expected).all()
    viewer.get_by_role("combobox", name="View").select_option("slider")
    viewer.get_by_role("combobox", name="Zoom").select_option("8×")
    assert viewer.locator("canvas.left").bounding_box()["width"] == 1600
    viewer.get_by_role("combobox", name="Right").select_option("webp:40")
    tab.wait_for_selector(".viewer[data-loaded$='webp:40']")
    assert "webp:40" in viewer.locator(".numbers").text_content()
    viewer.get_by_role("combobox", name="Left").select_option("jpeg:30")
    tab.wait_for_selector(".viewer[data-loaded$='jpeg:30 webp:40']")
    assert (np.array(pixels("left"), np.uint8).reshape(*expected.shape[:2], 4)[..., :3] == images["right"]).all()
    assert viewer.locator(".tag").all_text_contents() == ["jpeg:30", "webp:40"]

    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
def test_choices_are_in_the_address(browser, choices):
    tab = browser.new_page(viewport={"width": 1366, "height": 768})
    tab.goto(choices.as_uri())
    tab.wait_for_selector("#paper-two .viewer[data-loaded]")
    viewer = tab.locator("#paper-two .viewer")
    left, right, nearest = (viewer.locator(f"[name={name}]") for name in ("left", "right", "nearest"))
    assert "#" not in tab.url and left.input_value() == "original"

    # The other side follows to its file of the nearest rate, and the difference is said.
    right.select_option("webp:10")
    left.select_option("jpeg:60")
    assert right.input_value() == "webp:60"
    tab.wait_for_selector("#paper-two .viewer[data-loaded$='jpeg:60 webp:60']")
    assert re.search(
        r"Right against left: [+−][\d.]+ % bits, [+−][\d.]+ dB", viewer.locator(".numbers").text_content()
    )
    right.select_option("webp:10")
    assert left.input_value() == "jpeg:20"
    right.select_option("jpeg:60")  # two files of one codec
    assert left.input_value() == "jpeg:20"
    nearest.uncheck()
    right.select_option("webp:60")
    assert left.input_value() == "jpeg:20"
    viewer.locator("[name=view]").select_option("difference")
    tab.locator("#paper-two [name=codec]").select_option("")
    assert "#paper-two?" in tab.url and "left=jpeg%3A20" in tab.url and "factor" not in tab.url

    # The address brings all of it back; another one in its place does too.
    other = browser.new_page(viewport={"width": 1366, "height": 768})
    other.goto(tab.url)
    other.wait_for_selector("#paper-two .viewer[data-loaded$='jpeg:20 webp:60']")
    assert other.locator("#paper-one .viewer").get_attribute("data-loaded").endswith(" original webp:60")
    assert not other.locator("#paper-two [name=nearest]").is_checked()
    assert other.locator("#paper-two [name=view]").input_value() == "difference"
    assert other.locator("#paper-two .rows tbody tr").count() == 8
    assert other.locator("#paper-two .viewer").bounding_box()["y"] < 200
    other.evaluate("location.hash = '#paper-one?left=webp%3A10&right=none'")
    other.wait_for_selector("#paper-one .viewer[data-loaded$='webp:10 webp:60']")

    # The list of papers goes to a paper and marks it.
    other.get_by_role("navigation", name="Papers").get_by_role("link", name="One 2019").click()
    other.wait_for_selector("nav.papers a[aria-current=true]:text('One 2019')")
    assert 0 < other.locator("#paper-one h2").bounding_box()["y"] < 120

    # No column is cut, and no row is taller than two lines.
    assert other.evaluate(
        "[...document.querySelectorAll('.scroll')].every((box) => box.scrollWidth <= box.clientWidth)"
    )
    assert other.get_by_role("table", name="Wide").first.locator("tbody tr").first.bounding_box()["height"] < 60
    assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_curves_are_in_the_address(browser, page):
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector(".viewer[data-loaded]")
    tab.get_by_role("checkbox", name="ELIC 2022 (MSE)", exact=True).check()
    tab.get_by_role("checkbox", name="jpeg:30", exact=True).uncheck()
    again = browser.new_page()
    again.goto(tab.url)
    again.wait_for_selector(".viewer[data-loaded]")
    assert again.get_by_role("checkbox", name="ELIC 2022 (MSE)", exact=True).is_checked()
    assert not again.get_by_role("checkbox", name="jpeg:30", exact=True).is_checked()
    drawn = "document.querySelector('.chart').data.filter((trace) => trace.visible).map((trace) => trace.name)"
    assert set(again.evaluate(drawn)) == {
        "webp:40",
        "Ballé 2018 (MSE)",
        "Minnen 2018 (MSE)",
        "VVC (VTM)",
        "ELIC 2022 (MSE)",
    }


@pytest.mark.slow
def test_verdicts_are_readable_on_a_phone(browser, choices):
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(choices.as_uri())
    tab.wait_for_selector("#paper-two .viewer[data-loaded]")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    for cell in tab.locator("table.verdicts").first.locator("td").all():
        box = cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert tab.locator("table.verdicts .verdict").first.is_visible()
    assert tab.evaluate(
        "(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.counts').parentElement)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_on_a_phone(browser, page, scheme):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector(".viewer[data-loaded]")
    for zoom in ("fit", "8×"):
        tab.locator("select.zoom").select_option(zoom)
        assert tab.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]

    # A finger moves the line, zoomed or not.
    slider = tab.locator(".viewer input[type=range]")
    touch = context.new_cdp_session(tab)
    for start, end in ((50, 20), (20, 70)):
        tab.locator(".viewer .scroller").scroll_into_view_if_needed()
        box = tab.locator(".viewer .scroller").bounding_box()
        points = [{"x": box["x"] + box["width"] * x / 100, "y": box["y"] + 60} for x in (start, end)]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points[1:]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert float(slider.input_value()) == pytest.approx(end, abs=1)
        tab.locator("select.zoom").select_option("fit")

    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    chart = tab.evaluate("getComputedStyle(document.querySelector('.main-svg')).backgroundColor")
    assert ground == chart == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    other = {"light": "dark", "dark": "light"}[scheme]
    tab.emulate_media(color_scheme=other)
    tab.wait_for_function(
        "old => getComputedStyle(document.querySelector('.main-svg')).backgroundColor !== old", arg=chart
    )
    context.close()
