"""Reading, resampling and the time-frequency grid."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from xaibench.errors import AudioError
from xaibench.sound import audio


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


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
    torch.testing.assert_close(audio.istft(audio.stft(x)), x, atol=1e-5, rtol=0)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.0, 1.0))
def test_a_mask_and_its_complement_sum_to_the_whole(seed, threshold):
    x = waveforms(1, seed)
    draw = torch.rand(1, *audio.PICTURE_SHAPE, generator=torch.Generator().manual_seed(seed + 1))
    for mask in (draw, (draw > threshold).float()):
        total = audio.masked_audio(x, mask) + audio.masked_audio(x, 1 - mask)
        torch.testing.assert_close(total, x, atol=1e-5, rtol=0)


def test_an_empty_mask_is_silence_and_a_full_mask_the_clip():
    x = waveforms(1)
    assert audio.masked_audio(x, torch.zeros(1, *audio.PICTURE_SHAPE)).abs().max() == 0
    torch.testing.assert_close(audio.masked_audio(x, torch.ones(1, *audio.PICTURE_SHAPE)), x, atol=1e-5, rtol=0)


def test_a_mask_removes_the_band_it_covers():
    high = torch.from_numpy(tone(5, 16_000, 6000.0))[None]
    low = torch.from_numpy(tone(5, 16_000, 500.0))[None]
    mask = torch.ones(1, *audio.PICTURE_SHAPE)
    mask[:, int(3000 / 16_000 * 1024) :] = 0
    heard = audio.masked_audio(high + low, mask)
    inner = slice(2000, -2000)  # the switched-on edges of a tone are broadband
    assert (heard - low)[:, inner].square().mean() < 1e-4 * low.square().mean()


# Reading


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 0.0),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_format_reads_as_the_sound_it_holds(tmp_path, kind, subtype, tolerance):
    path = tmp_path / "clip.bin"  # the format is known by its content, not by its name
    path.write_bytes(encoded(tone(5, 16_000), 16_000, kind, subtype))
    clip = audio.read_clip(path)
    assert clip.shape == (80_000,)
    assert clip.dtype == np.float32
    inner = slice(1000, -1000)  # lossy codecs smear the edges
    np.testing.assert_allclose(clip[inner], tone(5, 16_000)[inner], atol=tolerance)


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


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 200_000), channels=st.integers(1, 3), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_any_length_gives_a_clip_of_five_seconds(length, channels, rate):
    clip = audio.to_clip(np.full((length, channels), 0.25, dtype=np.float32), rate)
    assert clip.shape == (80_000,)
    assert clip.dtype == np.float32
    sounding = int(np.ceil(min(length / rate, 5.0) * 16_000))
    assert np.abs(clip[sounding:]).max(initial=0.0) == 0.0
    if rate == 16_000:
        assert (clip[:sounding] == 0.25).all()


def test_a_long_file_is_cut_at_five_seconds_and_not_squeezed():
    long = np.concatenate([tone(5, 44_100, 440.0), tone(5, 44_100, 1000.0)])
    clip = audio.to_clip(long[:, None], 44_100)
    np.testing.assert_allclose(clip[500:-500], tone(5, 16_000)[500:-500], atol=2e-3)


def test_samples_beyond_full_scale_are_clipped():
    clip = audio.to_clip(np.array([[3.0], [-3.0], [0.5]], dtype=np.float32), 16_000)
    np.testing.assert_array_equal(clip[:4], [1.0, -1.0, 0.5, 0.0])


def test_a_written_wav_reads_back(tmp_path):
    audio.write_wav(tmp_path / "clip.wav", 4 * tone(5, 16_000))
    clip = audio.read_clip(tmp_path / "clip.wav")
    np.testing.assert_allclose(clip, np.clip(4 * tone(5, 16_000), -1, 1), atol=1e-4)


# Files that are not what they should be


def assert_refused(path: Path, words: str) -> None:
    with pytest.raises(AudioError) as caught:
        audio.read_clip(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "object at 0x" not in str(caught.value)


def test_a_text_file_named_wav_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_text("this is not sound\n" * 100)
    assert_refused(path, "expected wav, flac, ogg or mp3")


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    assert_refused(path, "is an empty file")


def test_a_wav_without_samples_is_refused(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(np.zeros(0, dtype=np.float32), 16_000, "WAV"))
    assert_refused(path, "holds no samples")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_cut_inside_its_header_is_refused(tmp_path, kind):
    path = tmp_path / "clip"
    path.write_bytes(encoded(tone(5, 16_000), 16_000, kind)[:30])
    assert_refused(path, "expected wav, flac, ogg or mp3")


def test_a_flac_cut_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "clip.flac"
    data = encoded(waveforms(1)[0].numpy(), 16_000, "FLAC")
    path.write_bytes(data[: len(data) // 2])
    assert_refused(path, "expected wav, flac, ogg or mp3")


def test_a_wav_cut_in_the_middle_is_a_shorter_sound():
    """libsndfile believes the file's length, not its header: `check` reports the missing seconds."""
    data = encoded(tone(5, 16_000), 16_000, "WAV")
    samples, rate = audio.decode(data[: len(data) // 2], "clip.wav")
    assert 2.4 < len(samples) / rate < 2.6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_wav_with_undefined_samples_is_refused(tmp_path, bad):
    samples = tone(5, 16_000)
    samples[1234] = bad
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(samples, 16_000, "WAV", "FLOAT"))
    assert_refused(path, "NaN or infinite")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert_refused(tmp_path / "nothing.wav", "cannot be read")
    assert_refused(tmp_path, "cannot be read")


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"\xff\xfb", b"ID3"]))
def test_no_bytes_make_decode_fail_otherwise_than_as_an_audio_error(data, start):
    try:
        samples, rate = audio.decode(start + data, "clip")
    except AudioError:
        return
    assert len(samples) > 0
    assert rate > 0
