"""The picture of a sound: log magnitudes and phases of its STFT, from which the same sound can be made again.

Explanations and masks live on this picture, and every changed picture is turned back into sound before a classifier
hears it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# The window of 1,024 samples at 44.1 kHz, 23.22 ms, which the source recipes have at 16 kHz as 372 samples.
_WINDOW_SECONDS = 1024 / 44_100
_REFERENCE_RATE = 16_000
_REFERENCE_FFT = 1024
# A sample of at most one step of 16 bits is padding or digital silence.
AUDIBLE = 2.0**-15


class Picture(NamedTuple):
    """Sounds as pictures.

    Attributes:
        x: log1p(c |X|), float32 (batch, freq, time); 0 is silence.
        phase: X / |X|, complex64 (batch, freq, time) of magnitude 1; 1 where the magnitude is 0.
    """

    x: Tensor
    phase: Tensor


@dataclass(frozen=True)
class Domain:
    """An invertible picture of sounds at one sample rate.

    The STFT has a Hamming window, centred frames, and zeros beyond the edges.

    Attributes:
        sample_rate: in Hz.
        n_fft: length of the transform in samples; frequencies are sample_rate / n_fft apart.
        window_samples: length of the window, an even number.
        hop_samples: distance between frames, at most half the window.
    """

    sample_rate: int
    n_fft: int
    window_samples: int
    hop_samples: int

    @classmethod
    def at(cls, sample_rate: int) -> Domain:
        """Make the default domain of a sample rate: 513 x 431 for 5 s at 16 kHz, like bins at other rates."""
        half = round(sample_rate * _WINDOW_SECONDS / 2)
        n_fft = round(_REFERENCE_FFT * 2.0 ** round(math.log2(sample_rate / _REFERENCE_RATE)))
        return cls(sample_rate, n_fft, 2 * half, half)

    def shape(self, samples: int) -> tuple[int, int]:
        """Return (freq, time) of the picture of so many samples."""
        return self.n_fft // 2 + 1, samples // self.hop_samples + 1

    @property
    def frequencies(self) -> Tensor:
        """Frequencies of the bins in Hz, float64 (freq,)."""
        return torch.arange(self.n_fft // 2 + 1, dtype=torch.float64) * (self.sample_rate / self.n_fft)

    def times(self, samples: int) -> Tensor:
        """Return the centres of the frames in s, float64 (time,)."""
        return torch.arange(self.shape(samples)[1], dtype=torch.float64) * (self.hop_samples / self.sample_rate)

    def stft(self, waveform: Tensor) -> Tensor:
        """Compute the complex STFT of waveforms (batch, samples): complex64 (batch, freq, time)."""
        return torch.stft(
            waveform,
            self.n_fft,
            hop_length=self.hop_samples,
            win_length=self.window_samples,
            window=_window(self.window_samples, waveform.device),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )

    def istft(self, coefficients: Tensor, samples: int) -> Tensor:
        """Compute the waveforms (batch, samples) whose STFT is nearest to complex coefficients (batch, freq, time)."""
        return torch.istft(
            coefficients,
            self.n_fft,
            hop_length=self.hop_samples,
            win_length=self.window_samples,
            window=_window(self.window_samples, coefficients.device),
            center=True,
            length=samples,
        )

    def log_magnitudes(self, waveform: Tensor) -> Tensor:
        """Compute the pictures of waveforms (batch, samples) without their phases: float32 (batch, freq, time)."""
        return self._logarithm(self.stft(waveform).abs())

    def analyse(self, waveform: Tensor) -> Picture:
        """Compute the pictures of waveforms (batch, samples)."""
        return self.picture(self.stft(waveform))

    def picture(self, coefficients: Tensor) -> Picture:
        """Compute the pictures of complex coefficients (batch, freq, time), which need not be the STFT of any sound."""
        magnitude = coefficients.abs()
        silent = magnitude == 0
        # Not torch.sgn: it rounds the last few bins of a batch otherwise, and then a clip's phase depends on its place.
        unit = torch.view_as_complex(torch.view_as_real(coefficients) / magnitude.masked_fill(silent, 1)[..., None])
        phase = torch.where(silent, torch.ones_like(coefficients), unit)
        return Picture(self._logarithm(magnitude), phase)

    def synthesise(self, x: Tensor, phase: Tensor, samples: int) -> Tensor:
        """Compute the waveforms (batch, samples) of pictures; gradients flow to `x`.

        What a picture says need not be the STFT of any sound: the waveform is the nearest in the sense of least squares
        (Griffin and Lim 1984, equation 6).

        Args:
            x: float32 (batch, freq, time), not negative.
            phase: complex64 of the same shape and magnitude 1.
            samples: length of the result.
        """
        return self.istft(self.coefficients(x, phase), samples)

    def coefficients(self, x: Tensor, phase: Tensor) -> Tensor:
        """Return the complex numbers that pictures stand for, complex64 (batch, freq, time); the STFT of no sound."""
        magnitude = torch.expm1(x)
        return (magnitude if self._scale == 1 else magnitude / self._scale) * phase

    def masked(self, waveform: Tensor, mask: Tensor) -> Tensor:
        """Multiply the STFT of waveforms (batch, samples) by a mask, keep the phase, and transform back to sound.

        This is linear in the mask: what two masks keep adds up to what their sum keeps.

        Args:
            waveform: (batch, samples).
            mask: values in [0, 1], (batch, freq, time).
        """
        return self.istft(self.stft(waveform) * mask, waveform.shape[1])

    def audible_frames(self, waveform: Tensor) -> Tensor:
        """Tell which frames of waveforms (batch, samples) hold a sample above 2^-15: bool (batch, time).

        The others are padding or digital silence.
        """
        loud = (waveform.abs() > AUDIBLE).float()[:, None]
        half = self.window_samples // 2
        return F.max_pool1d(loud, self.window_samples, stride=self.hop_samples, padding=half)[:, 0] > 0

    def silent_samples(self, audible: Tensor, samples: int) -> Tensor:
        """Tell which samples lie in the window of a frame that is not audible: bool (batch, samples).

        Args:
            audible: as `audible_frames` returns it, bool (batch, time).
            samples: length of the waveforms.
        """
        window = torch.ones(1, 1, self.window_samples, device=audible.device)
        covered = F.conv_transpose1d((~audible).float()[:, None], window, stride=self.hop_samples)[:, 0]
        half = self.window_samples // 2
        return covered[:, half : half + samples] > 0

    def _logarithm(self, magnitude: Tensor) -> Tensor:
        return torch.log1p(magnitude if self._scale == 1 else self._scale * magnitude)

    @property
    def _scale(self) -> float:
        """c: with it, equal sounds are equally loud in the pictures of all rates."""
        reference = Domain.at(_REFERENCE_RATE)
        if self.window_samples == reference.window_samples:
            return 1.0
        return _window_sum(reference.window_samples) / _window_sum(self.window_samples)


def scaled(x: Tensor, gains: Tensor | float) -> Tensor:
    """Multiply the linear magnitudes of pictures (batch, freq, time) by gains."""
    return torch.log1p(gains * torch.expm1(x))


@lru_cache(maxsize=16)
def _window(samples: int, device: torch.device) -> Tensor:
    return torch.hamming_window(samples, device=device)


@lru_cache(maxsize=16)
def _window_sum(samples: int) -> float:
    return float(torch.hamming_window(samples, dtype=torch.float64).sum())
