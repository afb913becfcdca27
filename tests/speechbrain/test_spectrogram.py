"""What the original recipes feed their classifiers, by hand: from the file to the image, and maps back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from tests.support.lazy import Lazy
from xaibench.sound import audio
from xaibench.sound.esc50 import Esc10
from xaibench.speechbrain.spectrogram import legacy_spectrogram

recipe = Lazy("xaibench.speechbrain.classifiers")


def slow_magnitude(samples: np.ndarray) -> np.ndarray:
    """STFT magnitude (frames, bins) by its definition: periodic Hamming window in the middle of 1024 zeros."""
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(372) / 372)
    frame = np.zeros(1024)
    padded = np.concatenate([np.zeros(512), samples.astype(np.float64), np.zeros(512)])
    spectra = []
    for middle in range(0, 80_001, 186):
        frame[326:698] = padded[middle + 326 : middle + 698] * window
        spectra.append(np.fft.rfft(frame))
    return np.sqrt(np.abs(spectra) ** 2 + 1e-14)


def slow_resize(size_in: int, size_out: int) -> np.ndarray:
    """Antialiased bilinear weights (out, in): a triangle one output pixel wide (or one input pixel, if larger)."""
    scale = size_in / size_out
    half = max(scale, 1.0)
    weights = np.zeros((size_out, size_in))
    for out in range(size_out):
        centre = (out + 0.5) * scale
        for i in range(size_in):
            weights[out, i] = max(0.0, 1 - abs(i + 0.5 - centre) / half)
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_input_by_hand(esc50_folder: Path) -> None:
    """From the file to the image, in float64 numpy; the clip's decoded peaks leave [-1, 1]."""
    source = Esc10(esc50_folder)
    clip = next(clip for clip in source.clips if clip.id == "5-208030-A-0")
    samples, rate = soundfile.read(esc50_folder / "audio" / clip.filename)
    assert rate == 16_000
    assert samples.shape == (80_000,)
    assert samples.max() > 1.1
    assert np.abs(source.waveform(clip)).max() == 1.0
    expected = np.log1p(slow_magnitude(samples / samples.max()))
    found = legacy_spectrogram(torch.from_numpy(source.unlimited_waveform(clip))[None])
    assert found.shape == (1, *audio.PICTURE_SHAPE)
    np.testing.assert_allclose(found[0].numpy().T, expected, rtol=0, atol=2e-5)
    image = slow_resize(431, 224) @ expected @ slow_resize(513, 224).T
    np.testing.assert_allclose(recipe.RecipeFrontEnd(224)(found)[0, 0].numpy(), image, rtol=0, atol=1e-4)


def test_division_is_by_the_maximum_not_the_largest_size() -> None:
    wave = torch.zeros(3, audio.CLIP_SAMPLES)
    wave[0, 5000], wave[0, 9000] = 0.25, -0.5
    wave[1, 100] = -0.5
    spectrogram = legacy_spectrogram(wave)
    torch.testing.assert_close(spectrogram[0], torch.log1p(audio.stft(4 * wave[:1]).abs()[0]), rtol=0, atol=1e-6)
    # No positive sample: the recipes divide by zero.
    torch.testing.assert_close(spectrogram[1], torch.log1p(audio.stft(wave[1:2]).abs()[0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(spectrogram[2], torch.full(audio.PICTURE_SHAPE, 1e-7), rtol=1e-3, atol=0)


def test_the_image_is_time_by_frequency_and_maps_come_back() -> None:
    front_end = recipe.RecipeFrontEnd(224)
    ramp = torch.linspace(0, 1, audio.PICTURE_SHAPE[1]).expand(1, *audio.PICTURE_SHAPE)
    image = front_end(ramp)
    assert image.shape == (1, 1, 224, 224)
    assert float(image[0, 0].std(dim=1).max()) < 1e-6, "constant along the frequencies of one time"
    assert bool((image[0, 0, 1:, 0] > image[0, 0, :-1, 0]).all())
    cell = torch.zeros(1, 7, 7)
    cell[0, 6, 0] = 1.0  # the last times, the lowest frequencies
    back = front_end.to_picture(cell)
    assert back.shape == (1, *audio.PICTURE_SHAPE)
    low, high = back[0, : audio.PICTURE_SHAPE[0] // 4], back[0, audio.PICTURE_SHAPE[0] // 2 :]
    assert float(high.max()) == 0.0
    assert float(low[:, : audio.PICTURE_SHAPE[1] // 2].max()) == 0.0
    assert float(low[:30, -30:].min()) == 1.0
