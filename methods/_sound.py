"""Which bins of a clip are sound, as the losses of trained masks see it."""

from __future__ import annotations

from torch import Tensor

SOUND_THRESHOLD = 0.35


def sound(x: Tensor) -> Tensor:
    """1 where the log magnitude is at least SOUND_THRESHOLD of the clip's largest, else 0; (batch, freq, time)."""
    return (x >= SOUND_THRESHOLD * x.amax(dim=(1, 2), keepdim=True)).float()
