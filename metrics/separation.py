"""Separation: whether the sound of the kept part is the event."""

from __future__ import annotations

import torch

from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, with_reasons

_UNKNOWN = "the event's own sound is not known"
_NO_EVENT = "the event's own sound is silence"
_SILENT = "the kept part is silence"
_ORTHOGONAL = "the kept part contains nothing of the event: minus infinity"
_EXACT = "the kept part equals the event to the last bit: infinity"


class ScaleInvariantSdr(Metric):
    title = "SI-SDR"
    family = "localisation"
    reference = "Le Roux et al., SDR - half-baked or well done?, arXiv 1811.02508, scale-invariant SDR"
    description = "level of the event in the sound of the most important bins, relative to everything else in it"
    formula = "10 log10(|k s|^2 / |k s - y|^2) in dB, s the event's stem, y the sound of kept, k = <y, s> / <s, s>"
    traps = "a small area cuts the event too: compare at one area only, and with the oracle and random at this area"
    higher_is_better = True
    bounds = (float("-inf"), float("inf"))
    cost = "0"
    per_area = True
    soft_mask = "also"
    needs_ground_truth = True
    reads_masks_only = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        clean = context.clean
        if clean.waveform is None or clean.stem is None:
            return with_reasons(torch.zeros(len(context)), [_UNKNOWN] * len(context))
        mask = context.mask(area)
        estimate = context.classifier.domain.masked(clean.waveform.to(mask.device), mask).double()
        stem = clean.stem.to(mask.device).double()
        energy = stem.square().sum(dim=1)
        scale = (estimate * stem).sum(dim=1) / energy
        event = scale.square() * energy
        rest = (scale[:, None] * stem - estimate).square().sum(dim=1)
        reasons = [
            _NO_EVENT if s == 0 else _SILENT if y == 0 else _ORTHOGONAL if e == 0 else _EXACT if r == 0 else None
            for s, y, e, r in zip(
                energy.tolist(), estimate.square().sum(dim=1).tolist(), event.tolist(), rest.tolist(), strict=True
            )
        ]
        values = 10 * torch.log10(event / rest)
        return with_reasons(values, reasons)
