"""Asking a classifier about louder and softer bins, for the methods that need no gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.sound.batch import Batch
from xaibench.sound.domain import scaled

from ._captum import INTERNAL_BATCH, TargetScore


def scores_of_scaled(score: TargetScore, clip: Batch, gains: Tensor) -> Tensor:
    """Compute the scores (n, classes) of one clip whose bins are made louder or softer, without gradients.

    Args:
        score: of pictures.
        clip: a batch of one; its phase is kept.
        gains: of the bins, float32 (n, freq, time), or bool.
    """
    found = []
    for part in gains.split(INTERNAL_BATCH):
        phase = None if clip.phase is None else clip.phase.expand(len(part), -1, -1)
        with torch.inference_mode():
            found.append(score(scaled(clip.x, part), phase))
    return torch.cat(found).clone()  # else autograd could never use what is made of it
