"""Where a user's own files live: what must outlast the cache, and the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DATA_VARIABLE = "XAIBENCH_DATA"
CACHE_VARIABLE = "XAIBENCH_CACHE"


def data_folder() -> Path:
    """Return the data folder: $XAIBENCH_DATA, or the platform's user data folder."""
    return Path(os.environ.get(DATA_VARIABLE) or platformdirs.user_data_dir("xaibench"))


def cache_folder() -> Path:
    """The cache folder: $XAIBENCH_CACHE, or the platform's user cache."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("xaibench"))
