"""Files that appear whole or not at all, and where they are cached.

An unfinished file or folder is in ``.XXXXXXXX.czoo-tmp`` beside its place, with a file that its process keeps locked.
What a killed process left is removed by the next one that writes to the same folder.
"""

import contextlib
import errno
import fcntl
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from codec_zoo.errors import CodecZooError, UsageError

SCRATCH = ".czoo-tmp"
LOCK = "lock"
# Of another machine, or of this one before it was started anew, a lock may say nothing: some network file systems
# keep locks to themselves.
STALE_S = 24 * 3600

_REMEDIES = {
    errno.ENAMETOOLONG: "Choose a shorter name: most file systems take 255 bytes.",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "Name a place in a folder.",
    errno.ELOOP: "Name the file that the symbolic link is for.",
    errno.EPIPE: "Its reader ended before it had all.",
    errno.EACCES: "Choose a place where you may write.",
    errno.EPERM: "Choose a place where you may write.",
    errno.EROFS: "Choose a place where you may write.",
}
_swept: set[Path] = set()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], remedy: str | None = None) -> Iterator[None]:
    """Turn the system's errors in the block into one that says that ``path`` cannot be written, and ``remedy``.

    Args:
        path: for the message.
        remedy: for the message; None: one that fits the error.

    Raises:
        CodecZooError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        remedy = remedy or _REMEDIES.get(error.errno or 0, "Free space or choose another place.")
        raise CodecZooError(f"cannot write {path}: {error.strerror or error}. {remedy}") from error


def refuse_existing(path: str | os.PathLike[str]) -> None:
    """Raise ``UsageError`` if there is anything at ``path``, be it a link that leads nowhere."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already. Add --force to replace it, or name another place.")


def refuse_foreign(path: str | os.PathLike[str], mark: str) -> None:
    """Raise ``UsageError`` if there is a file at ``path`` without ``mark``, which the program's own files have."""
    path = Path(path)
    with writing(path):
        if os.path.lexists(path) and mark.encode() not in path.read_bytes():
            raise UsageError(f"{path} is not of this command. Add --force to replace it, or name another folder.")


def check_place(path: str | os.PathLike[str], replace: bool = True) -> os.stat_result | None:
    """Check, before the work on it starts, that a file may be written.

    Returns:
        The file that ``path`` leads to; None where there is nothing yet.

    Raises:
        UsageError: ``path`` exists, and ``replace`` is False.
        CodecZooError: it is a folder or a block device, has a name too long, or may not be written.
    """
    path = Path(path)
    with writing(path):
        known = _stat(path)
        if not replace:
            refuse_existing(path)
        if known and stat.S_ISBLK(known.st_mode):
            raise CodecZooError(f"cannot write {path}: it is a block device. Name a file.")
        if known and stat.S_ISDIR(known.st_mode):
            raise _error(errno.EISDIR)
        held = path if known else next(folder for folder in path.absolute().parents if folder.exists())
        if not os.access(held, os.W_OK):
            raise _error(errno.EACCES)
    return known


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], replace: bool = True) -> Iterator[Path]:
    """Yield a temporary name; the file that the block writes there takes the name ``path`` if the block succeeds.

    A file that was at ``path`` is replaced in one step; the new one has its mode and, where that is permitted, its
    owner and group. Its other hard links keep the old contents. Of a symbolic link the file it leads to is replaced.
    For a FIFO or a character device, the written file is copied into it.

    Args:
        path: of the file; missing folders are made.
        replace: whether a file that exists is replaced.

    Raises:
        UsageError: ``path`` exists, and ``replace`` is False.
        CodecZooError: the disk is full, or the place cannot be written.
    """
    path = Path(path)
    with writing(path):
        known = check_place(path, replace)
        if known and not stat.S_ISREG(known.st_mode):
            with _copied_into(path) as temporary:
                yield temporary
            return
        target = Path(os.path.realpath(path))
        if not path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(target.parent) as scratch:
            temporary = scratch / ".new"  # hidden from who looks for files of a kind
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            if known:
                _take_over(temporary, known)
            if replace:
                temporary.replace(target)
            else:
                _place(temporary, target)


def write_atomic(path: str | os.PathLike[str], data: bytes, replace: bool = True) -> None:
    """Write ``data`` to ``path`` whole or not at all (see :func:`atomic_path`)."""
    with atomic_path(path, replace) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; it becomes ``path``, and replaces an older one, only if the block succeeds.

    A folder that was at ``path`` gives the new one its mode. Of a symbolic link the folder it leads to is replaced.

    Raises:
        CodecZooError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with writing(path):
        target = Path(os.path.realpath(path))
        known = _stat(path)
        if known and not stat.S_ISDIR(known.st_mode):
            raise _error(errno.ENOTDIR)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(target.parent) as scratch:
            temporary, old = scratch / "new", scratch / "old"
            temporary.mkdir()
            yield temporary
            if known:
                _take_over(temporary, known)
                old.mkdir()
                target.rename(old / target.name)  # `_put_back` knows it there
            temporary.rename(target)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _take_over(path: Path, known: os.stat_result) -> None:
    """Give ``path`` the mode of the file that it replaces, and its owner as far as this is permitted."""
    for owner, group in ((known.st_uid, -1), (-1, known.st_gid)):
        with contextlib.suppress(PermissionError):
            os.chown(path, owner, group)
    path.chmod(stat.S_IMODE(known.st_mode) & (0o777 if stat.S_ISREG(known.st_mode) else 0o7777))


def _place(temporary: Path, target: Path) -> None:
    """Move a file to where there is none; another that appears there meanwhile stays."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        refuse_existing(target)
        raise
    except OSError:  # a file system without hard links
        refuse_existing(target)
        temporary.rename(target)


@contextlib.contextmanager
def _copied_into(path: Path) -> Iterator[Path]:
    """Yield a temporary name; the file that the block writes there is copied into a device or FIFO."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "new"
        yield temporary
        # Without O_CREAT, which Linux refuses for another user's FIFO in /tmp.
        with open(temporary, "rb") as source, open(os.open(path, os.O_WRONLY), "wb") as sink:
            shutil.copyfileobj(source, sink)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder in ``folder`` for unfinished files; it is removed behind the block."""
    if folder not in _swept:
        _swept.add(folder)
        _remove_stale(folder)
    scratch = Path(tempfile.mkdtemp(prefix=".", suffix=SCRATCH, dir=folder))
    try:
        with open(scratch / LOCK, "x") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks: nobody can know that the folder is stale
            else:
                lock.write(_machine())  # now that it is locked: an empty one does not tell that its process ended
                lock.flush()
            yield scratch
    finally:
        _put_back(scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Remove the unfinished files of killed processes of this user from ``folder``, never files being written."""
    for scratch in list(folder.glob(f".*{SCRATCH}")):
        with contextlib.suppress(OSError):  # locked by its process, or removed meanwhile
            known = scratch.lstat()
            if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid():
                continue
            age = time.time() - known.st_mtime
            if not (scratch / LOCK).exists():
                if age > STALE_S:
                    shutil.rmtree(scratch, ignore_errors=True)
                continue
            with open(scratch / LOCK, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.read() == _machine() or age > STALE_S:
                    _put_back(scratch)
                    shutil.rmtree(scratch, ignore_errors=True)


def _put_back(scratch: Path) -> None:
    """Where replacing a folder ended between its two steps, put the old folder back."""
    for old in (scratch / "old").glob("*"):
        if not os.path.lexists(scratch.parent / old.name):
            old.rename(scratch.parent / old.name)


def _machine() -> str:
    """An identifier of this machine since it was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


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
