"""Robustness: how much a method's maps change when the clip hardly changes; and sufficiency, on the same noisy copies.

x is the clip, c the class predicted for it, and e the method's signed map for c. x' is a noisy copy, and e' the
method's map of it for the same c. All norms are Euclidean, over the bins. `_neighbours` makes the copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, with_reasons

from ._neighbours import COPIES, FLOOR, copies, moves, same_prediction

# Agarwal et al.'s epsilon. Logits are rounded at about 1e-6, so a smaller change would not be known to 1e-4.
LOGIT_FLOOR = 0.01
SAME_MAP = 0.2  # largest 1 - cosine between maps that count as the same explanation

_MOVED = "every noisy copy is classified differently from the clip"
_ALONE = f"no noisy copy has a map within {SAME_MAP} (1 - cosine) of the clip's"


class _Robustness(Metric):
    family = "robustness"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = f"{COPIES} explanations (shared)"


class MaxSensitivity(_Robustness):
    title = "Max-Sens"
    reference = "Yeh et al., arXiv 1901.09392, definition 3.1, relative to |e| as in Quantus"
    description = "largest change of the map, relative to its size, among noisy copies of the clip"
    formula = "max over x' of |e' - e| / |e|"
    traps = "a map that ignores the sound never changes: compare with the random and uniform controls, which score 0"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        found = moves(context)
        return with_reasons(found.of_map.amax(dim=0), found.reasons)


class AvgSensitivity(_Robustness):
    title = "Avg-Sens"
    reference = "Yeh et al., arXiv 1901.09392; Bhatt et al., arXiv 2005.00631, definition 2; relative to |e|"
    description = "mean change of the map, relative to its size, over noisy copies of the clip"
    formula = "mean over x' of |e' - e| / |e|"
    traps = "a map that ignores the sound never changes: compare with the random and uniform controls, which score 0"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        found = moves(context)
        return with_reasons(found.of_map.mean(dim=0), found.reasons)


class LocalLipschitz(_Robustness):
    title = "Lipschitz"
    reference = "Alvarez-Melis and Jaakkola, arXiv 1806.08049, local Lipschitz estimate"
    description = "largest change of the map, in units of its peak, per change of the spectrogram, among noisy copies"
    formula = "max over x' of |e' / max|e'| - e / max|e|| / |x' - x|"
    traps = "maps are divided by their own peaks, so wide maps change more than sparse ones; a near copy may decide"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        found = moves(context)
        return with_reasons((found.of_peaked_map / found.of_input).amax(dim=0), found.reasons)


class _RelativeStability(_Robustness):
    cost = f"{COPIES}, and {COPIES} explanations (both shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return copies()

    def _largest(self, context: ScoringContext, change: Tensor) -> Scores:
        """Find the largest relative change of the map per `change` (copies, batch), over copies of the clip's class."""
        found = moves(context)
        same = same_prediction(context)
        ratios = (found.of_map_per_bin / change).masked_fill(~same, -torch.inf)
        unlike = (~same).all(dim=0).tolist()
        reasons = [reason or (_MOVED if moved else None) for reason, moved in zip(found.reasons, unlike, strict=True)]
        return with_reasons(ratios.amax(dim=0), reasons)


class RelativeInputStability(_RelativeStability):
    title = "RIS"
    reference = "Agarwal et al., arXiv 2203.06877, equation 2"
    description = "largest relative change of the map per relative change of the spectrogram, among noisy copies"
    formula = "max over x' classified as x of |(e' - e) / e| / max(|(x' - x) / x|, 1e-6), bin by bin"
    traps = (
        "the bins where e, or x, is nearly 0 decide, so values span many orders of magnitude; compare ranks or "
        "medians, not means"
    )

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return self._largest(context, moves(context).of_input_per_bin.clamp(min=FLOOR))


class RelativeOutputStability(_RelativeStability):
    title = "ROS"
    reference = "Agarwal et al., arXiv 2203.06877, equation 5"
    description = "largest relative change of the map per change of the logits, among noisy copies"
    formula = "max over x' classified as x of |(e' - e) / e| / max(|h(x') - h(x)|, 0.01), h the logits"
    traps = (
        "the bins where e is nearly 0 decide, so values span many orders of magnitude; compare ranks or medians, not "
        "means"
    )

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        change = [(context.logits(one) - context.clean.logits).norm(dim=1) for one in copies()]
        return self._largest(context, torch.stack(change).clamp(min=LOGIT_FLOOR))


class Sufficiency(Metric):
    title = "Sufficiency"
    family = "faithfulness"
    reference = "Dasgupta et al., arXiv 2202.00734, local sufficiency; the clip's noisy copies are the population"
    description = "share of copies that are classified as the clip is, among noisy copies with nearly the same map"
    formula = f"share of x' classified as x among those with 1 - cos(e', e) <= {SAME_MAP}"
    traps = "maps that change with any noise have few copies left, or none; a map that never changes gets the base rate"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = f"{COPIES}, and {COPIES} explanations (both shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return copies()

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        found = moves(context)
        explained = found.angle <= SAME_MAP
        count = explained.sum(dim=0)
        share = (explained & same_prediction(context)).sum(dim=0).double() / count
        alone = (count == 0).tolist()
        reasons = [reason or (_ALONE if none else None) for reason, none in zip(found.reasons, alone, strict=True)]
        return with_reasons(share, reasons)
