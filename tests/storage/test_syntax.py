"""What is kept of a source is what reading it anew finds, and nothing that was damaged is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xaibench.storage import syntax
from xaibench.storage.syntax import Import
from xaibench.storage.user_folders import CACHE_VARIABLE

SOURCE = b'''"""Text."""
import os.path as place
from . import near
from ..far.off import one, two

def f():
    """Text."""
    import late
    return __import__("x")  # a comment
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    forget()
    yield tmp_path / "syntax.json"
    forget()


def forget() -> None:
    syntax._kept.cache_clear()
    syntax._new.clear()
    syntax._used.clear()


def test_imports_are_as_written_and_texts_do_not_count() -> None:
    found = syntax.read(SOURCE)
    assert set(found.imports) == {
        Import("os.path"), Import("", 1, ("near",)), Import("far.off", 2, ("one", "two")), Import("late")
    }  # fmt: skip
    assert found.dynamic == ("__import__",)
    assert syntax.read(SOURCE.replace(b"Text", b"Other").replace(b"a comment", b"")).sha256 == found.sha256
    assert syntax.read(SOURCE.replace(b'"x"', b'"y"')).sha256 != found.sha256
    with pytest.raises(SyntaxError):
        syntax.read(b"def")


def test_what_was_read_is_not_parsed_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = syntax.read(SOURCE)
    syntax.keep()
    forget()
    monkeypatch.setattr(syntax, "_parse", lambda source: pytest.fail("it was parsed again"))
    assert syntax.read(SOURCE) == found


@pytest.mark.parametrize("damage", ["cut", "other hash", "nonsense", "other shape"])
def test_a_damaged_file_is_not_believed(cache: Path, damage: str) -> None:
    found = syntax.read(SOURCE)
    syntax.keep()
    text = cache.read_text()
    content = json.loads(text)
    (key,) = content["read"]
    content["read"][key]["sha256"] = "0" * 64
    damaged = {
        "cut": text[: len(text) // 2],
        "other hash": json.dumps(content),
        "nonsense": "[1]",
        "other shape": json.dumps(syntax._sealed({"x": 3})),
    }
    cache.write_text(damaged[damage])
    forget()
    assert syntax.read(SOURCE) == found


def test_old_sources_are_forgotten_and_a_full_disk_costs_time_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax.read(b"old = 1")
    syntax.keep()
    forget()
    monkeypatch.setattr(syntax, "_MOST", 1)
    syntax.read(b"new = 1")
    syntax.keep()
    assert len(json.loads(cache.read_text())["read"]) == 1
    syntax.read(b"newer = 1")
    monkeypatch.setattr(syntax, "write_atomically", lambda *_: (_ for _ in ()).throw(OSError("full")))
    syntax.keep()


def test_identities_are_the_same_whether_kept_or_not(cache: Path) -> None:
    call = "print(closure_of('xaibench.metrics.faithfulness').digest())"
    command = f"from xaibench.storage.code_closure import closure_of; {call}"
    first, again = (
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == again and cache.is_file()
