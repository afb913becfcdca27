"""Where the rows and columns of a network's own maps lie on the picture of the sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.front_end import to_hertz, to_mel
from xaibench.sound.domain import Domain

Spacing = Literal["linear", "mel"]


@dataclass(frozen=True)
class MapAxes:
    """Axes of maps (batch, h, w): h rows that share out the frequencies, w columns that share out the clip's time.

    Attributes:
        rows: "linear" or "mel": rows are evenly spaced on this scale, from 0 Hz to half the sample rate. Or the
            frequencies in Hz of the network's own rows, such as the centres of a filter bank, rising or falling; maps
            of fewer rows share out these.
    """

    rows: Spacing | tuple[float, ...] = "linear"

    def to_picture(self, maps: Tensor, shape: tuple[int, int], domain: Domain) -> Tensor:
        """Bring maps (batch, h, w) to pictures (batch, *shape) of a domain.

        Bins between the centres of two rows or columns are interpolated linearly, bins beyond the outermost centre
        take its value, and where a bin covers several rows or columns it takes their average.
        """
        rows, columns = maps.shape[1:]
        across = _across(self.rows, domain, shape[0], rows).to(maps)
        along = _along(shape[1], columns).to(maps)
        return across @ maps @ along.T


@lru_cache(maxsize=16)
def _across(spacing: Spacing | tuple[float, ...], domain: Domain, bins: int, rows: int) -> Tensor:
    """What each bin (bins, rows) takes from each row."""
    frequencies = domain.frequencies[:bins].numpy()
    share = (np.arange(rows) + 0.5) / rows
    if isinstance(spacing, tuple):
        # Rows of the map share out the network's rows, whose centres are known.
        own = np.asarray(spacing)
        centres = np.interp(share * len(own) - 0.5, np.arange(len(own)), own)
    elif spacing == "mel":
        centres = to_hertz(share * to_mel(np.array(domain.sample_rate / 2)))
    else:
        centres = share * domain.sample_rate / 2
    order = np.argsort(centres)
    return _spread(np.interp(frequencies, centres[order], order), rows)


@lru_cache(maxsize=16)
def _along(frames: int, columns: int) -> Tensor:
    """What each frame (frames, columns) takes from each column."""
    share = np.arange(frames) / max(1, frames - 1)
    return _spread(np.clip(share * columns - 0.5, 0, columns - 1), columns)


def _spread(positions: np.ndarray, count: int) -> Tensor:
    """Weights (len(positions), count) of neighbours of fractional positions in 0 ... count - 1, each row's sum 1."""
    step = np.abs(np.gradient(positions)) if len(positions) > 1 else np.zeros(1)
    width = np.maximum(1.0, step)[:, None]
    distance = np.abs(np.arange(count)[None] - positions[:, None])
    weights = np.maximum(0.0, 1 - distance / width)
    return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
