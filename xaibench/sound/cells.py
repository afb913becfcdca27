"""Cells: a picture cut into rectangles of nearly equal size, by default 12 x 12.

To silence one bin of 221,103 has no effect on a classifier; to silence a cell of about 43 x 36 bins has one.
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS_PER_SIDE = 12
SIDES = (CELLS_PER_SIDE, CELLS_PER_SIDE)


def cell_sides(shape: tuple[int, int], sides: tuple[int, int] = SIDES) -> tuple[int, int]:
    """Return the number of cells along (freq, time): `sides`, or the number of bins if there are fewer."""
    return min(sides[0], shape[0]), min(sides[1], shape[1])


def cell_count(shape: tuple[int, int], sides: tuple[int, int] = SIDES) -> int:
    """Return the number of cells of a picture (freq, time)."""
    rows, columns = cell_sides(shape, sides)
    return rows * columns


def cell_index(shape: tuple[int, int], device: torch.device, sides: tuple[int, int] = SIDES) -> Tensor:
    """Number the cells row by row, and return each bin's cell, int64 (freq, time); sides differ by at most one bin."""
    row, column = _lines(shape, device, sides)
    return row[:, None] * cell_sides(shape, sides)[1] + column


def cell_sums(maps: Tensor, sides: tuple[int, int] = SIDES) -> Tensor:
    """Sum maps (batch, freq, time) over each cell: float64 (batch, cells)."""
    shape = (maps.shape[1], maps.shape[2])
    empty = torch.zeros(len(maps), cell_count(shape, sides), dtype=torch.float64, device=maps.device)
    return empty.index_add_(1, cell_index(shape, maps.device, sides).flatten(), maps.flatten(1).double())


def cell_means(maps: Tensor, sides: tuple[int, int] = SIDES) -> Tensor:
    """Average maps (batch, freq, time) over each cell: float64 (batch, cells)."""
    return cell_sums(maps, sides) / cell_sums(torch.ones_like(maps[:1]), sides)


def on_bins(cells: Tensor, shape: tuple[int, int], sides: tuple[int, int] = SIDES) -> Tensor:
    """Spread values of cells (batch, cells) over their bins: (batch, freq, time)."""
    row, column = _lines(shape, cells.device, sides)
    # Rows, then columns: several times faster than one gather of all bins.
    return cells.view(-1, *cell_sides(shape, sides)).index_select(1, row).index_select(2, column)


def _lines(shape: tuple[int, int], device: torch.device, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the row of cells of each frequency (freq,), and the column of each frame (time,)."""
    rows, columns = cell_sides(shape, sides)
    return (
        torch.arange(shape[0], device=device) * rows // shape[0],
        torch.arange(shape[1], device=device) * columns // shape[1],
    )
