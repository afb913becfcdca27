"""Equal-area masks: the top k of an importance map, ties broken by a per-clip random order.

Frames that hold only padding or digital silence do not count: no bin of theirs is among the most important, and areas
are shares of the other bins.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from xaibench.scoring.float_keys import ascending, behind_of, keys_of, values_of
from xaibench.sound.batch import Batch, clip_seed

_ABOVE = torch.iinfo(torch.int64).max


@lru_cache(maxsize=32)  # two parts; of a minute at 32 kHz each has 21 MB
def _tie_order(seed: int, size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed)).int()


class Ranking:
    """All bins of a batch of importance maps in one total order, most important last.

    A bin's key is its importance with a per-clip random permutation behind it, so every key is
    unique and a mask of any area has exactly that area; a constant map gives a random mask.

    Args:
        importance: finite and non-negative, float (batch, freq, time).
        batch: whose clips they are.

    Attributes:
        sizes: audible bins of each clip, int64 (batch,).
    """

    def __init__(self, importance: Tensor, batch: Batch) -> None:
        self._shape = importance.shape
        flat = importance.float().flatten(1)
        orders = [_tie_order(clip_seed(batch.seed, clip, "ties"), flat.shape[1]) for clip in batch.clip_ids]
        self._keys = keys_of(flat, torch.stack(orders).to(flat.device))
        self.sizes = torch.full((len(flat),), flat.shape[1], device=flat.device)
        if batch.audible is not None:
            silent = ~batch.audible[:, None, :].expand(self._shape).flatten(1)
            self._keys = torch.where(silent, ~self._keys, self._keys)  # below 0, which no key of a value is
            self.sizes -= silent.sum(dim=1)
        self._sorted = ascending(self._keys)

    @property
    def ascending(self) -> tuple[Tensor, ...]:
        """Importance of each clip's audible bins in ascending order, float32 (bins,)."""
        values, silent = values_of(self._sorted.clamp(min=0)), self._keys.shape[1] - self.sizes
        return tuple(row[count:] for row, count in zip(values, silent.tolist(), strict=True))

    def top(self, area: float) -> Tensor:
        """Bool mask (batch, freq, time) of the most important bins, `area` of the audible ones; of 1, all bins."""
        if area >= 1:
            return torch.ones(self._shape, dtype=torch.bool, device=self._keys.device)
        return self.top_counts(self._counts(area))

    def top_counts(self, counts: Tensor) -> Tensor:
        """Bool mask (batch, freq, time) of the `counts[i]` most important bins of clip i."""
        return (self._keys >= self._threshold(counts)[:, None]).view(self._shape)

    def counts_holding(self, amounts: Tensor, share: float) -> Tensor:
        """Count the most important bins that are needed to hold a share of an amount, int64 (batch,).

        Args:
            amounts: of each bin, not negative, (batch, freq, time); what lies in silent frames does not count.
            share: of the sum, above 0 and at most 1.
        """
        silent = self._keys < 0
        known = amounts.flatten(1).double().masked_fill(silent, 0.0)
        # Keys carry the number of the tie order behind them, and it says which bin a sorted key is of.
        by_number = torch.zeros_like(known).scatter_(1, behind_of(torch.where(silent, ~self._keys, self._keys)), known)
        in_order = by_number.gather(1, behind_of(torch.where(self._sorted < 0, ~self._sorted, self._sorted)))
        held = in_order.flip(1).cumsum(dim=1)
        total = held[:, -1:]
        return torch.where(total[:, 0] > 0, (held < share * total).sum(dim=1) + 1, 0)

    def _counts(self, area: float) -> Tensor:
        counts = [round(area * size) for size in self.sizes.tolist()]
        return torch.tensor(counts, device=self._keys.device)

    def _threshold(self, counts: Tensor) -> Tensor:
        """Smallest key among the `counts[i]` most important bins; above every key where that is 0."""
        size = self._keys.shape[1]
        position = (size - counts).clamp(max=size - 1)
        threshold = self._sorted.gather(1, position[:, None])[:, 0]
        return torch.where(counts > 0, threshold, _ABOVE)
