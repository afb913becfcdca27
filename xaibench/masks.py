"""Equal-area masks: the top k of an importance map, ties broken by a per-clip random order."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from xaibench.batch import Batch, clip_seed


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
        # The bits of a non-negative float32 sort as the float does; adding 0 turns -0 into 0.
        bits = (flat + 0.0).view(torch.int32).long()
        self._keys = (bits << 32) | torch.stack(orders).to(flat.device)
        self._sorted = _sort(self._keys)

    @property
    def size(self) -> int:
        """Bins in one map."""
        return self._keys.shape[1]

    def top(self, area: float) -> Tensor:
        """Bool mask (batch, freq, time) of the most important bins, `area` of all of them."""
        count = round(area * self.size)
        return self.top_counts(torch.full((len(self._keys),), count, device=self._keys.device))

    def top_counts(self, counts: Tensor) -> Tensor:
        """Bool mask (batch, freq, time) of the `counts[i]` most important bins of clip i."""
        position = (self.size - counts).clamp(max=self.size - 1)
        threshold = self._sorted.gather(1, position[:, None])
        mask = (self._keys >= threshold) & (counts > 0)[:, None]
        return mask.view(self._shape)


def _sort(keys: Tensor) -> Tensor:
    if keys.is_cpu:
        return torch.from_numpy(np.sort(keys.numpy(), axis=1))  # vectorised; torch's CPU sort is slower
    return keys.sort(dim=1).values
