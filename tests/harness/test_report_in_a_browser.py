"""The page of all reproductions, driven in a real browser."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.harness.evaluation import evaluate
from codec_zoo.harness.report import write_report
from codec_zoo.harness.results import Section, Table, Verdict


@pytest.fixture(scope="module")
def choices(two_crops, tmp_path_factory):
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
        "one", "One 2019: A representation of images", [long], [wide], [], evaluate(specs, two_crops), specs
    )
    second = dataclasses.replace(first, paper="two", title="Two 2020: B")
    return write_report([first, second], two_crops, tmp_path_factory.mktemp("choices"))


@pytest.mark.slow
def test_page_in_a_browser(browser, report_page, section):
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    errors, requests = [], []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and errors.append(message.text))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(report_page.as_uri())
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

    files = sorted((report_page.parent / "pictures").iterdir())
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
def test_curves_are_in_the_address(browser, report_page):
    tab = browser.new_page()
    tab.goto(report_page.as_uri())
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
def test_page_on_a_phone(browser, report_page, scheme):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    tab = context.new_page()
    tab.goto(report_page.as_uri())
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
