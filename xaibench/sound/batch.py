"""Batches of clips for explainers, and the random generators that belong to each clip."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def clip_seed(seed: int, clip_id: str, purpose: str) -> int:
    """Make a 63-bit seed from (seed, clip, purpose), so that no score depends on batch, order or resumed runs."""
    digest = hashlib.sha256(f"{seed}/{clip_id}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Batch:
    """Clips to explain.

    Attributes:
        x: log spectrograms, float32 (batch, 513, 431).
        clip_ids: one id per clip.
        seed: seed of the run.
        ground_truth: bins in which the labelled event is the loudest sound, bool (batch, 513, 431); None when unknown.
    """

    x: Tensor
    clip_ids: tuple[str, ...]
    seed: int = 0
    ground_truth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def picture_shape(self) -> tuple[int, int]:
        """(freq, time) size of the spectrogram."""
        return self.x.shape[1], self.x.shape[2]

    def generator(self, index: int, purpose: str) -> torch.Generator:
        """Make a CPU generator whose numbers depend only on the seed, the clip `index` and `purpose`."""
        return torch.Generator().manual_seed(clip_seed(self.seed, self.clip_ids[index], purpose))

    def slice(self, start: int, stop: int) -> Batch:
        """Return the clips [start, stop) as a batch of their own."""
        ground_truth = None if self.ground_truth is None else self.ground_truth[start:stop]
        return Batch(self.x[start:stop], self.clip_ids[start:stop], self.seed, ground_truth)
