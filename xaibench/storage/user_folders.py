"""Where a user's own things live that must outlast the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DATA_VARIABLE = "XAIBENCH_DATA"


def data_folder() -> Path:
    """The data folder: $XAIBENCH_DATA, or the platform's user data folder."""
    return Path(os.environ.get(DATA_VARIABLE) or platformdirs.user_data_dir("xaibench"))
