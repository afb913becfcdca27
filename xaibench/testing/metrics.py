"""The contract of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores
from xaibench.sound.batch import Batch
from xaibench.sound.events import SEGMENTS_PER_SECOND
from xaibench.sound.randomness import seeded
from xaibench.testing.common import TOLERANCE, check_words, require, reversed_batch
from xaibench.testing.toys import CLASSES, toy_batch, toy_classifier
from xaibench.testing.unchanged import unchanged

SEGMENTS = 6  # of a clip: no promise depends on its length, and what the check takes does


def check_metric(metric: Metric | type[Metric]) -> None:
    """Check every promise of a metric on toy sound.

    Raises:
        AssertionError: the promise that is broken.
    """
    scorer = metric() if isinstance(metric, type) else metric
    check_words(scorer, ("title", "family", "reference", "description", "formula", "traps", "cost"))
    for flag in ("higher_is_better", "per_area", "needs_ground_truth", "needs_events", "in_default_set"):
        require(isinstance(getattr(scorer, flag, None), bool), f"{flag} must be True or False")
    require(
        scorer.soft_mask in ("never", "also", "only"), f"soft_mask must be never, also or only, not {scorer.soft_mask}"
    )
    bounds: Any = getattr(scorer, "bounds", ())
    require(len(bounds) == 2 and bounds[0] < bounds[1], f"bounds must be (smallest, largest), not {bounds}")
    for one in scorer.perturbations(AREAS):
        require(isinstance(one, Perturbation), f"perturbations() holds {one!r}, which is no Perturbation")

    batch = toy_batch(heard="standard" in scorer.protocols, seconds=SEGMENTS / SEGMENTS_PER_SECOND)
    if not scorer.needs_ground_truth and not scorer.needs_events:
        batch = replace(batch, ground_truth=None)  # a metric that reads it must say so
    classifier = toy_classifier()
    draws = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(1)) ** 3
    whole = _score(scorer, _context(classifier, batch, draws, 16), "a random map")
    _check_same_values(scorer, classifier, batch, draws, whole)
    _check_odd_input(scorer, classifier, batch.slice(0, 1), draws[:1])


def _check_same_values(
    metric: Metric, classifier: Classifier, batch: Batch, importance: Tensor, whole: list[Scores]
) -> None:
    """In any order, batch and forward batch, with any global random state."""
    # A toy's correlations and differences may all be small: what counts is the range they could have.
    unit = 1.0 if max(map(abs, metric.bounds)) == 1 else 0.0
    with seeded(1):
        backwards = _score(
            metric, _context(classifier, reversed_batch(batch), importance.flip(0), 2), "a reversed batch"
        )
    for i in range(len(batch)):
        lone = _score(metric, _context(classifier, batch.slice(i, i + 1), importance[i : i + 1], 1), "one clip")
        for alone, reverse, together in zip(lone, backwards, whole, strict=True):
            value, slack = together.values[i], TOLERANCE * max(unit, float(together.values.nan_to_num().abs().max()))
            for other, change in ((alone.values[0], "when it is scored alone"), (reverse.values[-1 - i], "in reverse")):
                same = torch.isclose(value, other, rtol=0, atol=slack, equal_nan=True)
                require(same, f"the value of a clip changes {change}: {value:.6g} became {other:.6g}")


def _check_odd_input(metric: Metric, classifier: Classifier, batch: Batch, draws: Tensor) -> None:
    one_bin = torch.zeros_like(draws)
    one_bin[:, 100, 25] = 1.0
    odd_maps = {
        "an all-zero map": torch.zeros_like(draws),
        "a constant map": torch.ones_like(draws),
        "a map of one bin": one_bin,
        "a map of tiny values": 1e-30 * draws,
        "a map of huge values": 1e30 * draws,
    }
    for situation, importance in odd_maps.items():
        _score(metric, _context(classifier, batch, importance, 16), situation)
    certain = _context(classifier, batch, draws, 16)
    only = 1e4 * nn.functional.one_hot(certain.target, len(CLASSES)).double()
    certain.clean = replace(certain.clean, logits=only)
    _score(metric, certain, "a clean probability of 1")
    if batch.ground_truth is not None:
        for situation, known in {"a clip without": torch.zeros_like, "a clip full of": torch.ones_like}.items():
            odd = replace(batch, ground_truth=known(batch.ground_truth))
            _score(metric, _context(classifier, odd, draws, 16), f"{situation} ground truth")


class GradientTimesInput(Explainer):
    """What metrics that ask the method again are checked with."""

    title = "gradient x input"
    reference = "Shrikumar et al., arXiv 1605.01713"
    description = "the gradient of the target's logit times the spectrogram"
    polarity = "absolute"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        x = batch.x.detach().clone().requires_grad_()
        chosen = classifier.logits_of(x, batch.phase, batch.samples).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, x)
        return Explanation(gradient * batch.x, batch.picture_shape)


class _Listening(ScoringContext):
    """A scoring context that remembers which perturbations were read."""

    def __init__(self, clean: Clean, attribution: Tensor, explainer: BoundExplainer) -> None:
        super().__init__(clean, attribution, explainer)
        self.read: set[Perturbation] = set()

    def require(self, wanted: Sequence[Perturbation]) -> None:
        self.read.update(wanted)
        super().require(wanted)


def _context(classifier: Classifier, batch: Batch, importance: Tensor, batch_size: int) -> _Listening:
    forwarder = Forwarder(classifier, batch_size)
    activation = forwarder.classifier.activation
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch), activation=activation)
    if batch.ground_truth is not None:
        clean = replace(clean, events=_events(batch.ground_truth, len(CLASSES)))
    return _Listening(clean, importance.clone(), BoundExplainer(GradientTimesInput(), forwarder))


def _events(ground_truth: Tensor, classes: int) -> Tensor:
    """Tell in which segments each of the classes has ground truth, bool (batch, classes, segments)."""
    frames = ground_truth.any(dim=1).double()
    return (nn.functional.adaptive_avg_pool1d(frames, SEGMENTS) > 0.5)[:, None].repeat(1, classes, 1)


def _score(metric: Metric, context: _Listening, situation: str) -> list[Scores]:
    """Scores at every area and, where it is made for them, of the map as a soft mask; each checked."""
    areas = _areas(metric, context)
    announced = metric.perturbations(areas)
    context.require(announced)
    found = []
    inputs = {"the importance map": context.importance, "the clean probabilities": context.clean.probabilities}
    copies = {name: tensor.clone() for name, tensor in inputs.items()}
    for area in areas if metric.per_area else (None,):
        context.read.clear()
        with unchanged(None, context.clean.batch, context.target, f"score() of {situation}"):
            try:
                result = metric.score(context, area)
            except Exception as error:
                raise AssertionError(
                    f"score() of {situation} raised {type(error).__name__}: {error}; where a value is undefined, "
                    "return NaN with a reason"
                ) from error
        beyond = context.read - set(announced)
        require(not beyond, f"score() reads {sorted(map(repr, beyond))}, which perturbations() does not announce")
        for name, tensor in inputs.items():
            require(torch.equal(tensor, copies[name]), f"score() changed {name}")
        _check_scores(metric, result, len(context), situation)
        found.append(result)
    return found


def _areas(metric: Metric, context: ScoringContext) -> tuple[float | None, ...]:
    """What a run scores it at: equal areas, and the map itself where it may be a soft mask."""
    low, high = context.attribution.aminmax()
    soft = (None,) if metric.soft_mask != "never" and low >= 0 and high <= 1 else ()
    return soft if metric.soft_mask == "only" else (*AREAS, *soft)


def _check_scores(metric: Metric, result: Scores, count: int, situation: str) -> None:
    require(isinstance(result, Scores), f"score() returned {type(result).__name__}, expected Scores")
    values = result.values
    require(
        values.shape == (count,) and values.dtype == torch.float64,
        f"values are {values.dtype} {tuple(values.shape)}, expected float64 ({count},); use xaibench.scores",
    )
    require(len(result.reasons) == count, f"{len(result.reasons)} reasons for {count} clips")
    low, high = metric.bounds
    for value, reason in zip(values.tolist(), result.reasons, strict=True):
        require(reason is None or (isinstance(reason, str) and reason), f"a reason is {reason!r}, expected a sentence")
        if reason is None:
            require(math.isfinite(value), f"{situation} scores {value} without a reason")
            require(low - 1e-9 <= value <= high + 1e-9, f"{situation} scores {value}, outside bounds {metric.bounds}")
        else:
            require(math.isnan(value), f"{situation} scores {value} although it is undefined: {reason}")
