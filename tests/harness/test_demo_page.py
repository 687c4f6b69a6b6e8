"""The demonstration: its files, their numbers, its page, read and driven in a real browser."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.images import write_image
from codec_zoo.codecs.specs import open_codec
from codec_zoo.harness import demo, equal_bytes
from codec_zoo.harness.rows import read_rows
from codec_zoo.metrics import psnr
from codec_zoo.presets import DEFAULT_PRESET

LAYERED, BPP = "jia2019-sae-mse-e1", 0.8
MODELS = equal_bytes.models  # which `patched` replaces


@pytest.fixture(scope="module")
def patched():
    """Few codecs and a small stack of layers, so that it is quick."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (demo, equal_bytes):
            patch.setattr(module, "models", lambda: [DEFAULT_PRESET])
            patch.setattr(module, "standard_codecs", lambda: ["jpeg-420", "webp"])
        patch.setattr(demo, "layered_model", lambda: LAYERED)
        yield patch


@pytest.fixture(scope="module")
def places(tmp_path_factory, kodak_paths):
    """Pieces of two photographs, and where they go; one in a folder of its own."""
    sources, folder = tmp_path_factory.mktemp("photographs"), tmp_path_factory.mktemp("demo")
    found = []
    for name, path in (("a", kodak_paths[14]), ("deep/b", kodak_paths[22])):
        source = sources / f"{name}.png"
        source.parent.mkdir(exist_ok=True)
        Image.open(path).crop((360, 60, 520, 180)).save(source)
        found.append((source, folder / demo.ORIGINALS / f"{name}.png"))
    return folder, found


@pytest.fixture(scope="module")
def done(patched, places):
    folder, found = places
    return demo.run(found, folder, BPP, workers=1)


def _pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_numbers_are_of_the_files(done, places):
    folder, found = places
    rows = read_rows(folder / "rows.jsonl")
    assert {row["codec"] for row in rows} == {DEFAULT_PRESET, "jpeg-420", "webp"}
    records = sorted((folder / "files").rglob("*.json"))
    assert len(records) == 2 * 3 + 2
    for record in records:
        row = json.loads(record.read_text())
        (file,) = (path for path in record.parent.glob(f"{record.stem}.*") if path.suffix not in (".json", ".png"))
        label = record.parent.relative_to(folder / "files")
        original = _pixels(folder / demo.ORIGINALS / f"{label}.png")
        decoded = _pixels(record.with_name(f"{record.stem}.decoded.png"))
        assert row["bytes"] == file.stat().st_size
        assert row["bpp"] == 8 * row["bytes"] / (160 * 120)
        assert row["psnr"] == pytest.approx(psnr(original, decoded), abs=1e-9)
        assert (open_codec(row["spec"]).decode(file.read_bytes()) == decoded).all()
    for source, target in found:
        assert (_pixels(source) == _pixels(target)).all()


def test_files_have_nearly_equal_bytes(done, places):
    folder, found = places
    for _, original in found:
        files = folder / "files" / original.relative_to(folder / demo.ORIGINALS).with_suffix("")
        image = _pixels(original)
        wanted = (files / f"{DEFAULT_PRESET}.czoo").stat().st_size
        assert 8 * wanted <= BPP * image.shape[0] * image.shape[1]
        for name, suffix in (("jpeg-420", "jpg"), ("webp", "webp")):
            size = (files / f"{name}.{suffix}").stat().st_size
            quality = int(json.loads((files / f"{name}.json").read_text())["spec"].partition(":")[2])
            around = (q for q in (quality - 1, quality + 1) if q in equal_bytes.STANDARD[name].qualities)
            others = [len(open_codec(f"{name}:{q}").encode(image)) for q in around]
            assert all(abs(size - wanted) <= abs(other - wanted) for other in others), (name, size, wanted, others)


def test_a_file_that_is_cut_decodes(done, places):
    folder, _ = places
    files = [folder / "files" / "a" / f"{LAYERED}.{count}-of-2.czoo" for count in (1, 2)]
    small, whole = (file.read_bytes() for file in files)
    assert small == container.truncate(whole, 1) and len(small) < len(whole)
    values = [json.loads(file.with_suffix(".json").read_text())["psnr"] for file in files]
    assert values[0] < values[1]


def test_tables(done):
    assert [row[0] for row in done.table.rows] == [DEFAULT_PRESET, "JPEG", "WebP"]
    assert done.table.header[1] == "bytes against JPEG" and done.table.rows[1][1] == ""
    assert float(done.table.rows[0][1].rstrip(" %")) < 0
    assert [table.title for table in done.equal_bytes] == ["a", "deep/b"]
    assert [row[0] for row in done.equal_bytes[0].rows] == [equal_bytes.OURS, "JPEG", "WebP"]
    lines = done.table.text().splitlines()
    assert lines[0] == "Results" and len({len(line) for line in lines[1:-1]}) == 1


def test_page_is_whole_and_loads_nothing(done, places, elements):
    folder, _ = places
    page = elements(done.page)
    page.loads_nothing()
    text = " ".join(page.text)
    for expected in (DEFAULT_PRESET, "than JPEG at equal PSNR", "deep/b", "One file, 2 qualities", "exactly what"):
        assert expected in text, expected
    data = [json.loads(found) for found in re.findall(r'class="data">(.*?)</script>', done.page.read_text(), re.S)]
    charts, first, second, layers = data
    assert [curve["name"] for curve in charts["charts"][0]["curves"]] == [DEFAULT_PRESET, "JPEG", "WebP"]
    assert [version["name"] for version in layers["versions"]] == ["original", "1 of 2 layers", "2 of 2 layers"]
    for label, found in (("a", first), ("deep/b", second)):
        assert {version["picture"] for version in found["versions"]} == {label}
        row = json.loads((folder / "files" / label / "webp.json").read_text())
        (shown,) = (version for version in found["versions"] if version["name"] == "WebP")
        assert f"({row['bytes']:,} bytes) · PSNR {row['psnr']:.2f} dB" in shown["numbers"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("curves.png", "curves.svg", "files", "index.html", "originals", "rows.jsonl")
    ]


def test_resumes(done, patched, places, tmp_path, monkeypatch):
    folder, found = places
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    targets = [(source, again / target.relative_to(folder)) for source, target in found]
    made = []
    real = equal_bytes.Coded.write
    monkeypatch.setattr(
        equal_bytes.Coded, "write", lambda self, *given: (made.append(self.file.name), real(self, *given))
    )
    (again / "files" / "deep" / "b" / "webp.json").unlink()
    assert demo.run(targets, again, BPP, workers=1).page.read_bytes() == done.page.read_bytes()
    assert made == ["webp.webp"]
    demo.run(targets, again, BPP, workers=1)
    assert made == ["webp.webp"]
    demo.run(targets, again, BPP / 2, workers=1)  # another rate is another comparison
    assert len(made) == 1 + 2 * 3


def test_a_large_picture_is_made_smaller(tmp_path, monkeypatch, capsys, photo):
    write_image(tmp_path / "large.png", photo)
    monkeypatch.setattr(demo, "MAX_PIXELS", 6000)
    target = demo._prepare(tmp_path / "large.png", tmp_path / "originals" / "large.png", None)
    height, width = _pixels(target).shape[:2]
    assert 5500 < height * width <= 6000 and width / height == pytest.approx(1.5, abs=0.05)
    assert f"made smaller, {width}×{height}" in capsys.readouterr().err


def test_models_follow_what_is_trained(monkeypatch):
    assert MODELS()[0] == DEFAULT_PRESET
    index = dict.fromkeys(["balle2018-hyperprior-mse-3", "balle2018-hyperprior-ms-ssim-3", "jia2019-sae-mse-base"])
    monkeypatch.setattr(weights, "index", lambda: index)
    assert MODELS() == [DEFAULT_PRESET, "balle2018-hyperprior-mse-3"]
    assert equal_bytes.layered_model() is None
    index["jia2019-sae-mse-e2"] = None
    assert equal_bytes.layered_model() == "jia2019-sae-mse-e2"
    index["balle2018-hyperprior-mse-vbr"] = None
    assert MODELS() == [DEFAULT_PRESET, "balle2018-hyperprior-mse-vbr"]


@pytest.mark.parametrize("wanted", [1, 10**7])
def test_bytes_that_no_quality_reaches(tmp_path, photo, wanted):
    """The nearest file is the smallest or the largest."""
    write_image(tmp_path / "a.png", photo[:64, :64])
    coded = equal_bytes.Coded("JPEG", "jpeg-420", tmp_path / "a.png", tmp_path / "jpeg-420.jpg", wanted)
    coded.make({})
    assert coded.row["spec"] == f"jpeg-420:{1 if wanted == 1 else 100}"
    assert coded.is_made() and not dataclasses.replace(coded, wanted=wanted + 1).is_made()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_page_in_a_browser(browser, done, width, scheme, tmp_path):
    phone = width < 600
    context = browser.new_context(
        viewport={"width": width, "height": 812}, color_scheme=scheme, is_mobile=phone, has_touch=phone
    )
    tab = context.new_page()
    errors, requests = [], []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and errors.append(message.text))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(done.page.as_uri())
    tab.wait_for_function("document.querySelectorAll('.viewer[data-loaded]').length === 3")
    assert tab.evaluate("document.documentElement.scrollWidth") == width, "the page is as wide as the screen"
    viewer = tab.locator(".viewer").first
    assert viewer.get_attribute("data-loaded") == f"a JPEG {equal_bytes.OURS}"
    assert "bytes" in viewer.locator(".tag.left").text_content()
    viewer.get_by_role("combobox", name="Left").select_option("original")
    tab.wait_for_selector(f".viewer[data-loaded='a original {equal_bytes.OURS}']")
    slider = viewer.locator("input[type=range]")
    slider.press("ArrowLeft")
    assert slider.input_value() == "49.5"
    picture, table = viewer.locator(".stage").bounding_box(), tab.locator(".beside table").first.bounding_box()
    assert (table["y"] > picture["y"] + picture["height"]) == phone, "beside the picture, on a phone below it"
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    image = tmp_path / f"demo-{width}-{scheme}.png"
    tab.screenshot(path=image, full_page=True)
    shown = np.asarray(Image.open(image).convert("L"))
    assert shown.shape[1] == width and shown.std() > 20
    assert errors == [] and [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
