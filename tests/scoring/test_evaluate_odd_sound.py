"""Clips whose sound is odd are reported before anything is scored, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import evaluating
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import AudioError
from xaibench.sound.dataset import Clip
from xaibench.sound.synth import Synth


class Spoiled(Synth):
    """The embedded set with one clip of constant sound."""

    value = 0.0

    def waveform(self, clip: Clip) -> np.ndarray:
        sound = super().waveform(clip)
        return np.full_like(sound, self.value) if clip.id == "synth-321" else sound


def test_silence_is_reported_first_and_once(loaded: LoadedClassifier, tmp_path: Path) -> None:
    events = evaluating.run(evaluating.config_of(Spoiled(), ["energy", "random"]), loaded, tmp_path / "run")
    assert [event.kind for event in events] == ["odd sound", "scored", "scored"]
    assert events[0].reason == "1 of 3 clips is silent, or nearly so: synth-321"
    assert events[0].clips == 0


def test_a_strict_run_refuses_it_and_scores_nothing(loaded: LoadedClassifier, tmp_path: Path) -> None:
    config = replace(evaluating.config_of(Spoiled()), strict=True)
    with pytest.raises(AudioError, match="1 of 3 clips is silent, or nearly so: synth-321; nothing was scored"):
        evaluating.run(config, loaded, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.parquet"))
    config = replace(evaluating.config_of(Synth()), strict=True)
    assert [event.kind for event in evaluating.run(config, loaded, tmp_path / "run")] == ["scored"]


def test_undefined_samples_are_refused_of_any_dataset(loaded: LoadedClassifier, tmp_path: Path) -> None:
    dataset = Spoiled()
    dataset.value = np.nan
    with pytest.raises(AudioError, match="synth: clip synth-321 holds NaN or infinite samples"):
        evaluating.run(evaluating.config_of(dataset), loaded, tmp_path / "run")
