"""What is heard of masks: the energy that they remove, and how much of them the heard sound keeps."""

from __future__ import annotations

import math

from torch import Tensor

from xaibench.scoring.context import Masked, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.fills import left


class Bare(Masked):
    """A part of the clip and nothing in the place of the rest, whatever the fill of the run is."""

    def apply(self, context: ScoringContext) -> Tensor:
        bare = left(context.clean.batch, self.shares(context), None, context.classifier.domain)
        assert isinstance(bare, Tensor)
        return bare


class _Heard(Metric):
    family = "complexity"
    reference = "xaibench; the transform back to sound is that of Griffin and Lim, 1984, equation 6"
    higher_is_better = False
    cost = "0"
    per_area = True
    soft_mask = "also"
    reads_masks_only = True
    protocols = frozenset({"standard"})


class EnergyRemoved(_Heard):
    title = "Removed energy"
    description = "share of the clip's energy that is gone once the most important bins are removed"
    formula = "1 - ||removed||^2 / ||x||^2, of the sounds"
    traps = (
        "a budget and not a merit: FF correlates with it at 0.8, so a difference in FF says little where this differs "
        "too. Slightly below 0 where what is removed had cancelled the rest. A fill does not count"
    )
    bounds = (-1.0, 1.0)
    in_default_set = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        waveform = context.clean.batch.waveform
        assert waveform is not None
        whole, rest = _energy(waveform), _energy(context.sound(Bare("removed", area)))
        return scores(1 - rest / whole, whole == 0, "the clip is digital silence")


class MaskInconsistency(_Heard):
    title = "Incons"
    description = "how far the heard kept part is from the mask times the clip's STFT; 0 where the mask can be heard"
    formula = "||STFT(y) - M X|| / ||M X||, y the sound of kept = M X"
    traps = (
        "it judges the mask's shape, not its place: a scattered mask times an STFT is the STFT of no sound, and much "
        "of what is then heard lies in bins that the mask silences"
    )
    # At most 1 if inner frequencies count twice, as their mirrors do, and the edges, 0 Hz and half the rate, once.
    bounds = (0.0, math.sqrt(2))

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        batch, domain, kept = context.clean.batch, context.classifier.domain, Bare("kept", area)
        assert batch.phase is not None
        wanted = domain.coefficients(kept.apply(context), batch.phase)
        size = _energy(wanted)
        gap = _energy(domain.stft(context.sound(kept)) - wanted)
        return scores((gap / size).sqrt(), size == 0, "the kept part is silence")


def _energy(values: Tensor) -> Tensor:
    """Sum |value|^2 of every clip, float64 (batch,)."""
    return values.abs().double().square().flatten(1).sum(dim=1)
