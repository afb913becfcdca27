"""Kept files stay below their limit, whoever else writes, and what is not theirs is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xaibench.storage.file_cache import FileCache


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_and_replaced(tmp_path: Path) -> None:
    files = FileCache(tmp_path / "new" / "folder", ".bin")
    files.write("a", b"first")
    files.write("a", b"second")
    assert files.path("a").read_bytes() == b"second"
    assert names(tmp_path / "new" / "folder") == ["a.bin"]


def test_the_oldest_go_and_strangers_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(bytes(5000))
    files = FileCache(tmp_path, ".bin", limit_bytes=1000)
    for i in range(9):
        files.write(str(i), bytes(100))
        os.utime(files.path(str(i)), (1000 + i, 1000 + i))
    files.was_read("0")
    files.write("big", bytes(300))
    # 1200 bytes would be too many; 900 are left, a tenth below the limit: 1, 2 and 3 are gone.
    assert names(tmp_path) == ["0.bin", "4.bin", "5.bin", "6.bin", "7.bin", "8.bin", "big.bin", "notes.txt"]


def test_what_another_process_wrote_is_counted(tmp_path: Path) -> None:
    one, other = (FileCache(tmp_path, ".bin", limit_bytes=1000) for _ in range(2))
    one.write("a", bytes(400))
    other.write("b", bytes(400))
    os.utime(one.path("a"), (1000, 1000))
    one.write("c", bytes(400))
    one.write("d", bytes(400))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    assert "d.bin" in names(tmp_path)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        FileCache(tmp_path, ".bin").write("a", b"half")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    FileCache(tmp_path / "file", ".bin").write("a", b"x")
    assert names(tmp_path) == ["file"]
