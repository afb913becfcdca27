"""The 12 x 12 cells of the picture (`xaibench.sound.cells`), silenced one subset at a time."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.sound.cells import cell_count, cell_sums, on_bins
from xaibench.sound.domain import Picture


class CellsSilenced(Perturbation):
    """The spectrogram without some of its cells; subclasses are frozen dataclasses that choose the cells."""

    @abc.abstractmethod
    def chosen(self, context: ScoringContext) -> Tensor:
        """Choose the cells to silence, bool (batch, cells)."""

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        return context.left(~on_bins(self.chosen(context), context.clean.batch.picture_shape))


@dataclass(frozen=True)
class RandomCellsSilenced(CellsSilenced):
    """The spectrogram without a random subset of its cells, the same one for every method.

    Attributes:
        share: share of the cells that is silenced, 0 to 1; at least one is.
        draw: number of the draw.
    """

    depends_on_map = False
    share: float
    draw: int

    def chosen(self, context: ScoringContext) -> Tensor:
        batch = context.clean.batch
        count = cell_count(batch.picture_shape)
        size = max(1, round(self.share * count))
        chosen = torch.zeros(len(batch), count, dtype=torch.bool)
        for i in range(len(batch)):
            generator = batch.generator(i, f"cells/{self.share}/{self.draw}")
            chosen[i, torch.randperm(count, generator=generator)[:size]] = True
        return chosen.to(batch.x.device)


def subset_sums(context: ScoringContext, subsets: Sequence[CellsSilenced], maps: Tensor) -> Tensor:
    """Sum maps (batch, freq, time) over each subset of cells, float64 (batch, subsets)."""
    sums = cell_sums(maps)
    return torch.stack([(sums * subset.chosen(context)).sum(dim=1) for subset in subsets], dim=1)


def drops(context: ScoringContext, perturbations: Sequence[Perturbation]) -> Tensor:
    """Return p_c(x) - p_c(changed) for each perturbation, float64 (batch, perturbations)."""
    return torch.stack([context.p_full - context.p_changed(one) for one in perturbations], dim=1)
