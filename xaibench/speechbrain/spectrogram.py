"""What the original recipes feed their classifiers: the shared grid, from a waveform divided by its maximum.

Source: SpeechBrain's ESC-50 recipes (arXiv 2402.02754); ../shared/reference/README.md states the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.sound import audio

# Keeps the recipes' square root differentiable at zero; a silent bin becomes log1p(1e-7), not 0.
MAGNITUDE_FLOOR = 1e-14


def legacy_spectrogram(waveform: Tensor) -> Tensor:
    """Log1p STFT magnitude of waveforms divided by their largest sample, as the recipes compute it.

    The largest sample, not the largest absolute one: a clip whose deepest trough is larger than its
    highest peak leaves [-1, 1]. The magnitude is sqrt(re^2 + im^2 + 1e-14).

    Args:
        waveform: (batch, 80000), of `Dataset.unlimited_waveform`: Vorbis overshoots [-1, 1] up to 1.17 on
            ESC-10 fold 5, and limited clips give logits that differ by up to 0.007. Where the largest
            sample is zero the recipes divide by it; such a clip (silence) is left as it is.

    Returns:
        (batch, 513, 431), axes (freq, time) as everywhere here; the recipes hold its transpose.
    """
    peak = waveform.amax(dim=1, keepdim=True)
    coefficients = audio.stft(waveform / torch.where(peak == 0, torch.ones_like(peak), peak))
    power = coefficients.real.square() + coefficients.imag.square()
    return torch.log1p(torch.sqrt(power + MAGNITUDE_FLOOR))
