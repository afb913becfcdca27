"""What the benchmark asks of a metric: one value per clip, and what is needed to read it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from xaibench.explaining.explainer import Explainer
from xaibench.scoring.context import Perturbation, ScoringContext

LEAST_P = 1e-3  # a ratio to a smaller probability says nothing: it would be that of two roundings


@dataclass(frozen=True)
class Scores:
    """Values (batch,) of one metric, and per clip why a value is undefined (NaN), or None."""

    values: Tensor
    reasons: tuple[str | None, ...]


class Metric(abc.ABC):
    """A metric; subclasses declare what it is and implement `score`.

    Attributes:
        title: short name used in tables.
        family: group shown together.
        reference: paper and equation.
        description: one sentence on what a value means.
        formula: the definition in one line; c is the class predicted for the clean clip x.
        traps: what the value does not mean.
        higher_is_better: the direction, said once for sorting, arrows, colours and tests.
        bounds: smallest and largest possible value.
        cost: forward passes per clip, in words, and explanations where it asks for new ones.
        in_default_set: scored, by its own protocol, unless metrics are named; for the cheap ones.
        per_area: scored once at every area of the protocol, with `area` given; else once, with None.
        needs_ground_truth: defined only where the event's place is known.
        needs_events: defined only where it is known when events are heard; reads `context.event_segments`.
        needs_judge: asks `context.judged`; scored only where the classifier has a judge (`classifiers.judge`).
        soft_mask: whether it is scored, with None for the area, of a method's own soft mask too:
            "also", "only" (and never of equal areas), or "never".
        reads_masks_only: whether masks are all that it reads of a map (`Masked`, `context.mask`). Other metrics do not
            score a control that attenuates, whose masks are not those of its map.
        protocols: names of the protocols whose numbers it reads; a run scores the metrics of one protocol.
    """

    title: ClassVar[str]
    family: ClassVar[str]
    reference: ClassVar[str]
    description: ClassVar[str]
    formula: ClassVar[str]
    traps: ClassVar[str]
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]
    cost: ClassVar[str]
    in_default_set: ClassVar[bool] = False
    per_area: ClassVar[bool] = False
    needs_ground_truth: ClassVar[bool] = False
    needs_events: ClassVar[bool] = False
    needs_judge: ClassVar[bool] = False
    soft_mask: ClassVar[Literal["never", "also", "only"]] = "never"
    reads_masks_only: ClassVar[bool] = False
    protocols: ClassVar[frozenset[str]] = frozenset({"standard", "spectrogram"})

    @abc.abstractmethod
    def score(self, context: ScoringContext, area: float | None) -> Scores:
        """One value per clip.

        Args:
            context: importance maps and what the classifier says of their parts.
            area: where `per_area`, share of bins in the mask, or None for the method's soft mask.

        Returns:
            Values (batch,), NaN with a reason where undefined.
        """

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        """The perturbations whose logits it will read, so that all metrics' can be forwarded together."""
        return []

    def applies_to(self, method: Explainer) -> bool:
        """Whether its protocol scores this method by it; no rows are written where not."""
        return self.reads_masks_only or not method.attenuates


def scores(values: Tensor, undefined: Tensor | None = None, reason: str = "") -> Scores:
    """Values with NaN and one reason wherever `undefined` (bool, (batch,)) is True."""
    values = values.double()
    if undefined is None:
        return Scores(values, (None,) * len(values))
    values = values.masked_fill(undefined, float("nan"))
    return Scores(values, tuple(reason if flag else None for flag in undefined.tolist()))


def decisions(p: Tensor, target: Tensor) -> Scores:
    """1 where the target is the most probable class of p (batch, classes), else 0; undefined if it is the only one."""
    only = torch.full((len(p),), p.shape[1] == 1, device=p.device)
    return scores(p.argmax(dim=1) == target, only, "the classifier has one class, which any part keeps")


def ratios(values: Tensor, p: Tensor) -> Scores:
    """Values (batch,) that were divided by the probability p of the explained class; undefined where it is too small.

    The predicted class is seldom so improbable; a label may be.
    """
    return scores(values, p < LEAST_P, f"the probability of the class is below {LEAST_P:g}: no ratio to it counts")


def with_reasons(values: Tensor, reasons: Sequence[str | None]) -> Scores:
    """Values (batch,) with NaN wherever there is a reason."""
    undefined = torch.tensor([reason is not None for reason in reasons], device=values.device)
    return Scores(values.double().masked_fill(undefined, float("nan")), tuple(reasons))
