"""Compress, decompress, truncate and inspect, as a user meets them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec_zoo.cli.main import cli as commands
from codec_zoo.codecs.images import read_image, write_image
from codec_zoo.codecs.specs import open_codec
from codec_zoo.metrics import psnr
from codec_zoo.presets import DEFAULT_PRESET

PRESET = "fu2019-hybrid-s16-prelu"


def test_the_decoded_picture_is_what_the_encoder_said(cli, exports, tmp_path):
    """Of five kinds of pictures, in one command each way."""
    random = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(random.normal(0, 1, (60, 90, 3)), 0), 1)
    array = (128 + 100 * smooth / np.abs(smooth).max()).astype(np.uint8)
    image, turned = Image.fromarray(array), Image.Exif()
    turned[0x0112] = 6
    pictures, model = tmp_path / "pictures", exports / PRESET
    pictures.mkdir()
    image.save(pictures / "rgb.png")
    image.convert("L").save(pictures / "gray.png")
    image.save(pictures / "exif.png", exif=turned)
    image.convert("CMYK").save(pictures / "cmyk.tif")
    Image.fromarray(array[..., 0].astype(np.uint16) * 257).save(pictures / "16-bit.png")
    paths = sorted(pictures.iterdir())

    options = ("--model", model, "-q", 20, "--workers", 1, "--json")
    code, out, err = cli("compress", *paths, "-o", f"{tmp_path / 'files'}/", *options)
    said = {Path(record["input"]).stem: record for record in map(json.loads, out.splitlines())}
    assert code == 0 and said.keys() == {path.stem for path in paths}, err
    assert {line.split(":")[1].strip() for line in err.splitlines() if line.startswith("note:")} == {
        str(pictures / name) for name in ("cmyk.tif", "16-bit.png")
    }
    files = sorted((tmp_path / "files").iterdir())
    code, out, err = cli("decompress", *files, "-o", f"{tmp_path / 'decoded'}/", "--model", model, "--json")
    shown = {Path(record["input"]).stem: record for record in map(json.loads, out.splitlines())}
    assert code == 0 and shown.keys() == said.keys(), err
    for path in paths:
        record = said[path.stem]
        assert record["bytes"] == (tmp_path / "files" / f"{path.stem}.czoo").stat().st_size
        assert shown[path.stem]["pixels_sha256"] == record["pixels_sha256"]
        original, decoded = read_image(path), read_image(Path(shown[path.stem]["output"]))
        assert original.shape == decoded.shape
        assert psnr(original, decoded) == pytest.approx(record["psnr"]) and record["psnr"] > 30


def test_a_background_for_transparent_pictures(cli, exports, tmp_path):
    path, file, back = tmp_path / "in.png", tmp_path / "a.czoo", tmp_path / "b.png"
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[16:48, 16:48] = 0, 0, 255, 255
    Image.fromarray(picture).save(path)
    arguments = ("compress", path, "-o", file, "--model", exports / PRESET, "-q", 20)
    code, _, err = cli(*arguments)
    assert code == 2 and "--background" in err and not file.exists()
    code, _, err = cli(*arguments, "--background", "whitish")
    assert code == 2 and "no such colour: 'whitish'" in err and not file.exists()
    code, _, err = cli(*arguments, "--background", "lime")
    assert code == 0 and not err
    assert cli("decompress", file, "-o", back, "--model", exports / PRESET)[0] == 0
    decoded = read_image(back).astype(int)
    assert np.abs(decoded[:8] - [0, 255, 0]).mean() < 12 and np.abs(decoded[24:40, 24:40] - [0, 0, 255]).mean() < 12


def test_compress_inspect_cut_decompress_with_the_zoos_own_model(cli, kodak_paths, tmp_path):
    files = tmp_path / "files"
    code, out, err = cli("compress", *kodak_paths[:2], "-o", f"{files}/", "--model", PRESET)
    assert code == 0 and out.count("bpp") == 2, err
    file = files / "kodim01.czoo"
    code, out, _ = cli("inspect", file, "--json")
    seen = json.loads(out)
    assert code == 0 and seen["preset"] == PRESET and (seen["width"], seen["height"]) == (768, 512)
    assert [layer["kind"] for layer in seen["layers"]] == ["base", "residual"]

    cut = tmp_path / "cut.czoo"
    cut.write_bytes(file.read_bytes()[: 24 + 8 + seen["layers"][0]["bytes"] + 100])
    assert "missing  1 of 2" in cli("inspect", cut)[1]
    code, out, err = cli("decompress", cut)
    assert code == 0 and "1 of 2 layers are missing" in err
    code, _, _ = cli("decompress", file, "--layers", 1, "-o", tmp_path / "base.png")
    assert code == 0 and np.array_equal(read_image(tmp_path / "base.png"), read_image(tmp_path / "cut.decoded.png"))
    for layers, said in ((2, "2 layers"), (1, "1 layer")):
        code, out, err = cli("truncate", file, "--layers", layers, "-o", tmp_path / "short.czoo")
        assert code == 0 and f"{said}, {(tmp_path / 'short.czoo').stat().st_size:,} bytes" in out, err
    code, out, _ = cli("truncate", file, "--layers", 1, "-o", tmp_path / "short.czoo", "--json")
    assert code == 0 and json.loads(out) == {
        "input": str(file),
        "output": str(tmp_path / "short.czoo"),
        "layers": 1,
        "bytes": (tmp_path / "short.czoo").stat().st_size,
    }
    code, out, err = cli("decompress", tmp_path / "short.czoo", "--format", "pnm")
    assert code == 0 and out.rstrip().endswith("768×512, 1 layer"), err
    assert np.array_equal(read_image(tmp_path / "base.png"), read_image(tmp_path / "short.decoded.pnm"))


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--target-bpp", 0.0001, "is missed: {bpp:.4f} bpp is the least"),
        ("--target-psnr", 90, "is missed: {psnr:.2f} dB is the best"),
        ("--target-bpp", 20, None),
        ("--target-psnr", 5, None),
    ],
)
def test_a_missed_target_is_said(here, tmp_path, photo, option, value, words):
    """What was asked and what came of it: a note, and fields; the file is there."""
    write_image(tmp_path / "a.png", photo[:64, :64])
    code, out, err = here("compress", tmp_path / "a.png", "--model", "jia2019-sae-mse-e1", option, value, "--json")
    said = json.loads(out)
    assert code == 0 and (tmp_path / "a.czoo").stat().st_size == said["bytes"]
    assert said["target_met"] == (words is None) and said[option[2:].replace("-", "_")] == value
    assert (words.format(**said) in err) if words else "missed" not in err


def test_compress_without_a_check_writes_the_same_file(here, tmp_path, photo):
    """--no-check decodes nothing: it prints no PSNR. A target PSNR needs one."""
    write_image(tmp_path / "a.png", photo[:64, :64])
    command = ("compress", tmp_path / "a.png", "--model", "jia2019-sae-mse-e1", "-o")
    _, out, _ = here(*command, tmp_path / "checked.czoo")
    assert "dB" in out
    code, out, err = here(*command, tmp_path / "a.czoo", "--no-check")
    assert code == 0 and "bpp" in out and "dB" not in out, err
    assert (tmp_path / "a.czoo").read_bytes() == (tmp_path / "checked.czoo").read_bytes()
    said = json.loads(here(*command, tmp_path / "a.czoo", "--no-check", "--target-bpp", 20, "--json")[1])
    assert said["target_met"] and not {"psnr", "pixels_sha256"} & set(said)
    code, _, err = here(*command, tmp_path / "b.czoo", "--no-check", "--target-psnr", 30)
    assert code == 2 and "--target-psnr needs it" in err and not (tmp_path / "b.czoo").exists()


def test_the_default_model_codes_text(here, tmp_path, screenshot):
    """Hard edges and coloured letters, without a model or a quality named; and more quality for more bytes."""
    write_image(tmp_path / "a.png", screenshot)
    reached = []
    for quality in ([], ["-q", 20]):
        code, out, err = here("compress", tmp_path / "a.png", *quality, "-o", tmp_path / "a.czoo", "--json")
        assert code == 0, err
        reached.append(json.loads(out)["psnr"])
    assert json.loads(here("inspect", tmp_path / "a.czoo", "--json")[1])["preset"] == DEFAULT_PRESET
    assert reached[0] > 25 and reached[1] > 37


def test_a_filter_is_optional(cli, tmp_path):
    """Compressed with the trained filter; decoded with and without it, from Python's and the codec's own pixels."""
    picture = Path(__file__).parents[2] / "datasets" / "kodak" / "kodim23.png"
    file, mended, plain = tmp_path / "a.czoo", tmp_path / "mended.png", tmp_path / "plain.png"
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "-o", file)
    assert code == 0, err
    assert cli("decompress", file, "-o", mended)[0] == 0
    assert cli("decompress", file, "--no-filter", "-o", plain)[0] == 0
    original = read_image(picture)
    assert psnr(original, read_image(mended)) > psnr(original, read_image(plain)) + 0.05
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "--codec", "webp", "-o", file)
    assert code == 2 and "svac" in err
    code, _, err = cli("compress", picture, "--model", "hu2018-filter-svac-q48", "--codec", "jpeg-420", "-o", file)
    assert code == 0 and "note: jpeg-420 codes at its quality 55; -q sets another." in err


@pytest.mark.parametrize(
    ("model", "options", "spec"),
    [
        ("jia2019-sae-mse-base", ["--tile", "64"], "jia2019-sae-mse-base,tile=64"),
        ("hu2018-filter-bpg-q36", ["--filter", "on", "-q", "30"], "hu2018-filter-bpg-q36,filter=on:30"),
        ("report2017-cnn-ae", ["--overlap", "4", "--coding", "fixed"], "report2017-cnn-ae,overlap=4,coding=fixed"),
    ],
)
def test_an_option_and_its_key_give_the_same_file(tmp_path, photo, model, options, spec):
    """``--tile 64`` of the command is ``tile=64`` of a codec's name, and neither is the default."""
    picture, file = tmp_path / "a.png", tmp_path / "a.czoo"
    write_image(picture, photo[:96, :160])
    assert commands.main(["compress", str(picture), "--model", model, *options], standalone_mode=False) is None
    assert file.read_bytes() == open_codec(spec).encode(read_image(picture))
    if options[0] != "--tile":  # tiles change memory, not bytes
        assert file.read_bytes() != open_codec(model).encode(read_image(picture))


def test_control_characters_of_names_are_escaped(here, tmp_path, photo):
    """A terminal would obey them. JSON and files have the names as they are."""
    picture = tmp_path / "a\x1b[31m\nb.png"
    Image.fromarray(photo[:32, :32]).save(picture)
    code, out, err = here("compress", picture, "--model", "report2017-cnn-ae", "-o", f"{tmp_path / 'coded'}/")
    assert code == 0 and out.count("\n") == 1 and "a\\x1b[31m\\nb.czoo: " in out, (out, err)
    assert (tmp_path / "coded" / "a\x1b[31m\nb.czoo").is_file()
    picture.write_bytes(b"no picture")
    code, out, err = here("compress", picture, "--model", "report2017-cnn-ae", "-o", tmp_path / "x.czoo")
    assert code and "\x1b" not in err and "a\\x1b[31m\nb.png is not a picture" in err
