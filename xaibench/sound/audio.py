"""Resample and transform audio. The numbers of the spectrogram are those of `Domain.at(16_000)`.

Audio is mono float32 in [-1, 1] at 16 kHz, 5 s = 80,000 samples. The spectrogram is log1p of the
STFT magnitude with axes (batch, freq, time) = (batch, 513, 431): n_fft 1024, Hamming window of
372 samples (23.2 ms), hop 186 samples (11.6 ms), centred, zero-padded edges.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
import torchaudio.functional
from torch import Tensor

from xaibench.sound.domain import Domain

SAMPLE_RATE = 16_000
CLIP_SECONDS = 5.0
CLIP_SAMPLES = 80_000
# What is used of a longer sound: the clip, and a margin for the tail of the resampling filter.
USED_SECONDS = CLIP_SECONDS + 1.0
DOMAIN = Domain.at(SAMPLE_RATE)
PICTURE_SHAPE = DOMAIN.shape(CLIP_SAMPLES)
# 11,025 Hz, the usual rate whose ratio to 16 kHz has the largest terms (441 / 640), takes 282,240.
MOST_COEFFICIENTS = 2**19


def to_clip(samples: np.ndarray, rate: int, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Mix to mono, resample, cut or zero-pad to 5 s.

    Args:
        samples: float32 (samples, channels).
        rate: their sample rate in Hz.
        sample_rate: of the clip.

    Returns:
        float32, (80000,) at 16 kHz. Resamplers and lossy decoders overshoot [-1, 1]; this is left as it is.
    """
    mono = samples.mean(axis=1, dtype=np.float32)
    if rate != sample_rate:
        # Cut first, so that samples that are dropped are not resampled.
        mono = _resampled(mono[: int(USED_SECONDS * rate)], Fraction(rate, sample_rate))
    return of_length(mono, clip_samples(sample_rate))


def at_rate(clip: np.ndarray, sample_rate: int) -> np.ndarray:
    """Resample a clip of 5 s at 16 kHz, float32 (80000,), to another rate: the same 5 s."""
    if sample_rate == SAMPLE_RATE:
        return clip
    return of_length(_resampled(clip, Fraction(SAMPLE_RATE, sample_rate)), clip_samples(sample_rate))


def clip_samples(sample_rate: int) -> int:
    """Return the number of samples in the 5 s of a clip."""
    return round(CLIP_SECONDS * sample_rate)


def of_length(mono: np.ndarray, samples: int) -> np.ndarray:
    """Cut float32 (samples,) to a length, or pad it with zeros."""
    clip = np.zeros(samples, dtype=np.float32)
    kept = mono[:samples]
    clip[: len(kept)] = kept
    return clip


def _resampled(mono: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Resample float32 (samples,) from a rate that is `ratio` times the new one."""
    down, up = ratio.numerator, ratio.denominator
    if down * up <= MOST_COEFFICIENTS:
        tensor = torch.from_numpy(np.ascontiguousarray(mono))
        return torchaudio.functional.resample(tensor, down, up).numpy()
    # torchaudio makes all `up` filters of `down` coefficients and more: 6 GB for 44,101 Hz. scipy's polyphase
    # filter has 20 * max(down, up) in all. The ratio is exact, and the window (Hann) is the same.
    from scipy import signal  # takes a second to import, and few files need it

    return np.asarray(signal.resample_poly(mono, up, down, window="hann"), dtype=np.float32)


def stft(waveform: Tensor) -> Tensor:
    """Compute the complex STFT of waveforms (batch, 80000): complex64 (batch, 513, 431)."""
    return DOMAIN.stft(waveform)


def spectrogram(waveform: Tensor) -> Tensor:
    """Compute log1p of the STFT magnitude of waveforms (batch, 80000): float32 (batch, 513, 431)."""
    return DOMAIN.log_magnitudes(waveform)
