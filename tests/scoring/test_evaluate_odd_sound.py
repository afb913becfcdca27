"""Clips whose sound is odd are named before anything is scored; those that cannot be read are left out and counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xaibench as xb
from tests.support import evaluating
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import AudioError
from xaibench.results import store
from xaibench.results.verify import verify
from xaibench.sound.dataset import Clip
from xaibench.sound.readable import readable
from xaibench.sound.synth import Synth


class Spoiled(Synth):
    """The embedded set with one clip of constant sound, or one that cannot be read."""

    value: float | None = 0.0

    def waveform(self, clip: Clip) -> np.ndarray:
        sound = super().waveform(clip)
        if clip.id == "synth-321" and self.value is None:
            raise AudioError("321.wav: cannot be read (No such file or directory)")
        return np.full_like(sound, self.value) if clip.id == "synth-321" else sound


def test_silence_is_reported() -> None:
    dataset = Spoiled()
    clips = dataset.in_folds([5])[:3]
    found = readable(dataset, clips)
    assert found.sentences == ["1 of 3 clips is silent, or nearly so: synth-321"]
    assert found.clips == clips and not found.unreadable
    with pytest.raises(AudioError, match="1 of 3 clips is silent, or nearly so: synth-321; nothing was scored"):
        readable(dataset, clips, strict=True)
    assert readable(Synth(), clips, strict=True).sentences == []


def test_undefined_samples_are_left_out_of_any_dataset() -> None:
    dataset = Spoiled()
    dataset.value = np.nan
    clips = dataset.in_folds([5])[:3]
    found = readable(dataset, clips)
    reason = "synth: clip synth-321 holds NaN or infinite samples"
    assert found.unreadable == {"synth-321": reason}
    assert found.clips == [clip for clip in clips if clip.id != "synth-321"]
    assert found.sentences == [f"1 of 3 clips cannot be read and is left out: {reason}"]
    with pytest.raises(
        AudioError, match=f"1 of 3 clips cannot be read: {reason}; nothing was scored, because --strict"
    ):
        readable(dataset, clips, strict=True)
    alone = [clip for clip in clips if clip.id == "synth-321"]
    with pytest.raises(AudioError, match=f"^1 of 1 clip cannot be read, and there is no other to score: {reason}$"):
        readable(dataset, alone)


def test_of_a_file_that_vanishes_only_its_part_is_lost(loaded: LoadedClassifier, tmp_path: Path) -> None:
    dataset = Spoiled()
    config = evaluating.config_of(dataset, ["energy", "random"], clips=17)  # 321 is in the first of two parts
    dataset.value = None
    events = evaluating.run(config, loaded, tmp_path / "run")
    assert [(event.kind, event.clips) for event in events] == [
        ("failed", 16),
        ("failed", 16),
        ("scored", 1),
        ("scored", 1),
    ]
    assert events[0].reason.endswith("(No such file or directory); bring the file back and give the same command again")
    assert set(store.read_rows(tmp_path / "run")["method"]) == {"energy", "random"}
    assert len(verify(tmp_path / "run").findings) == 2, "a part is missing of each"
    dataset.value = 0.0
    again = evaluating.run(config, loaded, tmp_path / "run")
    assert sorted(event.kind for event in again) == ["found", "found", "scored", "scored"]
    assert verify(tmp_path / "run").findings == ()


def test_python_leaves_an_unreadable_clip_out_and_counts_it(tmp_path: Path) -> None:
    dataset = Spoiled()
    dataset.value = None
    dataset.clips = tuple(dataset.in_folds([5])[:3])
    with pytest.warns(UserWarning, match=r"1 of 3 clips cannot be read and is left out: 321\.wav"):
        results = xb.evaluate(
            "cnn-micro", dataset, "energy", "sparseness", out=tmp_path / "run", progress=False, controls=False
        )
    assert len(results.rows) == 2
    assert set(results.comparison()["unreadable"]) == {1} and set(results.comparison()["clips"]) == {2}
    assert store.read_manifest(tmp_path / "run").unreadable == ("synth-321",)
