"""From the spectrogram's grid to a classifier's image and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.classifiers.resize import resize
from xaibench.sound.audio import PICTURE_SHAPE, SAMPLE_RATE


class FrontEnd(nn.Module):
    """Spectrogram (batch, 513, 431) to image (batch, 1, height, width), and maps back to the grid."""

    image_size: tuple[int, int]

    def to_picture(self, maps: Tensor) -> Tensor:
        """Resize maps (batch, h, w) drawn over the image to the grid (batch, 513, 431)."""
        raise NotImplementedError


class LinearResize(FrontEnd):
    """The paper's front end: standardise, then antialiased bilinear resize of both axes."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.image_size = image_size

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, self.image_size)[:, None]

    def to_picture(self, maps: Tensor) -> Tensor:
        return resize(maps, PICTURE_SHAPE)


class MelResize(FrontEnd):
    """Resize with the frequency axis warped to the mel scale; linear in the spectrogram.

    Each image row is a triangular average of the log spectrogram around a mel-spaced centre, at
    least one bin wide, so the whole front end is two matrix products and every attribution passes
    through it exactly.
    """

    frequency_weights: Tensor
    time_weights: Tensor
    row_of_bin: Tensor

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.image_size = image_size
        bins = np.linspace(0, SAMPLE_RATE / 2, PICTURE_SHAPE[0])
        mel_top = to_mel(np.array(SAMPLE_RATE / 2))
        edges = to_hertz(np.linspace(0, mel_top, image_size[0] + 2))
        weights = _triangles(edges, bins)
        time = resize(torch.eye(PICTURE_SHAPE[1])[None], (PICTURE_SHAPE[1], image_size[1]))[0]
        row = np.interp(bins, edges[1:-1], np.arange(image_size[0]))
        # Derived from the geometry, so not part of the weights.
        self.register_buffer("frequency_weights", torch.from_numpy(weights).float(), persistent=False)
        self.register_buffer("time_weights", time, persistent=False)
        self.register_buffer("row_of_bin", torch.from_numpy(row).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.frequency_weights @ (x @ self.time_weights))[:, None]

    def to_picture(self, maps: Tensor) -> Tensor:
        image = resize(maps, (self.image_size[0], PICTURE_SHAPE[1]))
        low = self.row_of_bin.floor().long()
        high = (low + 1).clamp(max=self.image_size[0] - 1)
        share = (self.row_of_bin - low)[:, None]
        return image[:, low] * (1 - share) + image[:, high] * share


def to_mel(hertz: np.ndarray) -> np.ndarray:
    """Convert frequencies in Hz to mel (O'Shaughnessy's formula)."""
    return 2595 * np.log10(1 + hertz / 700)


def to_hertz(mel: np.ndarray) -> np.ndarray:
    """Convert frequencies in mel to Hz."""
    return 700 * (10 ** (mel / 2595) - 1)


def _triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Rows of triangular weights (rows, bins), each summing to one."""
    spacing = bins[1] - bins[0]
    centre = edges[1:-1, None]
    rise = np.maximum(centre - edges[:-2, None], spacing)
    fall = np.maximum(edges[2:, None] - centre, spacing)
    distance = bins[None] - centre
    weights = np.clip(1 - np.where(distance < 0, -distance / rise, distance / fall), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)
