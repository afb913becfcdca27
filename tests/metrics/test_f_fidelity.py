"""F-Fidelity equals loops over single clips, and asks the judge."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.support.lazy import Lazy
from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.judge import LARGEST_SHARE
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain

f_fidelity = Lazy("xaibench.metrics.f_fidelity")
SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
SAMPLES, CLIPS = 90, 4
BOTH = ["f_fidelity_plus", "f_fidelity_minus"]


class Bands(Classifier):
    """Logits linear in the mean power of bands of frequencies."""

    def __init__(self, seed: int) -> None:
        super().__init__(f"bands-{seed}", "sound", ("a", "b", "c"), temperature=2.0)
        self.domain, self.sample_rate, self.samples = SMALL, SMALL.sample_rate, SAMPLES
        self.weight = 3 * torch.randn(3, 9, generator=torch.Generator().manual_seed(seed))
        self.asked = 0

    def logits(self, waveform: Tensor) -> Tensor:
        self.asked += len(waveform)
        return self.domain.stft(waveform).abs().square().mean(dim=2) @ self.weight.T


def context(classifier: Classifier, judge: Classifier | None) -> ScoringContext:
    generator = torch.Generator().manual_seed(1)
    pitch = 80.0 * torch.arange(1, CLIPS + 1)[:, None]
    waveform = 0.5 * torch.sin(2 * math.pi * pitch * torch.arange(SAMPLES) / SMALL.sample_rate)
    waveform = waveform + 0.2 * torch.randn(CLIPS, SAMPLES, generator=generator)
    maps = torch.rand(CLIPS, *SMALL.shape(SAMPLES), generator=generator)
    batch = Batch.of_sound(waveform, ids(CLIPS), SMALL)
    forwarder = Forwarder(classifier, 16)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    explainer = BoundExplainer(registry.create("methods", "uniform"), forwarder)
    return ScoringContext(clean, maps, explainer, judge=None if judge is None else Forwarder(judge, 16))


def score(name: str, made: ScoringContext) -> Scores:
    return registry.create("metrics", name).score(made, None)


def by_hand(name: str, made: ScoringContext, judge: Classifier) -> list[float]:
    """One clip, one half and one bin at a time."""

    def p(waveform: Tensor) -> list[float]:
        logits = [judge.temperature * float(one) for one in judge.logits(waveform[None].float())[0]]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        return [weight / math.fsum(weights) for weight in weights]

    batch, found = made.clean.batch, []
    assert batch.waveform is not None
    for i, waveform in enumerate(batch.waveform):
        said, target = p(waveform), int(made.target[i])
        if said.index(max(said)) != int(made.clean.logits[i].argmax()):
            found.append(math.nan)
            continue
        spectrum = SMALL.stft(waveform[None])[0]
        flat = made.importance[i].flatten().tolist()
        best = sorted(range(len(flat)), key=lambda k: -flat[k])[: round(0.1 * len(flat))]
        lost = []
        for draw in range(10):
            half = torch.rand(batch.picture_shape, generator=batch.generator(i, f"F-Fidelity {draw}")).flatten() < 0.5
            left = spectrum.flatten().clone()
            for k in range(len(flat)):
                if half[k] and (k in best) == (name == "f_fidelity_plus"):
                    left[k] = 0
            lost.append(said[target] - p(SMALL.istft(left.view_as(spectrum)[None], SAMPLES)[0])[target])
        found.append(math.fsum(lost) / len(lost))
    return found


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_equals_loops_by_hand(name: str, seed: int) -> None:
    judge = Bands(seed)
    made = context(Bands(3), judge)
    assert score(name, made).values.tolist() == pytest.approx(
        by_hand(name, made, judge), rel=1e-4, abs=2e-5, nan_ok=True
    )


def test_clips_on_which_judge_and_classifier_differ_are_counted_and_have_no_score() -> None:
    classifier, judge = Bands(3), Bands(5)
    made = context(classifier, judge)
    clips = made.clean.batch.waveform
    assert clips is not None
    differ = (classifier.logits(clips).argmax(dim=1) != judge.logits(clips).argmax(dim=1)).tolist()
    assert 0 < sum(differ) < CLIPS
    for name in BOTH:
        found = score(name, made)
        assert found.values.isnan().tolist() == differ
        assert [reason is not None for reason in found.reasons] == differ
        assert {reason for reason in found.reasons if reason} == {
            "the judge decides for another class than the classifier"
        }


def test_the_judge_is_asked_and_what_is_explained_is_what_the_classifier_said() -> None:
    classifier, judge = Bands(3), Bands(5)
    made = context(classifier, judge)
    before = classifier.asked
    for name in BOTH:
        score(name, made)
    assert classifier.asked == before
    assert judge.asked == CLIPS + 1 + 2 * 10 * CLIPS  # the clips, silence, and ten halves of each metric
    assert made.judged.target.tolist() == made.target.tolist()


def test_without_a_judge_the_classifier_judges_itself() -> None:
    alone, itself = context(Bands(3), None), context(Bands(3), Bands(3))
    for name in BOTH:
        assert score(name, alone).values.tolist() == score(name, itself).values.tolist()


def test_the_bins_that_matter_are_worth_more_and_the_others_less() -> None:
    """A judge that goes by one band: a map of that band is better than its opposite in both."""
    judge = Bands(3)
    judge.weight = torch.zeros(3, 9)
    judge.weight[0, 4], judge.weight[1, 4] = 2.0, -2.0
    values = {}
    for sign in (1, -1):
        made = context(judge, None)
        made.importance = torch.zeros_like(made.importance) + 0.5
        made.importance[:, 4] += 0.4 * sign
        values[sign] = [float(score(name, made).values.mean()) for name in BOTH]
    assert values[1][0] > values[-1][0]
    assert values[1][1] < values[-1][1]


def test_halves_are_the_same_whatever_the_map_and_never_more_than_was_learned() -> None:
    first, second = context(Bands(3), None), context(Bands(3), None)
    second.importance = 1 - second.importance
    for draw in range(f_fidelity.DRAWS):
        one, other = f_fidelity._half(first, draw), f_fidelity._half(second, draw)
        assert torch.equal(one, other)
        assert float(one.double().mean()) == pytest.approx(f_fidelity.SHARE, abs=0.1)
    assert f_fidelity.SHARE <= LARGEST_SHARE
