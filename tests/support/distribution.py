"""Distributions of strangers, as pip would have installed them: a module, and metadata with its entry points."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from xaibench import registry


def write(folder: Path, module: str, source: str, points: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a distribution into a folder, which is returned.

    Args:
        folder: made if it is not there.
        module: its only one, and the name of the distribution.
        source: of the module.
        points: of each group ("methods", ...) the names, with what in the module they stand for.
    """
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [
        line
        for group, names in points.items()
        for line in (f"[xaibench.{group}]", *(f"{name} = {module}:{kind}" for name, kind in names.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def add(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the distributions in a folder on the path of this process, and of those that it starts, for one test."""
    monkeypatch.syspath_prepend(folder)
    registry._entries.cache_clear()
    registry.load.cache_clear()
    registry._given_up.clear()


def forget(folder: Path) -> None:
    """Make the registry read anew, without the modules of a folder."""
    registry._entries.cache_clear()
    registry.load.cache_clear()
    registry._given_up.clear()
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
