"""A judge is a trained copy: it hears clips with missing parts, is checked, and belongs to one classifier."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.classifiers import judge, judge_training
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.judge import JudgeCard
from xaibench.classifiers.judge_training import JudgeConfig, JudgeEpoch, train_judge
from xaibench.classifiers.loaded import LoadedClassifier, loaded_model
from xaibench.errors import CheckpointError, DataError, UnsupportedPairError
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.domain import Domain

SMALL = Domain(sample_rate=800, n_fft=64, window_samples=48, hop_samples=24)
SAMPLES = 800
CONFIG = JudgeConfig(epochs=4, learning_rate=0.01)


class Tones(Dataset):
    """A low or a high tone in noise: 24 clips in each of five folds."""

    name, licence = "tones", "CC0"

    def __init__(self, classes: Sequence[str] = ("low", "high")) -> None:
        self.classes = tuple(classes)
        self.clips = tuple(Clip(f"{f}-{i}", f, i % 2, f"recording-{f}-{i}") for f in range(1, 6) for i in range(24))

    def waveform(self, clip: Clip) -> np.ndarray:
        return self.waveform_at(clip, 800, SAMPLES)

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int, long: str = "cut") -> np.ndarray:
        rng = np.random.default_rng([clip.fold, int(clip.id.split("-")[1])])
        pitch = rng.uniform(60, 90) * (1 + 2 * clip.label)
        tone = np.sin(2 * np.pi * pitch * np.arange(samples) / sample_rate)
        return (0.4 * tone + 0.02 * rng.standard_normal(samples)).astype(np.float32)

    def fingerprint(self) -> str:
        return "tones"


class Levels(Classifier):
    """A linear layer, batch norm included, on the levels of the frequencies."""

    def __init__(self, classes: Sequence[str] = ("low", "high"), seed: int = 0) -> None:
        super().__init__("levels", "sound", classes)
        self.domain, self.sample_rate, self.samples = SMALL, SMALL.sample_rate, SAMPLES
        torch.manual_seed(seed)
        self.norm, self.head = torch.nn.BatchNorm1d(33), torch.nn.Linear(33, len(classes))

    def logits(self, waveform: Tensor) -> Tensor:
        return self.head(self.norm(torch.log1p(self.domain.stft(waveform).abs().mean(dim=2))))


def made(classifier: Classifier | None = None) -> LoadedClassifier:
    return loaded_model((classifier or Levels()).eval().requires_grad_(False))


def trained(
    folder: Path,
    loaded: LoadedClassifier,
    config: JudgeConfig = CONFIG,
    report: Callable[[JudgeEpoch], None] = lambda step: None,
) -> JudgeCard:
    return train_judge(loaded, Tones(), config, judge.folder_of(folder, "tones", loaded.label), report)


def test_training_finds_what_is_left_of_clips_and_leaves_the_classifier_alone(tmp_path: Path) -> None:
    loaded, steps = made(), []
    before = loaded.sha256
    card = trained(tmp_path, loaded, report=steps.append)
    assert made(loaded.classifier).sha256 == before
    assert not loaded.classifier.training and not any(p.requires_grad for p in loaded.classifier.parameters())
    assert [step.epoch for step in steps] == [1, 2, 3, 4]
    assert steps[-1].loss < steps[0].loss
    assert card.original_accuracy < 0.8 < card.accuracy
    assert card.masked_accuracy > 0.9 and not card.fault
    found = judge.find(loaded, "tones", tmp_path)
    heard = found.of(loaded.classifier)
    assert not heard.training and not any(p.requires_grad for p in heard.parameters())
    clips = torch.from_numpy(np.stack([Tones().waveform_at(clip, 800, SAMPLES) for clip in Tones().in_folds([4])]))
    labels = torch.tensor([clip.label for clip in Tones().in_folds([4])])
    assert float((heard.logits(clips).argmax(dim=1) == labels).double().mean()) == card.accuracy
    assert not (found.folder / "unfinished").exists()


def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(step: JudgeEpoch) -> None:
        if step.epoch == 2:
            raise Stopped

    whole = trained(tmp_path / "whole", made())
    with pytest.raises(Stopped):
        trained(tmp_path / "again", made(), report=stop)
    again = trained(tmp_path / "again", made())
    assert again.weights_sha256 == whole.weights_sha256
    other = trained(tmp_path / "other", made(), dataclasses.replace(CONFIG, seed=1))
    assert other.weights_sha256 != whole.weights_sha256
    with pytest.raises(Stopped):
        trained(tmp_path / "third", made(), report=stop)
    with pytest.raises(CheckpointError, match="unfinished judge with other epochs"):
        trained(tmp_path / "third", made(), dataclasses.replace(CONFIG, epochs=5))


def test_parts_have_three_grains_and_at_most_half_of_the_bins(tmp_path: Path) -> None:
    classifier = Levels()
    shape = SMALL.shape(SAMPLES)
    parts = judge_training.learned_parts(classifier, 200, torch.Generator().manual_seed(0)).double()
    assert parts.shape == (200, *shape)
    shares = parts.mean(dim=(1, 2))
    assert float(shares.max()) < 0.65 and float(shares.min()) < 0.05
    assert float(shares.mean()) == pytest.approx(judge_training.LARGEST_SHARE / 2, abs=0.03)
    # Neighbours along time agree by chance in single bins, more in cells of 3 x 2, most in 12 x 12 cells.
    agree = (parts[:, :, 1:] == parts[:, :, :-1]).double().mean(dim=(1, 2))
    by_chance = shares**2 + (1 - shares) ** 2
    assert 40 < int((agree - by_chance < 0.05).sum()) < 140
    unseen = judge_training.unseen_parts(classifier, 3, torch.Generator().manual_seed(0))
    assert unseen.shape == (3, *shape)


def test_what_is_left_is_heard_as_in_a_run(tmp_path: Path) -> None:
    """The clip is synthesised from what is left of its picture, as `Masked` parts are."""
    classifier = Levels()
    clips = torch.from_numpy(np.stack([Tones().waveform_at(clip, 800, SAMPLES) for clip in Tones().clips[:3]]))
    parts = judge_training.learned_parts(classifier, 3, torch.Generator().manual_seed(0))
    spectrum = SMALL.stft(clips)
    expected = SMALL.istft(torch.where(parts, torch.zeros_like(spectrum), spectrum), SAMPLES)
    torch.testing.assert_close(judge_training.without_parts(classifier, clips, parts), expected, rtol=0, atol=1e-5)
    nothing = torch.zeros_like(parts)
    torch.testing.assert_close(judge_training.without_parts(classifier, clips, nothing), clips, rtol=0, atol=1e-5)


def test_a_judge_belongs_to_one_classifier_and_is_used_only_if_accepted(tmp_path: Path) -> None:
    loaded = made()
    with pytest.raises(
        UnsupportedPairError, match=r"has no judge in .*xaibench judge --classifier levels --dataset tones"
    ):
        judge.find(loaded, "tones", tmp_path)
    trained(tmp_path, loaded)
    with pytest.raises(UnsupportedPairError, match="has other weights or classes than the judge"):
        judge.find(made(Levels(seed=1)), "tones", tmp_path)
    assert judge.find(loaded, "tones-mix", tmp_path).card.dataset == "tones"
    path = judge.folder_of(tmp_path, "tones", "levels") / JudgeCard.FILE
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"accuracy": 0.95, "masked_accuracy": 0.9}))
    judge.find(loaded, "tones", tmp_path)
    path.write_text(json.dumps(card | {"accuracy": 0.95, "masked_accuracy": 0.89}))
    with pytest.raises(UnsupportedPairError, match=r"is not accepted: its accuracy falls from 0\.950 to 0\.890"):
        judge.find(loaded, "tones", tmp_path)
    guessing = {"original_accuracy": 0.9, "accuracy": 0.1, "masked_accuracy": 0.1}
    path.write_text(json.dumps(card | guessing))
    with pytest.raises(UnsupportedPairError, match=r"its accuracy is 0\.100, the classifier's is 0\.900"):
        judge.find(loaded, "tones", tmp_path)


def test_weights_that_half_precision_cannot_hold_are_not_rounded() -> None:
    rounded = judge_training._rounded({"mean": torch.tensor([0.1]), "variance": torch.tensor([1e6])})
    assert rounded["mean"].dtype == torch.float16 and rounded["variance"].tolist() == [1e6]


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    loaded = made()
    trained(tmp_path, loaded)
    found = judge.find(loaded, "tones", tmp_path)
    weights = found.folder / judge.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match="does not hold the files that its card describes"):
        found.of(loaded.classifier)


def test_who_cannot_be_trained_further_has_no_judge(tmp_path: Path) -> None:
    box, any_length, several = Levels(), Levels(), Levels()
    box.capabilities = frozenset()
    any_length.samples = None
    several.activation = "sigmoid"
    for classifier, reason in {box: "no gradient", any_length: "any length", several: "one label a clip"}.items():
        with pytest.raises(UnsupportedPairError, match=reason):
            trained(tmp_path, made(classifier))
    with pytest.raises(DataError, match="no clip of tones in these folds has a label that levels knows"):
        trained(tmp_path, made(Levels(("dog", "cat"))))


def test_the_loss_of_a_class_order_of_its_own_is_that_of_the_labels(tmp_path: Path) -> None:
    card = trained(tmp_path, made(Levels(("high", "low"))))
    assert card.accuracy > 0.9 and card.classes == ("high", "low")
    assert math.isclose(card.learning_rate, 0.01)
