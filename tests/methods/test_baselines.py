"""Baselines of methods are the fills of metrics: maps against derivations by hand, and axioms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.evaluating import config_of
from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.loaded import loaded_model
from xaibench.errors import ExplanationError
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.config import methods_on
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.protocol import SPECTROGRAM
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_index
from xaibench.sound.domain import Domain
from xaibench.sound.fills import fill_of
from xaibench.sound.synth import Synth
from xaibench.testing import toy_batch, toy_classifier

CLIPS = 2
TARGET = torch.tensor([1, 0])
SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
SAMPLES = 90
SOUNDS = ("mean", "noise")
WITH_BASELINE = ("deeplift", "gradient-shap", "integrated-gradients", "kernel-shap", "lime", "occlusion", "rise")


class LinearEar(Classifier):
    """Logits linear in the sound: what a bin does to them does not depend on the others."""

    def __init__(self) -> None:
        super().__init__("linear-ear", "sound", ("a", "b", "c"), temperature=2.0)
        self.domain, self.sample_rate, self.samples = SMALL, SMALL.sample_rate, None
        self.pattern = torch.randn(SAMPLES, 3, generator=torch.Generator().manual_seed(3))

    def logits(self, waveform: Tensor) -> Tensor:
        return waveform @ self.pattern


def sounds() -> Batch:
    waveform = 0.3 * torch.randn(CLIPS, SAMPLES, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    return Batch.of_sound(waveform, ids(CLIPS), SMALL)


def method(name: str, **parameters: Any) -> Explainer:
    made: Explainer = registry.create("methods", name).with_parameters(**parameters)
    return made


def score(classifier: Classifier, waveform: Tensor, target: Tensor = TARGET) -> Tensor:
    """The target's logit at the temperature, (batch,)."""
    with torch.no_grad():
        return classifier.temperature * classifier.logits(waveform).gather(1, target[:, None])[:, 0]


def fill_sound(batch: Batch, baseline: str, domain: Domain = SMALL) -> Tensor:
    found = fill_of(baseline, batch, domain)
    assert found is not None
    return found.waveform


def gap(batch: Batch, baseline: str, domain: Domain = SMALL) -> Tensor:
    """The clip less what takes its place, (batch, samples)."""
    assert batch.waveform is not None
    return batch.waveform - fill_sound(batch, baseline, domain)


@pytest.mark.parametrize("baseline", SOUNDS)
def test_integrated_gradients_of_a_linear_classifier_are_what_each_bin_does(baseline: str) -> None:
    batch, classifier = sounds(), LinearEar()
    found = method("integrated-gradients", steps=3, baseline=baseline).explain(classifier, batch, TARGET).map
    for f, t in ((0, 0), (3, 7), (8, 14)):
        alone = torch.zeros_like(batch.x)
        alone[:, f, t] = 1
        expected = score(classifier, SMALL.masked(gap(batch, baseline), alone))
        torch.testing.assert_close(found[:, f, t], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("baseline", SOUNDS)
@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_segments_have_their_true_effects(name: str, baseline: str) -> None:
    batch, classifier = sounds(), LinearEar()
    fine = {"ridge": 1e-9} if name == "lime" else {}
    explainer = method(name, samples=80, bands=3, stretches=2, baseline=baseline, **fine)
    found = explainer.explain(classifier, batch, TARGET).map
    cells = cell_index(batch.picture_shape, batch.x.device, (3, 2))
    for number in range(6):
        alone = SMALL.masked(gap(batch, baseline), (cells == number).float().expand_as(batch.x))
        expected = score(classifier, alone)
        for i in range(CLIPS):
            values = found[i][cells == number]
            torch.testing.assert_close(values, expected[i].expand_as(values), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("baseline", ["silence", *SOUNDS])
def test_occlusion_fills_its_windows(baseline: str) -> None:
    batch, classifier = sounds(), LinearEar()
    rows, columns = batch.picture_shape
    whole = method("occlusion", window=(rows, columns), stride=(rows, columns), baseline=baseline)
    assert batch.waveform is not None
    rest = torch.zeros_like(batch.waveform) if baseline == "silence" else fill_sound(batch, baseline)
    expected = score(classifier, batch.waveform) - score(classifier, rest)
    found = whole.explain(classifier, batch, TARGET).map
    torch.testing.assert_close(found, expected[:, None, None].expand_as(found), rtol=1e-3, atol=1e-3)


def test_rise_listens_to_what_a_mask_leaves_and_the_fill() -> None:
    """A mask that leaves nothing leaves the fill: all bins get its probability."""
    batch, classifier = sounds(), LinearEar()
    for baseline, sound in (("silence", None), ("mean", fill_sound(batch, "mean"))):
        explainer = method("rise", masks=16, cells=(2, 2), keep=1e-6, baseline=baseline)
        found = explainer.explain(classifier, batch, TARGET).map
        assert not found.any(), "no mask leaves anything"
        explainer = method("rise", masks=16, cells=(1, 1), keep=1 - 1e-6, baseline=baseline)
        found = explainer.explain(classifier, batch, TARGET).map
        assert batch.waveform is not None
        p = torch.softmax(classifier.temperature * classifier.logits(batch.waveform), dim=1).gather(1, TARGET[:, None])
        torch.testing.assert_close(found, p[:, :, None].expand_as(found), rtol=1e-3, atol=1e-4)
        assert sound is None or not torch.equal(sound, batch.waveform)


@pytest.mark.parametrize(("name", "path"), [("deeplift", None), ("integrated-gradients", "direct")])
def test_contributions_of_pictures_sum_to_the_difference_from_the_fill(name: str, path: str | None) -> None:
    classifier, batch = toy_classifier({"rectifiers"}), toy_batch(2)
    fill = fill_of("mean", batch, classifier.domain)
    assert fill is not None
    given = {} if path is None else {"path": path, "steps": 100}
    found = method(name, baseline="mean", **given).explain(classifier, batch, TARGET).map.double().sum(dim=(1, 2))
    with torch.no_grad():
        rise = classifier.picture_logits(batch.x) - classifier.picture_logits(fill.picture.x)
    expected = classifier.temperature * rise.gather(1, TARGET[:, None])[:, 0].double()
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_gradient_shap_is_near_integrated_gradients() -> None:
    """Of a linear classifier every point on the line has the same gradient."""
    batch, classifier = sounds(), LinearEar()
    near = method("gradient-shap", baseline="noise").explain(classifier, batch, TARGET).map
    exact = method("integrated-gradients", baseline="noise").explain(classifier, batch, TARGET).map
    assert torch.nn.functional.cosine_similarity(near.flatten(1), exact.flatten(1)).min() > 0.95


@pytest.mark.parametrize("name", WITH_BASELINE)
def test_every_baseline_is_another_map_of_the_same_clip_whatever_its_batch(name: str) -> None:
    few = {"kernel-shap": {"samples": 30}, "lime": {"samples": 30}, "rise": {"masks": 30}}.get(name, {})
    classifier = toy_classifier({"rectifiers"}) if name == "deeplift" else LinearEar()
    batch = toy_batch(2) if name == "deeplift" else sounds()
    maps = {
        baseline: method(name, baseline=baseline, **few).explain(classifier, batch, TARGET).map
        for baseline in ("silence", *SOUNDS)
    }
    alone = method(name, baseline="mean", **few).explain(classifier, batch.slice(1, 2), TARGET[1:]).map
    torch.testing.assert_close(alone[0], maps["mean"][1], rtol=1e-3, atol=1e-3 * float(alone.abs().max()))
    for one, other in (("silence", "mean"), ("silence", "noise"), ("mean", "noise")):
        assert not torch.allclose(maps[one], maps[other], rtol=1e-2)


def test_a_sound_as_baseline_is_refused_where_pictures_are_fed(synth: Synth) -> None:
    explainer = method("integrated-gradients", baseline="mean")
    config = replace(config_of(synth, {"mine": explainer, "energy": method("energy")}), protocol=SPECTROGRAM)
    found, refused = methods_on(config, loaded_model(toy_classifier()))
    assert [pair.name for pair in found] == ["energy"]
    assert refused == {
        "mine": "has the baseline mean, a sound, and the protocol spectrogram feeds pictures; use --protocol standard"
    }
    with pytest.raises(ExplanationError, match="the classifier is fed pictures; use silence"):
        explainer.explain(toy_classifier(), toy_batch(1, heard=False), TARGET[:1])


def test_completeness_is_judged_against_the_baseline_of_the_method() -> None:
    """Integrated gradients add up to the difference from their own baseline, and from no other."""
    batch, classifier = sounds(), LinearEar()
    forwarder = Forwarder(classifier, 16)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    explainer = method("integrated-gradients", baseline="mean")
    maps = explainer.explain(classifier, batch, clean.target).map
    gaps = {}
    for one in (explainer, method("integrated-gradients", baseline="noise"), method("saliency")):
        context = ScoringContext(clean, maps, BoundExplainer(one, forwarder))
        gaps[one.parameters.get("baseline")] = registry.create("metrics", "completeness").score(context, None).values
    assert gaps["mean"].max() < 1e-3
    assert gaps["noise"].min() > 0.01
    assert gaps[None].min() > 0.01
