"""Sound models of other people: small ones, seeded, of kinds that are common."""

from __future__ import annotations

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn

from xaibench.sound.randomness import seeded

CLASSES = ("bell", "crow", "rain", "saw")
RATE = 32_000
MELS = 32


class LogMel(nn.Module):
    """A front end: decibel-like mel bands (batch, 32, time) of waveforms at 32 kHz."""

    def __init__(self, floor: float = 1e-5) -> None:
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(RATE, 1024, hop_length=320, n_mels=MELS, f_max=RATE / 2)
        self.floor = floor

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.log(self.mel(waveform) + self.floor)


class MelCnn(nn.Module):
    """A convolutional network on mel bands, with the time axis first if asked."""

    def __init__(self, time_first: bool = False) -> None:
        super().__init__()
        self.time_first = time_first
        self.block1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(16, len(CLASSES))

    def forward(self, mels: Tensor) -> Tensor:
        maps = (mels.transpose(1, 2) if self.time_first else mels)[:, None] / 5
        maps = self.block2(self.block1(maps))
        return 3 * self.head(self.dropout(maps.mean(dim=(2, 3))))


class WaveNet1d(nn.Module):
    """A network on waveforms of any length, of strided convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, 8, 64, stride=16), nn.ReLU(), nn.Conv1d(8, 16, 16, stride=8), nn.ReLU()
        )
        self.head = nn.Linear(16, len(CLASSES))

    def forward(self, waveform: Tensor) -> Tensor:
        return 10 * self.head(self.convolutions(waveform[:, None]).mean(dim=2))


def mel_cnn(time_first: bool = False) -> MelCnn:
    """A seeded network on mel bands, in training mode as users leave it."""
    with seeded(0):
        return MelCnn(time_first)


def waveform_network() -> WaveNet1d:
    """A seeded network on waveforms."""
    with seeded(0):
        return WaveNet1d()


def loudness(waveforms: np.ndarray) -> np.ndarray:
    """Probabilities (batch, 4) from the energies of four bands: a black box."""
    spectrum = np.abs(np.fft.rfft(waveforms, axis=1)) ** 2
    bands = np.stack([part.sum(axis=1) for part in np.array_split(spectrum, len(CLASSES), axis=1)], axis=1)
    level = np.log(bands + 1.0)
    weights = np.exp(level - level.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def clips(count: int = 2, rate: int = RATE, seconds: float = 1.0) -> Tensor:
    """Tone bursts over noise, (count, samples)."""
    time = torch.arange(round(rate * seconds)) / rate
    noise = 0.01 * torch.randn(count, len(time), generator=torch.Generator().manual_seed(1))
    pitch = 400 * 2 ** torch.arange(count)[:, None]
    return noise + 0.3 * torch.sin(2 * torch.pi * pitch * time) * ((time > 0.3) & (time < 0.7))
