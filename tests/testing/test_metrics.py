"""The conformance kit on metrics: each broken promise is caught and named, and sound ones pass."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from xaibench.scoring.context import Masked, Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.testing import check_metric


class GoodMetric(Metric):
    """Share of the importance in the loudest bin, times what is left of the probability."""

    title = "Good"
    family = "test"
    reference = "none"
    description = "keeps every promise"
    formula = "none"
    traps = "means nothing"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "1 per area"
    per_area = True

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Masked("kept", area) for area in areas]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        assert area is not None
        total = context.importance.double().sum(dim=(1, 2))
        share = context.importance.double().amax(dim=(1, 2)) / total
        return self.finish(context, share * context.p_kept(area), total == 0)

    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(values, undefined, "the map is zero")


class NoTraps(GoodMetric):
    traps = ""


class NoDirection(GoodMetric):
    higher_is_better = None  # type: ignore[assignment]


class BoundsReversed(GoodMetric):
    bounds = (1.0, 0.0)


class WantsAnotherPart(GoodMetric):
    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [("noise", area) for area in areas]  # type: ignore[list-item]


class WantsTooLittle(GoodMetric):
    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Masked("kept", area) for area in areas[:2]]


class OutOfBounds(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(values + 1.5, undefined, "the map is zero")


class SinglePrecision(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return Scores(values.float(), (None,) * len(values))


class OneMean(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return Scores(values.mean(), (None,))


class SilentNan(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(values)


class SilentInfinity(GoodMetric):
    bounds = (0.0, float("inf"))

    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores((context.importance * 1e10).sum(dim=(1, 2)))


class ZeroWithReason(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        result = scores(values, undefined, "the map is zero")
        return Scores(result.values.nan_to_num(), result.reasons)


class RaisesOnZero(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        if undefined.any():
            raise ZeroDivisionError
        return scores(values)


class DividesByCertainty(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores((context.p_full - 1).abs() / (1 - context.p_full), undefined, "the map is zero")


class NormalisesByTheBatch(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(values / values.max(), undefined, "the map is zero")


class RanksInTheBatch(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(torch.linspace(0.2, 0.8, 2 * len(values) + 1)[: len(values)], undefined, "the map is zero")


class DrawsAtRandom(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores(torch.rand(len(values)), undefined, "the map is zero")


class WritesToTheMap(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        context.importance.mul_(0.5)
        return scores(values, undefined, "the map is zero")


class WritesToTheSound(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        context.clean.batch.x.mul_(0.5)
        return scores(values, undefined, "the map is zero")


class ReadsKnownUndeclared(GoodMetric):
    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        return scores((context.importance * context.ground_truth).mean(dim=(1, 2)), undefined, "the map is zero")


class FailsWithoutEvidence(GoodMetric):
    needs_ground_truth = True

    def finish(self, context: ScoringContext, values: Tensor, undefined: Tensor) -> Scores:
        assert context.ground_truth is not None
        size = context.ground_truth.sum(dim=(1, 2))
        return scores(size / size, undefined, "the map is zero")


BAD_METRICS = {
    NoTraps: "traps must be",
    NoDirection: "higher_is_better must be True or False",
    BoundsReversed: r"bounds must be \(smallest, largest\)",
    WantsAnotherPart: r"perturbations\(\) holds \('noise', 0.05\), which is no Perturbation",
    WantsTooLittle: r"reads \[.*Masked\(part='kept', area=0.2\).*\], which perturbations\(\) does not announce",
    OutOfBounds: r"outside bounds \(0.0, 1.0\)",
    SinglePrecision: "values are torch.float32",
    OneMean: r"expected float64 \(3,\)",
    SilentNan: "an all-zero map scores nan without a reason",
    SilentInfinity: "a map of huge values scores inf without a reason",
    ZeroWithReason: "an all-zero map scores 0.0 although it is undefined: the map is zero",
    RaisesOnZero: "score.. of an all-zero map raised ZeroDivisionError",
    DividesByCertainty: "a clean probability of 1 scores nan without a reason",
    NormalisesByTheBatch: "changes when it is scored alone",
    RanksInTheBatch: "changes in reverse",
    DrawsAtRandom: "torch's global random state",
    WritesToTheMap: "changed the importance map",
    WritesToTheSound: r"changed: batch\.x$",
    ReadsKnownUndeclared: "a random map raised TypeError",
    FailsWithoutEvidence: "a clip without ground truth scores nan",
}


def test_a_good_metric_passes() -> None:
    check_metric(GoodMetric)
    check_metric(GoodMetric())


@pytest.mark.parametrize("metric", BAD_METRICS, ids=lambda metric: metric.__name__)
def test_a_bad_metric_is_caught(metric: type[Metric]) -> None:
    with pytest.raises(AssertionError, match=BAD_METRICS[metric]):
        check_metric(metric)
