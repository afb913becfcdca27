"""Resampling and the time-frequency grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from xaibench.sound import audio


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def waveforms(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, audio.CLIP_SAMPLES, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# The grid


def test_the_grid_is_513_by_431():
    assert audio.PICTURE_SHAPE == (513, 431)
    spectrogram = audio.spectrogram(waveforms(2))
    assert spectrogram.shape == (2, 513, 431)
    assert spectrogram.dtype == torch.float32


def test_stft_is_the_transform_of_each_windowed_frame():
    """Naive re-derivation, one frame at a time: zero-padded edges, 372-sample Hamming window, FFT of 1024."""
    x = waveforms(1)
    coefficients = audio.stft(x)[0].numpy()
    window = np.zeros(1024)
    window[326 : 326 + 372] = signal.get_window("hamming", 372)  # periodic, in the middle of 1024
    padded = np.pad(x[0].numpy().astype(np.float64), 512)
    for frame in (0, 1, 215, 430):
        expected = np.fft.rfft(padded[frame * 186 : frame * 186 + 1024] * window)
        np.testing.assert_allclose(coefficients[:, frame], expected, atol=2e-4)


def test_istft_inverts_stft():
    x = waveforms(2)
    torch.testing.assert_close(audio.DOMAIN.istft(audio.stft(x), audio.CLIP_SAMPLES), x, atol=1e-5, rtol=0)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.0, 1.0))
def test_a_mask_and_its_complement_sum_to_the_whole(seed, threshold):
    x = waveforms(1, seed)
    draw = torch.rand(1, *audio.PICTURE_SHAPE, generator=torch.Generator().manual_seed(seed + 1))
    for mask in (draw, (draw > threshold).float()):
        total = audio.DOMAIN.masked(x, mask) + audio.DOMAIN.masked(x, 1 - mask)
        torch.testing.assert_close(total, x, atol=1e-5, rtol=0)


def test_an_empty_mask_is_silence_and_a_full_mask_the_clip():
    x = waveforms(1)
    assert audio.DOMAIN.masked(x, torch.zeros(1, *audio.PICTURE_SHAPE)).abs().max() == 0
    torch.testing.assert_close(audio.DOMAIN.masked(x, torch.ones(1, *audio.PICTURE_SHAPE)), x, atol=1e-5, rtol=0)


def test_a_mask_removes_the_band_it_covers():
    high = torch.from_numpy(tone(5, 16_000, 6000.0))[None]
    low = torch.from_numpy(tone(5, 16_000, 500.0))[None]
    mask = torch.ones(1, *audio.PICTURE_SHAPE)
    mask[:, int(3000 / 16_000 * 1024) :] = 0
    heard = audio.DOMAIN.masked(high + low, mask)
    inner = slice(2000, -2000)  # the switched-on edges of a tone are broadband
    assert (heard - low)[:, inner].square().mean() < 1e-4 * low.square().mean()


# Making clips


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_to_the_same_sound(rate):
    clip = audio.to_clip(tone(5, rate)[:, None], rate)
    assert clip.shape == (80_000,)
    np.testing.assert_allclose(clip[500:-500], tone(5, 16_000)[500:-500], atol=2e-3)


def test_resampling_down_removes_what_would_alias():
    clip = audio.to_clip(tone(5, 44_100, 12_000.0)[:, None], 44_100)
    assert np.abs(clip[500:-500]).max() < 0.01


def test_stereo_is_averaged():
    left, right = tone(5, 16_000, 300.0), tone(5, 16_000, 700.0)
    clip = audio.to_clip(np.stack([left, right], axis=1), 16_000)
    np.testing.assert_allclose(clip, (left + right) / 2, atol=1e-7)


def test_opposite_channels_cancel():
    left = tone(5, 16_000)
    assert np.abs(audio.to_clip(np.stack([left, -left], axis=1), 16_000)).max() == 0


@pytest.mark.parametrize("rate", [44_101, 22_051, 7_919])
def test_a_rate_of_an_awkward_ratio_takes_no_more_memory_and_sounds_the_same(rate, monkeypatch):
    """44,101 : 16,000 has no common factor: torchaudio would make 16,000 filters of 44,101 coefficients, 6 GB."""
    resample = torchaudio.functional.resample
    monkeypatch.setattr(torchaudio.functional, "resample", lambda *_: pytest.fail("6 GB"))
    clip = audio.to_clip(tone(6, rate, 1000.0)[:, None], rate, seconds=5)
    monkeypatch.setattr(torchaudio.functional, "resample", resample)
    assert (clip.shape, clip.dtype) == ((80_000,), np.float32)
    np.testing.assert_allclose(clip[500:-500], tone(5, 16_000, 1000.0)[500:-500], atol=2e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 384_000])
def test_usual_rates_are_resampled_by_torchaudio_to_the_bit(rate):
    sound = waveforms(1)[0][:5000]
    expected = torchaudio.functional.resample(sound, rate, 16_000)[:80_000]
    np.testing.assert_array_equal(audio.to_clip(sound.numpy()[:, None], rate)[: len(expected)], expected)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 200_000), channels=st.integers(1, 3), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_any_length_gives_a_clip_of_the_length_that_is_asked_for(length, channels, rate):
    clip = audio.to_clip(np.full((length, channels), 0.25, dtype=np.float32), rate, seconds=5)
    assert clip.shape == (80_000,)
    assert clip.dtype == np.float32
    sounding = int(np.ceil(min(length / rate, 5.0) * 16_000))
    assert np.abs(clip[sounding:]).max(initial=0.0) == 0.0
    if rate == 16_000:
        assert (clip[:sounding] == 0.25).all()


def test_a_long_sound_is_cut_at_its_end_or_at_both_ends():
    sound = np.arange(1, 12, dtype=np.float32)
    assert audio.of_length(sound, 4).tolist() == [1, 2, 3, 4]
    assert audio.of_length(sound, 4, audio.CENTER).tolist() == [4, 5, 6, 7]
    assert audio.of_length(sound, 5, audio.CENTER).tolist() == [4, 5, 6, 7, 8]
    for long in audio.LONG:
        assert audio.of_length(sound[:2], 4, long).tolist() == [1, 2, 0, 0]


def test_a_long_file_is_cut_at_five_seconds_and_not_squeezed():
    long = np.concatenate([tone(5, 44_100, 440.0), tone(5, 44_100, 1000.0)])
    clip = audio.to_clip(long[:, None], 44_100, seconds=5)
    np.testing.assert_allclose(clip[500:-500], tone(5, 16_000)[500:-500], atol=2e-3)
