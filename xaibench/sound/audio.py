"""Read, resample and transform audio. All numbers that define the spectrogram are here.

Audio is mono float32 in [-1, 1] at 16 kHz, 5 s = 80,000 samples. The spectrogram is log1p of the
STFT magnitude with axes (batch, freq, time) = (batch, 513, 431): n_fft 1024, Hamming window of
372 samples (23.2 ms), hop 186 samples (11.6 ms), centred, zero-padded edges.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.functional
from torch import Tensor

from xaibench.errors import AudioError

SAMPLE_RATE = 16_000
CLIP_SECONDS = 5.0
CLIP_SAMPLES = 80_000
N_FFT = 1024
WINDOW_SAMPLES = 372
HOP_SAMPLES = 186
N_FREQS = N_FFT // 2 + 1
N_FRAMES = CLIP_SAMPLES // HOP_SAMPLES + 1
PICTURE_SHAPE = (N_FREQS, N_FRAMES)


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode audio of any format that libsndfile reads.

    Args:
        data: bytes of the file.
        name: name of the file, for errors.

    Returns:
        Samples as float32 (samples, channels), and the sample rate in Hz.

    Raises:
        AudioError: the bytes are not audio, are empty, or hold NaN or infinite samples.
    """
    if not data:
        raise AudioError(f"{name}: is an empty file; copy or download it again")
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        # libsndfile's own message, without the memory address that str(error) puts before it.
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(
            f"{name}: not audio that libsndfile can read ({reason}); expected wav, flac, ogg or mp3"
        ) from error
    if len(samples) == 0:
        raise AudioError(f"{name}: holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: holds NaN or infinite samples")
    return samples, int(rate)


def to_clip(samples: np.ndarray, rate: int, limit: bool = True) -> np.ndarray:
    """Mix to mono, resample to 16 kHz, cut or zero-pad to 80,000 samples.

    Args:
        samples: float32 (samples, channels).
        rate: sample rate in Hz.
        limit: whether to clip to [-1, 1], which resamplers and lossy decoders overshoot.

    Returns:
        float32 (80000,).
    """
    mono = torch.from_numpy(np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32)))
    if rate != SAMPLE_RATE:
        # Cut first, so that samples that are dropped are not resampled; the margin keeps the filter's tail.
        mono = mono[: int((CLIP_SECONDS + 1.0) * rate)]
        mono = torchaudio.functional.resample(mono, rate, SAMPLE_RATE)
    clip = np.zeros(CLIP_SAMPLES, dtype=np.float32)
    kept = mono[:CLIP_SAMPLES].numpy()
    clip[: len(kept)] = kept
    return np.clip(clip, -1.0, 1.0) if limit else clip


def read_clip(path: Path) -> np.ndarray:
    """Read one audio file as a benchmark clip.

    Returns:
        float32 (80000,): mono, 16 kHz, 5 s.

    Raises:
        AudioError: the file is missing, unreadable, or not audio.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
    return to_clip(*decode(data, str(path)))


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """Write mono float samples (samples,) as a 16-bit wav file at 16 kHz."""
    soundfile.write(path, np.clip(waveform, -1.0, 1.0), SAMPLE_RATE, subtype="PCM_16")


@lru_cache(maxsize=8)
def _window(device: torch.device) -> Tensor:
    return torch.hamming_window(WINDOW_SAMPLES, device=device)


def stft(waveform: Tensor) -> Tensor:
    """Compute the complex STFT of waveforms (batch, 80000): complex64 (batch, 513, 431)."""
    return torch.stft(
        waveform,
        N_FFT,
        hop_length=HOP_SAMPLES,
        win_length=WINDOW_SAMPLES,
        window=_window(waveform.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )


def istft(coefficients: Tensor) -> Tensor:
    """Compute the waveforms (batch, 80000) of complex coefficients (batch, 513, 431)."""
    return torch.istft(
        coefficients,
        N_FFT,
        hop_length=HOP_SAMPLES,
        win_length=WINDOW_SAMPLES,
        window=_window(coefficients.device),
        center=True,
        length=CLIP_SAMPLES,
    )


def spectrogram(waveform: Tensor) -> Tensor:
    """Compute log1p of the STFT magnitude of waveforms (batch, 80000): float32 (batch, 513, 431)."""
    return torch.log1p(stft(waveform).abs())


def masked_audio(waveform: Tensor, mask: Tensor) -> Tensor:
    """Multiply the linear magnitude by a mask, keep the phase, and transform back to sound.

    Args:
        waveform: (batch, 80000).
        mask: values in [0, 1], (batch, 513, 431).

    Returns:
        Waveforms (batch, 80000).
    """
    return istft(stft(waveform) * mask)
