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
        """Bring maps (batch, h, w) to pictures (batch, *shape) of a domain, as `placed` does."""
        rows, columns = maps.shape[1:]
        duration = (shape[1] - 1) * domain.hop_samples / domain.sample_rate
        seconds = (np.arange(columns) + 0.5) / columns * duration
        return placed(maps, shape, domain, tuple(self._hertz(rows, domain.sample_rate)), tuple(seconds))

    def _hertz(self, rows: int, sample_rate: int) -> np.ndarray:
        """Frequencies of the centres of the rows."""
        share = (np.arange(rows) + 0.5) / rows
        if isinstance(self.rows, tuple):
            return np.interp(share * len(self.rows) - 0.5, np.arange(len(self.rows)), self.rows)
        if self.rows == "mel":
            return to_hertz(share * to_mel(np.array(sample_rate / 2)))
        return share * sample_rate / 2


def placed(
    maps: Tensor, shape: tuple[int, int], domain: Domain, hertz: tuple[float, ...], seconds: tuple[float, ...]
) -> Tensor:
    """Bring maps to the picture, given the centres of their rows and columns.

    Bins between the centres of two rows or columns are interpolated linearly, bins beyond the outermost centre take its
    value, and where a bin covers several rows or columns it takes their average.

    Args:
        maps: (batch, h, w).
        shape: of the picture.
        domain: of the picture.
        hertz: of the h rows, rising or falling.
        seconds: of the w columns, rising.
    """
    across = _weights(hertz, tuple(domain.frequencies[: shape[0]].tolist())).to(maps)
    times = np.arange(shape[1]) * (domain.hop_samples / domain.sample_rate)
    along = _weights(seconds, tuple(times.tolist())).to(maps)
    return across @ maps @ along.T


@lru_cache(maxsize=32)
def _weights(centres: tuple[float, ...], places: tuple[float, ...]) -> Tensor:
    """What each place (places, centres) takes from each centre; the weights of a place add up to 1."""
    order = np.argsort(centres)
    positions = np.interp(places, np.asarray(centres)[order], order)
    step = np.abs(np.gradient(positions)) if len(positions) > 1 else np.zeros(1)
    width = np.maximum(1.0, step)[:, None]
    distance = np.abs(np.arange(len(centres))[None] - positions[:, None])
    weights = np.maximum(0.0, 1 - distance / width)
    return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
