"""Integrated gradients with steps=auto: as many steps as completeness needs, clip by clip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.explaining import settings
from xaibench.explaining.explainer import Explainer
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain

SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
CLIPS, SAMPLES = 4, 90
TARGET = torch.tensor([0, 1, 0, 1])


class SteepEar(Classifier):
    """Logits that rise at one loudness, steeply: few steps miss it."""

    def __init__(self, reads: bool) -> None:
        super().__init__("steep-ear", "sound", ("a", "b"))
        self.domain, self.sample_rate, self.samples = SMALL, SMALL.sample_rate, None
        self.capabilities = frozenset({"gradients", "picture"} if reads else {"gradients"})

    def logits(self, waveform: Tensor) -> Tensor:
        return self.steep(waveform.square().mean(dim=1))

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.steep(x.square().mean(dim=(1, 2)))

    def steep(self, loudness: Tensor) -> Tensor:
        return 10 * torch.stack([torch.sigmoid(150 * (loudness - 0.05)), loudness], dim=1)


def sounds(heard: bool = True) -> Batch:
    waveform = 0.4 * torch.randn(CLIPS, SAMPLES, generator=torch.Generator().manual_seed(0))
    batch = Batch.of_sound(waveform * torch.tensor([[1.0], [1.0], [2.0], [0.1]]), ids(CLIPS), SMALL)
    return batch if heard else Batch(batch.x, batch.clip_ids)


def method(**parameters: Any) -> Explainer:
    made: Explainer = registry.create("methods", "integrated-gradients").with_parameters(**parameters)
    return made


def difference(classifier: Classifier, clip: Batch, target: Tensor) -> float:
    silence = clip.changed(torch.zeros_like(clip.x), SMALL)
    return float(classifier.logits_of_clips(clip)[0, target] - classifier.logits_of_clips(silence)[0, target])


@pytest.mark.parametrize(("reads", "heard"), [(True, True), (True, False), (False, True)])
def test_a_clip_gets_the_first_number_of_steps_whose_sum_is_right(reads: bool, heard: bool) -> None:
    classifier, batch = SteepEar(reads), sounds(heard)
    found = method(steps="auto").explain(classifier, batch, TARGET).map
    chosen = []
    for i in range(CLIPS):
        clip, target = batch.slice(i, i + 1), TARGET[i : i + 1]
        should = difference(classifier, clip, target)
        for steps in (16, 32, 64, 128, 256, 512):
            fixed = method(steps=steps).explain(classifier, clip, target).map
            if abs(float(fixed.double().sum()) - should) <= 0.01 * max(abs(should), 1):
                break
        chosen.append(steps)
        assert torch.equal(found[i], fixed[0]), "alone and fixed, it is the same map"
    assert len(set(chosen)) > 1, "clips need different numbers"


def test_the_last_number_is_taken_where_the_sum_is_never_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xaibench.methods.gradients.MISSING", -1.0)
    monkeypatch.setattr("xaibench.methods.gradients.MOST_STEPS", 64)
    classifier, batch = SteepEar(True), sounds().slice(0, 1)
    found = method(steps="auto").explain(classifier, batch, TARGET[:1]).map
    assert torch.equal(found, method(steps=64).explain(classifier, batch, TARGET[:1]).map)


def test_steps_are_a_number_or_auto_and_can_change_between_them() -> None:
    _, made = settings.create("integrated-gradients:steps=auto")
    assert made.parameters["steps"] == "auto"
    assert made.with_parameters(steps=8).parameters["steps"] == 8
    with pytest.raises(Exception, match="steps cannot be 'many'; give a int, as 32 is, or auto"):
        settings.create("integrated-gradients:steps=many")
    with pytest.raises(Exception, match="steps cannot be 0; give a whole number from 1, or auto"):
        made.with_parameters(steps=0)
