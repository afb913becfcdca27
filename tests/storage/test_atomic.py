"""A file is the old one or the new one, whenever its writer dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaibench.storage import atomic


def test_write_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic.write_atomically(path, b"old")
    atomic.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def killed(source: Path, target: Path) -> None:
        assert source.read_bytes() == b"newer", "whole before it gets its name"
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
