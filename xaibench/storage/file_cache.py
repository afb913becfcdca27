"""A folder of files kept between runs, of limited size."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

LIMIT_BYTES = 4 * 1024**3


class FileCache:
    """Files with one ending in a folder. When they become too large together, those read longest ago are deleted.

    Args:
        folder: folder of the files; made on first use.
        suffix: their ending, with its dot; nothing else in the folder is counted or deleted.
        limit_bytes: largest total size in bytes.
    """

    def __init__(self, folder: Path, suffix: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._suffix = suffix
        self._limit = limit_bytes
        self._size: int | None = None

    def path(self, name: str) -> Path:
        """Return the path of a file, whether it exists or not."""
        return self._folder / f"{name}{self._suffix}"

    def was_read(self, name: str) -> None:
        """Mark a file as read now, so that it is deleted last."""
        with contextlib.suppress(OSError):
            os.utime(self.path(name))

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; nothing happens, and no error is raised, if the folder is not writable."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, self.path(name))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _make_room(self, size: int) -> None:
        if self._size is not None and self._size + size <= self._limit:
            self._size += size
            return
        # Counted once, and again only when the limit may be reached, because other processes write and delete as well.
        found = [(path, path.stat()) for path in self._folder.glob(f"*{self._suffix}")]
        self._size = sum(about.st_size for _, about in found) + size
        if self._size <= self._limit:
            return
        # Delete a tenth more than needed, so that a full folder is not sorted again for every file.
        for path, about in sorted(found, key=lambda one: one[1].st_mtime_ns):
            if self._size <= 0.9 * self._limit:
                break
            self._size -= about.st_size
            path.unlink(missing_ok=True)
