"""What becomes of each kind of image file: the list in image_cases, and what a list cannot say."""

import concurrent.futures
import io
import subprocess
import sys
import types
import warnings

import image_cases
import numpy as np
import pytest
from image_bytes import exif, png, save, smooth, tiff
from image_cases import CASES, CUT, RGB, outcome
from PIL import Image, ImageFile, ImageOps

from codec_zoo.codecs.image_formats import MAX_PIXELS
from codec_zoo.codecs.image_reader import background_color, inspect_image, read_image, read_pillow_image, read_rgb
from codec_zoo.errors import ImageError, UsageError


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES, ids=[case.input for case in CASES])
def test_case(case, tmp_path):
    pixels, notes, words = outcome(case, tmp_path)
    assert len(notes) == len(set(notes))
    if case.pixels is None:
        assert pixels is None and words.startswith("refused: the file"), words
        return
    assert pixels is not None, words
    assert pixels.dtype == np.uint8 and pixels.shape == case.pixels.shape and pixels.flags.writeable
    assert np.abs(pixels.astype(int) - case.pixels).max() <= case.tolerance
    if case.background is None:
        said = [f"{tmp_path / case.name}: {note}" for note in inspect_image(tmp_path / case.name)]
        late = {f"{tmp_path / case.name}: converted from LAB to RGB"}
        assert set(said) | late == set(notes) | late  # the header tells


def test_the_table_in_the_docs_is_current():
    text = image_cases.DOCUMENT.read_text()
    assert image_cases.document(text) == text, "run: python tests/codecs/image_cases.py"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_every_orientation(kind):
    for orientation in (0, *range(1, 9), 9):
        data = save(smooth(), kind, exif=exif(orientation))()
        upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        assert np.array_equal(read_image("x", data=data), upright), orientation


def test_pixels_are_those_of_pillow_for_all_that_pillow_reads_right(kodak_paths):
    for path in kodak_paths[:3]:
        assert np.array_equal(read_image(path), np.asarray(Image.open(path)))


def test_16_bits_of_every_value_are_rounded_to_the_nearest(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    nearest = np.rint(values / 257).astype(np.uint8)
    assert np.array_equal(read_image("x.png", data=png(values)()), nearest)
    rgb = np.repeat(values, 3, axis=2)
    assert np.array_equal(read_image("x.png", data=png(rgb)()), np.repeat(nearest, 3, axis=2))


def test_training_and_coding_see_the_same(tmp_path):
    for case in CASES:
        if case.pixels is not None and case.background is None:
            pixels = outcome(case, tmp_path)[0]
            assert np.array_equal(read_rgb(tmp_path / case.name), np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def test_backgrounds():
    assert background_color("white") == background_color("#fff") == (255, 255, 255)
    for wrong in ("whitish", "#12345", "", "#ffffff80"):
        with pytest.raises(UsageError, match=r"Received|no such colour"):
            background_color(wrong)


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_not_pictures(content):
    with pytest.raises(ImageError, match=r"x\.png is not a picture"):
        read_image("x.png", data=content)


def test_an_empty_file():
    with pytest.raises(ImageError, match=r"x\.png is empty"):
        read_image("x.png", data=b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP"])
def test_cut_files_are_named(kind):
    whole = save(np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8), kind)()
    with pytest.raises(ImageError, match=r"cut\.file .*damaged"):
        read_image("cut.file", data=whole[: len(whole) // 2])


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ImageError, match="no file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


@pytest.fixture
def without_plug_in(monkeypatch):
    """Pillow as it is without the HEIF plug-in; what a test registers is taken back."""
    for registry in (Image.OPEN, Image.EXTENSION, Image.MIME):
        monkeypatch.setattr(
            Image,
            {id(Image.OPEN): "OPEN", id(Image.EXTENSION): "EXTENSION"}.get(id(registry), "MIME"),
            dict(registry),
        )
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    Image.OPEN.pop("HEIF", None)


def test_an_installed_plug_in_is_used_when_a_file_needs_it(without_plug_in, monkeypatch, tmp_path):
    """A stand-in for pillow-heif: it shows a red picture whose second one is not an animation."""

    class Plugin(ImageFile.ImageFile):
        format = "HEIF"
        n_frames = 2

        def _open(self):
            self._mode, self._size, self.tile = "RGB", (3, 2), []
            self.im = Image.new("RGB", (3, 2), "red").im

    calls = []

    def register_heif_opener():
        calls.append(1)
        Image.register_open("HEIF", Plugin, lambda prefix: prefix[4:8] == b"ftyp")

    module = types.ModuleType("pillow_heif")
    module.register_heif_opener = register_heif_opener
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "a.png").write_bytes(save(RGB)())
    read_image(tmp_path / "a.png")
    assert not calls
    for _ in range(2):
        notes = []
        assert (read_image(tmp_path / "a.heic", notes.append) == [255, 0, 0]).all()
        assert len(notes) == 1 and "main picture of 2" in notes[0]
    assert len(calls) == 1


def test_importing_and_reading_leave_the_process_as_it_is(tmp_path):
    """The limit of Pillow, the filters of warnings, the registry of formats: a program's own."""
    (tmp_path / "a.jpg").write_bytes(save(smooth(), "JPEG", exif=CUT)())
    script = """if True:
        import sys, warnings
        import numpy
        from PIL import Image
        Image.init()
        before = Image.MAX_IMAGE_PIXELS, list(warnings.filters), list(Image.ID)
        Image.MAX_IMAGE_PIXELS = 10  # the program's own limit is not asked
        import codec_zoo.codecs.images
        for path in sys.argv[1:]:
            try:
                codec_zoo.codecs.images.read_image(path)
            except codec_zoo.errors.ImageError:
                pass
        assert Image.MAX_IMAGE_PIXELS == 10
        Image.MAX_IMAGE_PIXELS = before[0]
        assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters), list(Image.ID))
    """
    # Pillow logs an error of this one:
    (tmp_path / "a.tif").write_bytes(tiff(RGB, bits=8, photometric=2, extra=[(277, (3, [9]))])())
    command = [sys.executable, "-c", script, tmp_path / "a.jpg", tmp_path / "a.tif"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_pictures_beyond_pillows_limit_are_read_without_a_warning(tmp_path):
    """Pillow warns from 89 megapixels, and refuses from 179; ours is 2^28."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = tmp_path / "wide.pgm"
        path.write_bytes(b"P5 9500 9500 255\n" + bytes(9500**2))
        assert read_image(path).shape == (9500, 9500, 1)
        path.write_bytes(b"P5 %d 1 255\n" % MAX_PIXELS)
        assert inspect_image(path) == []
        path.write_bytes(b"P5 %d 1 255\n" % (MAX_PIXELS + 1))
        with pytest.raises(ImageError, match="too large"):
            read_image(path)


def test_threads_do_not_lose_warnings_or_filters(tmp_path):
    """Pillow's warnings become notes in every thread; those of other code come through, and the filters stay."""
    data = save(smooth(), "JPEG", exif=CUT)()

    def read(_):
        notes = []
        read_image("x.jpg", notes.append, data)
        warnings.warn("mine", UserWarning, stacklevel=1)
        return notes

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            notes = list(pool.map(read, range(200)))
        assert list(warnings.filters) == filters
    assert notes == [["x.jpg: damaged metadata passed over"]] * 200
    assert [str(warning.message) for warning in caught] == ["mine"] * 200


# What Pillow's decoder loses, so that only a file that is not decoded yet is read right.
LOST = {
    "RGB, 16 bits, TIFF of separate planes",
    "gray and opaque alpha, 16 bits",
    "gray, 4 bits, with a transparent level",
    "PNG with cICP of Display P3",
    "JPEG 2000 with Display P3",
    "AVIF that names Display P3",
    "camera raw",
}


def read_with_pillow(case, path, decoded):
    """Pixels (None where it is refused) and notes of an image that Pillow opened; None if Pillow does not open it."""
    notes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about metadata
        try:
            image = Image.open(io.BytesIO(path.read_bytes()))
            if decoded:
                image.load()
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
        with image:
            try:
                return read_pillow_image(image, str(path), notes.append, case.background), notes
            except ImageError:
                return None, notes


@pytest.mark.parametrize("case", CASES, ids=[case.input for case in CASES])
def test_a_pillow_image_is_read_as_its_file(case, tmp_path):
    pixels, notes, _ = outcome(case, tmp_path)
    if found := read_with_pillow(case, tmp_path / case.name, decoded=False):
        assert (found[0] is None) == (pixels is None) and found[1] == notes
        assert pixels is None or np.array_equal(found[0], pixels)


@pytest.mark.parametrize("case", CASES, ids=[case.input for case in CASES])
def test_a_decoded_pillow_image(case, tmp_path):
    pixels, _, _ = outcome(case, tmp_path)
    if case.input not in LOST and (found := read_with_pillow(case, tmp_path / case.name, decoded=True)):
        assert (found[0] is None) == (pixels is None)
        assert pixels is None or np.abs(found[0].astype(int) - pixels).max() <= 1  # of 16 bits it keeps the upper 8


def test_a_pillow_image_stays_as_it_was(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(save(smooth(), "JPEG", exif=exif(6))())
    with Image.open(path) as image:
        upright = read_pillow_image(image, "x")
        assert np.array_equal(upright, read_image(path))
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(path)))
        assert np.array_equal(read_pillow_image(image, "x"), upright)
        assert np.array_equal(read_pillow_image(image.crop((0, 0, 8, 4)), "x").shape, (8, 4, 3))
    with Image.open(path) as image:
        image.draft("RGB", (32, 24))
        assert read_pillow_image(image, "x").shape == (32, 24, 3)


def test_refusals_of_pillow_images(tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.new("L", (4, 4), level) for level in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        image.seek(1)
        with pytest.raises(ImageError, match=r"2 frames.*extract one"):
            read_pillow_image(image, "x")
        assert read_pillow_image(image.copy(), "x").shape[:2] == (4, 4)
    data = save(smooth(), "PNG")()
    with pytest.raises(ImageError, match="x is not a picture that can be read, or is damaged"):
        read_pillow_image(Image.open(io.BytesIO(data[: len(data) // 2])), "x")
    with pytest.raises(ImageError, match="x holds floating-point samples"):
        read_pillow_image(Image.new("F", (4, 4)), "x")
    with pytest.raises(ImageError, match="x: 0×4 pixels are out of range"):
        read_pillow_image(Image.new("RGB", (0, 4)), "x")
