"""Samples of a dataset: all classes, many recordings, the same whatever the order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from xaibench.errors import DataError
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.esc50 import Esc10
from xaibench.sound.subset import described, sample


class Listed(Dataset):
    """A list of clips without sound."""

    name, licence, classes = "listed", "none", ("rare", "common", "one")

    def __init__(self, clips: list[Clip]) -> None:
        self.clips = tuple(clips)

    def waveform(self, clip: Clip) -> np.ndarray:
        raise NotImplementedError


def listed(groups: int = 5) -> Listed:
    """30 clips of one class, 6 of another, 1 of a third, in recordings of which the first has most clips."""
    clips = [Clip(f"c{i}", 1, 1, f"r{min(i % 7, groups - 1)}") for i in range(30)]
    clips += [Clip(f"r{i}", 1, 0, f"r{i % groups}") for i in range(6)]
    return Listed([*clips, Clip("alone", 1, 2, "r0")])


def test_a_sample_of_esc10_has_all_classes_and_a_recording_for_each_clip(esc50_folder: Path) -> None:
    source = Esc10(esc50_folder)
    clips = source.in_folds([5])
    first = sample(source, clips, 16)
    assert described(first, clips) == "16 of 80 clips: 10 classes, 16 recordings"
    assert len({clip.label for clip in clips[:16]}) == 6, "the first sixteen, as they were taken once"
    assert sample(source, clips, 80) == sample(source, clips, 99) == sample(source, clips, None) == clips
    assert sample(source, clips, 16, seed=1) != first


def test_each_class_has_its_share_and_recordings_take_turns() -> None:
    source = listed()
    for count in range(1, 38):
        chosen = sample(source, source.clips, count)
        classes = Counter(clip.label for clip in chosen)
        assert len(chosen) == count
        assert len(classes) == min(count, 3)
        shares = {label: count * size / 37 for label, size in ((0, 6), (1, 30), (2, 1))}
        assert all(classes[label] <= np.ceil(share) + 1 for label, share in shares.items())
    ten = sample(source, source.clips, 10)
    assert Counter(clip.src_file for clip in ten) == {f"r{i}": 2 for i in range(5)}


def test_a_sample_depends_on_the_seed_and_on_no_order_and_holds_smaller_ones() -> None:
    source = listed()
    chosen = sample(source, source.clips, 12)
    assert chosen == [clip for clip in source.clips if clip in chosen], "in the order of the dataset"
    shuffled = [source.clips[i] for i in np.random.default_rng(0).permutation(37)]
    assert set(sample(Listed(shuffled), shuffled, 12)) == set(chosen)
    assert set(sample(source, source.clips, 5)) < set(chosen) < set(sample(source, source.clips, 20))
    assert {clip.id for clip in sample(source, source.clips, 12, seed=3)} != {clip.id for clip in chosen}
    with pytest.raises(DataError, match="the limit is 0; give 1 or more clips"):
        sample(source, source.clips, 0)


def test_a_large_sample_of_few_recordings_is_drawn_at_once() -> None:
    source = Listed([Clip(str(i), 1, i % 3, f"r{i % 2}") for i in range(20_000)])
    assert len(sample(source, source.clips, 19_999)) == 19_999
