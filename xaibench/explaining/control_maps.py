"""Maps that depend only on the clips: the controls return them, and the reference maps of metrics are made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_count, on_bins


def random(batch: Batch) -> Tensor:
    """Draw independent uniform noise from 0 to 1 for every bin, (batch, freq, time); the same for the same clip."""
    maps = [torch.rand(batch.picture_shape, generator=batch.generator(i, "random")) for i in range(len(batch))]
    return torch.stack(maps).to(batch.x.device)


def random_cells(batch: Batch) -> Tensor:
    """Draw one uniform number from 0 to 1 for each of 12 x 12 cells, (batch, freq, time); the same for the clip."""
    count = cell_count(batch.picture_shape)
    cells = [torch.rand(count, generator=batch.generator(i, "random-cells")) for i in range(len(batch))]
    return on_bins(torch.stack(cells).to(batch.x.device), batch.picture_shape)


def uniform(batch: Batch) -> Tensor:
    """Return the same importance for every bin, (batch, freq, time); the rule for ties then makes random masks."""
    return torch.ones_like(batch.x)


def energy(batch: Batch) -> Tensor:
    """Return the spectrogram itself, (batch, freq, time): the loudest bins matter most."""
    return batch.x.clone()


def centre(batch: Batch) -> Tensor:
    """Return 1 in the middle between the first and the last frame that sounds, falling to 0 beyond these.

    It is the same at all frequencies, (batch, freq, time); a clip of silence is 0 everywhere.
    """
    frames = batch.picture_shape[1]
    sounds = batch.x.new_ones(len(batch), frames) if batch.audible is None else batch.audible.to(batch.x.dtype)
    first = sounds.argmax(dim=1, keepdim=True)
    last = frames - 1 - sounds.flip(1).argmax(dim=1, keepdim=True)
    middle, half = (first + last) / 2, (last - first) / 2 + 1
    heights = 1 - (torch.arange(frames, device=batch.x.device) - middle).abs() / half
    heights = torch.where(sounds.any(dim=1, keepdim=True), heights.clamp(min=0), 0.0)
    return heights[:, None, :].expand_as(batch.x).contiguous()


def oracle(batch: Batch) -> Tensor:
    """Return the spectrogram in the bins of the ground truth and zero elsewhere, (batch, freq, time).

    The batch must have a ground truth; a method that calls this function says so in `requires`.
    """
    assert batch.ground_truth is not None
    return batch.x * batch.ground_truth
