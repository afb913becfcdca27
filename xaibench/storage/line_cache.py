"""Lines of listings, kept between calls, so that a listing need not import the things that it lists."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xaibench.storage import code_stamps
from xaibench.storage.atomic import write_atomically
from xaibench.storage.user_folders import cache_folder

# Plugins may inherit texts from these packages.
CORE = ("xaibench.methods", "xaibench.metrics")


class LineCache:
    """The lines of one listing. Use it in a `with` block; new lines are written at its end.

    A line is reused only if nothing on which it may depend has changed: the facts that the caller names, all Python
    and JSON files of xaibench and of the packages that define the entry, and the list of installed packages. A
    damaged file, or a damaged line, is made again.

    Args:
        name: name of the listing.
    """

    def __init__(self, name: str) -> None:
        # Environments of one user share the cache folder, but list different packages.
        environment = hashlib.sha256(f"{sys.prefix} {sys.version}".encode()).hexdigest()[:12]
        self._path = cache_folder() / "listings" / f"{name}-{environment}.json"
        self._kept = _read(self._path)
        self._used: dict[str, Any] = {}
        self._stamps: dict[Path, str] = {}
        self._installation = _digest(code_stamps.installation())

    def __enter__(self) -> LineCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._used != self._kept:
            with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._path, json.dumps(self._used).encode())

    def line(self, name: str, module: str, facts: object, make: Callable[[], str]) -> str:
        """Return the line of a name, from the cache if nothing has changed.

        Args:
            name: name of the entry.
            module: module that defines the entry.
            facts: further facts on which the line depends, as JSON.
            make: function that makes the line; its exceptions are passed on, and nothing is kept.
        """
        try:
            places = [place for one in (module, *CORE) for place in code_stamps.locations(one)]
            stamps = [self._stamp(place) for place in places]
        except Exception:  # an import hook of a plugin may raise anything; then nothing is reused
            return make()
        decides = [facts, stamps, self._installation]
        kept = self._kept.get(name)
        # The hash covers the line and everything on which it depends, so neither can change alone.
        if not (isinstance(kept, list) and len(kept) == 2 and kept[1] == _digest([decides, kept[0]])):
            line = make()
            kept = [line, _digest([decides, line])]
        self._used[name] = kept
        return kept[0]

    def _stamp(self, place: Path) -> str:
        if place not in self._stamps:
            self._stamps[place] = _digest(code_stamps.stamp(place))
        return self._stamps[place]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
