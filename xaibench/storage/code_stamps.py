"""Detect changes of code by the times and sizes of its files, without importing or reading them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".py", ".json")
INSTALLED = {"site-packages", "dist-packages"}


def locations(module: str) -> list[Path]:
    """Find the packages that contain a module, each as its folder, or the file of a module that is not a package.

    Args:
        module: such as "package.part.module"; neither it nor its packages are imported.

    Raises:
        LookupError: there is no such module.
    """
    found: list[Path] = []
    search: Sequence[str] | None = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        specs = (finder.find_spec(name, search) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            raise LookupError(f"no module {name}")
        if spec.submodule_search_locations is None:
            return [*found, Path(spec.origin or name)]
        search = list(spec.submodule_search_locations)
        found += map(Path, search)
    return found


def stamp(location: Path) -> list[list[object]]:
    """List name, time in nanoseconds and size of every Python and JSON file in a folder and its subfolders.

    Raises:
        OSError: it cannot be read.
    """
    if not location.is_dir():
        return [_of(location)]
    files: list[list[object]] = []
    for folder, subfolders, names in os.walk(location, onerror=_fail):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        files += [_of(Path(folder, name)) for name in sorted(names) if name.endswith(SUFFIXES)]
    return files


def installation() -> list[list[object]]:
    """List name and time of every folder into which packages are installed; an installation changes the time."""
    folders = [Path(entry) for entry in sys.path if Path(entry).name in INSTALLED]
    return [_of(folder) for folder in folders if folder.is_dir()]


def _of(path: Path) -> list[object]:
    about = path.stat()
    return [str(path), about.st_mtime_ns, about.st_size]


def _fail(error: OSError) -> None:
    raise error
