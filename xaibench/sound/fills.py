"""Fills: sounds that take the place of what is taken out of a clip.

With a mask M and a fill f, what is left of a clip is M X + (1 - M) STFT(f), X the STFT of the clip. A fill is drawn for
(seed, clip), so that it is the same for all methods, and has a phase of its own: the clip's phase would betray what was
removed. It has as much energy as the clip, and is silent where the clip is padding or digital silence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xaibench.errors import ExplanationError
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain, Picture, scaled

SILENCE = "silence"
MEAN = "mean"  # noise with the clip's mean spectrum
NOISE = "noise"  # white noise
FILLS = (SILENCE, MEAN, NOISE)


class Fill(NamedTuple):
    """What takes the place of what is removed, of every clip of a batch.

    Attributes:
        waveform: the sounds, float32 (batch, samples).
        picture: their pictures.
    """

    waveform: Tensor
    picture: Picture


def fill_of(name: str, batch: Batch, domain: Domain) -> Fill | None:
    """Draw a fill for each clip; None for silence.

    Args:
        name: one of FILLS.
        batch: clips that the classifier hears.
        domain: of their pictures.

    Raises:
        ExplanationError: the clips are fed as pictures, which no sound can be mixed with.
    """
    if name == SILENCE:
        return None
    if batch.waveform is None:
        raise ExplanationError(f"the fill {name} is a sound, and the classifier is fed pictures; use {SILENCE}")
    # Clip by clip, so that not even the rounding depends on which other clips there are.
    waveform = torch.stack([_drawn(name, batch.slice(i, i + 1), domain) for i in range(len(batch))])
    pictures = [domain.analyse(one[None]) for one in waveform]
    return Fill(waveform, Picture(torch.cat([one.x for one in pictures]), torch.cat([one.phase for one in pictures])))


def left(batch: Batch, shares: Tensor, fill: Fill | None, domain: Domain) -> Tensor | Picture:
    """Return what a mask leaves of clips, with a fill in the place of the rest.

    Args:
        batch: the clips.
        shares: what is left of each bin, bool or 0 to 1, (batch, freq, time).
        fill: of the same clips; None for silence.
        domain: of the pictures.

    Returns:
        Pictures of the clips' phase where the fill is silence, else pictures with their phase.
    """
    if fill is None:
        # Of a bool mask, a third of the time that a product with bools takes on a CPU.
        return batch.x * shares.float() if shares.dtype == torch.bool else scaled(batch.x, shares)
    assert batch.phase is not None
    other = fill.picture
    if shares.dtype == torch.bool:
        return Picture(torch.where(shares, batch.x, other.x), torch.where(shares, batch.phase, other.phase))
    clip, rest = domain.coefficients(batch.x, batch.phase), domain.coefficients(*other)
    mixed = domain.picture(shares * clip + (1 - shares) * rest)
    # To the bit, so that a mask of ones leaves the clip, and one of zeros the fill.
    whole, nothing = shares == 1, shares == 0
    return Picture(
        torch.where(whole, batch.x, torch.where(nothing, other.x, mixed.x)),
        torch.where(whole, batch.phase, torch.where(nothing, other.phase, mixed.phase)),
    )


def noise_phase(batch: Batch, domain: Domain) -> Tensor:
    """Return the phase of the white noise that belongs to each clip, complex64 (batch, freq, time)."""
    white = torch.stack([_white(batch, i) for i in range(len(batch))])
    return domain.analyse(white.to(batch.x.device)).phase


def _white(batch: Batch, index: int) -> Tensor:
    """Draw the white noise of one clip, on the CPU, float32 (samples,)."""
    return torch.randn(batch.samples or 0, generator=batch.generator(index, "fill"))


def _drawn(name: str, clip: Batch, domain: Domain) -> Tensor:
    """Draw the fill of a batch of one, float32 (samples,)."""
    assert clip.waveform is not None
    sound = clip.waveform[0].double()
    noise = _white(clip, 0).to(sound)
    audible = domain.audible_frames(clip.waveform) if clip.audible is None else clip.audible
    if name == MEAN:
        noise = _coloured(noise, domain.stft(clip.waveform)[0][:, audible[0]])
    silent = domain.silent_samples(audible, len(sound))[0]
    noise, sound = noise.masked_fill(silent, 0.0), sound.masked_fill(silent, 0.0)
    energy = noise.square().sum()
    gain = torch.where(energy > 0, sound.square().sum() / energy, 0.0).sqrt()
    return (gain * noise).float()


def _coloured(noise: Tensor, coefficients: Tensor) -> Tensor:
    """Filter white noise, float64 (samples,), so that its spectrum has the shape of a clip's mean power.

    Args:
        noise: white.
        coefficients: the clip's STFT in its audible frames, (freq, frames); none: nothing is filtered.
    """
    if not coefficients.shape[1]:
        return noise
    power = coefficients.abs().double().square().mean(dim=1)
    spectrum = torch.fft.rfft(noise)
    between = F.interpolate(power[None, None], len(spectrum), mode="linear", align_corners=True)[0, 0]
    return torch.fft.irfft(spectrum * between.sqrt(), len(noise))
