"""Randomisation: whether the map depends on the classifier's weights, and on the class that is explained.

a is the importance map, c the class predicted for the clean clip, rho Spearman's rank correlation.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xaibench.explaining.explanation import Explanation, defects, importance
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, with_reasons

from ._random_weights import MOST_STAGES, layers, randomise, reset, restored, stages
from ._rank_correlation import Ranks

HISTOGRAM_BINS = 100

_NO_WEIGHTS = "the classifier has no parameters to randomise"
_ONE_CLASS = "the classifier knows one class: there is no other to explain"
_CONSTANT = "all bins of the map have the same importance: they have no order"
_RANDOMISED = "with random weights"


class _Randomisation(Metric):
    family = "randomisation"


class ParameterRandomisation(_Randomisation):
    title = "MPRT"
    reference = "Adebayo et al., Sanity Checks for Saliency Maps, arXiv 1810.03292, cascading randomisation"
    description = "similarity of the map to that of a classifier with ever more random weights, from the output on"
    formula = "mean over stages s of rho(a, a of the classifier whose stages from the output to s are random)"
    traps = (
        "a method that ignores the classifier scores 1, one that returns noise 0: a low value does not mean faithful"
    )
    higher_is_better = False
    bounds = (-1.0, 1.0)
    cost = f"0, and up to {MOST_STAGES} explanations"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        groups = stages(context.classifier)
        if not groups:
            return _all_undefined(len(context), _NO_WEIGHTS)
        found = []
        with restored(context.classifier):
            for group in groups[:-1]:
                randomise(group, _seed(context))
                found.append(_alike(context, _explain(context), _RANDOMISED))
        found.append(_alike(context, _fully_random(context), _RANDOMISED))
        values = torch.stack([one.values for one in found]).mean(dim=0)
        reasons = tuple(next(filter(None, each), None) for each in zip(*(one.reasons for one in found), strict=True))
        return Scores(values, reasons)


class EfficientParameterRandomisation(_Randomisation):
    title = "eMPRT"
    reference = "Hedstroem et al., Sanity Checks Revisited, arXiv 2401.06465: efficient MPRT"
    description = "by how much the map becomes more complex when all weights of the classifier are random"
    formula = f"(H(random) - H(trained)) / H(trained), H the entropy of the signed map's {HISTOGRAM_BINS}-bin histogram"
    traps = "a few extreme values make H small; the rise can be large for that reason alone"
    higher_is_better = True
    bounds = (-1.0, float("inf"))
    cost = "0, and 1 explanation (shared)"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        if not layers(context.classifier):
            return _all_undefined(len(context), _NO_WEIGHTS)
        random = _fully_random(context)
        reasons = _defects(random, _RANDOMISED)
        usable = torch.where(random.map.isfinite(), random.map, 0.0)
        before, after = _histogram_entropy(context.attribution), _histogram_entropy(usable)
        flat = ["all values of the map fall into one bin of the histogram" if one == 0 else None for one in before]
        return with_reasons((after - before) / before, [one or other for one, other in zip(flat, reasons, strict=True)])


class RandomLogit(_Randomisation):
    title = "Logit"
    reference = "Sixt et al., When Explanations Lie, arXiv 1912.09818: random logit test"
    description = "similarity of the maps for the predicted class and for another class"
    formula = "rho(a of c, a of d), d a class drawn from the others for each clip"
    traps = "classes that are recognised by the same bins rightly share a map; a method that ignores the class scores 1"
    higher_is_better = False
    bounds = (-1.0, 1.0)
    cost = "0, and 1 explanation"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        if len(context.classifier.classes) < 2:
            return _all_undefined(len(context), _ONE_CLASS)
        return _alike(context, _explain(context, other_classes(context)), "for another class")


def other_classes(context: ScoringContext) -> Tensor:
    """Draw for each clip a class other than the predicted one, (batch,)."""
    others, batch = len(context.classifier.classes) - 1, context.clean.batch
    draws = [
        torch.randint(others, (), generator=batch.generator(i, "another class to explain")) for i in range(len(batch))
    ]
    drawn = torch.stack(draws).to(context.target)
    return drawn + (drawn >= context.target)


def mprt_by_layer(context: ScoringContext, seed: int = 42) -> dict[str, Tensor]:
    """Compute the rank correlations of MPRT layer by layer, with the weights that Quantus's MPRT draws.

    Layers are the modules with `reset_parameters`, in reverse order of registration. Each is reset after seeding
    with seed + 1, so layers of one shape get the same weights. Other parameters stay trained.

    Returns:
        Correlations (batch,) by layer, from the output to the input; NaN where undefined.
    """
    modules = [pair for pair in context.classifier.named_modules() if hasattr(pair[1], "reset_parameters")]
    found = {}
    with restored(context.classifier):
        for name, module in reversed(modules):
            reset(module, seed + 1)
            found[name] = _alike(context, _explain(context), _RANDOMISED).values
    return found


def _seed(context: ScoringContext) -> int:
    """Return the seed of the random weights, which are drawn once for all clips of a run."""
    return context.clean.batch.seed


def _explain(context: ScoringContext, target: Tensor | None = None) -> Explanation:
    return context.explainer.explain(context.clean.batch, context.target if target is None else target)


def _fully_random(context: ScoringContext) -> Explanation:
    """Explain the clips with all weights random."""

    def compute() -> Explanation:
        with restored(context.classifier):
            randomise(layers(context.classifier), _seed(context))
            return _explain(context)

    return context.shared(("randomisation", "fully random"), compute)


def _alike(context: ScoringContext, other: Explanation, situation: str) -> Scores:
    """Correlate the ranks of the clips' importance with those of another explanation, over the bins that sound."""
    audible = context.clean.batch.audible
    ranks = context.shared(("randomisation", "ranks"), lambda: Ranks.of(context.importance, audible))
    values = ranks.correlate(importance(other.map, context.explainer.method.polarity))
    reasons = [
        _CONSTANT if flat else defect
        for flat, defect in zip(ranks.constant.tolist(), _defects(other, situation), strict=True)
    ]
    undefined = [f"{situation}: {_CONSTANT}" if value.isnan() else None for value in values]
    return with_reasons(values, [known or found for known, found in zip(reasons, undefined, strict=True)])


def _defects(explanation: Explanation, situation: str) -> list[str | None]:
    return [defect and f"{situation}: {defect}" for defect in defects(explanation.map)]


def _histogram_entropy(maps: Tensor) -> Tensor:
    """Compute the entropy in nats of the histogram of each map's values, from smallest to largest, (batch,)."""
    counts = [_histogram(one) for one in maps.flatten(1).double().cpu().numpy()]
    share = torch.from_numpy(np.stack(counts)).to(maps.device).double() / maps[0].numel()
    return torch.special.entr(share).sum(dim=1)


def _histogram(values: np.ndarray) -> np.ndarray:
    if values.min() == values.max():  # numpy widens such a range by 1/2, which vanishes against 1e30
        return np.bincount([0], weights=[len(values)], minlength=HISTOGRAM_BINS)
    return np.histogram(values, HISTOGRAM_BINS)[0].astype(float)


def _all_undefined(count: int, reason: str) -> Scores:
    return with_reasons(torch.zeros(count), [reason] * count)
