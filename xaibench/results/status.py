"""How far a run is, told from outside, while other processes work at it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from xaibench.results import store
from xaibench.results.parts import PART_CLIPS

_RECENT = 20  # parts that say how fast it goes


@dataclass(frozen=True, kw_only=True)
class PairStatus:
    """How far a method on a classifier is.

    Attributes:
        classifier, method: the pair; a method's own soft mask is METHOD-soft.
        parts: how many there are, of at most 16 clips each.
        done: how many are scored.
        at_work: how many are being scored now.
    """

    classifier: str
    method: str
    parts: int
    done: int
    at_work: int


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How far a run is.

    Attributes:
        path: of the run folder.
        pairs: of the commands that were given for this folder.
        seconds_since_last: since a part was finished, or None where none is.
        seconds_left: estimated from the last parts that were finished; None where nobody is at work, or too few are.
        logged: the first lines of what the log says, oldest first: what failed, and when.
    """

    path: Path
    pairs: tuple[PairStatus, ...]
    seconds_since_last: float | None
    seconds_left: float | None
    logged: tuple[str, ...]

    @property
    def parts(self) -> int:
        """Number of parts."""
        return sum(one.parts for one in self.pairs)

    @property
    def done(self) -> int:
        """Number of parts that are scored."""
        return sum(one.done for one in self.pairs)

    @property
    def at_work(self) -> int:
        """Number of parts that are being scored now."""
        return sum(one.at_work for one in self.pairs)


def status(folder: Path) -> RunStatus:
    """Tell how far a run is.

    Raises:
        ResultsError: it is no run folder.
    """
    manifest = store.read_manifest(folder)
    finished: dict[tuple[str, str], set[int]] = {}
    times = []
    for path in store.parts_of(folder):
        key = (path.parent.parent.name, path.parent.name)
        finished.setdefault(key, set()).add(int(path.stem.removeprefix("part-")))
        times.append(path.with_suffix(".json").stat().st_mtime)
    expected = store.expected(folder)
    # Runs of before this was written down have parts of 16 clips, but for clips of several lengths.
    whole = dict.fromkeys(finished, -(-manifest.clips // PART_CLIPS)) | expected
    pairs = [
        PairStatus(
            classifier=classifier,
            method=method,
            parts=max(parts, len(finished.get((classifier, method), ()))),
            done=len(finished.get((classifier, method), ())),
            at_work=_at_work(store.locks_of(folder, classifier, method), finished.get((classifier, method), set())),
        )
        for (classifier, method), parts in sorted(whole.items())
    ]
    times = sorted(times)[-_RECENT:]
    now = max([time.time(), *times[-1:]])  # files may be dated by another clock, which is ahead
    left = sum(one.parts - one.done for one in pairs)
    busy = any(one.at_work for one in pairs)
    return RunStatus(
        path=Path(folder),
        pairs=tuple(pairs),
        seconds_since_last=now - times[-1] if times else None,
        seconds_left=left * (now - times[0]) / (len(times) - 1) if busy and left and len(times) > 1 else None,
        logged=store.logged(folder),
    )


def _at_work(locks: list[tuple[int, Path]], finished: set[int]) -> int:
    """Count the locks that a process holds, of parts that are not scored."""
    count = 0
    for index, path in locks:
        if index in finished:
            continue
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            count += 1
        except OSError:  # somebody else's folder, or a file system without locks: nobody can tell
            continue
    return count
