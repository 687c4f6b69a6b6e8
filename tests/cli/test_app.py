"""The page to play with: its jobs and limits without a browser, and the page itself in a real one."""

import http.client
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from codec_zoo.cli.main import run
from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.codecs.images import as_rgb, to_gray
from codec_zoo.codecs.standard import get_codec, make_codec
from codec_zoo.errors import CodecZooError, ImageError, UsageError
from codec_zoo.harness import app
from codec_zoo.presets import DEFAULT_PRESET

MODEL = "hu2018-filter-jpeg-q20"


@pytest.fixture(scope="module")
def png(kodak_paths):
    """A piece of a photograph, large enough for MS-SSIM, as a file."""
    data = io.BytesIO()
    Image.open(kodak_paths[22]).crop((200, 100, 440, 290)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def stand_in(monkeypatch):
    """JPEG in the place of models, which take seconds to load."""

    class StandIn:
        def encode(self, image):
            self.gray = image.shape[2] == 1
            return get_codec("jpeg:40").encode(as_rgb(image))

        def decode(self, data):
            image = get_codec("jpeg:40").decode(data)
            return to_gray(image) if self.gray else image

    monkeypatch.setattr(app, "open_model", lambda name: name)
    monkeypatch.setattr(app, "codec_for", lambda model, **options: StandIn())
    monkeypatch.setattr(memory_estimates, "check_size", lambda *args: None)


@pytest.fixture
def server():
    """A server in a thread."""
    with app.App("127.0.0.1", 0) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def request(server, path, body=None, headers=None, **query):
    """Status and body of an answer; with ``body`` a POST of the page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    method = "GET" if body is None else "POST"
    connection.request(method, f"{path}?{urlencode(query)}", body, {app.HEADER: "1"} if headers is None else headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data) if "json" in answer.headers["Content-Type"] else data


@pytest.mark.parametrize("name", app.STANDARD)
def test_standard_codecs_take_as_many_bytes_as_fit(name, png):
    image = read_image("x.png", data=png)
    size = 5000
    data = app.encode_within(name, image, size)
    assert len(data) <= size
    assert len(data) > 0.9 * size
    lowest = 1 if name == "jpeg" else 0
    assert app.encode_within(name, image, 1) == make_codec(name, lowest).encode(image)


def test_models_have_a_dial_or_layers_and_the_default_is_first():
    models = app.list_models()
    assert models[0]["name"] == DEFAULT_PRESET and len(models) > 10
    assert all(model["qualities"] or model["layers"] > 1 for model in models)
    assert {"jia2019-sae-mse-e2", MODEL} <= {model["name"] for model in models}


def test_a_comparison_has_the_numbers_of_its_pictures(png, stand_in):
    result = app.compress(png, "my photo.png", MODEL, {"target_bpp": "0.0001"}, None)
    image = read_image("x.png", data=png)
    assert [row["codec"] for row in result.values["rows"]] == [MODEL, "JPEG", "AVIF"]
    coded = result.files["my photo.czoo"]
    assert np.array_equal(read_image("o.png", data=result.files["original.png"]), image)
    for row in result.values["rows"]:
        decoded = read_image("d.png", data=result.files[row["image"]]).astype(float)
        error = np.mean((decoded - image) ** 2)
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        assert row["bytes"] <= len(coded) and row["bpp"] == 8 * row["bytes"] / (240 * 190)
        assert 0.5 < row["ms_ssim"] < 1 and row["encode_s"] > 0 and row["decode_s"] > 0
    assert result.values["notes"][0].startswith("0.0001 bits a pixel are missed")


def test_pictures_are_read_by_the_rules_of_compress(stand_in):
    data = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGBA", (40, 30), (255, 0, 0, 128)).save(data, "PNG", exif=exif)
    with pytest.raises(ImageError, match="transparent"):
        app.compress(data.getvalue(), "x.png", MODEL, {}, None)
    result = app.compress(data.getvalue(), "x.png", MODEL, {}, "white")
    assert (result.values["width"], result.values["height"]) == (30, 40)
    assert result.values["rows"][0]["ms_ssim"] is None
    deep = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40000, np.uint16)).save(deep, "PNG")
    assert "16" in app.compress(deep.getvalue(), "deep.png", MODEL, {}, None).values["notes"][0]


def test_large_pictures_are_refused_before_they_are_decoded(monkeypatch, png):
    monkeypatch.setattr(app, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"240×190 pixels: this page takes up to"):
        app.compress(png, "x.png", MODEL, {}, None)


def test_unknown_models_and_rates_are_refused(png):
    with pytest.raises(UsageError, match="no model '/etc'"):
        app.compress(png, "x.png", "/etc", {}, None)
    with pytest.raises(UsageError, match="target-bpp"):
        app.compress(png, "x.png", MODEL, {"target_bpp": "much"}, None)


def test_a_job_over_http_gives_files_that_are_forgotten(server, png, stand_in, monkeypatch):
    monkeypatch.setattr(app, "KEPT", 1)
    status, values = request(server, "/compress", png, name="../a b.png", model=MODEL, quality="20")
    assert status == 200 and set(values["files"]) == {"original.png", "ours.png", "jpeg.png", "avif.png", "a b.czoo"}
    status, data = request(server, values["files"]["a b.czoo"])
    assert status == 200 and len(data) == values["rows"][0]["bytes"]
    request(server, "/compress", png, name="b.png", model=MODEL, quality="20")
    status, answer = request(server, values["files"]["a b.czoo"])
    assert status == 404 and "no longer here" in answer["error"]


@pytest.mark.parametrize("path", ["/", "/app.css", "/app.js", "/models", "/examples/kodim23.png"])
def test_the_page_has_its_parts(server, path):
    status, data = request(server, path)
    assert status == 200 and data
    if isinstance(data, bytes) and b"PNG" not in data[:4]:
        assert not re.search(rb"https?://|@import|url\(", data), "the page loads nothing from elsewhere"


@pytest.mark.parametrize("path", ["/examples/..%2fkodim23.png", "/app.py", "/results/x/y", "//etc/passwd"])
def test_nothing_else_is_served(server, path):
    assert request(server, path)[0] == 404


def test_bad_uploads_get_one_sentence(server, monkeypatch, png):
    status, answer = request(server, "/compress", b"no picture", name="x.jpg", model=MODEL)
    assert status == 400 and answer["error"].startswith("x.jpg is not a picture")
    status, answer = request(server, "/decompress", b"no file", name="x.czoo")
    assert status == 400 and "not a .czoo file" in answer["error"]
    status, answer = request(server, "/compress", png, headers={}, name="x.png")
    assert status == 400 and "only the page itself" in answer["error"]
    monkeypatch.setattr(app, "MAX_BYTES", 1000)
    status, answer = request(server, "/compress", bytes(1001), name="x.png")
    assert status == 400 and "1,001 bytes" in answer["error"]


def test_one_job_at_a_time_and_few_wait(server, monkeypatch):
    monkeypatch.setattr(server, "places", threading.BoundedSemaphore(2))
    working, go = threading.Event(), threading.Event()
    active: list[int] = []

    def work():
        active.append(1)
        assert len(active) == 1
        working.set()
        go.wait(60)
        active.clear()
        return app.Result({}, {})

    threads = [threading.Thread(target=server.run, args=(work,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    working.wait(60)
    while server.places._value:
        pass
    with pytest.raises(CodecZooError, match="too many"):
        server.run(work)
    go.set()
    for thread in threads:
        thread.join()
    assert len(server.results) == 2


def test_a_port_in_use_gives_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["app", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"error: 127.0.0.1:{port} cannot be opened: another program uses it. Choose another with --port N.\n"
    )


@pytest.fixture(scope="module")
def process():
    """The command in a process of its own, and the address of its page; Ctrl-C ends it."""
    command = [sys.executable, "-c", "from codec_zoo.cli.main import main; main()", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as found:
        yield found.stdout.readline().split()[0]
        found.send_signal(signal.SIGINT)
        assert found.wait(60) == 130
        assert found.stderr.read().splitlines()[-1] == "interrupted"


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of this machine."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not executable:
        pytest.skip("there is no Chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 375])
def test_page_in_a_browser(browser, process, png, tmp_path, width):
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.set_default_timeout(240_000)
    errors, requests = [], []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(process)
    tab.wait_for_selector("body[data-ready]")
    photo = tmp_path / "photo.png"
    photo.write_bytes(png)
    compress, decompress = tab.locator("#compress"), tab.locator("#decompress")

    # A bad file gives a sentence.
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    compress.locator("input[type=file]").set_input_files(bad)
    compress.get_by_role("button", name="Compress", exact=True).click()
    compress.locator(".status.error").wait_for()
    assert compress.locator(".status").text_content().startswith("Bad.jpg is not a picture")

    # An example is chosen; then an upload is compressed.
    compress.get_by_role("button", name="Example kodim23.png").click()
    compress.locator(".examples [aria-pressed=true]").wait_for()
    compress.locator("input[type=file]").set_input_files(photo)
    compress.get_by_label("Model").select_option(MODEL)
    compress.get_by_label("Bits a pixel", exact=True).fill("0.5")
    compress.get_by_role("button", name="Compress", exact=True).click()
    compress.locator(".result").wait_for()
    cells = compress.locator("tbody tr").evaluate_all("all => all.map(row => [...row.cells].map(c => c.textContent))")
    assert [row[0] for row in cells] == [MODEL, "JPEG", "AVIF"]
    assert float(cells[0][2]) <= 0.5 and all(float(row[3]) > 20 for row in cells)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    # The line moves with keys and with the mouse.
    slider = compress.get_by_role("slider")
    slider.press("ArrowRight")
    assert slider.input_value() == "50.5"
    box = slider.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert 20 < float(slider.input_value()) < 30
    assert tab.locator(".stage").evaluate("stage => getComputedStyle(stage).getPropertyValue('--at')").endswith("%")
    compress.get_by_label("Compare").select_option("AVIF and ours")
    assert compress.locator(".tag.left").text_content() == f"AVIF {cells[2][1]} bytes"
    tab.wait_for_function("[...document.querySelectorAll('.stage img')].every(i => i.naturalWidth === 240)")

    # The download is the file that the table tells of, and decodes to the picture that was shown.
    with tab.expect_download() as download:
        compress.get_by_role("link", name="Download photo.czoo").click()
    coded = Path(download.value.path()).read_bytes()
    assert len(coded) == int(cells[0][1].replace(",", ""))
    shown = tab.request.get(process + tab.locator(".stage .after").get_attribute("src")[1:]).body()
    file = tmp_path / "photo.czoo"
    file.write_bytes(coded)
    tab.get_by_role("tab", name="Decompress").click()
    decompress.locator("input[type=file]").set_input_files(file)
    decompress.locator(".result").wait_for()
    assert MODEL in decompress.locator("dl").text_content() and "240×190, RGB" in decompress.text_content()
    with tab.expect_download() as download:
        decompress.get_by_role("link", name="Download photo.png").click()
    pictures = [read_image("x.png", data=data) for data in (shown, Path(download.value.path()).read_bytes())]
    assert np.array_equal(*pictures)
    assert not errors and all(url.startswith((process, "blob:", "data:")) for url in requests), (errors, requests)
    tab.close()


@pytest.mark.slow
def test_layers_are_chosen_in_a_browser(browser, process, png, tmp_path):
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.set_default_timeout(240_000)
    tab.goto(process)
    tab.wait_for_selector("body[data-ready]")
    photo, file = tmp_path / "photo.png", tmp_path / "photo.czoo"
    photo.write_bytes(png)
    tab.locator("#compress input[type=file]").set_input_files(photo)
    tab.get_by_label("Model").select_option("jia2019-sae-mse-e1")
    tab.get_by_label("Bits a pixel", exact=True).fill("20")
    assert tab.get_by_label("Rate by").locator("option[value=quality]").is_disabled()
    tab.get_by_role("button", name="Compress", exact=True).click()
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download photo.czoo").click()
    file.write_bytes(Path(download.value.path()).read_bytes())
    tab.get_by_role("tab", name="Decompress").click()
    tab.locator("#decompress input[type=file]").set_input_files(file)
    tab.get_by_text("2 of 2 layers").wait_for()
    tab.get_by_label("Layers to decode").select_option("1")
    tab.get_by_role("button", name="Decompress", exact=True).click()
    tab.get_by_text("1 of 2 layers").wait_for()
    tab.close()
