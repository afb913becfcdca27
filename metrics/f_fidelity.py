"""F-Fidelity: what random parts of an explanation are worth to a judge that is used to missing parts.

FFid+ takes a random half of the most important bins out, FFid- a random half of all others. The judge is the
classifier, trained further on clips with up to half of their bins taken out at random (`xaibench judge`), so that
neither is unlike what it knows. A random half, and not all, since the place of a whole mask may say what was in it.

In the paper's notation alpha+ = alpha- = 0.5, as in its authors' code, and beta, the share that training takes out at
most, is 0.5, where that code has 0.1: it was chosen here so that half of the nine tenths of FFid- is within what was
learned, and so that no mask has to be cut short. The explanation is the 10% of the bins that boards show. What else
differs is in metrics/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaibench.results.areas import PRIMARY_AREA
from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.domain import Picture

DRAWS = 10
SHARE = 0.5

Among = Literal["most important", "others"]


@dataclass(frozen=True)
class WithoutHalf(Perturbation):
    """The clip without a random half of some of its bins.

    Attributes:
        among: the 10% most important bins, or all others.
        draw: number of the half: the same bins for all methods, as far as they are among those.
    """

    among: Among
    draw: int

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        top = context.mask(PRIMARY_AREA)
        return context.left(~(_half(context, self.draw) & (top if self.among == "most important" else ~top)))


def _half(context: ScoringContext, draw: int) -> Tensor:
    """Draw half of the bins of each clip, bool (batch, freq, time)."""
    batch = context.clean.batch

    def drawn() -> Tensor:
        generators = (batch.generator(i, f"F-Fidelity {draw}") for i in range(len(batch)))
        return torch.stack([torch.rand(batch.picture_shape, generator=one) < SHARE for one in generators])

    return context.clean.shared((__name__, draw), lambda: drawn().to(batch.x.device))


class _FFidelity(Metric):
    family = "faithfulness"
    reference = "Zheng et al., F-Fidelity, arXiv 2410.02970"
    bounds = (-1.0, 1.0)
    cost = f"{DRAWS} of the judge"
    needs_judge = True
    protocols = frozenset({"standard"})
    among: Among

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        judged = context.judged
        halves = [WithoutHalf(self.among, draw) for draw in range(DRAWS)]
        judged.require(halves)
        p = torch.stack([judged.p_changed(one) for one in halves]).mean(dim=0)
        other = judged.clean.predicted != context.clean.predicted
        return scores(judged.p_full - p, other, "the judge decides for another class than the classifier")


class FineTunedFidelityPlus(_FFidelity):
    title = "FFid+"
    description = (
        "how much probability the predicted class loses, in the ears of a judge that is used to missing parts, without "
        "half of the most important bins"
    )
    formula = "mean over 10 random halves R of the 10% most important bins of p_c(x) - p_c(x without R), p the judge's"
    traps = (
        "it is the judge that is asked, and not the classifier; clips on which they differ are left out and counted. "
        "A judge that guesses what is missing loses little by anything"
    )
    higher_is_better = True
    among = "most important"


class FineTunedFidelityMinus(_FFidelity):
    title = "FFid-"
    description = (
        "how much probability the predicted class loses, in the ears of a judge that is used to missing parts, without "
        "half of all bins but the most important"
    )
    formula = "mean over 10 random halves R of all bins but the 10% most important of p_c(x) - p_c(x without R)"
    traps = "of scattered maps nearly the same, whatever they say: nine tenths of the bins are 'all others'"
    higher_is_better = False
    among = "others"
