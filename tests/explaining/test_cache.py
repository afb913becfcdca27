"""Explanations of earlier runs are found by content, survive damage, and do not outgrow their limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from xaibench.explaining.cache import WORTH_KEEPING_SECONDS, ExplanationCache, Made
from xaibench.explaining.explanation import Explanation

CONTENT = {"classifier": "abc", "clip": "dog", "method": {"parameters": {"steps": 32}}}


def made(seed: int = 0, seconds: float = 1.5) -> Made:
    attribution = torch.randn(1, 9, 7, generator=torch.Generator().manual_seed(seed))
    return Made(Explanation(attribution, (3, 7)), seconds, 1024)


def test_what_is_kept_is_found_bit_for_bit(tmp_path: Path) -> None:
    ExplanationCache(tmp_path).keep(CONTENT, made())
    found = ExplanationCache(tmp_path).find(CONTENT)
    assert found is not None
    assert torch.equal(found.explanation.map, made().explanation.map)
    assert (found.explanation.native_shape, found.seconds, found.peak_bytes) == ((3, 7), 1.5, 1024)


@pytest.mark.parametrize("key", list(CONTENT))
def test_any_other_content_is_not_found(tmp_path: Path, key: str) -> None:
    cache = ExplanationCache(tmp_path)
    cache.keep(CONTENT, made())
    assert cache.find(CONTENT | {key: "other"}) is None


def test_cheap_maps_are_not_kept(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path)
    cache.keep(CONTENT, made(seconds=WORTH_KEEPING_SECONDS / 2))
    assert cache.find(CONTENT) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"not tensors", b"\xff" * 4000])
def test_a_damaged_file_counts_as_not_kept(tmp_path: Path, damage: bytes) -> None:
    cache = ExplanationCache(tmp_path)
    cache.keep(CONTENT, made())
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert cache.find(CONTENT) is None
    cache.keep(CONTENT, made(seed=1))
    found = cache.find(CONTENT)
    assert found is not None
    assert torch.equal(found.explanation.map, made(seed=1).explanation.map)


def test_the_longest_unread_go_first(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path)
    cache.keep(CONTENT, made())
    (path,) = tmp_path.iterdir()
    room = 5 * path.stat().st_size
    cache = ExplanationCache(tmp_path, limit_bytes=room)
    for i in range(1, 5):
        cache.keep({"clip": i}, made(i))
    for i, file in enumerate(sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)):
        os.utime(file, (1000 + i, 1000 + i))
    assert cache.find(CONTENT) is not None  # read, so no longer the oldest
    cache.keep({"clip": 5}, made(5))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= room
    assert cache.find(CONTENT) is not None
    assert cache.find({"clip": 1}) is None
    assert cache.find({"clip": 5}) is not None


def test_a_folder_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = ExplanationCache(blocked)
    cache.keep(CONTENT, made())
    assert cache.find(CONTENT) is None
