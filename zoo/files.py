"""Files that appear whole or not at all, and where they are cached."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from codec_zoo.errors import CodecZooError


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], remedy: str = "Free space or choose another place.") -> Iterator[None]:
    """Turn the system's errors in the block into one that says that ``path`` cannot be written, and ``remedy``.

    Raises:
        CodecZooError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise CodecZooError(f"cannot write {path}: {error.strerror or error}. {remedy}") from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; it takes the name ``path`` only if the block succeeds.

    What was at ``path`` before is replaced in one step; a file that the block failed to finish is removed.

    Raises:
        CodecZooError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=f".{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all (see :func:`atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; it becomes ``path``, replacing what was there, only if the block succeeds.

    Raises:
        CodecZooError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
                path.replace(old / "old")
                temporary.replace(path)
                shutil.rmtree(old)
            else:
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def cache_folder() -> Path:
    """Where exported models are kept: ``CODEC_ZOO_CACHE``, else ``codec-zoo`` in the XDG cache folder.

    As the XDG specification wants it, an ``XDG_CACHE_HOME`` that is empty or relative is ignored.

    Raises:
        CodecZooError: neither variable is set, and there is no home folder, as in some containers.
    """
    if named := os.environ.get("CODEC_ZOO_CACHE"):
        return Path(named)
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "codec-zoo"
    except RuntimeError as error:
        raise CodecZooError(
            "there is no home folder to keep models in. Name a folder for them: CODEC_ZOO_CACHE."
        ) from error
