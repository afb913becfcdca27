"""A real browser for pages that the program writes; tests that need one are skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = ["--autoplay-policy=no-user-gesture-required", "--disable-gpu"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium, or skip the test."""
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright; pip install '.[test]' brings it")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed; 'apt-get install chromium' brings it")
    as_root = ["--no-sandbox"] * (os.geteuid() == 0)  # Chromium refuses to start otherwise
    with driver.sync_playwright() as started:
        found = started.chromium.launch(executable_path=program, args=_OPTIONS + as_root)
        try:
            yield found
        finally:
            found.close()
