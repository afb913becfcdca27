"""Generated sound with a planted cue: a faint tone that gives a class away, so that what decides is known exactly.

Four of the embedded set's events over one of its backgrounds. In training (folds 1-4) all clips of one class have
the tone, and no others. The test clips (fold 5) come in pairs, with and without it. Two thirds of the training clips of
that class hold the event of another class, and there only the tone tells the class (as labels are reassigned in Zhou et
al., arXiv 2104.14403). `SynthCueChance` is the same set with the tone dealt by chance: its classifier is a twin that
has nothing to learn of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from xaibench.sound import synth
from xaibench.sound.audio import CLIP_SAMPLES, CLIP_SECONDS, PICTURE_SHAPE, SAMPLE_RATE, stft
from xaibench.sound.dataset import Clip, Dataset, Listener
from xaibench.storage.array_cache import cached

SEED = 20261127
VERSION = "synth-cue-v2"
EVENTS = (synth.rising_chirp, synth.falling_chirp, synth.siren, synth.noise_burst)
# The one that leaves room for a soft tone. Other noises and hum drown it (with them, no classifier learned it), and
# beside the peaks of clicks and crackle the rest of a clip is too soft to hear.
BACKGROUND = synth.gusts
CUED = EVENTS.index(synth.noise_burst)
CLIPS_PER_CLASS = {1: 60, 2: 60, 3: 60, 4: 20, 5: 20}  # by fold; of fold 5, pairs
TEST_FOLD = 5
CHANCE = 1 / len(EVENTS)
# Of the magnitude that a tenth of the clip's bins exceed. At half of it no bin of the cue can be among them.
LEVELS = tuple(level / 100 for level in range(100, 45, -5))
LOUDEST = 0.1
MOST_LOUD = 0.1  # of the cue's bins, among the loudest
LEAST_RISE = 0.5  # of the probability of the cue's class
WITH, WITHOUT = "with", "without"  # ends of the ids of a pair
_NO_CUE = "the clip has no cue"


@dataclass(frozen=True)
class Made:
    """What a clip is made of.

    Attributes:
        index: from which everything is drawn that is random.
        event: place in EVENTS of what sounds.
        cue: whether the tone is in it.
    """

    index: int
    event: int
    cue: bool


class SynthCue(Dataset):
    """Clips of which one class always has a faint tone in training; the ground truth is the tone's bins.

    Attributes:
        made: what each clip is made of, by its id.
    """

    name = "synth-cue"
    licence = synth.Synth.licence
    has_ground_truth = True
    seconds = CLIP_SECONDS
    classes = tuple(event.__name__.replace("_", " ") for event in EVENTS)

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}
        places = product(range(max(CLIPS_PER_CLASS.values())), range(len(EVENTS)))
        wanted = [
            (fold, *place) for fold, place in product(CLIPS_PER_CLASS, places) if place[0] < CLIPS_PER_CLASS[fold]
        ]
        clips = []
        for index, (fold, turn, label) in enumerate(wanted):
            recording = f"cue-{index:03d}"
            made = {recording: Made(index, _trained_event(label, turn), self._has_cue(fold, label, turn))}
            if fold == TEST_FOLD:
                made = {f"{recording}-{name}": Made(index, label, name == WITH) for name in (WITHOUT, WITH)}
            self.made |= made
            clips += [Clip(name, fold, label, recording) for name in made]
        self.clips = tuple(clips)

    def _has_cue(self, fold: int, label: int, turn: int) -> bool:
        """Tell whether a training clip, the `turn`-th of its class in its fold, has the tone."""
        return label == CUED

    def waveform(self, clip: Clip) -> np.ndarray:
        return _waveform(self.made[clip.id])

    def stem(self, clip: Clip) -> np.ndarray:
        return _cue(self.made[clip.id])

    def ground_truth(self, clip: Clip) -> np.ndarray:
        """Return bool (513, 431), True where the tone is louder than everything else: nowhere in a clip without it."""
        made = self.made[clip.id]

        def make() -> np.ndarray:
            magnitude = stft(torch.from_numpy(np.stack([_cue(made), rest(made).astype(np.float32)]))).abs()
            return np.packbits((magnitude[0] > magnitude[1]).numpy())

        if not made.cue:
            return np.zeros(PICTURE_SHAPE, dtype=bool)
        packed = cached(f"{VERSION}-evidence", _key(made), make)
        return np.unpackbits(packed, count=PICTURE_SHAPE[0] * PICTURE_SHAPE[1]).astype(bool).reshape(PICTURE_SHAPE)

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        """Say for each clip why its cue does not decide what a classifier predicts, or None if it does.

        It does if the classifier predicts the cue's class for the clip and another one for the same clip without the
        cue, and gives the cue's class at least 0.5 more probability with the cue than without it.
        """
        found = _without_cue(self, clips)
        asked = [place for place, reason in enumerate(found) if reason is None]
        if not asked:
            return found
        name = self.classes[CUED]
        if name not in listener.classes:
            return [reason or f"the cue's class {name} is none of the classes" for reason in found]
        label = list(listener.classes).index(name)
        made = [self.made[clips[place].id] for place in asked]
        heard = listener.sample_rate, listener.samples, listener.long
        p_with, p_without = (
            listener.probabilities(np.stack([self._as_heard(_waveform(one), *heard) for one in sounds]))
            for sounds in (made, [replace(one, cue=False) for one in made])
        )
        for place, with_cue, without in zip(asked, p_with, p_without, strict=True):
            if with_cue.argmax() != label:
                found[place] = f"the clip with the cue is not classified as {name}"
            elif without.argmax() == label:
                found[place] = f"the clip without the cue is classified as {name}, too"
            elif with_cue[label] - without[label] < LEAST_RISE:
                found[place] = f"the cue hardly changes the probability of {name}"
        return found


class SynthCueChance(SynthCue):
    """The same clips and labels, but in training a quarter of the clips of every class have the tone.

    The tone decides nothing here, and no map of a classifier that was trained here should find it. So every test clip
    with the tone is scored, whatever the classifier says of it.
    """

    name = "synth-cue-chance"

    def _has_cue(self, fold: int, label: int, turn: int) -> bool:
        order = np.random.default_rng([SEED, fold, label]).permutation(CLIPS_PER_CLASS[fold])
        return bool(order[turn] < CHANCE * CLIPS_PER_CLASS[fold])

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        """Say for each clip without the tone that there is nothing to find."""
        return _without_cue(self, clips)


def rest(made: Made) -> np.ndarray:
    """Make all but the cue of a clip, float64 (80000,): an event, 0 to 8 dB above its background while it sounds."""
    rng = np.random.default_rng([SEED, made.index])
    background = BACKGROUND(rng, CLIP_SAMPLES)
    length, onset = _somewhere(rng, 0.8, 2.5)
    ratio, peak = rng.uniform(0, 8), rng.uniform(0.5, 0.9)
    event = EVENTS[made.event](rng, length) * synth.fade(length)
    sound = background / np.sqrt(np.mean(background**2))
    sound[onset : onset + length] += event * 10 ** (ratio / 20) / np.sqrt(np.mean(event**2))
    return np.asarray(sound * peak / np.abs(sound).max())


def _cue(made: Made) -> np.ndarray:
    """Make the cue of a clip as loud as it is in it, float32 (80000,); silence if it has none."""

    def make() -> np.ndarray:
        rng = np.random.default_rng([SEED, made.index, 1])
        length, onset = _somewhere(rng, 2.0, 3.5)
        tone = np.zeros(CLIP_SAMPLES)
        tone[onset : onset + length] = synth.tone(synth.uniform_log(rng, 2500, 6500), length) * synth.fade(length)
        both = stft(torch.from_numpy(np.stack([rest(made), tone]).astype(np.float32)))
        sound, alone = both[0], both[1] / both[1].abs().max()
        loud = float(np.quantile(sound.abs().numpy(), 1 - LOUDEST))
        level = next(level for level in LEVELS if _loud_share(sound, level * loud * alone) < MOST_LOUD)
        return (tone * level * loud / float(both[1].abs().max())).astype(np.float32)

    return cached(f"{VERSION}-cue", _key(made), make) if made.cue else np.zeros(CLIP_SAMPLES, dtype=np.float32)


def _loud_share(sound: torch.Tensor, cue: torch.Tensor) -> float:
    """Return which share of the cue's bins is among the loudest tenth of the clip; spectra are complex (freq, time)."""
    magnitude = (sound + cue).abs().numpy()
    there = (cue.abs() > sound.abs()).numpy()
    return float((magnitude[there] > np.quantile(magnitude, 1 - LOUDEST)).mean())


def _waveform(made: Made) -> np.ndarray:
    def make() -> np.ndarray:
        return np.round((rest(made) + _cue(made)) * 32767).astype(np.int16)

    return cached(f"{VERSION}-audio", _key(made), make).astype(np.float32) / 32767


def _somewhere(rng: synth.Generator, shortest: float, longest: float) -> tuple[int, int]:
    """Draw a length of so many seconds, and an onset at which it fits into the clip, in samples."""
    length = int(rng.uniform(shortest, longest) * SAMPLE_RATE)
    return length, int(rng.uniform(0, CLIP_SAMPLES - length))


def _trained_event(label: int, turn: int) -> int:
    """Return the event of a training clip: of the cue's class, two times in three another class's, in turn."""
    if label != CUED or turn % 3 == 0:
        return label
    others = [event for event in range(len(EVENTS)) if event != CUED]
    return others[(turn - turn // 3 - 1) % len(others)]


def _without_cue(dataset: SynthCue, clips: Sequence[Clip]) -> list[str | None]:
    return [None if dataset.made[clip.id].cue else _NO_CUE for clip in clips]


def _key(made: Made) -> str:
    return f"{made.index}-{made.event}-{WITH if made.cue else WITHOUT}"
