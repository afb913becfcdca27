"""Remove and debias (ROAD): replace the most important bins by values predicted from their neighbours.

A silenced hole in a spectrogram is unlike any training clip, and its outline shows where the map pointed. Rong et al.
fill it so that each missing bin is the weighted mean of its eight neighbours, missing ones included, plus some noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, decisions
from xaibench.sound.domain import Picture

NOISE = 0.01  # standard deviation of the noise added to each imputed bin, in log magnitude
TOLERANCE = 1e-7  # relative to the loudest bin; the imputation is solved to a few times this
MOST_STEPS = 300  # 14 to 26 are needed, whatever the mask

_DAMPING = 0.8  # of the Jacobi smoother; below 1 for a nine-point mean, so that the cycle is positive definite


@dataclass(frozen=True)
class Imputed(Perturbation):
    """The spectrogram with its most important bins imputed from the others.

    Attributes:
        area: share of all bins that are imputed, 0 to less than 1.
    """

    area: float

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        x = context.clean.batch.x
        missing = context.ranking.top(self.area)
        # Noise on an imputed silence must not make a magnitude negative.
        return context.filled(missing, (linear_imputation(x, missing) + NOISE * _noise(context)).clamp(min=0))


class Road(Metric):
    title = "ROAD"
    family = "faithfulness"
    reference = "Rong et al., ROAD, arXiv 2202.00449, section 4 (noisy linear imputation, most relevant first)"
    description = "1 if the prediction survives when the most important bins are imputed from their neighbours, else 0"
    formula = "1 if argmax p(imputed) = c, else 0; most important bins by noisy linear imputation"
    traps = "one clip's value is 0 or 1; a wide hole is filled smoothly from its edges, unlike any natural sound"
    higher_is_better = False
    bounds = (0.0, 1.0)
    cost = "1 per area"
    per_area = True

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Imputed(area) for area in areas if area is not None]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        assert area is not None
        return decisions(context.probabilities(Imputed(area)), context.target)


def linear_imputation(x: Tensor, missing: Tensor) -> Tensor:
    """Fill spectrograms so that every missing bin is the weighted mean of its eight neighbours.

    Direct neighbours weigh 1/6 and diagonal ones 1/12, over the sum of the weights inside the spectrogram (Rong et
    al., section 4.2). This is one sparse, symmetric, positive definite linear system per clip. It is solved by
    conjugate gradients with a multigrid cycle as preconditioner, in about twenty steps, whatever the mask.

    Args:
        x: float (batch, freq, time).
        missing: bool, same shape; at least one bin of each clip is not missing.

    Returns:
        Filled spectrograms, float32 (batch, freq, time); bins that are not missing keep their values.
    """
    if x.is_cpu:  # clip by clip, so that its vectors fit the processor's cache
        return torch.cat([_solve(x[i : i + 1], missing[i : i + 1]) for i in range(len(x))])
    return _solve(x, missing)


class _Level(NamedTuple):
    """One multigrid level: 1 where a bin, or a tent around a node, is unknown, else 0; and the weights around each."""

    unknown: Tensor
    diagonal: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Multiply the system's matrix by values that are 0 where known."""
        return self.unknown * (self.diagonal * values - _neighbours(values))


def _solve(x: Tensor, missing: Tensor) -> Tensor:
    """Solve by conjugate gradients in double precision; single precision is enough for the preconditioner."""
    coarser = _levels(missing)
    finest = _Level(*(tensor.double() for tensor in coarser[0]))
    known = x.double().masked_fill(missing, 0.0)
    found = torch.zeros_like(known)
    residual = finest.unknown * _neighbours(known)
    enough = TOLERANCE * known.amax(dim=(1, 2))
    direction, size = torch.zeros_like(known), torch.ones_like(enough)
    for _ in range(MOST_STEPS):
        step = _cycle(coarser, residual.float()).double()
        if (step.abs().amax(dim=(1, 2)) <= enough).all():
            return (known + found).to(x.dtype)
        last, size = size, _dot(residual, step)
        direction = step + _ratio(size, last) * direction
        image = finest.apply(direction)
        length = _ratio(size, _dot(direction, image))
        found += length * direction
        residual -= length * image
    raise ArithmeticError(f"the imputation did not converge within {MOST_STEPS} steps")


def _levels(missing: Tensor) -> list[_Level]:
    """Build the system on ever coarser levels, down to the last with unknowns, float32.

    A node of a coarser level stands for a tent over its neighbours, and is used where the tent lies within the hole.
    Every level therefore has the same matrix, and bins near the edge of the hole are left to the finer levels.
    """
    unknown = missing.float()
    levels = []
    while True:
        levels.append(_Level(unknown, _neighbours(torch.ones_like(unknown[:1]))))
        if min(unknown.shape[1:]) < 3:
            return levels
        unknown = -F.max_pool2d(-unknown[:, None], 3, stride=2, padding=1)[:, 0]
        if not unknown.any():
            return levels


def _cycle(levels: Sequence[_Level], residual: Tensor) -> Tensor:
    """Run one symmetric multigrid V-cycle, which approximates the system's inverse times the residual."""
    level, coarser = levels[0], levels[1:]
    smoother = _DAMPING * level.unknown / level.diagonal
    found = smoother * residual
    if coarser:
        rest = coarser[0].unknown * _restricted(residual - level.apply(found))
        found += _prolonged(_cycle(coarser, rest), residual.shape)
        found += smoother * (residual - level.apply(found))
    return found


def _neighbours(values: Tensor) -> Tensor:
    """Sum the eight neighbours of each bin: 1/6 of direct ones, 1/12 of diagonal ones, nothing beyond the edges.

    This is [1 2 1] along either axis minus 4 in the centre, over 12.
    """
    padded = F.pad(values, (1, 1, 1, 1))
    rows = padded[:, :-2] + padded[:, 2:]
    rows.add_(padded[:, 1:-1], alpha=2)
    both = rows[:, :, :-2] + rows[:, :, 2:]
    return both.add_(rows[:, :, 1:-1], alpha=2).sub_(values, alpha=4).div_(12)


def _restricted(values: Tensor) -> Tensor:
    """Sum under the tents (1/2, 1, 1/2 along either axis) around every second bin."""
    padded = F.pad(values, (1, 1, 1, 1))
    rows = padded[:, 1:-1:2] + (padded[:, :-2:2] + padded[:, 2::2]) / 2
    return rows[:, :, 1:-1:2] + (rows[:, :, :-2:2] + rows[:, :, 2::2]) / 2


def _prolonged(nodes: Tensor, shape: torch.Size) -> Tensor:
    """Add up the tents of the nodes; the transpose of `_restricted`."""
    fine = nodes.new_zeros(len(nodes), 2 * nodes.shape[1] + 1, 2 * nodes.shape[2] + 1)
    fine[:, 1::2, 1::2] = nodes
    fine[:, :-1:2] += fine[:, 1::2] / 2
    fine[:, 2::2] += fine[:, 1::2] / 2
    fine[:, :, :-1:2] += fine[:, :, 1::2] / 2
    fine[:, :, 2::2] += fine[:, :, 1::2] / 2
    return fine[:, 1 : 1 + shape[1], 1 : 1 + shape[2]]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Divide a by b for each clip, (batch, 1, 1); 0 where nothing is left to solve."""
    return torch.where(b > 0, a / b, 0.0)[:, None, None]


def _noise(context: ScoringContext) -> Tensor:
    """Draw standard normal noise that belongs to each clip, the same at every area, float32 (batch, freq, time)."""

    def compute() -> Tensor:
        batch = context.clean.batch
        drawn = [
            torch.randn(batch.picture_shape, generator=batch.generator(i, "road/noise")) for i in range(len(batch))
        ]
        return torch.stack(drawn).to(batch.x.device)

    return context.shared(("imputation", "noise"), compute)
