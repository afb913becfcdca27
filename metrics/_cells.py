"""Cells: the spectrogram cut into 12 x 12 rectangles, which are silenced one subset at a time.

To silence one bin of 221,103 has no effect on a classifier; to silence a cell of about 43 x 36 bins has one.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext

CELLS_PER_SIDE = 12


def cell_sides(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the number of cells along (freq, time): 12, or the number of bins if there are fewer."""
    return min(CELLS_PER_SIDE, shape[0]), min(CELLS_PER_SIDE, shape[1])


def cell_count(shape: tuple[int, int]) -> int:
    """Return the number of cells of a spectrogram (freq, time)."""
    rows, columns = cell_sides(shape)
    return rows * columns


def cell_index(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Number the cells row by row, and return each bin's cell, int64 (freq, time); sides differ by at most one bin."""
    row, column = _lines(shape, device)
    return row[:, None] * cell_sides(shape)[1] + column


def _lines(shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the row of cells of each frequency (freq,), and the column of each frame (time,)."""
    rows, columns = cell_sides(shape)
    return (
        torch.arange(shape[0], device=device) * rows // shape[0],
        torch.arange(shape[1], device=device) * columns // shape[1],
    )


def cell_sums(maps: Tensor) -> Tensor:
    """Sum maps (batch, freq, time) over each cell: float64 (batch, cells)."""
    shape = (maps.shape[1], maps.shape[2])
    empty = torch.zeros(len(maps), cell_count(shape), dtype=torch.float64, device=maps.device)
    return empty.index_add_(1, cell_index(shape, maps.device).flatten(), maps.flatten(1).double())


def cell_means(maps: Tensor) -> Tensor:
    """Average maps (batch, freq, time) over each cell: float64 (batch, cells)."""
    return cell_sums(maps) / cell_sums(torch.ones_like(maps[:1]))


def on_bins(cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Spread values of cells (batch, cells) over their bins: (batch, freq, time)."""
    row, column = _lines(shape, cells.device)
    # Rows, then columns: several times faster than one gather of all bins.
    return cells.view(-1, *cell_sides(shape)).index_select(1, row).index_select(2, column)


class CellsSilenced(Perturbation):
    """The spectrogram without some of its cells; subclasses are frozen dataclasses that choose the cells."""

    @abc.abstractmethod
    def chosen(self, context: ScoringContext) -> Tensor:
        """Choose the cells to silence, bool (batch, cells)."""

    def apply(self, context: ScoringContext) -> Tensor:
        batch = context.clean.batch
        return batch.x.masked_fill(on_bins(self.chosen(context), batch.picture_shape), 0.0)


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
