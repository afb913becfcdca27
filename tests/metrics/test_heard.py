"""The energy that masks remove and their inconsistency, against transforms by hand, and the sound of parts itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.references.heard import REFERENCES, Geometry
from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import Masked, ScoringContext
from xaibench.scoring.metric import Metric, Scores
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain
from xaibench.testing import toy_batch, toy_classifier

NAMES = ["energy_removed", "mask_inconsistency"]
SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
SAMPLES = 90
CLIPS = 3


class LevelToy(Classifier):
    """Two logits: the level of the sound, and its opposite."""

    def __init__(self, domain: Domain) -> None:
        super().__init__("level-toy", "sound", ("loud", "soft"))
        self.domain, self.sample_rate, self.samples = domain, domain.sample_rate, None

    def logits(self, waveform: Tensor) -> Tensor:
        level = waveform.square().mean(dim=1)
        return torch.stack([level, -level], dim=1)


def heard(waveform: Tensor, maps: Tensor, domain: Domain = SMALL, method: str = "uniform") -> ScoringContext:
    """The scoring context of sounds that a classifier hears."""
    forwarder = Forwarder(LevelToy(domain), 16)
    batch = Batch.of_sound(waveform, ids(len(waveform)), domain)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    return ScoringContext(clean, maps, BoundExplainer(registry.create("methods", method), forwarder))


def noise(clips: int = CLIPS) -> tuple[Tensor, Tensor]:
    """Sounds, and maps from 0 to 1 of their pictures."""
    generator = torch.Generator().manual_seed(0)
    waveform = 0.3 * torch.randn(clips, SAMPLES, generator=generator)
    return waveform, torch.rand(clips, *SMALL.shape(SAMPLES), generator=generator)


def metric(name: str) -> Metric:
    return registry.create("metrics", name)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_reference(name: str) -> None:
    waveform, maps = noise()
    context = heard(waveform, maps)
    for area in (0.1, 0.4, None):
        mask = context.mask(area).double()
        geometry = Geometry(SMALL.n_fft, SMALL.window_samples, SMALL.hop_samples)
        pairs = zip(waveform.double().tolist(), mask.tolist(), strict=True)
        expected = [REFERENCES[name](sound, one, geometry) for sound, one in pairs]
        result = metric(name).score(context, area)
        assert result.reasons == (None,) * CLIPS
        assert result.values.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_sounds_of_the_two_parts_add_up_to_the_clip() -> None:
    waveform, maps = noise()
    context = heard(waveform, maps)
    for area in (0.1, 0.5, None):
        both = context.sound(Masked("kept", area)) + context.sound(Masked("removed", area))
        torch.testing.assert_close(both, waveform, rtol=0, atol=1e-6)


def test_the_sound_of_a_part_is_what_was_scored() -> None:
    batch = toy_batch(2)
    forwarder = Forwarder(toy_classifier(), 1)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    maps = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(0))
    context = ScoringContext(clean, maps, BoundExplainer(registry.create("methods", "random"), forwarder))
    part = Masked("kept", 0.1)
    again = forwarder.logits_of_clips(replace(batch, waveform=context.sound(part)))
    torch.testing.assert_close(again, context.logits(part), rtol=0, atol=0)


@pytest.mark.parametrize(("gain", "area"), [(0.0, 0.0), (0.19, 0.1), (0.75, 0.5), (1.0, 1.0)])
def test_a_whole_clip_made_softer_is_consistent_and_removes_what_its_gain_says(gain: float, area: float) -> None:
    """Of `attenuated`, removed is (1 - a) times the clip: 1 - (1 - a)^2 of the energy is gone."""
    waveform, maps = noise()
    context = heard(waveform, torch.ones_like(maps), method="attenuated")
    assert metric("energy_removed").score(context, area).values.tolist() == pytest.approx([gain] * CLIPS, abs=1e-5)
    if area:
        assert metric("mask_inconsistency").score(context, area).values.tolist() == pytest.approx([0] * CLIPS, abs=1e-5)


def test_scattered_bins_are_less_consistent_than_cells() -> None:
    """On the scale of a clip: what is heard of random bins is mostly not in them."""
    batch = toy_batch(2)
    maps = {name: registry.create("methods", name) for name in ("random", "random-cells")}
    classifier, target = LevelToy(toy_classifier().domain), torch.zeros(2, dtype=torch.long)
    assert batch.waveform is not None
    found = {
        name: metric("mask_inconsistency").score(
            heard(batch.waveform, method.explain(classifier, batch, target).map, classifier.domain), 0.1
        )
        for name, method in maps.items()
    }
    assert (found["random"].values > 0.7).all()
    assert (found["random-cells"].values < 0.5).all()


def test_undefined_with_a_reason() -> None:
    waveform, maps = noise()
    waveform[1] = 0
    context = heard(waveform, maps)
    reasons = {name: metric(name).score(context, 0.1).reasons for name in NAMES}
    assert reasons == {
        "energy_removed": (None, "the clip is digital silence", None),
        "mask_inconsistency": (None, "the kept part is silence", None),
    }


@pytest.mark.parametrize("name", ["faithfulness_equal_energy", *NAMES])
def test_the_protocol_of_pictures_does_not_score_it(name: str) -> None:
    assert metric(name).protocols == {"standard"}


def test_half_of_the_energy_of_an_attenuated_clip_is_a_gain() -> None:
    waveform, maps = noise()
    context = heard(waveform, torch.ones_like(maps), method="attenuated")
    (half,) = metric("faithfulness_equal_energy").perturbations(())
    torch.testing.assert_close(context.sound(half), waveform * 0.5**0.5, rtol=0, atol=1e-6)


def test_the_fewest_most_important_bins_hold_half_of_the_energy() -> None:
    waveform, maps = noise()
    waveform[1, :50] = 0  # frames of digital silence hold nothing and are never removed
    context = heard(waveform, maps)
    (half,) = metric("faithfulness_equal_energy").perturbations(())
    x, left = context.clean.batch.x.double(), half.apply(context)
    assert isinstance(left, Tensor)
    gone = (left == 0) & (x > 0)
    for i in range(CLIPS):
        energy = torch.expm1(x[i]).square()
        held = energy[gone[i]].sum() / energy.sum()
        least = context.importance[i][gone[i]].argmin()
        assert held >= 0.5
        assert held - energy[gone[i]][least] / energy.sum() < 0.5
        assert context.importance[i][gone[i]].min() >= context.importance[i][~gone[i] & (x[i] > 0)].max()


def changed_by(rise: float, is_heard: bool) -> dict[str, Scores]:
    """AI and AG where every kept part is more probable by so much than the whole clip."""
    waveform, maps = noise()
    context = heard(waveform, maps)
    if not is_heard:
        context.clean = replace(context.clean, batch=replace(context.clean.batch, phase=None, waveform=None))
    context.p_kept = lambda area: context.p_full + rise  # type: ignore[method-assign]
    return {name: metric(name).score(context, 0.1) for name in ("average_increase", "average_gain")}


def test_a_rise_of_confidence_that_is_rounding_is_none_where_clips_are_heard() -> None:
    for is_heard, rise, risen in ((True, 0.9e-6, False), (True, 1.1e-6, True), (False, 1e-9, True), (False, 0, False)):
        found = changed_by(rise, is_heard)
        assert found["average_increase"].values.tolist() == [100.0 * risen] * CLIPS
        assert (found["average_gain"].values > 0).tolist() == [risen] * CLIPS
