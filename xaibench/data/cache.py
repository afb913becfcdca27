"""Arrays kept between runs: one .npy file an entry, written atomically, in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

CACHE_VARIABLE = "XAIBENCH_CACHE"


def cache_folder() -> Path:
    """The cache folder: $XAIBENCH_CACHE, or the platform's user cache."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("xaibench"))


def cached(group: str, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array stored under (group, key), made and stored on first use.

    A damaged entry is made again. A cache that cannot be written (full disk, read-only home)
    costs time, never the run.
    """
    path = cache_folder() / group / f"{key}.npy"
    # A damaged file passes on whatever numpy's header parser trips over: ValueError, MemoryError for an
    # absurd shape, tokenize.TokenError. All of them mean: make it again.
    with contextlib.suppress(Exception), path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
    array = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError:
        pass
    return array
