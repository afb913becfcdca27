"""Metrics of the protocol legacy-speechbrain: the values that SpeechBrain's ESC-50 recipes print, clip by clip.

Sources: the recipes `interpret_amt.py` and `train_piq.py` of the source paper (arXiv 2402.02754); docs/protocols.md
lists the facts. p is the softmax of the raw cosines, c the class predicted for the clean clip, kept = mask * x and
removed = (1 - mask) * x on the log1p magnitude x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from xaibench.explaining.explainer import Explainer
from xaibench.scoring.context import Part, Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores

QUANTILE = 0.90
EPS = 1e-10  # added by the recipes to a denominator
SPARSENESS_OFFSET = 1e-7  # added by Quantus's Sparseness to every value
COMPLEXITY_OFFSET = 1e-12  # added by Quantus's Complexity inside the logarithm


def recipe_mask(context: ScoringContext) -> Tensor:
    """Return the recipes' mask, float32 (batch, freq, time): a soft mask as it is, any other map cut at its quantile.

    This is not a mask of equal area: all bins at the quantile are kept, so ties enlarge it.
    """
    maps = context.importance
    if context.explainer.method.native_mask:
        return maps

    def compute() -> Tensor:
        # Clip by clip: torch.quantile refuses more than 16 million values.
        cuts = torch.stack([one.flatten().quantile(QUANTILE) for one in maps])
        return (maps >= cuts[:, None, None]).float()

    return context.shared((__name__, "mask"), compute)


@dataclass(frozen=True)
class RecipeMasked(Perturbation):
    """The spectrogram times the recipes' mask ("kept") or times its complement ("removed")."""

    part: Part

    def apply(self, context: ScoringContext) -> Tensor:
        mask = recipe_mask(context)
        return context.clean.batch.x * (mask if self.part == "kept" else 1 - mask)


KEPT, REMOVED = RecipeMasked("kept"), RecipeMasked("removed")


class _Legacy(Metric):
    family = "legacy"
    protocols = frozenset({"legacy-speechbrain"})
    in_default_set = True
    averaged_per_batch: ClassVar[bool] = False  # whether the recipe prints the mean of its batches' means
    cost = "1 (shared)"
    part: Part | None = "kept"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [] if self.part is None else [RecipeMasked(self.part)]


class _OfMaps(_Legacy):
    """Base of the metrics that `interpret_amt.py` prints; there a map becomes a mask at its quantile."""

    def applies_to(self, method: Explainer) -> bool:
        return not method.native_mask


class _OfMasks(_Legacy):
    """Base of the metrics that `train_piq.py` prints; its interpreter gives a soft mask."""

    def applies_to(self, method: Explainer) -> bool:
        return method.native_mask


class LegacyInputFidelity(_Legacy):
    title = "Fid-In (legacy)"
    reference = "compute_fidelity of SpeechBrain's ESC-50 recipes; Paissan et al., PIQ, arXiv 2303.12659"
    description = "1 if the kept part alone keeps the prediction, else 0"
    formula = "1 if argmax p(kept) = c, else 0"
    traps = "a classifier may predict one class for any sparse input; the recipes print no control"
    higher_is_better = True
    bounds = (0.0, 1.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.probabilities(KEPT).argmax(dim=1) == context.target)


class LegacyFaithfulnessKept(_OfMaps):
    title = "FF of kept (legacy)"
    reference = "compute_faithfulness of SpeechBrain's interpret_amt.py; called FF in arXiv 2402.02754"
    description = "the predicted class's probability lost when only the kept part is left"
    formula = "p_c(x) - p_c(kept)"
    traps = (
        "the opposite of faithfulness: a mask that loses the class scores high, and the paper takes high as better; "
        "at temperature 1 it stays within a few hundredths"
    )
    higher_is_better = True  # as in the paper's table
    bounds = (-1.0, 1.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_changed(KEPT))


class LegacyFaithfulnessRemoved(_OfMasks):
    title = "FF of removed (legacy)"
    reference = "compute_faithfulness of SpeechBrain's train_piq.py"
    description = "the predicted class's probability lost when the mask's complement is left"
    formula = "p_c(x) - p_c(removed)"
    traps = "a soft mask removes a share of every bin; at temperature 1 it stays within a few hundredths"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    part = "removed"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_changed(REMOVED))


class LegacyAverageIncrease(_OfMasks):
    title = "AI (legacy)"
    reference = "compute_AI of SpeechBrain's train_piq.py; Chattopadhyay et al., arXiv 1710.11063"
    description = "100 if the kept part is classified with more confidence than the whole clip, else 0"
    formula = "100 if p_c(kept) > p_c(x), else 0"
    traps = "a rise of 0.0001 counts as much as one of 0.5"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(100.0 * (context.p_changed(KEPT) > context.p_full))


class LegacyAverageDrop(_OfMasks):
    title = "AD (legacy)"
    reference = "compute_AD of SpeechBrain's train_piq.py, which takes the softmax of probabilities"
    description = "percentage of a second softmax's value that is lost when only the kept part is left"
    formula = f"100 max(0, q_c(x) - q_c(kept)) / (q_c(x) + {EPS:g}), q = softmax(p)"
    traps = "the second softmax flattens: q_c is never less than 1/e of another q_c, so no drop exceeds 63.3"
    higher_is_better = False
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        full = context.of_target(torch.softmax(context.clean.probabilities, dim=-1))
        kept = context.of_target(torch.softmax(context.probabilities(KEPT), dim=-1))
        return scores(100 * (full - kept).clamp(min=0) / (full + EPS))


class LegacyAverageGain(_OfMasks):
    title = "AG (legacy)"
    reference = "compute_AG of SpeechBrain's train_piq.py; Zhang et al., Opti-CAM, arXiv 2301.07002"
    description = "percentage of the missing confidence that the kept part gains"
    formula = f"100 max(0, p_c(kept) - p_c(x)) / (1 - p_c(x) + {EPS:g})"
    traps = "at temperature 1 much confidence is missing, and the kept part can hardly gain any of it"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        p_full = context.p_full
        return scores(100 * (context.p_changed(KEPT) - p_full).clamp(min=0) / (1 - p_full + EPS))


class LegacySparseness(_OfMasks):
    title = "SPS (legacy)"
    reference = "compute_sparseness of SpeechBrain's train_piq.py: Quantus's Sparseness; arXiv 1810.06583"
    description = "Gini index of the soft mask"
    formula = f"sum_k (2k - n - 1) a_(k) / (n sum(a)) over the ascending mask a_(1..n), {SPARSENESS_OFFSET:g} added"
    traps = "the recipe keeps one value per batch, the mean over its clips, and prints the mean of these"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"
    part = None
    averaged_per_batch = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        ordered = (recipe_mask(context).flatten(1).double() + SPARSENESS_OFFSET).sort(dim=1).values
        size = ordered.shape[1]
        weight = torch.arange(1 - size, size, 2, dtype=torch.float64, device=ordered.device)
        # By rounding, a constant mask can fall slightly below 0.
        gini = ((ordered * weight).sum(dim=1) / (size * ordered.sum(dim=1))).clamp(min=0)
        return scores(gini, _silent(context), _ZERO_MASK)


class LegacyComplexity(_OfMasks):
    title = "COMP (legacy)"
    reference = "compute_complexity of SpeechBrain's train_piq.py: Quantus's Complexity; arXiv 2005.00631"
    description = "entropy of the soft mask normalised to sum 1"
    formula = f"-sum_i s_i log(s_i + {COMPLEXITY_OFFSET:g}), s = a / sum(a)"
    traps = "the recipe keeps one value per batch, the mean over its clips, and prints the mean of these"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "0"
    part = None
    averaged_per_batch = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        mask = recipe_mask(context).flatten(1).double()
        share = mask / mask.sum(dim=1, keepdim=True)
        return scores(
            -(share * torch.log(share + COMPLEXITY_OFFSET)).sum(dim=1).clamp(max=0), _silent(context), _ZERO_MASK
        )


class LegacyMaskFraction(_Legacy):
    title = "mask fraction (legacy)"
    reference = "the mask of SpeechBrain's ESC-50 recipes"
    description = "mean of the mask: the share of bins kept, or the mean of a soft mask"
    formula = f"mean(mask), mask = [map >= {QUANTILE:g} quantile of the map], or the soft mask"
    traps = (
        "not a score: it is the area at which the other metrics were computed; ties at the quantile raise it above 0.1"
    )
    higher_is_better = False
    bounds = (0.0, 1.0)
    cost = "0"
    part = None

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(recipe_mask(context).flatten(1).mean(dim=1, dtype=torch.float64))


_ZERO_MASK = "the mask is zero everywhere"


def _silent(context: ScoringContext) -> Tensor:
    return recipe_mask(context).flatten(1).sum(dim=1) == 0
