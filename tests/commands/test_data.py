"""`xaibench data`."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Command


def test_data_check(xaibench: Command, small_esc50: Path) -> None:
    done = xaibench("data", "check", small_esc50)
    text = done.out
    assert "10 clips" in text
    (small_esc50 / "audio" / "1-1000-A-0.wav").unlink()
    done = xaibench("data", "check", small_esc50)
    assert done.code == 2
    assert "1-1000-A-0.wav is listed in meta/esc50.csv and missing" in done.out
