"""Exported models from a mirror: any static web server, or a folder, that ``codec-zoo release`` filled.

    index.json ─▶ entry ─▶ archive (resumed, retried) ─▶ sha256 ─▶ unpacked beside ─▶ moved into the cache

The index names each archive's size and hash, so an archive is only trusted as far as the index is: fetch it over
HTTPS, or from a server that is yours.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from codec_zoo import weights
from codec_zoo.errors import CodecZooError, DownloadError, ModelError, UsageError
from codec_zoo.export import card as cards
from codec_zoo.export.loopback import proxies_for
from codec_zoo.export.runtime import (
    check_export,
    export_to_cache,
    locked,
    notice,
    set_aside_if_damaged,
)
from codec_zoo.files import atomic_folder, cache_folder, write_atomic, writing
from codec_zoo.presets import get_preset, split_name

SCHEMA = 1
INDEX = "index.json"
# What a hostile mirror could otherwise fill memory and disk with.
MAX_INDEX_BYTES = 2**24
MAX_ARCHIVE_BYTES = 2**32
MAX_FILES = 1000
# Seconds to connect, and without a byte.
_TIMEOUT = (10, 30)
# Seconds before each attempt that follows a failure.
_PAUSES = (0.5, 1, 2, 4)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model in an index.

    Attributes:
        preset: its name.
        version: 1 or more.
        file: name of the archive, beside the index.
        bytes: size of the archive.
        sha256: of the archive.
        unpacked_bytes: size of all its files together.
        card_schema: of the model card in it; a client skips entries with a schema that it does not know.
        weights_sha256: as in the card: what coded files are tied to.
        licence: SPDX name.
        rd: measured points on Kodak, from ``codec-zoo evaluate``: ``codec``, ``bpp``, ``psnr`` (dB), ``ms_ssim``,
            ``pictures``.
        held_out: the point at which the weights were chosen, on images held out from training.
    """

    preset: str
    version: int
    file: str
    bytes: int
    sha256: str
    unpacked_bytes: int
    card_schema: int
    weights_sha256: str
    licence: str
    rd: list[dict[str, Any]]
    held_out: dict[str, Any]

    def __post_init__(self) -> None:
        """Check what file names and sizes are made of.

        Raises:
            ValueError: it is of another form.
        """
        for value, pattern in (
            (self.preset, r"[a-z0-9][a-z0-9-]*"),
            (self.file, r"[a-z0-9][a-z0-9.-]*"),
            (self.sha256, r"[0-9a-f]{64}"),
        ):
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                raise ValueError(f"{value!r} is none of its names")
        if not isinstance(self.version, int) or self.version < 1:
            raise ValueError(f"version {self.version!r}")
        for size in (self.bytes, self.unpacked_bytes):
            if not isinstance(size, int) or not 0 < size <= MAX_ARCHIVE_BYTES:
                raise ValueError(f"a size of {size!r} bytes")


def write_index(path: Path, entries: list[Entry]) -> None:
    """Write an index, whole or not at all."""
    models = [dataclasses.asdict(entry) for entry in sorted(entries, key=lambda e: (e.preset, e.version))]
    write_atomic(path, json.dumps({"schema": SCHEMA, "models": models}, indent=1).encode() + b"\n")


def parse_index(data: bytes, where: str) -> list[Entry]:
    """The entries of an index; fields that are not known are passed over.

    Raises:
        DownloadError: not an index, or one of a newer schema.
    """
    fields = [field.name for field in dataclasses.fields(Entry)]
    try:
        index = json.loads(data)
        if index["schema"] > SCHEMA:
            raise DownloadError(f"the index at {where} has schema {index['schema']}. Update codec-zoo.")
        return [Entry(**{name: model[name] for name in fields}) for model in index["models"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(
            f"{where} is not an index of codec-zoo ({type(error).__name__}: {error}). "
            "Check the address; `codec-zoo release` makes one."
        ) from error


def download(preset: str, source: str | None = None, version: int | None = None) -> Path:
    """Bring a model into the cache, unless it is there already.

    Args:
        preset: its name.
        source: URL (http, https) or folder of a mirror; None: exported from the packaged weights.
        version: on the mirror; None: the newest.

    Returns:
        Its folder, ``…/<preset>/<version>``.

    Raises:
        UsageError: no such preset or version; a source that is neither.
        DownloadError: the mirror cannot be reached, or what it sends is not what its index promises.
        CodecZooError: the cache cannot be written.
    """
    if source is None:
        if version not in (None, 1):
            raise UsageError(f"version {version} of {preset} is not packaged. Name a mirror that has it: --from URL.")
        return export_to_cache(preset)
    entry = _choose(_read_index(source), split_name(preset)[1], version, source)
    base = cache_folder() / "models" / entry.sha256[:16]
    target = base / entry.preset / str(entry.version)
    if os.path.exists(target):  # see export_to_cache
        set_aside_if_damaged(target)
    if not os.path.exists(target):
        with locked(base):
            if not target.exists():
                notice(f"bringing {entry.preset} {entry.version} ({_megabytes(entry.bytes)}) from {source}")
                with _archive(source, entry, base.with_suffix(".part")) as archive, atomic_folder(target) as folder:
                    _unpack(archive, entry, folder)
    return target


def list_models(source: str, names: Iterable[str] = ()) -> list[str]:
    """``names``, without their modules; or without any all presets that a mirror has.

    Raises:
        UsageError: a source that is neither URL nor folder.
        DownloadError: the mirror cannot be reached, or has no index.
    """
    return [split_name(name)[1] for name in names] or sorted({entry.preset for entry in _read_index(source)})


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _read_index(source: str) -> list[Entry]:
    """The index of a mirror; of one that cannot be reached, the one seen last."""
    if not _is_url(source):
        path = Path(source) / INDEX
        try:
            return parse_index(path.read_bytes(), str(path))
        except OSError as error:
            raise UsageError(
                f"{source} is neither an http(s) URL nor a folder with an {INDEX} ({error.strerror})."
            ) from error
    url = f"{source.rstrip('/')}/{INDEX}"
    kept = cache_folder() / "mirrors" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
    try:
        received = io.BytesIO()
        _fetch(url, received, MAX_INDEX_BYTES)
    except _Unreachable as error:
        try:
            entries = parse_index(kept.read_bytes(), str(kept))
        except (OSError, DownloadError):  # none, or a damaged one, which the next answer replaces
            raise error from None
        notice(f"{error} Going by the index seen last.")
        return entries
    entries = parse_index(received.getvalue(), url)
    with contextlib.suppress(CodecZooError):  # a cache may be one that can only be read
        write_atomic(kept, received.getvalue())
    return entries


def _choose(entries: list[Entry], preset: str, version: int | None, source: str) -> Entry:
    known = {entry.version: entry for entry in entries if entry.preset == preset}
    usable = {number: entry for number, entry in known.items() if entry.card_schema == cards.SCHEMA}
    if not known:
        names = ", ".join(sorted({entry.preset for entry in entries})) or "nothing"
        raise UsageError(f"{source} has no {preset}. It has {names}.")
    if version is not None and version not in known:
        raise UsageError(
            f"{source} has no version {version} of {preset}. It has {', '.join(map(str, sorted(known)))}."
        )
    chosen = usable.get(version) if version is not None else usable[max(usable)] if usable else None
    if chosen is None:
        raise DownloadError(
            f"{preset} on {source} was exported for another codec-zoo (its card has schema "
            f"{known[version or max(known)].card_schema}, not {cards.SCHEMA}). Update the older of the two."
        )
    return chosen


@contextlib.contextmanager
def _archive(source: str, entry: Entry, part: Path) -> Iterator[Path]:
    """The archive of an entry, checked: where it lies in a folder, or fetched to ``part``, removed afterwards."""
    free = shutil.disk_usage(part.parent).free
    needed = entry.unpacked_bytes + (entry.bytes if _is_url(source) else 0)
    if free < needed:
        raise CodecZooError(
            f"{entry.preset} needs {_megabytes(needed)} in {part.parent}, and {_megabytes(free)} are free. "
            "Free space, or set CODEC_ZOO_CACHE to another place."
        )
    path = Path(source) / entry.file
    if _is_url(source):
        path = part
        begun = part.exists()  # by an earlier process
        _fetch_archive(source, entry, part)
        if begun and weights.hash_file(part) != entry.sha256:
            notice(f"what was there of {entry.file} is damaged: it is fetched anew")
            part.unlink()
            _fetch_archive(source, entry, part)
    try:
        found = weights.hash_file(path)
    except OSError as error:
        raise DownloadError(f"{path} cannot be read ({error.strerror}). Make the mirror again.") from error
    try:
        if found != entry.sha256:
            raise DownloadError(
                f"{entry.file} from {source} has sha256 {found[:16]}…, its index says {entry.sha256[:16]}…: it is "
                "damaged, or not what was released. Try again; if it stays so, tell who runs the mirror."
            )
        yield path
    finally:
        if _is_url(source):
            part.unlink(missing_ok=True)


def _fetch_archive(source: str, entry: Entry, part: Path) -> None:
    """Fetch what ``part`` lacks of an entry's archive; without a server's answer, it stays for the next attempt."""
    with writing(part):
        try:
            with open(part, "ab") as file:
                _fetch(f"{source.rstrip('/')}/{entry.file}", file, entry.bytes, f"{entry.preset} {entry.version}")
        except (OSError, DownloadError) as error:
            if not isinstance(error, _Unreachable):
                part.unlink(missing_ok=True)
            raise


class _Unreachable(DownloadError):
    """The server did not answer, again and again."""


def _fetch(url: str, file: IO[bytes], most: int, title: str | None = None) -> None:
    """Append to ``file`` what it lacks of ``url``, with a progress bar if there is a ``title``.

    A cut transfer goes on where it stopped, on servers that know ranges; on others it starts again.

    Raises:
        DownloadError: the server refuses, or sends more than ``most`` bytes.
        OSError: the file cannot be written.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=title is None or not console.is_terminal) as progress:
        bar = progress.add_task(title or "", total=most)
        for pause in (*_PAUSES, None):
            try:
                for size in _transfer(url, file, most):
                    progress.update(bar, completed=size)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                reason = f"{type(error).__name__}: {error}"[:200]
            except _Busy as error:
                reason = str(error)
            except requests.RequestException as error:
                raise DownloadError(f"{url} cannot be fetched ({error}). Check the address.") from error
            if pause is None:
                raise _Unreachable(f"{url} cannot be fetched ({reason}), tried {len(_PAUSES) + 1} times.")
            time.sleep(pause)


class _Busy(Exception):
    """An answer after which it is worth trying again."""


def _transfer(url: str, file: IO[bytes], most: int) -> Iterator[int]:
    """One request for the rest of ``url``; yields the size reached so far."""
    have = file.seek(0, io.SEEK_END)
    if have >= most:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT, proxies=proxies_for(url)) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise _Busy(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code not in (200, 206, 416):
            raise DownloadError(
                f"{url}: {answer.status_code} {answer.reason}. Check the address, or ask who runs it."
            )
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and not resumed:
            have = 0
            file.truncate(0)
            file.seek(0)
        if answer.status_code != 200 and not resumed:
            raise _Busy("the server does not know that part")
        for chunk in answer.iter_content(2**16):
            have += len(chunk)
            if have > most:
                raise DownloadError(f"{url} is larger than the {most:,} bytes that were announced.")
            file.write(chunk)
            yield have


class _Limited(io.RawIOBase):
    """What a gzip file holds, up to a size: a bomb ends here."""

    def __init__(self, file: gzip.GzipFile, most: int):
        self._file = file
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to more than its index says")
        buffer[: len(data)] = data
        return len(data)


def _unpack(archive: Path, entry: Entry, folder: Path) -> None:
    """Unpack a model into ``folder``: plain files inside it, of the announced size, nothing else.

    Raises:
        DownloadError: the archive holds anything else, or is not the model that the entry says.
    """
    prefix = f"{entry.preset}/{entry.version}/"
    # Headers and padding of a tar archive: 1 KiB a file, and its end.
    most = entry.unpacked_bytes + 2048 * MAX_FILES
    size = count = 0
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_Limited(packed, most), mode="r|") as tar:
            for member in tar:
                count += 1
                size += member.size
                name = member.name.removeprefix(prefix)
                if count > MAX_FILES or size > entry.unpacked_bytes:
                    raise ValueError("it unpacks to more than its index says")
                if not member.isfile():
                    raise ValueError(f"{member.name} is not a plain file")
                if name == member.name:
                    raise ValueError(f"{member.name} is not in {prefix}")
                tar.extract(member.replace(name=name), folder, filter="data")
        if size != entry.unpacked_bytes:
            raise ValueError(f"it unpacks to {size:,} bytes, its index says {entry.unpacked_bytes:,}")
        card = check_export(folder)
        found = card["preset"], card["version"], card["weights_sha256"], card["schema"]
        if found != (entry.preset, entry.version, entry.weights_sha256, entry.card_schema):
            raise ValueError("its card is of another model")
    except (ValueError, EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile, ModelError) as error:
        raise DownloadError(
            f"the archive {entry.file} is not a model of codec-zoo: {error}. Nothing of it was kept; "
            "tell who runs the mirror."
        ) from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def trained_presets(names: Iterable[str]) -> list[str]:
    """``names``, without their modules; or without any all of the zoo's own presets with trained weights.

    Raises:
        UsageError: no such preset.
        ModelError: a preset has no trained weights.
    """
    chosen = [get_preset(name) for name in list(names) or sorted(weights.index())]
    for preset in chosen:
        weights.entry(preset.name)
    return [preset.name for preset in chosen]


def number_version(name: str, released: Mapping[int, str]) -> tuple[int, bool]:
    """The version that the packaged weights of a preset have, and whether it is a new one.

    Args:
        name: of the preset.
        released: version → hash of its weights.
    """
    current = cards.hash_weights(weights.create(name))
    same = [version for version, released_hash in released.items() if released_hash == current]
    return (max(same), False) if same else (max(released, default=0) + 1, True)
