"""Antialiased bilinear resize, also where its gradient must be the same every time."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (batch, h, w) to (batch, *size).

    On a GPU the gradient of torch's kernel adds in any order, and torch refuses it in deterministic mode.
    """
    if maps.requires_grad and not maps.is_cpu and torch.are_deterministic_algorithms_enabled():
        return resize_by_products(maps, size)
    return functional.interpolate(maps[:, None], size, mode="bilinear", antialias=True)[:, 0]


def resize_by_products(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The same but for rounding: the resize is linear along each axis, hence two matrix products."""
    rows, columns = (_weights(*lengths).to(maps) for lengths in zip(maps.shape[1:], size, strict=True))
    return rows @ maps @ columns.T


@lru_cache(maxsize=16)
def _weights(length: int, new_length: int) -> Tensor:
    """What each new sample (new_length, length) takes from each old one."""
    every_sample = torch.eye(length)[None, None]
    return functional.interpolate(every_sample, (new_length, length), mode="bilinear", antialias=True)[0, 0]
