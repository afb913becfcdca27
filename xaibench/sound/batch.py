"""Batches of clips for explainers, and the random generators that belong to each clip."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xaibench.sound.domain import Domain, Picture


def clip_seed(seed: int, clip_id: str, purpose: str) -> int:
    """Make a 63-bit seed from (seed, clip, purpose), so that no score depends on batch, order or resumed runs."""
    digest = hashlib.sha256(f"{seed}/{clip_id}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Batch:
    """Clips to explain.

    Attributes:
        x: their pictures, float32 (batch, freq, time): log magnitudes, 0 is silence.
        clip_ids: one id per clip.
        seed: seed of the run.
        ground_truth: bins in which the labelled event is the loudest sound, bool (batch, freq, time); None where nobody
            knows.
        phase: of the pictures, complex64 (batch, freq, time) of magnitude 1; None where the classifier is fed the
            pictures themselves, and no sound.
        waveform: their sound, float32 (batch, samples); None where the classifier is fed pictures.
        audible: frames that are not padding or digital silence, bool (batch, time); None: all.
    """

    x: Tensor
    clip_ids: tuple[str, ...]
    seed: int = 0
    ground_truth: Tensor | None = None
    phase: Tensor | None = None
    waveform: Tensor | None = None
    audible: Tensor | None = None

    @classmethod
    def of_sound(
        cls,
        waveform: Tensor,
        clip_ids: tuple[str, ...],
        domain: Domain,
        seed: int = 0,
    ) -> Batch:
        """Make a batch of clips that a classifier hears, from waveforms (batch, samples)."""
        picture = domain.analyse(waveform)
        audible = domain.audible_frames(waveform)
        return cls(picture.x, clip_ids, seed, None, picture.phase, waveform, audible)

    def changed(self, picture: Tensor | Picture, domain: Domain) -> Batch:
        """Return the clips after a change of their pictures.

        Where the classifier hears sound, a changed clip is a clip: its waveform is the changed picture's, and its
        picture that waveform's, which may be another one. Padding stays what it was.

        Args:
            picture: changed pictures; a tensor (batch, freq, time) keeps the clips' phases.
            domain: of the pictures.
        """
        x, phase = picture if isinstance(picture, Picture) else (picture, self.phase)
        if phase is None or self.samples is None:
            return replace(self, x=x)
        waveform = domain.synthesise(x, phase, self.samples)
        heard = domain.analyse(waveform)
        return replace(self, x=heard.x, phase=heard.phase, waveform=waveform)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def picture_shape(self) -> tuple[int, int]:
        """(freq, time) size of the pictures."""
        return self.x.shape[1], self.x.shape[2]

    @property
    def heard(self) -> bool:
        """Whether the classifier hears sound; else it is fed pictures."""
        return self.phase is not None

    @property
    def samples(self) -> int | None:
        """Length of the waveforms; None where the classifier is fed pictures."""
        return None if self.waveform is None else self.waveform.shape[1]

    def generator(self, index: int, purpose: str) -> torch.Generator:
        """Make a CPU generator whose numbers depend only on the seed, the clip `index` and `purpose`."""
        return torch.Generator().manual_seed(clip_seed(self.seed, self.clip_ids[index], purpose))

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that belongs to the clips, by the name of the attribute."""
        found = {name: getattr(self, name) for name in ("x", "ground_truth", "phase", "waveform", "audible")}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def to(self, device: torch.device) -> Batch:
        """Return the clips on a device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return replace(self, **moved)

    def slice(self, start: int, stop: int) -> Batch:
        """Return the clips [start, stop) as a batch of their own."""
        parts: dict[str, Any] = {name: tensor[start:stop] for name, tensor in self.tensors().items()}
        return replace(self, clip_ids=self.clip_ids[start:stop], **parts)
