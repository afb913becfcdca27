"""Arrays kept between runs."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xaibench.storage.array_cache import cached
from xaibench.storage.user_folders import CACHE_VARIABLE, cache_folder

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


class Maker:
    """Makes the array and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> np.ndarray:
        self.made += 1
        return ARRAY


def saved() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, ARRAY)
    return buffer.getvalue()


def test_the_variable_names_the_folder_and_without_it_the_platform_does(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder().name == "xaibench"


def test_an_array_is_made_once():
    make = Maker()
    for _ in range(3):
        array = cached("group", "key", make)
        np.testing.assert_array_equal(array, ARRAY)
        assert array.dtype == ARRAY.dtype
    assert make.made == 1


def test_groups_and_keys_are_apart():
    make = Maker()
    for group, key in (("a", "x"), ("a", "y"), ("b", "x")):
        cached(group, key, make)
    assert make.made == 3


def test_nothing_but_the_entry_is_left_behind():
    cached("group", "key", Maker())
    assert [path.name for path in cache_folder().rglob("*") if path.is_file()] == ["key.npy"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=st.one_of(st.binary(max_size=200), st.integers(0, len(saved()) - 1).map(lambda n: saved()[:n])))
@example(damaged=b"")
@example(damaged=b"PK\x03\x04 looks like a zip archive")
@example(damaged=saved().replace(b"(3, 4)", b"(3, 9)"))
@example(damaged=saved().replace(b"(3, 4), ", b"(9999999999999999,), ")[:128] + bytes(48))
@example(damaged=saved().replace(b"(3, 4), }", b"((3, 4, {"))
def test_a_damaged_entry_is_made_again_and_stored(damaged):
    make = Maker()
    path = cache_folder() / "group" / "key.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damaged)
    np.testing.assert_array_equal(cached("group", "key", make), ARRAY)
    assert make.made == 1
    np.testing.assert_array_equal(cached("group", "key", make), ARRAY)
    assert make.made == 1


def test_an_entry_with_pickled_objects_is_never_loaded():
    make = Maker()
    path = cache_folder() / "group" / "key.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(cached("group", "key", make), ARRAY)
    assert make.made == 1


def test_a_cache_that_cannot_be_written_costs_time_and_not_the_run(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    make = Maker()
    for made in (1, 2):
        np.testing.assert_array_equal(cached("group", "key", make), ARRAY)
        assert make.made == made


def test_a_failed_write_leaves_no_half_entry(monkeypatch):
    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    np.testing.assert_array_equal(cached("group", "key", Maker()), ARRAY)
    assert [path for path in cache_folder().rglob("*") if path.is_file()] == []


def test_what_fails_while_making_is_not_stored():
    def fail() -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached("group", "key", fail)
    np.testing.assert_array_equal(cached("group", "key", Maker()), ARRAY)


def test_tests_do_not_touch_the_users_cache():
    assert not cache_folder().is_relative_to(Path.home() / ".cache")


def test_an_entry_that_is_read_goes_last():
    for key in "ab":
        cached("group", key, Maker())
    for path in (cache_folder() / "group").iterdir():
        os.utime(path, (1000, 1000))
    cached("group", "a", Maker())
    read, other = ((cache_folder() / "group" / f"{key}.npy").stat().st_mtime for key in "ab")
    assert read > other == 1000
