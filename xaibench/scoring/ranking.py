"""Equal-area masks: the top k of an importance map, ties broken by a per-clip random order."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from xaibench.scoring.float_keys import ascending, keys_of, values_of
from xaibench.sound.batch import Batch, clip_seed

_ABOVE = torch.iinfo(torch.int64).max


@lru_cache(maxsize=64)
def _tie_order(seed: int, size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


class Ranking:
    """All bins of a batch of importance maps in one total order, most important last.

    A bin's key is its importance with a per-clip random permutation behind it, so every key is
    unique and a mask of any area has exactly that area; a constant map gives a random mask.

    Args:
        importance: finite and non-negative, float (batch, freq, time).
        batch: whose clips they are.
    """

    def __init__(self, importance: Tensor, batch: Batch) -> None:
        self._shape = importance.shape
        flat = importance.float().flatten(1)
        orders = [_tie_order(clip_seed(batch.seed, clip, "ties"), flat.shape[1]) for clip in batch.clip_ids]
        self._keys = keys_of(flat, torch.stack(orders).to(flat.device))
        self._sorted = ascending(self._keys)

    @property
    def size(self) -> int:
        """Bins in one map."""
        return self._keys.shape[1]

    @property
    def ascending(self) -> Tensor:
        """Importance in ascending order, float32 (batch, bins)."""
        return values_of(self._sorted)

    def top(self, area: float) -> Tensor:
        """Bool mask (batch, freq, time) of the most important bins, `area` of all of them."""
        return self.top_counts(self._counts(area))

    def top_counts(self, counts: Tensor) -> Tensor:
        """Bool mask (batch, freq, time) of the `counts[i]` most important bins of clip i."""
        return (self._keys >= self._threshold(counts)[:, None]).view(self._shape)

    def _counts(self, area: float) -> Tensor:
        return torch.full((len(self._keys),), round(area * self.size), device=self._keys.device)

    def _threshold(self, counts: Tensor) -> Tensor:
        """Smallest key among the `counts[i]` most important bins; above every key where that is 0."""
        position = (self.size - counts).clamp(max=self.size - 1)
        threshold = self._sorted.gather(1, position[:, None])[:, 0]
        return torch.where(counts > 0, threshold, _ABOVE)
