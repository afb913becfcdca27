"""Check the clips of any dataset: what is odd about their sound, and what a study of them should know."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from xaibench.errors import AudioError
from xaibench.sound.dataset import Dataset
from xaibench.sound.files import AudioFiles
from xaibench.sound.folds import spanning_groups

RATES = 6  # that are listed
LISTED = 100  # problems of one kind; nobody reads more


@dataclass
class Summary:
    """What a dataset holds.

    Attributes:
        dataset: its name.
        clips: how many there are.
        classes: number of clips by class.
        recordings: number of groups.
        folds: number of clips by fold.
        seconds: lengths of the clips in s, as their files have them; empty where there are no files.
        rates: number of clips by sample rate in Hz; likewise.
        problems: clips that cannot be read, and equal sounds under two names, one sentence each.
        odd: how many clips are silent, short and so on, one sentence for each kind.
        notes: what may be right, but should be known.
    """

    dataset: str
    clips: int
    classes: dict[str, int]
    recordings: int
    folds: dict[int, int]
    seconds: list[float] = field(default_factory=list)
    rates: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the facts, one line each."""
        least, most = min(self.classes.values()), max(self.classes.values())
        of_class = f"{least} clips each" if least == most else f"{least} to {most} clips each"
        folds = ", ".join(f"{fold}: {count}" for fold, count in sorted(self.folds.items()))
        found = [
            f"{self.clips} clips of {self.recordings} recordings",
            f"{len(self.classes)} classes, {of_class}",
            f"folds {folds}",
        ]
        if self.seconds:
            shortest, middle, longest = np.quantile(self.seconds, [0, 0.5, 1])
            found.append(f"lengths {shortest:.2f} to {longest:.2f} s, median {middle:.2f} s")
            commonest = sorted(self.rates.items(), key=lambda one: (-one[1], one[0]))
            rates = ", ".join(f"{rate} Hz: {count}" for rate, count in sorted(commonest[:RATES]))
            more = f" and {len(commonest) - RATES} more" if len(commonest) > RATES else ""
            found.append(f"sample rates {rates}{more}")
        return found


def check(dataset: Dataset, advance: Callable[[int, int], None] = lambda done, total: None) -> Summary:
    """Read every clip of a dataset.

    Args:
        dataset: the one to check.
        advance: called after every clip with (done, total).
    """
    clips = dataset.clips
    counts = Counter(label for clip in clips for label in (clip.label, *clip.others))
    summary = Summary(
        dataset.name,
        len(clips),
        {name: counts.get(label, 0) for label, name in enumerate(dataset.classes)},
        len({clip.src_file for clip in clips}),
        dict(Counter(clip.fold for clip in clips)),
    )
    rates: Counter[int] = Counter()
    same: dict[bytes, list[int]] = defaultdict(list)
    readable = []
    for place, clip in enumerate(clips):
        try:
            # As a clip is used: the same sound in another format or at another level is not found.
            same[hashlib.sha256(dataset.waveform(clip).tobytes()).digest()].append(place)
            readable.append(clip)
            if isinstance(dataset, AudioFiles):
                seconds, rate = dataset.length_and_rate(clip)
                summary.seconds.append(seconds)
                rates[rate] += 1
        except AudioError as error:
            summary.problems.append(str(error))
        advance(place + 1, len(clips))
    summary.rates = dict(rates)
    summary.odd = dataset.odd_sound(readable)
    for places in same.values():
        if len(places) > 1:
            names = " and ".join(clips[place].id for place in places[:3])
            across = len({clips[place].fold for place in places}) > 1
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            summary.problems.append(f"{names}{more} are one sound{', in several folds' * across}")
    spanning = spanning_groups(clips)
    summary.notes += [spanning] if spanning else []
    if len(rates) > 1:
        summary.notes.append(
            f"{len(rates)} sample rates: each clip is resampled to the classifier's, and holds no sound above half of "
            "its own; if classes differ in it, give all clips one rate"
        )
    summary.notes += [f"class {name} has no clips" for name, count in summary.classes.items() if not count]
    if len(summary.problems) > LISTED:
        summary.problems[LISTED:] = [f"and {len(summary.problems) - LISTED} more like these"]
    return summary
