"""Find runs: in folders and in archives."""

from __future__ import annotations

from pathlib import Path

from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.archives import SUFFIX, unpacked


def find_runs(*places: Path) -> list[Path]:
    """Find run folders at or below folders, but for those of a validation or of a paper's reproduction below them.

    An archive is found where it is named itself, or the folder that holds it; folders further up do not count it, so
    that what others published is only compared with where somebody asks for it.

    Args:
        places: folders and archives, at least one.

    Raises:
        ResultsError: a place holds no run.
    """
    found: list[Path] = []
    for place in map(Path, places):
        packed = [place] if place.is_file() else sorted(place.glob(f"*{SUFFIX}"))
        here = [*map(unpacked, packed), *_folders(place)]
        if not here:
            raise ResultsError(f"{place} holds no results; make some with 'xaibench run --method saliency'")
        found += here
    return list(dict.fromkeys(found))


def _folders(root: Path) -> list[Path]:
    paths = root.rglob(store.MANIFEST) if root.is_dir() else []
    apart = {store.VALIDATION, store.REPRODUCTIONS}
    return sorted(path.parent for path in paths if apart.isdisjoint(path.relative_to(root).parts))
