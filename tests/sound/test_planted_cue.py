"""The planted cue: who has it, how faint it is, where it is, and when it counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import signal

import xaibench as xb
from xaibench.classifiers import checkpoint
from xaibench.classifiers.forward import listener
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Listener
from xaibench.sound.planted_cue import CUED, SynthCue, SynthCueChance

DATASETS = (SynthCue, SynthCueChance)
CLASSES = SynthCue.classes


def pairs(dataset: SynthCue, count: int) -> list[tuple[Clip, Clip]]:
    """The first test clips without and with the cue."""
    clips = dataset.in_folds([5])[: 2 * count]
    return list(zip(clips[::2], clips[1::2], strict=True))


def spectrum(waveform: np.ndarray) -> np.ndarray:
    """Magnitudes by numpy's FFT, frame by frame, in float64."""
    window = np.zeros(1024)
    window[326 : 326 + 372] = signal.get_window("hamming", 372)
    padded = np.pad(waveform.astype(np.float64), 512)
    frames = np.stack([padded[t * 186 : t * 186 + 1024] for t in range(431)], axis=1)
    return np.asarray(np.abs(np.fft.rfft(frames * window[:, None], axis=0)))


@pytest.mark.parametrize("kind", DATASETS)
def test_test_clips_come_in_pairs_of_all_classes(kind: type[SynthCue]) -> None:
    dataset = kind()
    assert Counter(clip.fold for clip in dataset.clips) == {1: 240, 2: 240, 3: 240, 4: 80, 5: 160}
    found = pairs(dataset, 80)
    assert Counter(without.label for without, _ in found) == dict.fromkeys(range(4), 20)
    for without, with_cue in found:
        assert (without.src_file, without.label) == (with_cue.src_file, with_cue.label)
        assert [dataset.made[one.id].cue for one in (without, with_cue)] == [False, True]
        assert dataset.made[without.id].event == without.label, "tested clips hold the event of their class"
    assert len({clip.src_file for clip in dataset.clips}) == 880


def test_in_training_the_cue_is_in_one_class_and_by_chance_in_a_quarter_of_each() -> None:
    told, chance = SynthCue(), SynthCueChance()
    trained = [clip for clip in told.clips if clip.fold != 5]
    assert trained == [clip for clip in chance.clips if clip.fold != 5], "the same labels"
    for clip in trained:
        one, other = told.made[clip.id], chance.made[clip.id]
        assert (one.index, one.event) == (other.index, other.event), "the same sound, but for the cue"
        assert one.cue == (clip.label == CUED)
    for fold in range(1, 5):
        for label in range(4):
            here = [chance.made[clip.id].cue for clip in trained if (clip.fold, clip.label) == (fold, label)]
            assert sum(here) == len(here) / 4


def test_without_the_cue_its_class_cannot_be_told_from_two_thirds_of_its_training_clips() -> None:
    dataset = SynthCue()
    events = Counter(
        (clip.label, dataset.made[clip.id].event) for clip in dataset.in_folds([1, 2, 3]) if clip.label == CUED
    )
    assert events == {(CUED, CUED): 60, (CUED, 0): 42, (CUED, 1): 39, (CUED, 2): 39}


def test_a_pair_differs_by_the_cue_alone_which_is_a_faint_tone_and_the_ground_truth() -> None:
    dataset = SynthCue()
    frequencies, onsets = set(), set()
    for without, with_cue in pairs(dataset, 4):
        plain, whole, cue = dataset.waveform(without), dataset.waveform(with_cue), dataset.stem(with_cue)
        assert np.abs(whole - plain - cue).max() < 1.1 / 32767, "two roundings"
        assert not dataset.stem(without).any()
        assert not dataset.ground_truth(without).any()
        assert np.abs(whole).max() < 1
        there, magnitude, alone = dataset.ground_truth(with_cue), spectrum(whole), spectrum(cue)
        loud = magnitude > np.quantile(magnitude, 0.9)
        assert loud[there].mean() < 0.1, "fewer than a tenth of its bins are among the loudest tenth"
        assert 0.001 < there.mean() < 0.015
        expected = alone > spectrum(plain)
        assert (there != expected).sum() < 0.02 * there.sum()  # the rounding to 16 bits
        assert 2 < np.flatnonzero(cue)[-1] / 16_000 - np.flatnonzero(cue)[0] / 16_000 < 3.5
        frequencies.add(alone.sum(axis=1).argmax())
        onsets.add(int(np.flatnonzero(cue)[0]))
    assert len(frequencies) == len(onsets) == 4
    assert 1500 < min(frequencies) * 16_000 / 1024 < max(frequencies) * 16_000 / 1024 < 6500


def test_both_datasets_have_the_same_test_clips() -> None:
    told, chance = SynthCue(), SynthCueChance()
    for clip in told.in_folds([5])[:4]:
        assert clip in chance.clips
        assert np.array_equal(told.waveform(clip), chance.waveform(clip))
        assert np.array_equal(told.ground_truth(clip), chance.ground_truth(clip))


ROWS = {  # of probability with and without the cue: for the cue's class, and for another
    None: ((0.9, 0.1), (0.2, 0.8)),
    "the clip with the cue is not classified as noise burst": ((0.4, 0.6), (0.1, 0.9)),
    "the clip without the cue is classified as noise burst, too": ((0.9, 0.1), (0.6, 0.4)),
    "the cue hardly changes the probability of noise burst": ((0.8, 0.2), (0.35, 0.65)),
}


@pytest.mark.parametrize("reason", ROWS)
def test_a_clip_counts_if_its_cue_decides(reason: str | None) -> None:
    dataset = SynthCue()
    ((without, with_cue),) = pairs(dataset, 1)
    plain = dataset.waveform(without)

    def answer(waveforms: np.ndarray) -> np.ndarray:
        there = (waveforms != plain).any(axis=1)
        return np.array([ROWS[reason][0 if one else 1] for one in there])

    heard = Listener((CLASSES[CUED], CLASSES[0]), audio.SAMPLE_RATE, audio.CLIP_SAMPLES, audio.CUT, answer)
    assert dataset.undecided([without, with_cue], heard) == ["the clip has no cue", reason]
    assert SynthCueChance().undecided([with_cue, without], heard) == [None, "the clip has no cue"]


def test_a_classifier_that_does_not_know_the_class_of_the_cue_decides_nothing() -> None:
    dataset = SynthCue()
    deaf = Listener(CLASSES[:2], audio.SAMPLE_RATE, None, audio.CUT, lambda _: np.zeros((1, 2)))
    reasons = dataset.undecided(dataset.in_folds([5])[:2], deaf)
    assert reasons == ["the clip has no cue", "the cue's class noise burst is none of the classes"]


def test_the_cue_decides_for_its_classifier_and_for_no_twin_that_heard_it_by_chance() -> None:
    """The rows of a board: undefined where the cue does not decide, and with which reason."""
    dataset, metrics = SynthCue(), ["localisation_auc", "sparseness"]
    decided = {}
    for name in ("synth-cue", "synth-cue-chance"):
        model = xb.classifier("cnn-micro", name)
        results = xb.evaluate(model, dataset, "oracle", metrics, limit=8, progress=False, controls=False)
        rows = results.rows[results.rows["metric"] == "localisation_auc"].set_index("clip")
        clips = [clip for clip in dataset.in_folds([5]) if clip.id in rows.index]
        rows, reasons = rows.loc[[clip.id for clip in clips]], dataset.undecided(clips, listener(model))
        assert len(clips) == 8
        assert list(rows["reason"].fillna("")) == [reason or "" for reason in reasons]
        assert list(rows["value"].isna()) == [reason is not None for reason in reasons]
        assert results.rows[results.rows["metric"] == "sparseness"]["value"].notna().sum() >= 4
        decided[name] = reasons.count(None)
    assert decided["synth-cue"] >= 2
    assert decided["synth-cue-chance"] == 0


@pytest.mark.parametrize("kind", DATASETS)
def test_shipped_weights_are_of_the_dataset_as_it_is(kind: type[SynthCue]) -> None:
    _, card = checkpoint.resolve("cnn-micro", kind.name)
    assert (card.dataset_fingerprint, card.classes) == (kind().fingerprint(), kind.classes)
