"""A line about each of many names, kept between calls so that a listing need not import what it lists."""

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

# Plugins may inherit words from these.
CORE = ("xaibench.methods", "xaibench.metrics")


class LineCache:
    """Lines of one listing. Inside `with`; what was made is written at the end.

    A line is used again only while everything that it may depend on is as it was: the facts that the
    caller names, every Python and JSON file of the packages that define it and of xaibench, and which
    packages are installed. A damaged file, or a damaged line, is made again.

    Args:
        name: of the listing.
    """

    def __init__(self, name: str) -> None:
        # Environments of one user share the cache, and list other packages.
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
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._path, json.dumps(self._used).encode())

    def line(self, name: str, module: str, facts: object, make: Callable[[], str]) -> str:
        """Return the line of a name, from the cache if nothing has changed.

        Args:
            name: whose line it is.
            module: that defines it.
            facts: what else decides the line; JSON.
            make: makes the line; what it raises is raised, and nothing is kept.
        """
        try:
            places = [place for one in (module, *CORE) for place in code_stamps.locations(one)]
            stamps = [self._stamp(place) for place in places]
        except Exception:  # a stranger's import hook may raise anything; unknown is never unchanged
            return make()
        decides = [facts, stamps, self._installation]
        kept = self._kept.get(name)
        # The hash of a line together with all that decides it: neither can change alone.
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
