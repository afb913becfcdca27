"""Noisy copies of each clip, and how much explanations change on them; computed once for all robustness metrics.

A copy is drawn uniformly from the spectrograms that differ from the clip by at most a radius in every bin and have no
bin below 0. In 221,103 dimensions all copies of one radius are alike. The radius therefore grows from copy to copy, so
that the copies together sample the ball of the largest radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.explaining.explanation import defects
from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.sound.batch import Batch

COPIES = 8
RADIUS = 0.1  # of the noisiest copy, as a share of the clip's range
FLOOR = 1e-6  # replaces 0 as a divisor of relative changes; Agarwal et al.'s epsilon

_CONSTANT = "every bin of the clip is equal: noise relative to its range changes nothing"
_ZERO = "the map is zero everywhere"


@dataclass(frozen=True)
class Noisy(Perturbation):
    """A noisy copy of each clip, the same one for every method.

    Attributes:
        draw: 0 to COPIES - 1; the radius is RADIUS * (draw + 1) / COPIES of the clip's range.
    """

    depends_on_map = False
    draw: int

    def apply(self, context: ScoringContext) -> Tensor:
        # Every method needs it twice, for maps and for probabilities, and drawing costs a third of a gradient.
        return context.clean.shared(self, lambda: self._draw(context.clean.batch))

    def _draw(self, batch: Batch) -> Tensor:
        noise = [
            torch.rand(batch.picture_shape, generator=batch.generator(i, f"noisy-copy-{self.draw}"))
            for i in range(len(batch))
        ]
        spread = batch.x.amax(dim=(1, 2), keepdim=True) - batch.x.amin(dim=(1, 2), keepdim=True)
        radius = RADIUS * (self.draw + 1) / COPIES * spread
        lowest = (batch.x - radius).clamp(min=0)
        return lowest + torch.stack(noise).to(batch.x.device) * (batch.x + radius - lowest)


@dataclass(frozen=True)
class Moves:
    """Changes from a clip x to its copies x'. e and e' are the signed maps for the class explained of x.

    All attributes except `reasons` are float64 (copies, batch). Norms are Euclidean, over the bins.

    Attributes:
        reasons: per clip, why its maps cannot be compared, or None.
        of_map: |e' - e| / |e|.
        of_peaked_map: |e' / max|e'| - e / max|e||; a map that is zero everywhere stays zero.
        of_map_per_bin: |(e' - e) / e|, dividing by FLOOR * max|e| where e is 0.
        of_input: |x' - x|.
        of_input_per_bin: |(x' - x) / x|, dividing by FLOOR where x is 0.
        angle: 1 - cosine of e' and e; 1 where e' is zero everywhere.
    """

    reasons: tuple[str | None, ...]
    of_map: Tensor
    of_peaked_map: Tensor
    of_map_per_bin: Tensor
    of_input: Tensor
    of_input_per_bin: Tensor
    angle: Tensor


def copies() -> list[Perturbation]:
    """Return all noisy copies, least noise first."""
    return [Noisy(draw) for draw in range(COPIES)]


def moves(context: ScoringContext) -> Moves:
    """Compare the maps and inputs of all copies with the clip's; the method is called once for each copy."""
    return context.shared(("xaibench.metrics._neighbours", "moves"), lambda: _compare(context))


def same_prediction(context: ScoringContext) -> Tensor:
    """Tell which copies are classified as their clip is, bool (copies, batch)."""
    return torch.stack([context.logits(one).argmax(dim=1) == context.clean.predicted for one in copies()])


def _compare(context: ScoringContext) -> Moves:
    batch, target, maps = context.clean.batch, context.target, context.attribution
    constant = (batch.x == batch.x[:, :1, :1]).flatten(1).all(dim=1).tolist()
    zero = (maps == 0).flatten(1).all(dim=1).tolist()
    reasons: list[str | None] = [
        _CONSTANT if same else _ZERO if empty else None for same, empty in zip(constant, zero, strict=True)
    ]
    found = []
    # The maps of one copy become a few numbers before the next copy's are made, because all might not fit in memory.
    for copy in copies():
        noisy = context.changed(copy)
        answer = context.explainer.explain(noisy, target).map
        for i, defect in enumerate(defects(answer)):
            reasons[i] = reasons[i] or (f"of a noisy copy, {defect}" if defect else None)
        found.append(torch.stack([_move(*clip) for clip in zip(batch.x, noisy.x, maps, answer, strict=True)]))
    return Moves(tuple(reasons), *torch.stack(found).unbind(dim=2))


def _move(x: Tensor, x_copy: Tensor, e: Tensor, e_copy: Tensor) -> Tensor:
    """Compare one copy with its clip, all (freq, time), and return the numbers in the order of Moves, (6,)."""
    x, x_copy, e, e_copy = (one.flatten().double() for one in (x, x_copy, e, e_copy))
    # In units of their peaks, so that neither the floor nor the cosine depends on the scale of a method's maps.
    peaked, peaked_copy = e / _peak(e), e_copy / _peak(e_copy)
    e_move, x_move = (e_copy - e) / _peak(e), x_copy - x
    size, size_copy = peaked.norm(), peaked_copy.norm()
    return torch.stack(
        [
            e_move.norm() / size,
            (peaked_copy - peaked).norm(),
            (e_move / peaked.masked_fill(e == 0, FLOOR)).norm(),
            x_move.norm(),
            (x_move / x.masked_fill(x == 0, FLOOR)).norm(),
            # A map that is zero everywhere has no direction: it counts as orthogonal to any other.
            1 - peaked.dot(peaked_copy) / (size * torch.where(size_copy == 0, 1.0, size_copy)),
        ]
    )


def _peak(values: Tensor) -> Tensor:
    """Return the largest magnitude, or 1 if all are 0."""
    peak = values.abs().amax()
    return torch.where(peak == 0, 1.0, peak)
