"""Arrays kept between runs: one .npy file an entry, written atomically, in the user's cache folder."""

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
    """The array stored under (group, key), made and stored on first use.

    A damaged entry is made again. A cache that cannot be written (full disk, read-only home)
    costs time, never the run. A group keeps to a limit: what was read longest ago goes.
    """
    files = _files(cache_folder() / group)
    # A damaged file passes on whatever numpy's header parser trips over: ValueError, MemoryError for an
    # absurd shape, tokenize.TokenError. All of them mean: make it again.
    with contextlib.suppress(Exception), files.path(key).open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        files.was_read(key)
        return array
    array = make()
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    files.write(key, data.getvalue())
    return array
