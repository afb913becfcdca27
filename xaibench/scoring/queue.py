"""What is left to score of a run on one classifier, handed out to the workers that score it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xaibench.scoring.config import MethodOnClassifier


@dataclass(frozen=True)
class Item:
    """A part to score by one method.

    Attributes:
        index: of the part.
        pair: the method.
        wait: whether another process has it, which must be waited for: nothing else is left.
    """

    index: int
    pair: MethodOnClassifier
    wait: bool = False


class Queue:
    """Hands out parts, each to one worker; a worker stays with the clips that it has at hand.

    Args:
        pairs: the methods.
        parts: how many parts each has.
        first: the part to begin with.
    """

    def __init__(self, pairs: Sequence[MethodOnClassifier], parts: int, first: int = 0) -> None:
        self._todo = {index % parts: list(pairs) for index in range(first, first + parts)}
        self._passed_over: list[Item] = []
        self._at: dict[int, int] = {}  # by worker: the part that it scored last
        self._lock = threading.Lock()

    def take(self, worker: int) -> Item | None:
        """Take the next part for a worker, which is called by its number, or None when nothing is left."""
        with self._lock:
            here = self._at.pop(worker, None)
            if here is None or not self._todo[here]:
                left = [index for index, pairs in self._todo.items() if pairs]
                if not left:
                    return self._passed_over.pop(0) if self._passed_over else None
                # A part that nobody is at; else help where most is left.
                busy = Counter(self._at.values())
                here = min(left, key=lambda index: (busy[index], -len(self._todo[index])))
            self._at[worker] = here
            return Item(here, self._todo[here].pop(0))

    def pass_over(self, item: Item) -> None:
        """Give a part back that another process is making; it comes again in the end, since it may be given up."""
        with self._lock:
            self._passed_over.append(Item(item.index, item.pair, wait=True))

    @property
    def empty(self) -> bool:
        """Whether nothing is left to take now."""
        with self._lock:
            return not self._passed_over and not any(self._todo.values())

    def clear(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self._todo = {index: [] for index in self._todo}
            self._passed_over.clear()
