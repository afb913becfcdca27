"""Which mixtures count for a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import xaibench as xb
from xaibench.sound.mixtures import Mixtures
from xaibench.validation.decided import decided, yields


@pytest.fixture(scope="module")
def mixed(esc50_folder: Path) -> Mixtures:
    dataset: Mixtures = xb.dataset("esc10-mix", esc50_folder)  # type: ignore[assignment]
    return dataset


def test_a_mixture_counts_if_its_labelled_sound_decides(mixed: Mixtures) -> None:
    """Checked one by one, with the rules as they are defined."""
    classifier = xb.classifier("cnn-micro", "esc10")
    clips = mixed.in_folds([5])[:20]
    found = decided(classifier, mixed, clips).set_index("clip")
    assert 4 <= found["decided"].sum() < 20
    for clip in clips:
        target, other = mixed.stems(clip)

        def p(sound: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits = classifier.logits(torch.from_numpy(sound)[None])[0].double().numpy()
            powers = np.exp(logits - logits.max())
            return powers / powers.sum()

        p_mix, p_target, p_other = p(mixed.waveform(clip)), p(target), p(other)
        right = p_mix.argmax() == p_target.argmax() == clip.label != p_other.argmax()
        rise = p_mix[clip.label] - p_other[clip.label]
        assert found.loc[clip.id, "rise"] == pytest.approx(rise, abs=1e-6)
        assert found.loc[clip.id, "decided"] == (right and rise > 0.25)
        assert found.loc[clip.id, "ratio"] == mixed.mixtures[clip.id].ratio


def test_the_yield_is_counted_by_ratio(mixed: Mixtures) -> None:
    classifier = xb.classifier("cnn-micro", "esc10")
    found = decided(classifier, mixed, mixed.in_folds([5])[:12])
    table = yields(found)
    assert table["ratio"].tolist() == [-5, 0, 5, "all"]
    assert table["clips"].tolist()[-1] == 12 == table["clips"][:-1].sum()
    assert table["decided"].tolist()[-1] == found["decided"].sum() == table["decided"][:-1].sum()


def test_where_the_label_is_unknown_nothing_counts(mixed: Mixtures) -> None:
    found = decided(xb.classifier("cnn-micro", "synth"), mixed, mixed.clips[:3])
    assert not found["decided"].any()
