"""Mixtures of real clips are what they are said to be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

import xaibench as xb
from xaibench.classifiers.forward import listener
from xaibench.sound import audio, mixtures
from xaibench.sound.dataset import Clip
from xaibench.sound.domain import Domain
from xaibench.sound.mixtures import Mixtures
from xaibench.sound.subset import sample

NAMES = ("esc10-mix", "esc50-mix")


@pytest.fixture(scope="module")
def mixed(esc50_folder: Path) -> dict[str, Mixtures]:
    return {name: xb.dataset(name, esc50_folder) for name in NAMES}  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_partners_are_of_another_class_and_the_same_fold_and_no_recording_interferes_twice(
    mixed: dict[str, Mixtures], name: str
) -> None:
    dataset = mixed[name]
    folds: dict[str, set[int]] = {}
    for clip in dataset.source.clips:
        folds.setdefault(clip.src_file, set()).add(clip.fold)
    made = list(dataset.mixtures.values())
    for one in made:
        assert one.target.label != one.interferer.label
        assert one.target.fold == one.interferer.fold
        assert one.target.src_file != one.interferer.src_file
        assert len(folds[one.target.src_file]) == len(folds[one.interferer.src_file]) == 1
    assert max(Counter(one.interferer.src_file for one in made).values()) == 1
    assert max(Counter(one.target.id for one in made).values()) == 1
    for fold in range(1, 6):
        recordings = {c.src_file for c in dataset.source.clips if c.fold == fold and len(folds[c.src_file]) == 1}
        here = [one for one in made if one.target.fold == fold]
        assert len(here) == len(recordings), "every recording interferes once"
        assert {one.target.src_file for one in here} == recordings, "and every one is a target"
        ratios = Counter(one.ratio for one in here)
        for label in {one.target.label for one in here}:
            of_class = Counter(dict.fromkeys(mixtures.RATIOS, 0))
            of_class.update(one.ratio for one in here if one.target.label == label)
            assert max(of_class.values()) - min(of_class.values()) <= 1
        assert max(ratios.values()) - min(ratios.values()) <= 1
    for clip in dataset.clips:
        one = dataset.mixtures[clip.id]
        assert (clip.fold, clip.label, clip.src_file) == (one.target.fold, one.target.label, one.target.src_file)


def power(waveform: np.ndarray) -> float:
    """Mean power of the frames that are within 60 dB of the loudest, by scipy's STFT."""
    _, _, spectrum = signal.stft(
        waveform.astype(np.float64), window=signal.get_window("hamming", 372), nperseg=372, noverlap=186, nfft=1024
    )
    frames = (np.abs(spectrum) ** 2).mean(axis=0)
    return float(frames[frames > 1e-6 * frames.max()].mean())


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_the_sum_of_its_stems_at_the_ratio_that_it_says(mixed: dict[str, Mixtures], name: str) -> None:
    dataset = mixed[name]
    for clip in dataset.clips[:: len(dataset.clips) // 12]:
        target, other = dataset.stems(clip)
        whole, one = dataset.waveform(clip), dataset.mixtures[clip.id]
        assert np.array_equal(dataset.stem(clip), target)
        assert np.abs(whole - (target + other)).max() < 1e-6
        assert np.abs(whole).max() <= 1.0
        assert 10 * np.log10(power(target) / power(other)) == pytest.approx(one.ratio, abs=0.05)
        source = dataset.source.waveform(one.target)
        gain = float(np.dot(source, target) / np.dot(source, source))
        assert 0 < gain <= 1
        assert np.abs(target - gain * source).max() < 1e-6


def test_the_ground_truth_is_where_the_labelled_sound_is_louder(mixed: dict[str, Mixtures]) -> None:
    dataset = mixed["esc10-mix"]
    for clip in dataset.clips[::60]:
        known = dataset.ground_truth(clip)
        assert known.shape == audio.PICTURE_SHAPE
        window = np.hamming(373)[:-1].astype(np.float32)  # periodic
        spectra = []
        for sound in (*dataset.stems(clip), dataset.waveform(clip)):
            padded = np.pad(sound, 512)
            frames = np.stack([padded[i * 186 : i * 186 + 1024][326:698] * window for i in range(431)])
            spectra.append(np.abs(np.fft.rfft(frames, 1024)).T)
        expected = (spectra[0] > spectra[1]) & (spectra[2] > 1e-3 * spectra[2].max())
        assert (known != expected).mean() < 1e-3  # rounding, where both are equally loud
        assert 0.005 < known.mean() < 0.95


def test_it_is_known_on_other_pictures_too(mixed: dict[str, Mixtures]) -> None:
    dataset = mixed["esc10-mix"]
    clip = dataset.clips[0]
    domain = Domain.at(32_000)
    known = dataset.ground_truth_at(clip, domain, 160_000)
    assert known.shape == domain.shape(160_000)
    assert not known[(domain.frequencies >= 8000).numpy()].any()
    assert 0.5 < known[: known.shape[0] // 2].mean() / dataset.ground_truth(clip).mean() < 2


def test_the_choice_depends_on_the_seed_alone() -> None:
    clips = [Clip(f"{fold}-{i}", fold, i % 3, f"r{fold}-{i // 2}") for fold in (1, 2) for i in range(20)]
    made = mixtures.pair(clips, 0)
    assert len(made) == 20
    again = {one.target.id: one for one in mixtures.pair(clips[::-1], 0)}
    assert [again[one.target.id] for one in made] == made
    assert mixtures.pair(clips, 1) != made
    assert mixtures.pair([clip for clip in clips if clip.label == 0], 0) == [], "no partner of another class"


def test_their_classifiers_are_those_of_the_clips(
    mixed: dict[str, Mixtures], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    results = xb.evaluate(
        "cnn-micro", mixed["esc10-mix"], ["oracle", "random"], ["localisation_auc"], limit=4, controls=False
    )
    rows = results.rows
    assert set(rows["classifier"]) == {"cnn-micro"}
    assert rows["correct"].notna().all()
    auc = rows.groupby("method")["value"].mean()
    assert auc["oracle"] > 0.95 > 0.6 > auc["random"]
    assert not [one for one in recwarn.list if "accuracy counts" in str(one.message)]


def test_a_mixture_counts_if_its_labelled_sound_decides(mixed: dict[str, Mixtures]) -> None:
    """Checked one by one, with the rules as they are defined."""
    dataset, classifier = mixed["esc10-mix"], xb.classifier("cnn-micro", "esc10")
    clips = dataset.in_folds([5])[:20]
    reasons = dataset.undecided(clips, listener(classifier))
    assert 4 <= reasons.count(None) < 20
    assert len(set(reasons)) >= 3
    for clip, reason in zip(clips, reasons, strict=True):
        target, other = dataset.stems(clip)

        def p(sound: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits = classifier.logits(torch.from_numpy(sound)[None])[0].double().numpy()
            powers = np.exp(logits - logits.max())
            return np.asarray(powers / powers.sum())

        p_mix, p_target, p_other = p(dataset.waveform(clip)), p(target), p(other)
        right = p_mix.argmax() == p_target.argmax() == clip.label != p_other.argmax()
        assert (reason is None) == (right and p_mix[clip.label] - p_other[clip.label] > 0.25)
    counted = dataset.yields(clips, reasons)
    assert sum(there for _, there in counted.values()) == 20
    assert sum(decided for decided, _ in counted.values()) == reasons.count(None)


def test_where_the_label_is_unknown_nothing_counts(mixed: dict[str, Mixtures]) -> None:
    dataset = mixed["esc10-mix"]
    reasons = dataset.undecided(dataset.clips[:3], listener(xb.classifier("cnn-micro", "synth")))
    assert all(reason is not None and reason.endswith("is none of the classes") for reason in reasons)


def test_metrics_of_ground_truth_leave_undecided_mixtures_out_and_say_why(mixed: dict[str, Mixtures]) -> None:
    dataset, classifier = mixed["esc10-mix"], xb.classifier("cnn-micro", "esc10")
    clips = sample(dataset, dataset.in_folds([5]), 6)
    results = xb.evaluate(
        classifier, dataset, "oracle", ["localisation_auc", "faithfulness"], limit=6, progress=False, controls=False
    )
    located = results.rows[results.rows["metric"] == "localisation_auc"].set_index("clip")
    why = dict(zip([clip.id for clip in clips], dataset.undecided(clips, listener(classifier)), strict=True))
    assert 0 < sum(reason is None for reason in why.values()) < 6
    for clip, reason in why.items():
        assert located["reason"].fillna("")[clip] == (reason or "")
        assert (located["value"].isna())[clip] == (reason is not None)
    heard = results.rows[results.rows["metric"] == "faithfulness"]
    assert set(heard["clip"]) == set(why)
    assert heard["value"].notna().all(), "what needs no ground truth counts all clips"
