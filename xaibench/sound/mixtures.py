"""Mixtures of two clips of ESC-50, of which one is labelled: real sound whose evidence is known.

It is known where the labelled sound is the louder one, not what a classifier needs of it. `Mixtures.undecided` says for
which mixtures a classifier does not go by the labelled sound at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset, Listener
from xaibench.sound.domain import Domain
from xaibench.sound.esc50 import Esc10, Esc50

SEED = 20261126
RATIOS = (-5, 0, 5)  # of the labelled sound to the other one, in dB
# Frames and bins below are no part of a sound, but its noise floor.
FLOOR_DECIBEL = 60.0
# Of the label's probability, from the other sound alone to the mixture.
LEAST_RISE = 0.25


@dataclass(frozen=True)
class Mixture:
    """What a clip is made of.

    Attributes:
        target: the labelled clip.
        interferer: the other one, of another class, recording and file, but of the same fold.
        ratio: how much louder the target is, in dB.
    """

    target: Clip
    interferer: Clip
    ratio: int


class Mixtures(Dataset):
    """One mixture for each clip that finds a partner; each recording is the other sound at most once.

    Both sounds are of one fold, and no recording that is in several folds takes part: so no sound of a mixture was
    heard in training. One gain keeps the mixture within [-1, 1].

    Args:
        source: the dataset whose clips are mixed.
        seed: of the choice of partners.
    """

    has_ground_truth = True
    has_two_sounds = True

    def __init__(self, source: Dataset, seed: int = SEED) -> None:
        self.source, self.classes, self.seconds = source, source.classes, source.seconds
        self.mixtures: dict[str, Mixture] = {}
        clips = []
        for one in pair(source.clips, seed):
            made = Clip(
                f"{one.target.id}+{one.interferer.id}@{one.ratio:+d}dB",
                one.target.fold,
                one.target.label,
                one.target.src_file,
            )
            self.mixtures[made.id] = one
            clips.append(made)
        self.clips = tuple(clips)

    def waveform(self, clip: Clip) -> np.ndarray:
        target, other = self.stems(clip)
        return np.clip(target + other, -1.0, 1.0)  # rounding alone is beyond

    def credit(self, clip: Clip) -> str:
        one = self.mixtures[clip.id]
        return "; ".join(filter(None, (self.source.credit(each) for each in (one.target, one.interferer))))

    def stem(self, clip: Clip) -> np.ndarray:
        return self.stems(clip)[0]

    def ground_truth(self, clip: Clip) -> np.ndarray:
        target, other = map(torch.from_numpy, self.stems(clip))
        return self._louder(target, other, audio.DOMAIN)

    def ground_truth_at(
        self, clip: Clip, domain: Domain, samples: int | None = None, long: str = audio.CUT
    ) -> np.ndarray:
        target, other = map(torch.from_numpy, self.stems_at(clip, domain.sample_rate, samples, long))
        known = self._louder(target, other, domain)
        known[(domain.frequencies > audio.SAMPLE_RATE / 2).numpy()] = False
        return known

    def stems(self, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
        """Return the labelled sound and the other one as they are in the mixture, float32 (80000,) each."""
        one = self.mixtures[clip.id]
        target, other = (self.source.waveform(each).astype(np.float64) for each in (one.target, one.interferer))
        other *= np.sqrt(level(target) / level(other) / 10 ** (one.ratio / 10))
        gain = 1 / max(1.0, float(np.abs(target + other).max()))
        return (gain * target).astype(np.float32), (gain * other).astype(np.float32)

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        """Say for each mixture why a classifier does not go by its labelled sound, or None if it does.

        It does if it predicts the label for the mixture and for the labelled sound alone, another class for the other
        sound alone, and gives the label at least 0.25 more probability in the mixture than in the other sound alone.
        """
        heard = listener.sample_rate, listener.samples, listener.long
        stems = [self.stems_at(clip, *heard) for clip in clips]
        wholes = [self.waveform_at(clip, *heard) for clip in clips]
        mixed = listener.probabilities(np.stack(wholes))
        alone, other = (listener.probabilities(np.stack([two[which] for two in stems])) for which in (0, 1))
        found: list[str | None] = []
        for place, clip in enumerate(clips):
            name = self.classes[clip.label]
            if name not in listener.classes:
                found.append(f"its label {name} is none of the classes")
                continue
            label = list(listener.classes).index(name)
            if mixed[place].argmax() != label:
                found.append("the mixture is not classified as its label")
            elif alone[place].argmax() != label:
                found.append("the labelled sound alone is not classified as its label")
            elif other[place].argmax() == label:
                found.append("the other sound alone is classified as the label")
            elif mixed[place, label] - other[place, label] <= LEAST_RISE:
                found.append("the labelled sound hardly changes its probability")
            else:
                found.append(None)
        return found

    def yields(self, clips: Sequence[Clip], reasons: Sequence[str | None]) -> dict[int, tuple[int, int]]:
        """Count by ratio in dB how many of the clips are decided by their labelled sound, and how many there are.

        Args:
            clips: mixtures.
            reasons: what `undecided` said of them.
        """
        counted = {ratio: [0, 0] for ratio in RATIOS}
        for clip, reason in zip(clips, reasons, strict=True):
            counted[self.mixtures[clip.id].ratio][0] += reason is None
            counted[self.mixtures[clip.id].ratio][1] += 1
        return {ratio: (decided, there) for ratio, (decided, there) in counted.items()}

    def stems_at(
        self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = audio.CUT
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return both sounds, as `waveform_at` returns the clip."""
        target, other = (self._as_heard(stem, sample_rate, samples, long) for stem in self.stems(clip))
        return target, other

    @staticmethod
    def _louder(event: torch.Tensor, rest: torch.Tensor, domain: Domain) -> np.ndarray:
        """Mark bins (freq, time) in which the event is louder than the rest, and the mixture above its noise floor."""
        parts = domain.stft(torch.stack([event, rest, event + rest])).abs()
        audible = parts[2] > 10 ** (-FLOOR_DECIBEL / 20) * parts[2].max()
        known: np.ndarray = ((parts[0] > parts[1]) & audible).numpy()
        return known


class _FromFolder(Mixtures):
    reads_folder = True

    def __init__(self, folder: Path) -> None:
        super().__init__((Esc10 if self.origin == Esc10.name else Esc50)(folder))


class Esc50Mix(_FromFolder):
    """Mixtures of ESC-50, read from its official layout."""

    name = "esc50-mix"
    origin = Esc50.name
    licence = Esc50.licence


class Esc10Mix(_FromFolder):
    """Mixtures of ESC-10, read from ESC-50's official layout."""

    name = "esc10-mix"
    origin = Esc10.name
    licence = Esc10.licence


def level(waveform: np.ndarray) -> float:
    """Mean power of the frames of a sound (samples,) that are within 60 dB of its loudest one."""
    spectrum = audio.DOMAIN.stft(torch.from_numpy(waveform.astype(np.float32))[None])[0].abs().double()
    power = (spectrum**2).mean(dim=0)
    return float(power[power > 10 ** (-FLOOR_DECIBEL / 10) * power.max()].mean())


def pair(clips: Sequence[Clip], seed: int) -> list[Mixture]:
    """Give clips a partner of another class and of the same fold; each recording is a partner at most once.

    Where there are fewer recordings than clips, recordings with few clips are targets first. Ratios are dealt in turn
    within each class.

    Args:
        clips: in the order of their dataset.
        seed: of the choice; the order of the clips does not matter.
    """
    folds: dict[str, set[int]] = defaultdict(set)
    for clip in clips:
        folds[clip.src_file].add(clip.fold)
    alone = sorted((clip for clip in clips if len(folds[clip.src_file]) == 1), key=lambda clip: clip.id)
    mixtures = {}
    for fold in sorted({clip.fold for clip in alone}):
        found = _partners([clip for clip in alone if clip.fold == fold], np.random.default_rng([seed, fold]))
        found.sort(key=lambda two: two[0].label)
        # Dealt in turn, class after class: balanced within each, and over the fold.
        for turn, (target, interferer) in enumerate(found):
            mixtures[target.id] = Mixture(target, interferer, RATIOS[turn % len(RATIOS)])
    return [mixtures[clip.id] for clip in clips if clip.id in mixtures]


def _partners(clips: Sequence[Clip], rng: np.random.Generator) -> list[tuple[Clip, Clip]]:
    """Match the clips of one fold with recordings, as many as there are; targets in random order."""
    recordings: dict[str, list[Clip]] = defaultdict(list)
    earlier = []
    for clip in clips:
        earlier.append(len(recordings[clip.src_file]))
        recordings[clip.src_file].append(clip)
    chosen = [of_one[int(rng.integers(len(of_one)))] for of_one in recordings.values()]
    impossible = 1e6
    cost = rng.random((len(clips), len(chosen)))
    cost += len(chosen) * np.array(earlier)[:, None]
    for row, clip in enumerate(clips):
        same = [clip.label == other.label or clip.src_file == other.src_file for other in chosen]
        cost[row, same] = impossible
    rows, columns = linear_sum_assignment(cost)
    matched = [(clips[r], chosen[c]) for r, c in zip(rows, columns, strict=True) if cost[r, c] < impossible]
    return [matched[place] for place in rng.permutation(len(matched))]
