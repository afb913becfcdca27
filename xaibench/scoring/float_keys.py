"""One sort of integers in place of an indirect sort of floats: a value and a number behind it in one key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


def keys_of(values: Tensor, behind: Tensor) -> Tensor:
    """Pack each value with a number that breaks ties and travels with it: int64 (batch, bins).

    Args:
        values: finite and not negative, float32 (batch, bins); or -1, which sorts before all of these.
        behind: integers from 0 to 2^32 - 1, (bins,) or (batch, bins).
    """
    # The bits of a non-negative float32 sort as the float does; adding 0 turns -0 into 0.
    return ((values + 0.0).view(torch.int32).long() << 32) | behind


def values_of(keys: Tensor) -> Tensor:
    """The packed values, float32 of the same shape."""
    return (keys >> 32).int().view(torch.float32)


def behind_of(keys: Tensor) -> Tensor:
    """The packed numbers, int64 of the same shape."""
    return keys & 0xFFFFFFFF


def ascending(keys: Tensor) -> Tensor:
    """Keys (batch, bins) sorted within each row."""
    if keys.is_cpu:
        # numpy's sort is vectorised, faster than torch's on a CPU, and lets go of the interpreter.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return torch.from_numpy(np.stack(list(pool.map(np.sort, keys.numpy()))))
    return keys.sort(dim=1).values
