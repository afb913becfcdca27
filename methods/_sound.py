"""Loud bins of a clip, as used in the losses of trained masks."""

from __future__ import annotations

from torch import Tensor

SOUND_THRESHOLD = 0.35


def sound(x: Tensor) -> Tensor:
    """Mark bins of at least SOUND_THRESHOLD of the clip's largest log magnitude by 1, others by 0, same shape as x."""
    return (x >= SOUND_THRESHOLD * x.amax(dim=(1, 2), keepdim=True)).float()
