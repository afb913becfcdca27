"""Code whose files have changed has another stamp; nothing is imported to tell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from xaibench.storage import code_stamps


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a part, on the path, that fails if it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "stamped_package"
    (folder / "part" / "__pycache__").mkdir(parents=True)
    for file in ("__init__.py", "part/__init__.py", "part/module.py", "words.json", "notes.txt"):
        (folder / file).write_text("raise AssertionError('imported')\n")
    return folder


def everything(module: str) -> list[list[list[object]]]:
    return [code_stamps.stamp(place) for place in code_stamps.locations(module)]


def test_the_packages_on_the_way_are_found_without_an_import(package: Path) -> None:
    found = code_stamps.locations("stamped_package.part.module")
    assert found == [package, package / "part", package / "part" / "module.py"]
    assert not any(name.startswith("stamped_package") for name in sys.modules)


def test_our_own_leaves_are_found_where_they_lie() -> None:
    found = code_stamps.locations("xaibench.methods.gradients")
    assert [path.name for path in found] == ["xaibench", "methods", "gradients.py"]
    assert (found[1] / "gradients.py").samefile(found[2])


@pytest.mark.parametrize("module", ["nobody_has_this", "nobody_has_this.part", "xaibench.methods.nothing"])
def test_what_is_missing_is_said(module: str) -> None:
    with pytest.raises(LookupError):
        code_stamps.locations(module)


@pytest.mark.parametrize("file", ["__init__.py", "part/module.py", "words.json"])
def test_a_changed_file_changes_the_stamp(package: Path, file: str) -> None:
    before = everything("stamped_package.part.module")
    assert everything("stamped_package.part.module") == before
    path = package / file
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    after = everything("stamped_package.part.module")
    assert after != before, "the time alone"
    path.write_text(path.read_text() + "\n")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert everything("stamped_package.part.module") not in (before, after), "the size alone"


def test_new_and_removed_files_change_the_stamp_and_others_do_not(package: Path) -> None:
    before = everything("stamped_package.part.module")
    (package / "notes.txt").write_text("other notes")
    (package / "part" / "__pycache__" / "module.py").write_text("")
    assert everything("stamped_package.part.module") == before
    (package / "part" / "other.py").write_text("")
    assert everything("stamped_package.part.module") != before
    (package / "part" / "other.py").unlink()
    assert everything("stamped_package.part.module") == before


def test_an_installation_changes_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(folder), str(tmp_path / "missing" / "site-packages")])
    before = code_stamps.installation()
    assert [entry[0] for entry in before] == [str(folder)]
    os.utime(folder, ns=(0, 0))
    assert code_stamps.installation() != before
