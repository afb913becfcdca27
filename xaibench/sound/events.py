"""Events: from when to when a sound of a class is heard in a clip. They are known in time only."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from xaibench.sound.dataset import Dataset, SoundEvent
from xaibench.storage.atomic import write_atomically
from xaibench.storage.spreadsheet import neutral

SEGMENTS_PER_SECOND = 10
# A segment is part of an event if at least this share of it is.
LEAST_OVERLAP = 0.5
COLUMNS = ("file", "start", "end", "label")


def segments(events: Iterable[SoundEvent], classes: Sequence[str], seconds: float, start: float = 0.0) -> np.ndarray:
    """Tell which segments of 100 ms belong to events of which classes: bool (classes, segments).

    A segment belongs to a class if its events cover half of it; of a last segment that is cut short, half of what is
    left.

    Args:
        events: of one clip.
        classes: names; events of others are left out.
        seconds: length of what is heard of the clip.
        start: where in the clip that starts, in s.
    """
    # A length that is a sum of roundings must not make a segment of nothing.
    count = max(1, math.ceil(seconds * SEGMENTS_PER_SECOND - 1e-6))
    edges = start + np.minimum(np.arange(count + 1) / SEGMENTS_PER_SECOND, seconds)
    covered = np.zeros((len(classes), count))
    until: defaultdict[str, float] = defaultdict(float)
    place = {name: i for i, name in enumerate(classes)}
    for event in sorted(events):
        if event.label in place:
            # What an earlier event of the class covers does not count twice.
            onset = max(event.start, until[event.label])
            until[event.label] = max(event.end, until[event.label])
            overlap = np.minimum(edges[1:], event.end) - np.maximum(edges[:-1], onset)
            covered[place[event.label]] += overlap.clip(min=0)
    found: np.ndarray = covered >= LEAST_OVERLAP * np.diff(edges) - 1e-9
    return found


def write_events(dataset: Dataset, file: Path) -> int:
    """Write the events of all clips as a CSV file of file, start, end and label; return how many there are.

    Clips that are files have their names there, and times from their start; others have their ids.

    Raises:
        DataError: the dataset has no events.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for clip in dataset.clips:
        offset = dataset.section(clip)[0]
        for event in dataset.events(clip):
            name, label = neutral(clip.filename or clip.id), neutral(event.label)
            table.writerow([name, event.start + offset, event.end + offset, label])
            count += 1
    write_atomically(file, text.getvalue().encode())
    return count
