"""Folder of the user's own data, which is kept when the cache is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DATA_VARIABLE = "XAIBENCH_DATA"


def data_folder() -> Path:
    """Return the data folder: $XAIBENCH_DATA, or the platform's user data folder."""
    return Path(os.environ.get(DATA_VARIABLE) or platformdirs.user_data_dir("xaibench"))
