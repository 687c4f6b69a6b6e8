"""A corpus through Apache Beam: the files of ``compress``, each once, and what could not be read.

Beam wants older packages than requirements.txt pins. Where it is not installed, a slow test makes an environment that
has it and runs this file there.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from PIL import Image

from codec_zoo.errors import CodecZooError, UsageError

PRESET = "fu2019-hybrid-s16-prelu"
KODAK_PRESET = "jia2019-sae-mse-base"
HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not HAS_BEAM, reason="no Apache Beam: the slow test runs this where it is")

if HAS_BEAM:
    from apache_beam.io.filesystem import FileMetadata
    from apache_beam.io.localfilesystem import LocalFileSystem

    from codec_zoo.codecs import corpus

    class Elsewhere(LocalFileSystem):
        """``elsewhere://PATH`` is the local ``/PATH``: stands for a file system that is not local."""

        @classmethod
        def scheme(cls):
            return "elsewhere"

        def join(self, base, *parts):
            return "/".join([base.rstrip("/"), *parts])

        def split(self, path):
            return path.rpartition("/")[::2]

        def _list(self, path):
            for metadata in super()._list(_local(path)):
                metadata.path = f"elsewhere:/{metadata.path}"
                yield metadata

        def mkdirs(self, path):
            super().mkdirs(_local(path))

        def create(self, path, *arguments, **options):
            return super().create(_local(path), *arguments, **options)

        def open(self, path, *arguments, **options):
            return super().open(_local(path), *arguments, **options)

        def rename(self, sources, targets):
            super().rename([_local(path) for path in sources], [_local(path) for path in targets])

        def exists(self, path):
            return super().exists(_local(path))

        def metadata(self, path):
            return FileMetadata(path, Path(_local(path)).stat().st_size)

        def delete(self, paths):
            super().delete([_local(path) for path in paths])


def _local(path):
    return path.removeprefix("elsewhere:/")


def break_files(folder, picture):
    """Three files that are no pictures: text, a picture cut short, one with transparent parts."""
    (folder / "text.png").write_text("not a picture")
    (folder / "cut.png").write_bytes(picture.read_bytes()[:-200])
    Image.new("RGBA", (20, 20), (9, 9, 9, 9)).save(folder / "transparent.png")


@pytest.fixture
def photos(tmp_path, photo):
    """Five pictures, two of them with the same stem, and three broken ones."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    for i, name in enumerate(["a.png", "a.bmp", "deep/a.png", "deep/er/ü b.png"]):
        Image.fromarray(photo[40 * i : 40 * i + 32, :48]).save(folder / name)
    Image.fromarray(photo[:32, :48, 0]).save(folder / "gray.png")
    break_files(folder, folder / "a.png")
    return folder


def run(photos, output, exports, **options):
    return corpus.compress_corpus(f"{photos}/**", str(output), str(exports / PRESET), {"quality": 36}, **options)


def files(output):
    return {path.relative_to(output).as_posix(): path for path in Path(output).rglob("*") if path.is_file()}


def dead(output):
    lines = (output / "dead_letters.jsonl").read_text().splitlines()
    return {row["path"]: row["error"] for row in map(json.loads, lines)}


@needs_beam
def test_what_needs_more_than_the_memory_limit_is_a_dead_letter(photos, exports, monkeypatch):
    monkeypatch.setenv("CODEC_ZOO_MEMORY", "64M")
    output = photos / "out"
    counters = run(photos, output, exports)
    assert (counters["pictures"], counters["dead_letters"]) == (0, 8)
    assert "the limit is 0.06 GiB" in dead(output)[str(photos / "a.png")]


@needs_beam
def test_one_file_or_dead_letter_each_and_a_second_run(photos, exports, model, tmp_path):
    from codec_zoo.codecs.images import read_image
    from codec_zoo.codecs.specs import codec_for

    output = photos / "out"  # under the pattern: what it holds is no input
    counters = run(photos, output, exports, beam_options=["--direct_runner_bundle_repeat=1"])  # each bundle twice
    good = ["a.png", "a.bmp", "deep/a.png", "deep/er/ü b.png", "gray.png"]
    written = files(output)
    assert sorted(written) == sorted([*(f"{name}.czoo" for name in good), "corpus.json", "dead_letters.jsonl"])
    codec = codec_for(model, quality=36)
    for name in good:
        assert written[f"{name}.czoo"].read_bytes() == codec.encode(read_image(photos / name)), name
    letters = dead(output)
    assert sorted(letters) == [str(photos / name) for name in ("cut.png", "text.png", "transparent.png")]
    assert "unknown format" in letters[str(photos / "text.png")] and "transparent" in " ".join(letters.values())
    sizes = {
        "bytes_in": sum((photos / name).stat().st_size for name in good),
        "bytes_out": sum(written[f"{name}.czoo"].stat().st_size for name in good),
    }
    assert counters == {"pictures": 5, **sizes, "dead_letters": 3, "skipped": 0}

    times = {name: path.stat().st_mtime_ns for name, path in written.items()}
    shutil.copy(photos / "a.png", photos / "cut.png")  # mended
    counters = run(photos, output, exports)
    assert (counters["pictures"], counters["skipped"], counters["dead_letters"]) == (1, 5, 2)
    assert len(dead(output)) == 2
    assert all(files(output)[f"{name}.czoo"].stat().st_mtime_ns == times[f"{name}.czoo"] for name in good)

    (photos / "gray.png").write_text("broken now")
    counters = run(photos, output, exports, force=True)
    assert (counters["pictures"], counters["skipped"], counters["dead_letters"]) == (5, 0, 3)
    assert "gray.png.czoo" not in files(output) and len(dead(output)) == 3


@needs_beam
def test_another_file_system(photos, exports, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    counters = run(photos, here, exports)
    assert run(f"elsewhere:/{photos}", f"elsewhere:/{there}", exports) == counters
    written = files(there)
    assert written.keys() == files(here).keys()
    for name, path in files(here).items():
        assert path.suffix != ".czoo" or written[name].read_bytes() == path.read_bytes()
    assert all(path.startswith(f"elsewhere:/{photos}") for path in dead(there))
    assert run(f"elsewhere:/{photos}", f"elsewhere:/{there}", exports)["skipped"] == 5


@needs_beam
def test_mistakes_and_failures(photos, exports, tmp_path):
    output = tmp_path / "out"
    name = str(exports / PRESET)
    png = f"{photos}/*.png"
    for arguments, words in [
        ((f"{photos}/*.jpg", str(output), name, {}), "no file matches"),
        ((png, str(output), "nothing", {}), "no preset"),
        ((png, str(output), name, {"quality": 99}), "QP"),
        ((png, str(output), name, {}, "NoRunner"), "NoRunner"),
        ((png, str(output), name, {}, "DirectRunner", ["--direct_num_worker=2"]), "no option direct_num_worker"),
        ((png, str(output), name, {}, "DirectRunner", ["--direct_num_workers=x"]), "invalid int"),
        ((png, str(output), name, {}, "DirectRunner", ["b.png"]), "quoted"),
        (("nowhere://a/*.png", str(output), name, {}), "filesystem"),
    ]:
        with pytest.raises(UsageError, match=words):
            corpus.compress_corpus(*arguments)
    assert not output.exists()
    run(photos, output, exports)
    for pattern, options, words in [(f"{photos}/**", {"quality": 20}, "options"), (f"{photos}/deep/*", {}, "inputs")]:
        with pytest.raises(UsageError, match=f"made with {words}"):
            corpus.compress_corpus(pattern, str(output), name, {"quality": 36, **options})

    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "deep").write_text("a file where a folder must be")
    with pytest.raises(CodecZooError, match=r"the pipeline failed.*cannot write .*deep") as caught:
        run(photos, blocked, exports)
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


def test_without_beam(cli, tmp_path):
    (tmp_path / "apache_beam.py").write_text("raise ModuleNotFoundError('missing', name='apache_beam')")
    code, _, err = cli("compress-corpus", "*.png", "--output", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert code == 1 and "pip install 'codec-zoo[corpus]'" in err


@needs_beam
@pytest.mark.slow
def test_kodak_and_three_broken_files(cli, kodak_paths, tmp_path):
    """Files equal to those of one process; a run killed half-way goes on."""
    photos, single, output = tmp_path / "photos", tmp_path / "single", tmp_path / "output"
    photos.mkdir()
    for path in kodak_paths:
        shutil.copy(path, photos)
    started = time.monotonic()
    code, _, err = cli("compress", *kodak_paths, "-o", f"{single}/", "--model", KODAK_PRESET)
    assert code == 0, err
    print(f"compress: {time.monotonic() - started:.1f} s")
    break_files(photos, photos / "kodim01.png")
    arguments = ["compress-corpus", f"{photos}/*.png", "--model", KODAK_PRESET, "--json", "--output"]
    modes = {
        "in_memory": [],
        "multi_processing": ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
    }
    for mode, options in modes.items():
        code, out, err = cli(*arguments, output / mode, "--", *options)
        assert code == 0 and "3 pictures could not be compressed" in err, err
        said = json.loads(out)
        print(f"{mode}: {said}")
        assert (said["pictures"], said["dead_letters"], said["skipped"]) == (24, 3, 0)
        assert said["bytes_in"] == sum(path.stat().st_size for path in kodak_paths)
        assert said["bytes_out"] == sum(path.stat().st_size for path in single.iterdir())
        check_kodak(output / mode, single)

    command = [Path(sys.executable).with_name("codec-zoo"), *arguments, output / "killed"]
    environment = {**os.environ, "CODEC_ZOO_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while len(list((output / "killed").glob("*.czoo"))) < 5:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, out, err = cli(*arguments, output / "killed")
    said = json.loads(out)
    assert code == 0 and said["pictures"] + said["skipped"] == 24 and said["skipped"] >= 5, (said, err)
    check_kodak(output / "killed", single)


def check_kodak(output, single):
    written = {name.removesuffix(".png.czoo"): path for name, path in files(output).items() if "png.czoo" in name}
    assert len(written) == 24 and len(dead(output)) == 3
    assert len(list(output.iterdir())) == 26  # nothing unfinished
    for name, path in written.items():
        assert path.read_bytes() == (single / f"{name}.czoo").read_bytes(), name


@pytest.mark.slow
@pytest.mark.skipif(HAS_BEAM, reason="this environment has Apache Beam")
def test_in_an_environment_with_beam(tmp_path):
    """What is installed here, and over it what `pip install codec-zoo[corpus]` wants to have otherwise."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    repository = Path(__file__).parents[2]
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", f"{repository}[corpus]"], check=True)
    command = [folder / "bin" / "python", "-m", "pytest", "-m", "", __file__, "-rs"]
    process = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert process.returncode == 0 and "no Apache Beam" not in process.stdout, process.stdout[-4000:]
