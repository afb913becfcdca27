"""Write files so that they are never half written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".tmp"
_LEFT_BEHIND_SECONDS = 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, which replaces `path` when the block ends without an error.

    The new file is whole and synced to disk. A process that is killed inside the block leaves the old file, and a
    temporary one that `remove_leftovers` removes. Each process has its own temporary name, so that several may write
    the same file.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes the file readable by its owner only
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a killed process, or a power failure, leaves either the old file or the new one."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder, or below, more than an hour ago.

    The hour is one of the clock by which the folder's files are dated: this machine's may be wrong, and others may be
    writing.
    """
    with contextlib.suppress(OSError):
        for path in Path(folder).rglob(f".*{_SUFFIX}"):
            with tempfile.TemporaryFile(dir=path.parent) as fresh:
                now = os.fstat(fresh.fileno()).st_mtime
            if path.stat().st_mtime < now - _LEFT_BEHIND_SECONDS:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; do nothing where a folder cannot be synced."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
