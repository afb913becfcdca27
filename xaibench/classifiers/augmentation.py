"""Augmentation of training batches: time roll, gain, frequency shift, stretching, mixup, time and frequency masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MIXUP_ALPHA = 0.4
GAIN_DECIBEL = 10.0
MASKS = 2
WIDEST_MASK = 64


def augment(
    magnitude: Tensor, target: Tensor, generator: torch.Generator, frequency_shift: int = 0, stretch: float = 0.0
) -> tuple[Tensor, Tensor]:
    """One random view of a batch.

    Args:
        magnitude: linear STFT magnitudes (batch, 513, 431).
        target: class probabilities (batch, classes).
        generator: the source of every draw.
        frequency_shift: most bins (of 15.6 Hz) by which a clip is moved up or down; 0 for none.
        stretch: most by which the frequencies and the times of a clip are stretched, as a share; 0 for none.

    Returns:
        Log spectrograms (batch, 513, 431) and mixed class probabilities (batch, classes).
    """
    magnitude = _roll_and_gain(magnitude, generator)
    if frequency_shift:
        magnitude = _shift(magnitude, generator, frequency_shift)
    if stretch:
        magnitude = _stretch(magnitude, generator, stretch)
    magnitude, target = _mixup(magnitude, target, generator)
    return _mask(torch.log1p(magnitude), generator), target


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator)


def _roll_and_gain(magnitude: Tensor, generator: torch.Generator) -> Tensor:
    count, _, frames = magnitude.shape
    shifts = (_uniform(count, generator) * frames).long().tolist()
    gains = 10 ** ((2 * _uniform(count, generator) - 1) * GAIN_DECIBEL / 20)
    rolled = torch.stack([m.roll(s, dims=-1) for m, s in zip(magnitude, shifts, strict=True)])
    return rolled * gains.to(magnitude.device)[:, None, None]


def _shift(magnitude: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Move each clip along the frequency axis; what leaves at one end is lost, the other is silent."""
    shifts = ((_uniform(len(magnitude), generator) * (2 * most + 1)).long() - most).tolist()
    moved = torch.zeros_like(magnitude)
    bins = magnitude.shape[1]
    for clip, (source, shift) in enumerate(zip(magnitude, shifts, strict=True)):
        moved[clip, max(0, shift) : bins + min(0, shift)] = source[max(0, -shift) : bins - max(0, shift)]
    return moved


def _stretch(magnitude: Tensor, generator: torch.Generator, most: float) -> Tensor:
    """Multiply each clip's frequencies and its times by factors of their own, from 1 / (1 + most) to 1 + most.

    What leaves at the end of an axis is lost; what is missing there is silent.
    """
    count = len(magnitude)
    factors = (1 + most) ** (2 * torch.rand(count, 2, generator=generator) - 1)
    # Coordinates run from -1 to 1; 0 Hz and the clip's start, at -1, stay where they are.
    scale = 1 / factors
    affine = torch.zeros(count, 2, 3)
    affine[:, (0, 1), (0, 1)] = scale
    affine[:, :, 2] = scale - 1
    grid = functional.affine_grid(affine.to(magnitude.device), [count, 1, *magnitude.shape[1:]], align_corners=True)
    return functional.grid_sample(magnitude[:, None], grid, align_corners=True)[:, 0]


def _mixup(magnitude: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (arXiv 1710.09412) of powers, as incoherent sounds add; half of the batch stays whole."""
    count = len(magnitude)
    alpha = torch.full((count, 2), MIXUP_ALPHA)
    share = torch._sample_dirichlet(alpha, generator)[:, 0]
    share = share.maximum(1 - share)
    share[_uniform(count, generator) < 0.5] = 1.0
    share = share.to(magnitude.device)
    other = torch.randperm(count, generator=generator).to(magnitude.device)
    weight = share[:, None, None]
    mixed = ((weight * magnitude) ** 2 + ((1 - weight) * magnitude[other]) ** 2).sqrt()
    return mixed, share[:, None] * target + (1 - share)[:, None] * target[other]


def _mask(x: Tensor, generator: torch.Generator) -> Tensor:
    """SpecAugment (arXiv 1904.08779): zero a few bands and a few spans of every clip."""
    count = len(x)
    for axis in (1, 2):
        size = x.shape[axis]
        position = torch.arange(size)
        for _ in range(MASKS):
            width = _uniform(count, generator) * WIDEST_MASK
            start = _uniform(count, generator) * (size - width)
            inside = (position >= start[:, None]) & (position < (start + width)[:, None])
            x = x.masked_fill(inside.to(x.device).unsqueeze(3 - axis), 0.0)
    return x
