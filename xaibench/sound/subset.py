"""Small parts of a dataset: samples of all its classes that are spread over its recordings."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence

from xaibench.errors import DataError
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.derived import Derived


def sample(dataset: Dataset, clips: Sequence[Clip], count: int | None, seed: int = 0) -> list[Clip]:
    """Draw clips of all classes and of as many recordings as there can be.

    Each class gets its share, rounded up (Adams's method of apportionment): with as many clips as classes, one of each.
    Within a class, the next clip is of the recording that was drawn from least often. The draw depends on the names of
    clips, classes and recordings, not on the order of the clips. A larger sample holds the smaller ones of its seed.

    Args:
        dataset: the clips' own.
        clips: to draw from.
        count: how many; None, or more than there are: all.
        seed: of the draw.

    Returns:
        The clips drawn, in the order in which they were given.

    Raises:
        DataError: the count is less than 1.
    """
    if count is None:
        return list(clips)
    if count < 1:
        raise DataError(f"the limit is {count}; give 1 or more clips, or none to take all")
    if count >= len(clips):
        return list(clips)

    def drawn(*words: str) -> bytes:
        return hashlib.sha256("\n".join([str(seed), *words]).encode()).digest()

    waiting: dict[int, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips, key=lambda one: drawn("clip", one.id)):
        waiting[clip.label][clip.src_file].append(clip)
    sizes = Counter(clip.label for clip in clips)
    turns = sorted(
        (place / size, drawn("class", dataset.classes[label]), label)
        for label, size in sizes.items()
        for place in range(size)
    )
    used: Counter[str] = Counter()
    # The recordings of each class by how often they were drawn from; a count in it may be out of date, and too low.
    heaps = {label: [(0, drawn("recording", one), one) for one in groups] for label, groups in waiting.items()}
    for heap in heaps.values():
        heapq.heapify(heap)
    chosen: set[str] = set()
    for _, _, label in turns[:count]:
        heap = heaps[label]
        while heap[0][0] < used[heap[0][2]]:
            _, tie, recording = heap[0]
            heapq.heapreplace(heap, (used[recording], tie, recording))
        _, tie, recording = heapq.heappop(heap)
        chosen.add(waiting[label][recording].pop().id)
        used[recording] += 1
        if waiting[label][recording]:
            heapq.heappush(heap, (used[recording], tie, recording))
    return [clip for clip in clips if clip.id in chosen]


def described(chosen: Sequence[Clip], clips: Sequence[Clip]) -> str:
    """Say what a sample of clips holds, such as "16 of 80 clips: 10 classes, 16 recordings"."""
    classes, recordings = len({clip.label for clip in chosen}), len({clip.src_file for clip in chosen})
    return (
        f"{len(chosen)} of {len(clips)} clips: {classes} class{'es' * (classes > 1)}, "
        f"{recordings} recording{'s' * (recordings > 1)}"
    )


class Few(Derived):
    """A sample of every fold of a dataset.

    Args:
        dataset: the dataset from which the clips come.
        per_fold: largest number of clips per fold.
    """

    def __init__(self, dataset: Dataset, per_fold: int) -> None:
        super().__init__(dataset)
        folds = sorted({clip.fold for clip in dataset.clips})
        chosen = {clip.id for fold in folds for clip in sample(dataset, dataset.in_folds([fold]), per_fold)}
        self.clips = tuple(clip for clip in dataset.clips if clip.id in chosen)
