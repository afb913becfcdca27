"""The conformance kit on explainers: each broken promise is caught and named, and sound ones pass."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import UnsupportedPairError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.sound.batch import Batch
from xaibench.testing import check_explainer, toy_batch, toy_classifier


class Good(Explainer):
    """Gradient plus noise from the clip's own generator, by way of a hook and a forward pass."""

    title = "Good"
    reference = "none"
    description = "keeps every promise"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        seen: list[Tensor] = []
        hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            x = batch.x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(classifier.picture_logits(x).gather(1, target[:, None]).sum(), x)
        finally:
            hook.remove()
        noise = [torch.rand(batch.picture_shape, generator=batch.generator(i, "good")) for i in range(len(batch))]
        return self.finish(batch, gradient / gradient.abs().amax(dim=(1, 2), keepdim=True) + torch.stack(noise))

    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution, batch.picture_shape)


class NoTitle(Good):
    title = " "


class NoPolarity(Good):
    polarity = "signed"  # type: ignore[assignment]


class NeedsLetters(Good):
    requires = "attentions"  # type: ignore[assignment]


class TensorParameter(Good):
    parameters = {"weights": torch.ones(2)}


class RefusesAll(Good):
    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        return "I would rather not"


class RefusesNothing(Good):
    requires = frozenset({"modulation"})

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        return None


class ReturnsTensor(Good):
    def finish(self, batch, attribution):  # type: ignore[no-untyped-def]
        return attribution


class WrongShape(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution[:, ::2], batch.picture_shape)


class Integers(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation((100 * attribution).int(), batch.picture_shape)


class HoldsNan(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        attribution[-1, 0, 0] = torch.nan
        return Explanation(attribution, batch.picture_shape)


class FinerThanTheGrid(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution, (80_000, 1))


class DividesByTheBatch(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution / len(batch), batch.picture_shape)


class KnowsItsPosition(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        weight = torch.tensor([1.0, 2.0, 1.0])[: len(batch)] if len(batch) > 1 else torch.ones(1)
        weight = weight + 0.1 * torch.arange(len(batch))
        return Explanation(attribution * weight[:, None, None], batch.picture_shape)


class ReadsEvidenceUndeclared(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution * batch.ground_truth, batch.picture_shape)


class FailsOnSilence(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        if (batch.x == 0).all():
            raise ValueError("nothing to hear")
        return Explanation(attribution, batch.picture_shape)


class DrawsFromTorch(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution + torch.rand_like(attribution), batch.picture_shape)


class DrawsFromNumpy(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution * float(np.random.rand()), batch.picture_shape)


class DrawsFromPython(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution * random.random(), batch.picture_shape)


class ForksButDoesNotSeed(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        with torch.random.fork_rng(devices=[]):
            return Explanation(attribution + torch.rand(batch.picture_shape), batch.picture_shape)


class DrawsFromTheMachine(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        return Explanation(attribution * np.random.default_rng().random(), batch.picture_shape)


class SeedsItself(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        generator = torch.Generator().manual_seed(batch.seed)
        return Explanation(attribution + torch.rand(batch.picture_shape, generator=generator), batch.picture_shape)


class WritesToTheInput(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        batch.x.clamp_(max=0.5)
        return Explanation(attribution, batch.picture_shape)


class TracksTheInput(Good):
    def finish(self, batch: Batch, attribution: Tensor) -> Explanation:
        batch.x.requires_grad_()
        return Explanation(attribution, batch.picture_shape)


class WritesToTheTarget(Good):
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        explanation = super().explain(classifier, batch, target)
        target.zero_().add_(3)
        return explanation


class Changes(Good):
    """Changes the classifier, in a way that subclasses choose."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        self.change(classifier)
        return super().explain(classifier, batch, target)

    def change(self, classifier: Classifier) -> None:
        raise NotImplementedError


class LeavesHook(Changes):
    def change(self, classifier: Classifier) -> None:
        classifier.feature_maps.register_forward_hook(lambda module, args, output: None)


class LeavesTrainingMode(Changes):
    def change(self, classifier: Classifier) -> None:
        classifier.train()


class LeavesGradientsOn(Changes):
    def change(self, classifier: Classifier) -> None:
        classifier.requires_grad_(True)


class LeavesGradients(Changes):
    def change(self, classifier: Classifier) -> None:
        parameter = next(classifier.parameters())
        parameter.grad = torch.zeros_like(parameter)


class LeavesOtherWeights(Changes):
    def change(self, classifier: Classifier) -> None:
        next(classifier.parameters()).data.mul_(1.01)


class LeavesOtherStatistics(Changes):
    def change(self, classifier: Classifier) -> None:
        dict(classifier.named_buffers())["blocks.0.1.running_mean"].add_(0.01)


class LeavesOtherTemperature(Changes):
    def change(self, classifier: Classifier) -> None:
        classifier.temperature = 2.0


class LeavesPatchedForward(Changes):
    def change(self, classifier: Classifier) -> None:
        classifier.forward = classifier.logits  # type: ignore[method-assign]


class LeavesEagerAttention(Changes):
    requires = frozenset({"attentions"})

    def change(self, classifier: Classifier) -> None:
        classifier.backbone.set_attn_implementation("eager")  # type: ignore[operator, union-attr]


class LeavesHookAfterException(Good):
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: None)
        explanation = super().explain(classifier, batch, target)
        hook.remove()
        return explanation


class LeavesHookAfterASecondPass(Good):
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        explanation = super().explain(classifier, batch, target)
        hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: None)
        classifier.picture_logits(batch.x)
        hook.remove()
        return explanation


class HidesExceptions(Good):
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        try:
            return super().explain(classifier, batch, target)
        except Exception:
            return Explanation(torch.zeros_like(batch.x), batch.picture_shape)


BAD_EXPLAINERS = {
    NoTitle: "title must be",
    NoPolarity: "polarity must be one of",
    NeedsLetters: "requires must be a frozenset of names of capabilities, not 'attentions'",
    TensorParameter: "parameters must be plain JSON",
    RefusesAll: "turns down toy-cnn, which has all it needs: I would rather not",
    RefusesNothing: "no reason where 'modulation' is missing",
    ReturnsTensor: "returned Tensor, expected an Explanation",
    WrongShape: r"shape \(3, 257, 431\), expected \(3, 513, 431\)",
    Integers: "the map is torch.int32",
    HoldsNan: r"the map holds NaN \(clip 2",
    FinerThanTheGrid: r"native_shape \(80000, 1\)",
    DividesByTheBatch: "depends on the other clips",
    KnowsItsPosition: "depends on the order",
    ReadsEvidenceUndeclared: "declare in `requires`",
    FailsOnSilence: "a silent clip raised ValueError: nothing to hear",
    DrawsFromTorch: "torch's global random state",
    DrawsFromNumpy: "numpy's global random state",
    DrawsFromPython: "python's global random state",
    ForksButDoesNotSeed: "same clips and seed gave two maps; draw only from batch.generator",
    DrawsFromTheMachine: "same clips and seed gave two maps",
    SeedsItself: "depends on the seed other than by batch.generator",
    WritesToTheInput: r"changed: batch\.x$",
    TracksTheInput: r"changed: batch\.x\.requires_grad$",
    WritesToTheTarget: "changed: the target$",
    LeavesHook: r"changed: feature_maps\._forward_hooks",
    LeavesTrainingMode: r"toy-cnn\.training",
    LeavesGradientsOn: r"blocks\.0\.0\.weight\.requires_grad",
    LeavesGradients: r"changed: blocks\.0\.0\.weight\.grad$",
    LeavesOtherWeights: r"changed: blocks\.0\.0\.weight$",
    LeavesOtherStatistics: r"changed: blocks\.0\.1\.running_mean$",
    LeavesOtherTemperature: r"changed: toy-cnn\.temperature$",
    LeavesPatchedForward: r"changed: toy-cnn\.forward$",
    LeavesEagerAttention: r"backbone\.config\._attn_implementation",
    LeavesHookAfterException: "an exception inside the classifier's forward pass left these changed: feature_maps",
    LeavesHookAfterASecondPass: "an exception inside the classifier's forward pass left these changed: feature_maps",
    HidesExceptions: "hides an exception",
}


@pytest.mark.parametrize("requires", [(), ("rectifiers",), ("modulation",), ("attentions",), ("ground_truth",)])
def test_a_good_explainer_passes(requires: Sequence[str]) -> None:
    check_explainer(type("Needy", (Good,), {"requires": frozenset(requires)}))


def test_an_instance_and_a_classifier_may_be_given() -> None:
    class Counts(Good):
        classifiers: set[Classifier] = set()

        def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
            self.classifiers.add(classifier)
            return super().explain(classifier, batch, target)

    own, method = toy_classifier({"modulation"}), Counts()
    check_explainer(method, own)
    assert method.classifiers == {own}


@pytest.mark.parametrize("explainer", BAD_EXPLAINERS, ids=lambda explainer: explainer.__name__)
def test_a_bad_explainer_is_caught(explainer: type[Explainer]) -> None:
    with pytest.raises(AssertionError, match=BAD_EXPLAINERS[explainer]):
        check_explainer(explainer)


def test_what_no_toy_offers_needs_a_classifier() -> None:
    needy = type("Needy", (Good,), {"requires": frozenset({"hope"})})
    with pytest.raises(UnsupportedPairError, match="no toy classifier offers hope; pass a classifier of your own"):
        check_explainer(needy)


def test_the_kit_leaves_global_random_states_alone() -> None:
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    check_explainer(Good)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())


# The toys


@pytest.mark.parametrize("offer", ["rectifiers", "modulation", "attentions"])
def test_a_toy_offers_what_is_asked_and_is_the_same_every_time(offer: str) -> None:
    first, second = toy_classifier({offer}), toy_classifier({offer})
    assert offer in first.capabilities
    assert not first.training
    x = toy_batch().x
    probabilities = first.probabilities(x)
    assert torch.equal(probabilities, second.probabilities(x))
    assert (probabilities.amax(dim=0) - probabilities.amin(dim=0)).max() > 0.01  # it tells clips apart
    quieter = first.probabilities(x * (torch.rand(PICTURE_SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5))
    assert (probabilities - quieter).abs().max() > 0.01  # and hears a mask
    assert (probabilities - first.train().probabilities(x)).abs().max() > 1e-4  # and its mode matters


def test_a_toy_with_everything_is_refused() -> None:
    with pytest.raises(UnsupportedPairError, match="no toy classifier offers attentions, rectifiers"):
        toy_classifier({"rectifiers", "attentions"})


def test_the_toy_batch_sounds() -> None:
    batch = toy_batch(2, seed=5)
    assert batch.x.shape == (2, *PICTURE_SHAPE)
    assert batch.seed == 5
    assert batch.ground_truth is not None
    inside, outside = batch.x[batch.ground_truth].mean(), batch.x[~batch.ground_truth].mean()
    assert inside > 2 * outside
