"""Lines are kept while nothing has changed; a stale or damaged one is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xaibench.storage.line_cache import LineCache
from xaibench.storage.user_folders import CACHE_VARIABLE


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module `lined_module`."""
    (tmp_path / "code").mkdir()
    path = tmp_path / "code" / "lined_module.py"
    path.write_text("")
    monkeypatch.syspath_prepend(path.parent)
    return path


class Maker:
    """Makes lines, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        return f"line {self.made}: \N{UPWARDS ARROW}"

    def ask(self, name: str = "a", facts: object = ("1.0",), module: str = "lined_module") -> str:
        with LineCache("listing") as kept:
            return kept.line(name, module, facts, self)


def entry(cache: Path) -> Path:
    (path,) = (cache / "listings").iterdir()
    return path


@pytest.mark.usefixtures("module")
def test_a_line_is_made_once() -> None:
    maker = Maker()
    assert maker.ask() == maker.ask() == "line 1: \N{UPWARDS ARROW}"
    assert maker.made == 1


def test_another_code_or_other_facts_make_another_line(module: Path) -> None:
    maker = Maker()
    maker.ask()
    assert maker.ask(facts=("1.1",)).startswith("line 2")
    assert maker.ask(facts=("1.1",)).startswith("line 2")
    module.write_text("# changed\n")
    assert maker.ask(facts=("1.1",)).startswith("line 3")
    assert maker.ask(facts=("1.1",)).startswith("line 3")


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("what", ["core", "installation"])
def test_other_code_of_xaibench_or_other_packages_make_another_line(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    maker.ask()
    if what == "core":
        monkeypatch.setattr("xaibench.storage.line_cache.CORE", ("xaibench.methods",))
    else:
        monkeypatch.setattr("xaibench.storage.code_stamps.installation", lambda: [["site-packages", 1, 2]])
    assert maker.ask().startswith("line 2")


def test_what_cannot_be_found_is_never_kept(cache: Path) -> None:
    maker = Maker()
    assert maker.ask(module="nobody_has_this").startswith("line 1")
    assert maker.ask(module="nobody_has_this").startswith("line 2")
    assert not cache.exists()


@pytest.mark.usefixtures("module")
def test_what_fails_is_not_kept_and_what_is_made_beside_it_is() -> None:
    def fail() -> str:
        raise ValueError("not yet")

    maker = Maker()
    with LineCache("listing") as kept:
        kept.line("a", "lined_module", (), maker)
        with pytest.raises(ValueError, match="not yet"):
            kept.line("b", "lined_module", (), fail)
    with LineCache("listing") as kept:
        assert kept.line("b", "lined_module", (), lambda: "mended") == "mended"
        assert kept.line("a", "lined_module", (), maker).startswith("line 1")


@pytest.mark.usefixtures("module")
def test_names_that_are_gone_are_forgotten(cache: Path) -> None:
    maker = Maker()
    maker.ask("a")
    assert set(json.loads(entry(cache).read_text())) == {"a"}
    maker.ask("b")
    assert set(json.loads(entry(cache).read_text())) == {"b"}


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b"[" * 200_000,
        b'{"a": null}',
        b'{"a": "line"}',
        b'{"a": ["line"]}',
        b'{"a": ["line", "0123"]}',
        b'{"a": [3, {}]}',
    ],
)
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes) -> None:
    maker = Maker()
    maker.ask()
    path = entry(cache)
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert maker.ask().startswith("line 2")
    assert path.read_bytes() != whole
    assert maker.ask().startswith("line 2")


@pytest.mark.usefixtures("module")
def test_a_single_changed_letter_of_a_line_is_seen(cache: Path) -> None:
    maker = Maker()
    maker.ask()
    path = entry(cache)
    path.write_text(path.read_text().replace("line 1", "lime 1"))
    assert maker.ask().startswith("line 2")


@pytest.mark.usefixtures("module")
def test_a_cache_that_cannot_be_written_costs_no_more_than_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    maker = Maker()
    assert maker.ask().startswith("line 1")
    assert maker.ask().startswith("line 2")


@pytest.mark.usefixtures("module")
def test_environments_do_not_share_lines(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    maker.ask()
    with monkeypatch.context() as patch:
        patch.setattr("sys.prefix", "/another/environment")
        assert maker.ask().startswith("line 2")
    assert maker.ask().startswith("line 1")
    assert len(list((cache / "listings").iterdir())) == 2
