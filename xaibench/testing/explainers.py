"""The contract of explainers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.capabilities import GROUND_TRUTH, missing_members
from xaibench.classifiers.forward import Forwarder
from xaibench.errors import XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation, Polarity, defects, validate
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.storage import provenance
from xaibench.testing.common import check_words, close, require, reversed_batch
from xaibench.testing.toys import toy_batch, toy_classifier
from xaibench.testing.trained import check_fit
from xaibench.testing.unchanged import unchanged


def check_explainer(explainer: Explainer | type[Explainer], classifier: Classifier | None = None) -> None:
    """Check every promise of an explainer on toy sound.

    A trained explainer is fitted here, for two epochs if it has a setting `epochs`.

    Args:
        explainer: an explainer, or its class.
        classifier: replaces the toy one; needed where the explainer requires what no toy offers.

    Raises:
        AssertionError: the promise that is broken.
        UnsupportedPairError: no toy offers what the explainer requires, and no classifier is given.
    """
    method = explainer() if isinstance(explainer, type) else explainer
    check_words(method, ("title", "family", "reference", "description"))
    require(getattr(method, "polarity", None) in get_args(Polarity), f"polarity must be one of {get_args(Polarity)}")
    named = isinstance(method.requires, frozenset) and all(isinstance(name, str) for name in method.requires)
    require(named, f"requires must be a frozenset of names of capabilities, not {method.requires!r}")
    _check_parameters(method)
    if classifier is None:
        classifier = toy_classifier(method.requires - {GROUND_TRUTH})
    _check_offers(method, classifier)
    _check_refusals(method, classifier)

    batch = toy_batch().to(classifier.device)
    if GROUND_TRUTH not in method.requires:
        batch = replace(batch, ground_truth=None)  # a method that reads it must say so
    target = Forwarder(classifier, len(batch)).logits_of_clips(batch).argmax(dim=1)
    if isinstance(method, TrainableExplainer) and method.fittable:  # else it comes with weights for this classifier
        check_fit(method, classifier, batch, target)
    explain = _Watched(method, classifier)
    whole = explain(batch, target, "a batch of three")
    for i, defect in enumerate(defects(whole.map)):
        require(defect is None, f"{defect} (clip {i} of the toy batch)")
    if method.native_mask:
        low, high = float(whole.map.min()), float(whole.map.max())
        require(low >= 0 and high <= 1, f"native_mask promises values from 0 to 1, the map has {low:.3g} to {high:.3g}")
    _check_randomness(explain, batch, target, whole)
    _check_independence(explain, batch, target, whole)
    first = batch.slice(0, 1)
    explain(first.changed(torch.zeros_like(first.x), classifier.domain), target[:1], "a silent clip")
    _check_interruption(method, classifier, batch.slice(0, 1), target[:1])


def _check_parameters(method: Explainer) -> None:
    try:
        provenance.plain(method.parameters)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"parameters must be plain JSON values, they are written to the results: {error}"
        ) from None


def _check_offers(method: Explainer, classifier: Classifier) -> None:
    for name in method.requires & classifier.capabilities:
        lacking = missing_members(name, classifier)
        require(not lacking, f"{classifier.name} offers '{name}' but has no {', '.join(lacking)}")


def _check_refusals(method: Explainer, classifier: Classifier) -> None:
    refusal = method.refusal(classifier, has_ground_truth=True)
    require(refusal is None, f"refusal() turns down {classifier.name}, which has all it needs: {refusal}")
    for need in method.requires:
        lacking = copy.copy(classifier)
        lacking.capabilities = classifier.capabilities - {need}
        refusal = method.refusal(lacking, has_ground_truth=need != GROUND_TRUTH)
        require(
            isinstance(refusal, str) and refusal, f"refusal() gives no reason where '{need}' is missing: {refusal!r}"
        )


class _Watched:
    """Explains, and asserts the contract of the explanation and that nothing else has changed."""

    def __init__(self, method: Explainer, classifier: Classifier) -> None:
        self._method, self._classifier = method, classifier

    def __call__(self, batch: Batch, target: Tensor, situation: str) -> Explanation:
        with unchanged(self._classifier, batch, target, f"explain() of {situation}"):
            try:
                explanation = self._method.explain(self._classifier, batch, target)
            except Exception as error:
                raise AssertionError(
                    f"explain() of {situation} raised {type(error).__name__}: {error}; "
                    "declare in `requires` what it needs"
                ) from error
        try:
            validate(explanation, tuple(batch.x.shape))
        except XaibenchError as error:
            raise AssertionError(str(error)) from None
        require(explanation.map.device == batch.x.device, f"the map is on {explanation.map.device}, not with the clips")
        shape = explanation.native_shape
        image: tuple[int, int] = batch.picture_shape
        if isinstance(self._classifier, PictureClassifier):
            image = self._classifier.front_end.image_size
        largest = [max(sizes) for sizes in zip(batch.picture_shape, image, strict=True)]
        plausible = len(shape) == 2 and all(
            isinstance(n, int) and 1 <= n <= most for n, most in zip(shape, largest, strict=True)
        )
        require(plausible, f"native_shape {shape} is no (freq, time) resolution")
        return explanation


def _check_randomness(explain: _Watched, batch: Batch, target: Tensor, whole: Explanation) -> None:
    remedy = "draw only from batch.generator(index, purpose)"
    with seeded(1):
        again = explain(batch, target, "the same batch again")
    require(close(whole.map, again.map), f"the same clips and seed gave two maps; {remedy}")
    other = explain(replace(batch, seed=batch.seed + 1), target, "another seed")
    if close(whole.map, other.map):
        return  # draws nothing
    reseeded = explain(_Reseeded(**vars(batch)), target, "other draws of the generators")
    require(close(other.map, reseeded.map), f"the map depends on the seed other than by batch.generator; {remedy}")


def _check_independence(explain: _Watched, batch: Batch, target: Tensor, whole: Explanation) -> None:
    backwards = explain(reversed_batch(batch), target.flip(0), "a reversed batch").map.flip(0)
    require(close(whole.map, backwards), "a clip's map depends on the order of the batch")
    for i in range(len(batch)):
        alone = explain(batch.slice(i, i + 1), target[i : i + 1], "a batch of one")
        require(close(whole.map[i : i + 1], alone.map), "a clip's map depends on the other clips of its batch")


class _Interruption(Exception):
    """Raised inside a forward pass to see what an explainer leaves behind."""


class _Interrupter:
    """Counts the classifier's forward passes inside `with`, and raises in the middle of one of them."""

    def __init__(self, classifier: Classifier, stop: int = 0) -> None:
        self.passes, self._stop = 0, stop
        # What is not a module of its own is caught at the first module that runs.
        self._tap = next((one for one in classifier.modules() if isinstance(one, nn.Identity)), classifier)

    def __enter__(self) -> _Interrupter:
        self._handle = self._tap.register_forward_pre_hook(self._pass)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _pass(self, module: nn.Module, args: object) -> None:
        self.passes += 1
        if self.passes == self._stop:
            raise _Interruption("the conformance kit stopped this forward pass")


def _check_interruption(method: Explainer, classifier: Classifier, batch: Batch, target: Tensor) -> None:
    with _Interrupter(classifier) as counter:
        method.explain(classifier, batch, target)
    stops = {1, counter.passes // 2 + 1, counter.passes} if counter.passes else set()
    for stop in sorted(stops):
        raised = False
        with unchanged(classifier, batch, target, "an exception inside the classifier's forward pass"):
            try:
                with _Interrupter(classifier, stop):
                    method.explain(classifier, batch, target)
            except Exception:
                raised = True  # wrapped or not; what it may not do is go on as if nothing had been
        require(raised, "explain() hides an exception of the classifier's forward pass")


class _Reseeded(Batch):
    """A batch whose generators belong to the next seed although `seed` does not say so."""

    def generator(self, index: int, purpose: str) -> torch.Generator:
        return Batch(self.x, self.clip_ids, self.seed + 1).generator(index, purpose)
