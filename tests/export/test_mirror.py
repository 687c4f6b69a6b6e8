"""Mirrors and downloads: real web servers, faults included; the cache is never left broken."""

import concurrent.futures
import dataclasses
import gzip
import http.server
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.specs import codec_for
from codec_zoo.errors import CodecZooError, DownloadError, UsageError
from codec_zoo.export import mirror, runtime
from codec_zoo.harness import release

PRESET = "fu2019-hybrid-s16-prelu"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def original(exports, tmp_path_factory):
    """A mirror with one model."""
    folder = tmp_path_factory.mktemp("mirror")
    mirror.write_index(folder / mirror.INDEX, [release.pack(exports / PRESET / "1", folder, DOCS)])
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(original, tmp_path / "mirror")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEC_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_PAUSES", (0.01, 0.02))
    return tmp_path / "cache"


class Web:
    """A static web server that knows ranges, and can be told to fail."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: list[int] = []  # bytes after which the next answers with an archive break off
        self.busy = 0  # answers with 503
        self.knows_ranges = True
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        path = self.folder / handler.path.strip("/")
        if self.busy:
            self.busy -= 1
            return handler.send_error(503)
        if not path.is_file():
            return handler.send_error(404)
        data = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.knows_ranges else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        body = data[start:]
        if path.suffix == ".gz" and self.cut_after:
            body = body[: self.cut_after.pop(0)]
        handler.wfile.write(body)
        handler.close_connection = True

    def archives(self):
        return [wanted for path, wanted in self.requests if path.endswith(".gz")]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(folder):
    web = Web(folder)
    yield web
    web.stop()


def change_index(folder: Path, **fields):
    index = json.loads((folder / mirror.INDEX).read_text())
    index["models"][0] |= fields
    (folder / mirror.INDEX).write_text(json.dumps(index))


def models_in(cache: Path) -> list[str]:
    """All that a failed download may leave is a lock, and an index."""
    return [path.name for path in (cache / "models").glob("*") if path.suffix != ".lock" and any(path.glob("*/*"))]


def test_the_index(original):
    index = json.loads((original / mirror.INDEX).read_text())
    entry = index["models"][0]
    assert index["schema"] == mirror.SCHEMA and entry["preset"] == PRESET and entry["version"] == 1
    assert entry["sha256"] == weights.hash_file(original / entry["file"]) and entry["licence"] == "Apache-2.0"
    point = next(p for p in entry["rd"] if p["quality"] == 28 and p["codec"] == PRESET)
    assert point["pictures"] == 24 and 0.1 < point["bpp"] < 3 and 25 < point["psnr"] < 45
    assert entry["held_out"]["psnr"] > 20


def test_download_and_run(web, cache, exports, photo):
    model = runtime.open_model(str(mirror.download(PRESET, web.url)))
    local = runtime.open_model(str(exports / PRESET))
    assert model.card == local.card
    images = photo[None, :64, :64]
    assert np.array_equal(
        model.run("encode", images=images)["compact"], local.run("encode", images=images)["compact"]
    )
    stream = container.read(codec_for(model).encode(photo[:40, :40]))
    assert runtime.find_model(stream).folder == model.folder  # decompress finds what was downloaded
    web.stop()
    assert mirror.download(PRESET, web.url) == model.folder  # offline
    assert len(web.archives()) == 1
    with pytest.raises(UsageError, match="no version 7"):
        mirror.download(PRESET, web.url, 7)


def test_a_mirror_on_this_machine_is_reached_without_a_proxy(web, cache, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://localhost:1")
    assert mirror.download(PRESET, web.url).exists()
    with pytest.raises(DownloadError, match="ProxyError"):
        mirror.download(PRESET, "http://models.invalid")


def test_a_model_that_is_damaged_in_the_cache_is_brought_again(original, cache, capsys):
    folder = mirror.download(PRESET, str(original))
    assert runtime.cached_models() == [folder]
    (folder / "assets" / "model_card.json").write_text("{")
    assert runtime.cached_models() == []
    assert mirror.download(PRESET, str(original)) == folder
    (folder / "saved_model.pb").write_bytes(b"cut")
    assert mirror.download(PRESET, str(original)) == folder
    runtime.check_export(folder)
    notes = capsys.readouterr().err
    assert notes.count("set aside") == 2 and notes.count(f"bringing {PRESET} 1 (") == 3


def test_a_damaged_index_in_the_cache(web, cache):
    """It counts as none: the error is the mirror's, and the next answer replaces it."""
    mirror.download(PRESET, web.url)
    [kept] = (cache / "mirrors").iterdir()
    sound = kept.read_bytes()
    for data in (sound[:-20], b"", b"\xff", b'{"schema": "1", "models": 7}'):
        kept.write_bytes(data)
        web.busy = 3
        with pytest.raises(DownloadError, match="503"):
            mirror.download(PRESET, web.url)
    mirror.download(PRESET, web.url)
    assert kept.read_bytes() == sound


def test_a_damaged_part_is_fetched_anew(web, cache, folder, capsys):
    entry = mirror.parse_index((folder / mirror.INDEX).read_bytes(), "")[0]
    part = cache / "models" / f"{entry.sha256[:16]}.part"
    for size in (1000, entry.bytes):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(bytes(size))
        target = mirror.download(PRESET, web.url)
        runtime.check_export(target)
        assert "is damaged: it is fetched anew" in capsys.readouterr().err and not part.exists()
        shutil.rmtree(target)


def test_from_a_folder(original, cache):
    assert mirror.download(PRESET, str(original), 1).parts[-2:] == (PRESET, "1")
    with pytest.raises(UsageError, match=r"has no nothing\. It has fu2019"):
        mirror.download("nothing", str(original))
    with pytest.raises(UsageError, match="neither an http"):
        mirror.download(PRESET, str(cache / "none"))


def test_without_a_mirror(cache):
    folder = mirror.download("hu2018-filter-svac-q48")
    assert runtime.read_card(folder)["preset"] == "hu2018-filter-svac-q48" and cache in folder.parents
    with pytest.raises(UsageError, match="Name a mirror"):
        mirror.download(PRESET, version=2)
    with pytest.raises(UsageError, match="no preset"):
        mirror.download("nothing")


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_cut_download_resumes(web, cache, knows_ranges):
    web.cut_after, web.knows_ranges = [2**20, 2**20] if knows_ranges else [2**20], knows_ranges
    mirror.download(PRESET, web.url)
    expected = [None, f"bytes={2**20}-", *([f"bytes={2**21}-"] if knows_ranges else [])]
    assert web.archives() == expected


def test_a_killed_download_resumes_in_the_next_process(web, cache):
    web.cut_after = [2**20, 0, 0]  # more often than it is tried
    with pytest.raises(DownloadError, match="tried 3 times"):
        mirror.download(PRESET, web.url)
    assert [path.stat().st_size for path in cache.glob("models/*.part")] == [2**20] and not models_in(cache)
    mirror.download(PRESET, web.url)
    assert web.archives()[-1] == f"bytes={2**20}-" and not list(cache.glob("models/*.part"))


def test_a_busy_server_is_asked_again(web, cache):
    web.busy = 2
    assert mirror.download(PRESET, web.url).exists()
    web.busy = 9
    with pytest.raises(DownloadError, match="503"):
        mirror._fetch(f"{web.url}/{mirror.INDEX}", io.BytesIO(), 10**6)


def test_other_bytes_than_the_index_says(web, cache, folder):
    archive = next(folder.glob("*.gz"))
    damaged = bytearray(archive.read_bytes())
    damaged[1000] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(DownloadError, match="sha256"):
        mirror.download(PRESET, web.url)
    with pytest.raises(DownloadError, match="sha256"):
        mirror.download(PRESET, str(folder))
    archive.write_bytes(damaged + b"x")
    with pytest.raises(DownloadError, match="larger than"):
        mirror.download(PRESET, web.url)
    archive.unlink()
    with pytest.raises(DownloadError, match="404"):
        mirror.download(PRESET, web.url)
    assert not models_in(cache) and not list(cache.glob("models/*.part"))


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"schema": 99, "models": []}', "schema 99. Update codec-zoo"),
        ("<html>", "not an index"),
        ('{"schema": 1, "models": [{}]}', "not an index"),
        ("[]", "not an index"),
        ("[" * 100_000, "not an index"),
        (None, "404"),
    ],
)
def test_indexes_that_are_none(web, cache, folder, text, words):
    if text is None:
        (folder / mirror.INDEX).unlink()
    else:
        (folder / mirror.INDEX).write_text(text)
    with pytest.raises(DownloadError, match=words):
        mirror.download(PRESET, web.url)
    assert not cache.exists() or not models_in(cache)


@pytest.mark.parametrize(
    "fields",
    [
        {"preset": "../../etc"},
        {"file": "../secret.tar.gz"},
        {"file": "a/b"},
        {"version": "../1"},
        {"version": 0},
        {"sha256": "12"},
        {"bytes": 2**40},
        {"unpacked_bytes": -1},
    ],
)
def test_hostile_index(web, cache, folder, fields):
    change_index(folder, **fields)
    with pytest.raises(DownloadError, match="not an index"):
        mirror.download(PRESET, web.url)


def test_a_card_of_another_codec_zoo(web, cache, folder):
    change_index(folder, card_schema=99)
    with pytest.raises(DownloadError, match="schema 99"):
        mirror.download(PRESET, web.url)


def hostile_member(kind: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    member = tarfile.TarInfo(f"{PRESET}/1/evil")
    data = b""
    if kind == "escape":
        member.name = f"{PRESET}/1/../../../../evil"
    elif kind == "absolute":
        member.name = "/tmp/codec-zoo-evil"
    elif kind == "symbolic link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    elif kind == "hard link":
        member.type, member.linkname = tarfile.LNKTYPE, "/etc/passwd"
    elif kind == "device":
        member.type = tarfile.CHRTYPE
    elif kind == "bomb":
        data = bytes(300_000_000)
        member.size = len(data)
    elif kind == "many files":
        return [(tarfile.TarInfo(f"{PRESET}/1/{i}"), b"") for i in range(2000)]
    elif kind == "other model":
        data = b'{"preset": "other"}'
        member.name, member.size = f"{PRESET}/1/assets/model_card.json", len(data)
    elif kind == "no card":
        data = b"[]"
        member.name, member.size = f"{PRESET}/1/assets/model_card.json", len(data)
    return [(member, data)]


@pytest.mark.parametrize(
    "kind",
    [
        "escape",
        "absolute",
        "symbolic link",
        "hard link",
        "device",
        "bomb",
        "header bomb",
        "many files",
        "other model",
        "no card",
        "not an archive",
        "cut",
    ],
)
def test_hostile_archives(web, cache, folder, tmp_path, kind):
    """Their hashes are right: the mirror itself is hostile."""
    archive = next(folder.glob("*.gz"))
    entry = mirror.parse_index((folder / mirror.INDEX).read_bytes(), "")[0]
    if kind == "not an archive":
        archive.write_bytes(b"no gzip")
    elif kind == "cut":
        archive.write_bytes(archive.read_bytes()[:100_000])
    else:
        with gzip.open(archive, "wb", 1) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            if kind == "header bomb":  # a name of 300 MB in an extended header, which tarfile would read whole
                header = tarfile.TarInfo("././@PaxHeader")
                header.type, header.size = tarfile.XHDTYPE, 300_000_000
                tar.addfile(header, io.BytesIO(bytes(header.size)))
            else:
                for member, data in hostile_member(kind):
                    tar.addfile(member, io.BytesIO(data))
    changed = dataclasses.replace(entry, sha256=weights.hash_file(archive), bytes=archive.stat().st_size)
    if kind in ("other model", "no card"):  # all else is as announced
        changed = dataclasses.replace(changed, unpacked_bytes=len(hostile_member(kind)[0][1]))
    mirror.write_index(folder / mirror.INDEX, [changed])
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    with pytest.raises(DownloadError, match="is not a model of codec-zoo"):
        mirror.download(PRESET, web.url)
    assert not models_in(cache) and not Path("/tmp/codec-zoo-evil").exists()
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
    assert not list(cache.rglob("evil")) and not list(cache.glob("models/*.part"))


def test_a_bomb_is_not_unpacked_into_memory(folder, cache):
    """512 MB in a header: the process stays far below."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archive = next(folder.glob("*.gz"))
    with gzip.open(archive, "wb", 1) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**29
        packed.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(2**9):
            packed.write(bytes(2**20))
        tar.close()
    entry = mirror.parse_index((folder / mirror.INDEX).read_bytes(), "")[0]
    changed = dataclasses.replace(entry, sha256=weights.hash_file(archive), bytes=archive.stat().st_size)
    mirror.write_index(folder / mirror.INDEX, [changed])
    with pytest.raises(DownloadError, match="more than its index says"):
        mirror.download(PRESET, str(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_disk_that_is_full(web, cache, folder):
    """Announced: an error before the start. Not announced: a limit on file sizes stands for it."""
    change_index(folder, unpacked_bytes=2**32)
    free = shutil.disk_usage(folder).free
    if free < 2**32:
        with pytest.raises(CodecZooError, match=r"needs .* are free"):
            mirror.download(PRESET, web.url)
        assert not web.archives()
    program = [sys.executable, "-c", "from codec_zoo.cli.main import main; main()", "download", PRESET]
    entry = json.loads((folder / mirror.INDEX).read_text())["models"][0]
    change_index(folder, unpacked_bytes=entry["bytes"] * 2)
    process = subprocess.run(
        ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", *program, "--from", web.url],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1 and "cannot write" in process.stderr and "Traceback" not in process.stderr
    assert not models_in(cache) and not list(cache.glob("models/*.part"))


def test_a_small_disk(web, cache, tmp_path, monkeypatch):
    """A file system of 2 MB: the error comes before a byte is fetched."""
    small = tmp_path / "small"
    small.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small]).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        monkeypatch.setenv("CODEC_ZOO_CACHE", str(small))
        with pytest.raises(CodecZooError, match=r"needs .* MB are free"):
            mirror.download(PRESET, web.url)
        assert not web.archives() and not models_in(small)
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_downloads_at_once(web, cache):
    """Two processes, one with four threads: one transfer, one model, no error."""
    program = [sys.executable, "-m", "codec_zoo.cli.main", "download", PRESET, "--from", web.url]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    while not web.requests:  # until it has begun
        time.sleep(0.001)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: str(mirror.download(PRESET, web.url)), range(4)))
    folders.add(process.communicate()[0].strip())
    assert process.returncode == 0 and len(folders) == 1 and len(web.archives()) == 1
    runtime.LocalModel(Path(folders.pop()))


@pytest.mark.slow
def test_release_numbers_versions(tmp_path, cli):
    """The same weights keep their version; others, found in an index, make way for the next."""
    name = "hu2018-filter-svac-q48"
    code, out, err = cli("release", tmp_path, name, "--json")
    first = json.loads(out)
    assert code == 0 and first["version"] == 1 and first["new"], err
    stamp = (tmp_path / first["file"]).stat().st_mtime_ns
    code, out, _ = cli("release", tmp_path, name)
    assert "as before" in out and (tmp_path / first["file"]).stat().st_mtime_ns == stamp
    change_index(tmp_path, weights_sha256="0" * 64)
    [(entry, new)] = release.release(tmp_path, [name])
    assert new and entry.version == 2
    versions = [e.version for e in mirror.parse_index((tmp_path / mirror.INDEX).read_bytes(), "")]
    assert versions == [1, 2] and len(list(tmp_path.glob("*.tar.gz"))) == 2
    code, _, err = cli("release", tmp_path, "nothing")
    assert code == 2 and "no preset" in err
    code, _, err = cli("release", tmp_path, "zhao2018-nothing")
    assert code == 2


def test_the_cards_in_docs_are_current():
    """Pages are written from the cards: after new weights or rows, run `codec-zoo cards docs/models`."""
    from codec_zoo.presets import get_preset, list_presets

    pages = {path.stem for path in (DOCS / "models").glob("*.md")}
    assert pages == {preset.name for preset in list_presets()} | {"README"}
    for name in weights.index():
        card = release.make_card(get_preset(name))
        page = release.render_card(card, release.measured(card, DOCS), release.measured_seconds(name, DOCS))
        assert (DOCS / "models" / f"{name}.md").read_text() == page, name
        assert (DOCS / "models" / f"{name}.svg").exists() == (f"({name}.svg)" in page), name
