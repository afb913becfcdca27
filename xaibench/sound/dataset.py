"""Datasets: clips in official folds, their sound, and for some their ground truth."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from xaibench import registry
from xaibench.errors import AudioError, DataError, RegistryError

if TYPE_CHECKING:
    import numpy as np

    from xaibench.sound.domain import Domain
    from xaibench.sound.findings import Finding

TRAIN_FOLDS = (1, 2, 3)
VALIDATION_FOLDS = (4,)
TEST_FOLDS = (5,)


@dataclass(frozen=True)
class Split:
    """Folds for training, for choosing the epoch, and for testing; the official ones by default."""

    train: tuple[int, ...] = TRAIN_FOLDS
    validation: tuple[int, ...] = VALIDATION_FOLDS
    test: tuple[int, ...] = TEST_FOLDS

    @classmethod
    def testing(cls, fold: int, folds: Sequence[int]) -> Split:
        """Make the split that tests on `fold` and validates on the fold before it (before the first: the last).

        Raises:
            DataError: there are fewer than three folds, so that none is left to train on.
        """
        ordered = sorted(set(folds))
        if len(ordered) < 3 or fold not in ordered:
            raise DataError(
                f"to test on fold {fold}, a dataset needs that fold, one to choose the epoch by and one to train on; "
                f"this one has {', '.join(map(str, ordered)) or 'none'}: give its clips three folds or more"
            )
        before = ordered[ordered.index(fold) - 1]
        return cls(tuple(other for other in ordered if other not in {fold, before}), (before,), (fold,))


OFFICIAL = Split()


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        id: unique within the dataset.
        fold: official fold, from 1.
        label: index into the dataset's classes; the first one, where several are true of the clip.
        src_file: the recording from which it was cut; statistics resample recordings, not clips.
        filename: file name inside the dataset, or "" for generated sound.
        others: further labels of the clip, where several are true of it.
    """

    id: str
    fold: int
    label: int
    src_file: str
    filename: str = ""
    others: tuple[int, ...] = ()


class SoundEvent(NamedTuple):
    """A sound of a class in a clip.

    Attributes:
        start, end: in s from the start of the clip, the end after the start.
        label: name of its class, which need be none of the dataset's.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Listener:
    """A classifier, as a dataset may ask it.

    Attributes:
        classes: names of its classes, in the order of the probabilities.
        sample_rate: in Hz.
        samples: its input length, or None for any.
        long: what it hears of a longer clip, as in `Dataset.waveform_at`.
        probabilities: float64 (batch, classes) of waveforms, float32 (batch, samples).
    """

    classes: Sequence[str]
    sample_rate: int
    samples: int | None
    long: str
    probabilities: Callable[[np.ndarray], np.ndarray]


class Dataset(abc.ABC):
    """Clips with labels, folds and sound.

    Attributes:
        name: registry name.
        licence: licence of the sound; cards of everything trained on it repeat it.
        classes: class names in the order of the labels.
        clips: all clips, in a fixed order.
        seconds: how long every clip is, in s; None: each has a length of its own.
        draws_folds: whether its folds were drawn here, because it came without any.
        origin: dataset whose classes and recordings these are, if it is another one: its classifiers are meant.
        has_ground_truth: whether `ground_truth` and `stem` are known.
        has_events: whether `events` are known.
        has_two_sounds: whether all of a clip that is not its labelled event is one sound of another class, so that
            the rest of the ground truth is where that sound is the louder one.
        reads_folder: whether it is read from a folder that its user names, and made as `Kind(folder)`;
            else it is generated, and made as `Kind()`.
        takes_columns: whether that is a table whose columns its user can name: `Kind(file, {"label": "species"})`.
    """

    name: str
    licence: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    seconds: float | None = None
    has_ground_truth: bool = False
    has_events: bool = False
    has_two_sounds: bool = False
    reads_folder: bool = False
    takes_columns: bool = False
    origin: str = ""
    draws_folds: bool = False

    @property
    def has_several_labels(self) -> bool:
        """Whether several classes are true of a clip of it."""
        return any(clip.others for clip in self.clips)

    @property
    def test_folds(self) -> tuple[int, ...]:
        """The folds that are scored unless others are asked for: 5 of five, else the last; all of one or two."""
        present = sorted({clip.fold for clip in self.clips})
        if max(present, default=0) <= max(TEST_FOLDS) and set(TEST_FOLDS) <= set(present):
            return TEST_FOLDS
        return tuple(present[-1:] if len(present) > 2 else present)

    @property
    def split(self) -> Split:
        """The folds to learn on, to choose by and to test on: 1-3, 4 and 5 of five, else the last two for the latter.

        Raises:
            DataError: there are fewer than three folds.
        """
        present = sorted({clip.fold for clip in self.clips})
        return OFFICIAL if present == [1, 2, 3, 4, 5] else Split.testing(max(present, default=0), present)

    @abc.abstractmethod
    def waveform(self, clip: Clip) -> np.ndarray:
        """Return the samples of one clip at 16 kHz, float32 (samples,), in [-1, 1]."""

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        """Return the samples before they are clipped to [-1, 1], which resamplers and lossy decoders overshoot."""
        return self.waveform(clip)

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        """Return one clip as a classifier hears it, float32 (samples,), in [-1, 1].

        Args:
            clip: which one.
            sample_rate: in Hz.
            samples: cut to this length, or padded with zeros at its end; None: the whole clip.
            long: what is left of a longer clip: its beginning ("cut"), or its middle ("center").
        """
        return self._as_heard(self.waveform(clip), sample_rate, samples, long)

    def length(self, clip: Clip) -> float:
        """Return how long one clip is, in s."""
        from xaibench.sound import audio

        return self.seconds or len(self.waveform(clip)) / audio.SAMPLE_RATE

    def _as_heard(self, waveform: np.ndarray, sample_rate: int, samples: int | None, long: str) -> np.ndarray:
        import numpy as np

        from xaibench.sound import audio

        resampled = np.clip(audio.at_rate(waveform, sample_rate), -1.0, 1.0)
        return resampled if samples is None else audio.of_length(resampled, samples, long)

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        """Tell what is odd about the sound of one clip, such as silence; empty if nothing is.

        A dataset that reads files should tell what these say, too, as `sound.reading` does.

        Raises:
            AudioError: the sound cannot be read, or holds NaN or infinite samples.
        """
        import numpy as np

        from xaibench.sound import audio, findings

        waveform = self.waveform(clip)
        if not np.isfinite(waveform).all():
            raise AudioError(f"{self.name}: clip {clip.id} holds NaN or infinite samples")
        return findings.of_sound(waveform[:, None], audio.SAMPLE_RATE)

    def odd_sound(self, clips: Sequence[Clip]) -> list[str]:
        """Say of which of the clips the sound is truncated, silent or otherwise odd: one sentence per kind.

        Raises:
            AudioError: a clip cannot be read.
        """
        from xaibench.sound import findings

        return findings.sentences({clip.filename or clip.id: self.findings(clip) for clip in clips})

    def ground_truth(self, clip: Clip) -> np.ndarray:
        """Return where the labelled event is louder than everything else, bool (513, time) at 16 kHz.

        Raises:
            DataError: the dataset has no ground truth.
        """
        raise DataError(f"{self.name} has no ground truth; choose a dataset that has, such as synth")

    def stem(self, clip: Clip) -> np.ndarray:
        """Return the samples of the labelled event alone, as loud as in the clip: float32 (samples,) at 16 kHz.

        Raises:
            DataError: the dataset has no stems.
        """
        raise DataError(f"{self.name} has no stems; choose a dataset that has, such as synth")

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        """Return from when to when which sounds are heard in a clip, sorted; empty if nobody has annotated it.

        Raises:
            DataError: the dataset has no events.
        """
        raise DataError(f"{self.name} has no events; give annotations (--events), or choose synth")

    def credit(self, clip: Clip) -> str:
        """Name the author and the licence of the recording behind a clip, as far as the dataset says; else empty."""
        return ""

    def section(self, clip: Clip) -> tuple[float, float | None]:
        """Return where in its file a clip starts and ends, in s; None: at the file's end."""
        return 0.0, None

    def labels(self, clip: Clip) -> tuple[str, ...]:
        """Return the names of all classes that are true of a clip; the first is that of its `label`."""
        return tuple(self.classes[label] for label in (clip.label, *clip.others))

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        """Say for each clip why a classifier does not go by the labelled event, so that no map can be asked to find it.

        None: it goes by it, or nobody knows. Metrics that need the ground truth are undefined for the other clips.
        """
        return [None] * len(clips)

    def ground_truth_at(self, clip: Clip, domain: Domain, samples: int | None = None, long: str = "cut") -> np.ndarray:
        """Return where the labelled event is the loudest sound, on the picture of another domain: bool (freq, time).

        It is computed from the event's stem and the rest of the clip. Above half the rate of these there is no sound,
        and no event.

        Args:
            clip: which one.
            domain: of the picture.
            samples, long: length of the clip in the domain's rate, as in `waveform_at`.

        Raises:
            DataError: the dataset has no ground truth.
        """
        import torch

        from xaibench.sound import audio

        if domain == audio.DOMAIN and samples in (None, len(self.waveform(clip))):
            return self.ground_truth(clip)
        event = torch.from_numpy(self.stem_at(clip, domain.sample_rate, samples, long))
        whole = torch.from_numpy(self.waveform_at(clip, domain.sample_rate, samples, long))
        loud = domain.stft(torch.stack([event, whole - event])).abs()
        there = domain.frequencies < audio.SAMPLE_RATE / 2
        known: np.ndarray = ((loud[0] > loud[1]) & there[:, None]).numpy()
        return known

    def stem_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        """Return the labelled event alone, as `waveform_at` returns the clip.

        Raises:
            DataError: the dataset has no stems.
        """
        return self._as_heard(self.stem(clip), sample_rate, samples, long)

    def fingerprint(self) -> str:
        """Return a hash of the clip list. Runs can be compared only if it is equal."""
        lines = "\n".join(
            ",".join(map(str, (one.id, one.fold, one.label, one.src_file, *one.others))) for one in self.clips
        )
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def in_folds(self, folds: Sequence[int]) -> list[Clip]:
        """Return the clips of the given folds, in the order of the dataset.

        Raises:
            DataError: a fold has no clips.
        """
        present = sorted({clip.fold for clip in self.clips})
        for fold in folds:
            if fold not in present:
                raise DataError(
                    f"{self.name} has no clips in fold {fold}; folds with clips: {', '.join(map(str, present))}"
                )
        return [clip for clip in self.clips if clip.fold in set(folds)]


def data_option(name: str) -> str:
    """Return the option that a command needs for a dataset, for error messages; empty if the dataset does not load."""
    try:
        kind = registry.load("datasets", name)
    except RegistryError:
        return ""
    return " --data-dir FOLDER" if kind.reads_folder else ""
