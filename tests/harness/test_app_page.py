"""The page of `codec-zoo app`: its work without a browser, and the page in one."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec_zoo
from codec_zoo.codecs import container
from codec_zoo.errors import BitstreamError, UsageError
from codec_zoo.harness import app
from codec_zoo.harness.equal_bytes import STANDARD, nearest_file, standard_codecs
from codec_zoo.presets import DEFAULT_PRESET

ROOT = Path(__file__).parents[2]


def test_every_model_reaches_a_wanted_rate():
    names = app.models()
    assert names[0] == DEFAULT_PRESET and "jia2019-sae-mse-e4" in names and "report2017-mlp" not in names


@pytest.mark.parametrize("name", standard_codecs())
def test_the_nearest_file_is_the_nearest(name, photo):
    """Against all qualities, one by one."""
    from codec_zoo.codecs.specs import open_codec

    crop = photo[:64, :96]
    qualities = STANDARD[name].qualities[:: max(1, len(STANDARD[name].qualities) // 25)]
    sizes = [len(open_codec(f"{name}:{quality:g}").encode(crop)) for quality in qualities]
    for wanted in (1, sizes[5], sizes[12] + 3, 10**6):
        spec, data = nearest_file(name, crop, wanted)
        assert data == open_codec(spec).encode(crop)
        assert abs(len(data) - wanted) <= min(abs(size - wanted) for size in sizes)


def test_files_of_equal_bytes(photo):
    crop, notes = np.ascontiguousarray(photo[:128, :192]), []
    ours, *rivals = app.compare(crop, DEFAULT_PRESET, 1.0, notes)
    assert 8 * len(ours.data) <= crop.shape[0] * crop.shape[1] and not notes
    assert np.array_equal(codec_zoo.decompress(ours.data), ours.image)
    assert [rival.title for rival in rivals] == ["JPEG", "AVIF"]
    for rival in rivals:
        assert abs(len(rival.data) / len(ours.data) - 1) < 0.1, rival.title
        with Image.open(io.BytesIO(rival.data)) as image:
            assert image.size == (192, 128)
    text = app.table(crop, [ours, *rivals])
    assert f"{len(ours.data):,}" in text and text.count("\n") == 4
    with pytest.raises(UsageError, match="choose one of"):
        app.compare(crop, "nothing", 1.0, notes)


def test_the_table_has_ms_ssim_of_photographs_large_enough(photo):
    for side, cell in ((175, "–"), (176, "1.0000")):
        image = np.ascontiguousarray(photo[:side, :200])
        last = app.table(image, [app.Version("same", b"x", image, 0.1, 0.1)]).splitlines()[-1]
        assert f"| {cell} |" in last, last


def test_a_target_that_is_missed_is_said(photo):
    notes = []
    app.compare(np.ascontiguousarray(photo[:32, :32]), DEFAULT_PRESET, 0.1, notes)
    assert "needs at least" in notes[0]


def test_large_and_transparent_photographs(tmp_path):
    path, notes = tmp_path / "large.png", []
    Image.new("RGBA", (3000, 2000), (0, 0, 0, 0)).save(path)
    image = app.read(path, notes)
    assert image.shape[0] * image.shape[1] <= app.MAX_PIXELS and abs(image.shape[1] - 1.5 * image.shape[0]) < 2
    assert image.min() == 255 and any("made smaller" in note for note in notes)


def test_a_file_of_layers():
    data = (ROOT / "tests" / "data" / "golden" / "layered.czoo").read_bytes()
    file = codec_zoo.open(data)
    text = app.describe(data)
    assert f"**{file.model}**" in text and text.count("| latent |") == len(file.layers) >= 2
    assert "was cut" in app.describe(container.truncate(data, 1))
    assert app.decode(data, 1).shape == app.decode(data, 2).shape
    assert not np.array_equal(app.decode(data, 1), app.decode(data, 2))
    with pytest.raises(BitstreamError):
        app.describe(data[:-30] + bytes(30))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has the extra `app`: this one, or one of an environment of its own."""
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError:
        folder = tmp_path_factory.mktemp("app")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", f"{ROOT}[app]"], check=True)
        return folder / "bin" / "python"
    return Path(sys.executable)


@pytest.fixture(scope="module")
def page(python, tmp_path_factory):
    """The URL of the page, served by the command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "-m", "codec_zoo.cli.main", "app", "--port", str(port)]
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < until
        try:
            urllib.request.urlopen(url).close()
            break
        except OSError:
            time.sleep(0.5)
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 2 and "is in use" in second.stderr and "Traceback" not in second.stderr
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not list(temporary.glob("codec-zoo-app-*"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_page_in_a_browser(browser, page, tmp_path, width, scheme):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    foreign = []
    tab.on("request", lambda request: foreign.append(request.url) if request.url.startswith("http") else None)
    tab.goto(page)
    photo = ROOT / "datasets" / "kodak" / "kodim23.png"
    tab.set_input_files("#photo input[type=file]", photo)
    tab.get_by_text("kodim23").first.wait_for()
    tab.click("#compress")
    tab.wait_for_selector("#numbers table", timeout=300_000)
    tab.wait_for_selector("#slider img", timeout=30_000)
    assert tab.locator("#numbers tbody tr").count() == 3
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    with tab.expect_download() as download:
        tab.click("#download")
    coded = tmp_path / download.value.suggested_filename
    download.value.save_as(coded)
    assert coded.name == "kodim23.czoo" and codec_zoo.open(coded).width == 768

    tab.get_by_role("tab", name="Open a .czoo file").click()
    tab.set_input_files("#file input[type=file]", coded)
    tab.wait_for_selector("#header table", timeout=60_000)
    assert not [url for url in foreign if not url.startswith(page)]
    tab.close()


@pytest.mark.slow
def test_a_wrong_file_gets_a_sentence(browser, page, tmp_path):
    wrong = tmp_path / "wrong.czoo"
    wrong.write_bytes(b"not a file of ours")
    tab = browser.new_page()
    tab.goto(page)
    tab.get_by_role("tab", name="Open a .czoo file").click()
    tab.set_input_files("#file input[type=file]", wrong)
    tab.get_by_text("not a .czoo file").first.wait_for(timeout=60_000)
    assert not tab.get_by_text("Traceback").count()
    tab.close()
