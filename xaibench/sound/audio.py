"""Resample and transform audio. The numbers of the spectrogram are those of `Domain.at(16_000)`.

Audio is mono float32 in [-1, 1] at 16 kHz, 5 s = 80,000 samples. The spectrogram is log1p of the
STFT magnitude with axes (batch, freq, time) = (batch, 513, 431): n_fft 1024, Hamming window of
372 samples (23.2 ms), hop 186 samples (11.6 ms), centred, zero-padded edges.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
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


def to_clip(samples: np.ndarray, rate: int) -> np.ndarray:
    """Mix to mono, resample to 16 kHz, cut or zero-pad to 80,000 samples.

    Args:
        samples: float32 (samples, channels).
        rate: sample rate in Hz.

    Returns:
        float32 (80000,). Resamplers and lossy decoders overshoot [-1, 1]; this is left as it is.
    """
    mono = samples.mean(axis=1, dtype=np.float32)
    if rate != SAMPLE_RATE:
        # Cut first, so that samples that are dropped are not resampled.
        mono = _resampled(mono[: int(USED_SECONDS * rate)], Fraction(rate, SAMPLE_RATE))
    clip = np.zeros(CLIP_SAMPLES, dtype=np.float32)
    kept = mono[:CLIP_SAMPLES]
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


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """Write mono float samples (samples,) as a 16-bit wav file at 16 kHz."""
    soundfile.write(path, np.clip(waveform, -1.0, 1.0), SAMPLE_RATE, subtype="PCM_16")


def stft(waveform: Tensor) -> Tensor:
    """Compute the complex STFT of waveforms (batch, 80000): complex64 (batch, 513, 431)."""
    return DOMAIN.stft(waveform)


def spectrogram(waveform: Tensor) -> Tensor:
    """Compute log1p of the STFT magnitude of waveforms (batch, 80000): float32 (batch, 513, 431)."""
    return torch.log1p(stft(waveform).abs())
