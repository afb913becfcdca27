"""The conformance kit on datasets: each broken promise is caught and named, and sound ones pass."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xaibench as xb
from tests.support.objects import bells
from xaibench.sound import audio
from xaibench.sound.esc50 import Esc50
from xaibench.testing import check_dataset

_COUNT = itertools.count()


class Good(xb.Dataset):
    """Tones in noise, of which everything is known."""

    name = "good"
    licence = "none"
    classes = ("low", "high")
    has_ground_truth = True
    seconds = 5.0

    def __init__(self) -> None:
        self.clips = tuple(xb.Clip(f"clip-{i}", 1 + i // 2, i % 2, f"take-{i // 2}") for i in range(4))

    def waveform(self, clip: xb.Clip) -> np.ndarray:
        noise = np.random.default_rng(int(clip.id[-1])).normal(size=audio.CLIP_SAMPLES)
        return (self.stem(clip) + 0.01 * noise).astype(np.float32)

    def stem(self, clip: xb.Clip) -> np.ndarray:
        seconds = np.arange(audio.CLIP_SAMPLES) / audio.SAMPLE_RATE
        return np.asarray(0.5 * np.sin(2 * np.pi * (300, 3000)[clip.label] * seconds), dtype=np.float32)

    def ground_truth(self, clip: xb.Clip) -> np.ndarray:
        known = np.zeros(audio.PICTURE_SHAPE, dtype=bool)
        known[(300, 3000)[clip.label] * 1024 // audio.SAMPLE_RATE] = True
        return known


class NoLicence(Good):
    licence = ""


class PathForName(Good):
    name = "my/clips"


class OneClassTwice(Good):
    classes = ("low", "low")


class WordForFlag(Good):
    has_ground_truth = "yes"  # type: ignore[assignment]


class ReadsAFolder(Good):
    reads_folder = True


class Changed(Good):
    """Good, but for one clip of its list."""

    change: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        self.clips = (*self.clips[:3], replace(self.clips[3], **self.change))


class SameId(Changed):
    change = {"id": "clip-0"}


class PathForId(Changed):
    change = {"id": "a/b"}


class FoldZero(Changed):
    change = {"fold": 0}


class LabelOutside(Changed):
    change = {"label": 2}


class NoRecording(Changed):
    change = {"src_file": ""}


class ListOfClips(Good):
    def __init__(self) -> None:
        super().__init__()
        self.clips = list(self.clips)  # type: ignore[assignment]


class OtherClipsEachTime(Good):
    def __init__(self) -> None:
        super().__init__()
        self.clips = (*self.clips, xb.Clip(f"clip-{4 + next(_COUNT)}", 1, 0, "take"))


class OtherFingerprintEachTime(Good):
    def fingerprint(self) -> str:
        return str(next(_COUNT))


class TestsNoFold(Good):
    test_folds = (5,)  # type: ignore[assignment]


class LosesAFold(Good):
    def in_folds(self, folds: Any) -> list[xb.Clip]:
        return super().in_folds(folds)[1:]


class DoublePrecision(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        return super().waveform(clip).astype(np.float64)


class TooShort(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        return super().waveform(clip)[:-1]


class TooLoud(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        return 3 * super().waveform(clip)


class NotNumbers(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        found = super().waveform(clip)
        found[7] = np.nan
        return found


class Unreadable(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        raise OSError("no such file")


class OtherSoundEachTime(Good):
    def waveform(self, clip: xb.Clip) -> np.ndarray:
        return super().waveform(clip) * np.float32(random.random())


class SharesItsSound(Good):
    def __init__(self) -> None:
        super().__init__()
        self._sounds = {clip.id: super(SharesItsSound, self).waveform(clip) for clip in self.clips}

    def waveform(self, clip: xb.Clip) -> np.ndarray:
        return self._sounds[clip.id]


class OtherUnlimited(Good):
    def unlimited_waveform(self, clip: xb.Clip) -> np.ndarray:
        return self.stem(clip)


class NoFindings(Good):
    def findings(self, clip: xb.Clip) -> Any:
        return None


class WordForLength(Good):
    seconds = "five"  # type: ignore[assignment]


class SaysAnotherLength(Good):
    def length(self, clip: xb.Clip) -> float:
        return 4.0


class OneRateForAll(Good):
    def waveform_at(self, clip: xb.Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self.waveform(clip)


class AlwaysCuts(Good):
    def waveform_at(self, clip: xb.Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return super().waveform_at(clip, sample_rate, samples)


class PadsInFront(Good):
    def waveform_at(self, clip: xb.Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        if samples is None or samples < 40_000:
            return super().waveform_at(clip, sample_rate, samples, long)
        found = super().waveform_at(clip, sample_rate)
        return found if samples is None else np.pad(found, (max(0, samples - len(found)), 0))[:samples]


class KnowsInSilence(Good):
    has_ground_truth = False


class KnowsNumbers(Good):
    def ground_truth(self, clip: xb.Clip) -> np.ndarray:
        return super().ground_truth(clip).astype(np.float32)


class KnowsOtherwise(Good):
    def ground_truth_at(self, clip: xb.Clip, domain: Any, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return ~super().ground_truth_at(clip, domain, samples, long)


BAD = {
    NoLicence: "licence must be a sentence or name",
    PathForName: "name is 'my/clips'",
    OneClassTwice: "two classes have the same name",
    WordForFlag: "has_ground_truth must be True or False",
    ReadsAFolder: "it is read from a folder; give an object",
    SameId: "two clips have the id 'clip-0'",
    PathForId: "clip 'a/b': its id must be a text that can name a file",
    FoldZero: "clip 'clip-3': fold must be a whole number from 1, not 0",
    LabelOutside: "clip 'clip-3': label must be a place in the 2 classes, not 2",
    NoRecording: "clip 'clip-3': src_file must name its recording",
    ListOfClips: "clips must be a tuple of xaibench.Clip",
    OtherClipsEachTime: "made twice, it has two lists of clips",
    OtherFingerprintEachTime: r"fingerprint\(\) changes from one call to the next",
    TestsNoFold: r"test_folds must be some of the folds \[1, 2\], not \(5,\)",
    LosesAFold: r"in_folds\(\) of all folds is not the list of all clips",
    DoublePrecision: r"waveform\(\) of clip-0 is float64 \(80000,\), expected float32 \(80000,\)",
    TooShort: r"is float32 \(79999,\), expected float32 \(80000,\)",
    TooLoud: r"leaves \[-1, 1\]",
    NotNumbers: "holds NaN or infinite samples",
    Unreadable: r"waveform\(\) of clip-0 raised OSError: no such file",
    OtherSoundEachTime: "gives another sound each time",
    SharesItsSound: "or what its caller has written into it",
    OtherUnlimited: r"unlimited_waveform\(\) of clip-0, cut to \[-1, 1\], is another",
    NoFindings: r"findings\(\) of clip-0 must be a tuple of findings, not None",
    WordForLength: "seconds must be the length of every clip, or None, not 'five'",
    SaysAnotherLength: r"length\(\) of clip-0 is 4 s, and waveform\(\) lasts 5 s",
    OneRateForAll: r"waveform_at\(\) of clip-0 at 8000 Hz lasts 10 s, and waveform\(\) 5 s",
    AlwaysCuts: "with 20000 samples and long='center' is not the clip",
    PadsInFront: "with 50001 samples and long='cut' is not the clip, cut or padded with zeros at its end",
    KnowsInSilence: r"ground_truth\(\) of clip-0 gives something; set has_ground_truth = True",
    KnowsNumbers: r"ground_truth\(\) of clip-0 is float32 \(513, 431\), expected bool \(513, 431\)",
    KnowsOtherwise: r"ground_truth_at\(\) of clip-0 on the picture of 16 kHz is not its ground_truth",
}


def test_good_datasets_pass() -> None:
    check_dataset(Good)
    check_dataset(Good())
    check_dataset(bells())


@pytest.mark.parametrize("dataset", BAD, ids=lambda dataset: dataset.__name__)
def test_a_bad_dataset_is_caught(dataset: type[xb.Dataset]) -> None:
    with pytest.raises(AssertionError, match=BAD[dataset]):
        check_dataset(dataset)


def test_a_class_that_reads_a_folder_is_told_how() -> None:
    with pytest.raises(AssertionError, match="give an object, made with a small folder"):
        check_dataset(Esc50)
