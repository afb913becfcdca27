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
# For the tail of the resampling filter: so much beyond a clip's end is decoded, where the sound goes on.
MARGIN_SECONDS = 1.0
INPUT = SAMPLE_RATE, CLIP_SAMPLES  # of classifiers that are trained here
DOMAIN = Domain.at(SAMPLE_RATE)
PICTURE_SHAPE = DOMAIN.shape(CLIP_SAMPLES)
# 11,025 Hz, the usual rate whose ratio to 16 kHz has the largest terms (441 / 640), takes 282,240.
MOST_COEFFICIENTS = 2**19
# What is heard of a sound that is longer than a classifier's input: its beginning, or its middle.
CUT, CENTER = LONG = ("cut", "center")


def to_clip(samples: np.ndarray, rate: int, sample_rate: int = SAMPLE_RATE, seconds: float | None = None) -> np.ndarray:
    """Mix to mono and resample.

    Args:
        samples: float32 (samples, channels).
        rate: their sample rate in Hz.
        sample_rate: of the clip.
        seconds: the clip is cut to this length, or padded with zeros; None: it is as long as the samples.

    Returns:
        float32 (samples,). Resamplers and lossy decoders overshoot [-1, 1]; this is left as it is.
    """
    if seconds is not None:
        # Cut first, so that samples that are dropped are not resampled.
        samples = samples[: int((seconds + MARGIN_SECONDS) * rate)]
    mono = samples.mean(axis=1, dtype=np.float32)
    if rate != sample_rate:
        mono = _resampled(mono, Fraction(rate, sample_rate))
    return mono if seconds is None else of_length(mono, round(seconds * sample_rate))


def at_rate(clip: np.ndarray, sample_rate: int) -> np.ndarray:
    """Resample a clip at 16 kHz, float32 (samples,), to another rate: as many seconds of it."""
    return clip if sample_rate == SAMPLE_RATE else _resampled(clip, Fraction(SAMPLE_RATE, sample_rate))


def clip_samples(sample_rate: int) -> int:
    """Return the number of samples in 5 s."""
    return round(CLIP_SECONDS * sample_rate)


def of_length(mono: np.ndarray, samples: int, long: str = CUT) -> np.ndarray:
    """Cut float32 (samples,) to a length, or pad it with zeros at its end.

    Args:
        mono: the sound.
        samples: the length.
        long: what is left of a longer sound, one of `LONG`.
    """
    clip = np.zeros(samples, dtype=np.float32)
    start = max(0, len(mono) - samples) // 2 if long == CENTER else 0
    kept = mono[start : start + samples]
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
