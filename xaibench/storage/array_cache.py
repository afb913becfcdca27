"""Arrays kept between runs, as one .npy file per entry, written atomically, in the user's cache folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from xaibench.storage.file_cache import FileCache
from xaibench.storage.user_folders import cache_folder


@cache
def _files(folder: Path) -> FileCache:
    return FileCache(folder, ".npy")


def cached(group: str, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array stored under (group, key); make and store it on first use.

    A damaged entry is made again. If the cache cannot be written (full disk, read-only home), this costs time, but the
    run goes on. The size of a group is limited; what was read longest ago is deleted.
    """
    files = _files(cache_folder() / group)
    # For a damaged file numpy's header parser raises many errors: ValueError, MemoryError for an absurd shape,
    # tokenize.TokenError. In all these cases the array is made again.
    with contextlib.suppress(Exception), files.path(key).open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        files.was_read(key)
        return array
    array = make()
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    files.write(key, data.getvalue())
    return array
