"""Spearman's rank correlation of importance maps, with one sort per map and ties at their average rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.scoring.float_keys import ascending, behind_of, keys_of


@dataclass(frozen=True)
class Ranks:
    """The ranks of a batch of maps, to be correlated with many other batches.

    Attributes:
        centred: rank of each bin minus the mean rank, float64 (batch, bins); 0 in bins that do not count.
        norm: Euclidean norm of each clip's centred ranks, (batch,); 0 where the map is constant.
        counts: which bins count, bool (batch, bins), or None for all.
    """

    centred: Tensor
    norm: Tensor
    counts: Tensor | None

    @classmethod
    def of(cls, importance: Tensor, audible: Tensor | None = None) -> Ranks:
        """Rank non-negative maps.

        Args:
            importance: float32 (batch, freq, time).
            audible: frames whose bins count, bool (batch, time), or None for all. Bins of the others have no rank: if
                they had one, maps would be alike, or not, where there is no sound.
        """
        counts = None if audible is None else audible[:, None, :].expand_as(importance).flatten(1)
        index, centred = _ordered(importance, counts)
        return cls(torch.empty_like(centred).scatter_(1, index, centred), _norm(centred), counts)

    @property
    def constant(self) -> Tensor:
        """Which maps are constant, bool (batch,)."""
        return self.norm == 0

    def correlate(self, importance: Tensor) -> Tensor:
        """Correlate with the ranks of non-negative maps (batch, freq, time): (batch,), NaN where either is constant."""
        index, centred = _ordered(importance, self.counts)
        return (self.centred.gather(1, index) * centred).sum(dim=1) / (self.norm * _norm(centred))


def _norm(centred: Tensor) -> Tensor:
    return centred.square().sum(dim=1).sqrt()


def _ordered(importance: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sort the bins by importance; return their indices and average ranks minus the mean rank, each (batch, bins)."""
    flat = importance.float().flatten(1)
    size = flat.shape[1]
    if counts is not None:
        flat = flat.masked_fill(~counts, -1.0)  # whose bits sort before those of all non-negative numbers
    keys = ascending(keys_of(flat, torch.arange(size, device=flat.device)))
    level = keys >> 32  # the values' bits, equal where the values are
    first = torch.ones_like(level, dtype=torch.bool)
    first[:, 1:] = level[:, 1:] != level[:, :-1]
    # Groups of equal values, of all clips in one row; no group reaches from one clip into the next.
    start = first.flatten().nonzero()[:, 0]
    count = torch.diff(start, append=start.new_tensor([first.numel()]))
    rank = ((start % size).double() + (count - 1) / 2).repeat_interleave(count).view_as(keys)
    before = (level < 0).sum(dim=1, keepdim=True)
    return behind_of(keys), (rank - (size - 1 + before) / 2).masked_fill(level < 0, 0.0)
