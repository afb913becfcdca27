"""Files that are never half written."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".tmp"
_LEFT_BEHIND_SECONDS = 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of `path`, whole and on the disk, when the block ends well.

    A process that is killed inside leaves the old file, and a temporary one that `remove_leftovers` removes. The
    temporary name is of this process alone, so that several may write the same file.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private to its writer
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a killed process, or a machine that loses power, leaves the old one or the new one."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder, or below, more than an hour ago."""
    before = time.time() - _LEFT_BEHIND_SECONDS
    for path in Path(folder).rglob(f".*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; where folders cannot be synced, go on."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
