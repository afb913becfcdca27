"""Axioms: conditions that an attribution should satisfy by its definition.

Both metrics use the signed attribution, and the function that the methods attribute: the explained class's logit at
the temperature, with the baseline of the method, which is silence if it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.cells import CELLS_PER_SIDE, cell_count, cell_means
from xaibench.sound.fills import FILLS, SILENCE, fill_of

from ._cells import CellsSilenced, drops

LEAST_CHANGE = 0.01  # of the logit at the temperature, 1% of odds; division by less would amplify rounding (1e-6)
INSIGNIFICANT = 1e-5  # relative to the largest cell's attribution, and in probability; Quantus's threshold
_MOST_CELLS = CELLS_PER_SIDE**2


@dataclass(frozen=True)
class OneCellSilenced(CellsSilenced):
    """The spectrogram without one of its cells.

    Attributes:
        cell: number of the cell; nothing is silenced if the spectrogram has fewer cells.
    """

    depends_on_map = False
    cell: int

    def chosen(self, context: ScoringContext) -> Tensor:
        batch = context.clean.batch
        numbers = torch.arange(cell_count(batch.picture_shape), device=batch.x.device)
        return (numbers == self.cell).expand(len(batch), -1)


class Completeness(Metric):
    title = "Complete"
    family = "axioms"
    reference = "Sundararajan et al., Integrated Gradients, arXiv 1703.01365, proposition 1"
    description = "how far the attributions are from adding up to the logit of the clip minus that of the baseline"
    formula = (
        "|sum of A - (f(x) - f(x'))| / |f(x) - f(x')|, A signed, f the logit of c at the temperature, x' the method's "
        "baseline, silence if it has none"
    )
    traps = (
        "means nothing for maps that do not claim to add up (attention, saliency, GradCAM, PIQ); the clips whose logit "
        "is nearest to that of silence dominate a mean over clips, so read medians"
    )
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "0; 1 where the method's baseline is a sound (shared)"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        baseline = context.explainer.method.parameters.get("baseline", SILENCE)
        baseline = baseline if baseline in FILLS else SILENCE
        change = context.of_target(context.clean.logits - _of_baseline(context, baseline))
        total = context.attribution.flatten(1).double().sum(dim=1)
        reason = f"the clip's logit differs from that of {baseline} by less than {LEAST_CHANGE}"
        return scores((total - change).abs() / change.abs(), change.abs() < LEAST_CHANGE, reason)


class NonSensitivity(Metric):
    title = "Non-Sens"
    family = "axioms"
    reference = "Nguyen and Rodriguez Martinez, arXiv 2007.07584: non-sensitivity"
    description = "share of cells that have no attribution although they matter, or have one although they do not"
    formula = (
        "share of 12 x 12 cells where exactly one holds: mean |A| is at most 1e-5 of the largest cell's; "
        "|p_c(x) - p_c(x without the cell)| < 1e-5"
    )
    traps = "only zeros count: a map that is small and wrong everywhere scores 0; a sparse map has many zero cells"
    higher_is_better = False
    bounds = (0.0, 1.0)
    cost = f"{_MOST_CELLS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [OneCellSilenced(cell) for cell in range(_MOST_CELLS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        attribution = cell_means(context.attribution.abs())
        without = attribution <= INSIGNIFICANT * attribution.amax(dim=1, keepdim=True)
        changes = drops(context, self.perturbations(()))[:, : attribution.shape[1]]
        indifferent = changes.abs() < INSIGNIFICANT
        return scores((without ^ indifferent).double().mean(dim=1))


def _of_baseline(context: ScoringContext, name: str) -> Tensor:
    """Return the logits of a fill of the clips, float64 (batch, classes)."""
    clean, forwarder = context.clean, context.explainer.forwarder
    fill = fill_of(name, clean.batch, context.classifier.domain)
    if fill is None:
        return clean.silence.expand_as(clean.logits)
    batch = replace(clean.batch, waveform=fill.waveform)
    return clean.shared(("axioms", "baseline", name), lambda: forwarder.logits_of_clips(batch))
