"""Sound files as clips: every format, files that are not what they should be, and what is said of odd ones."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sound.test_audio import tone, waveforms
from xaibench.errors import AudioError
from xaibench.sound import audio, reading
from xaibench.sound.findings import Kind


def encoded(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def noise(samples: int) -> np.ndarray:
    """Coded into as many bytes as there is sound, unlike a tone."""
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def decoded(data: bytes) -> reading.Decoded:
    return reading.decode(io.BytesIO(data), "clip", seconds=5)


def texts(data: bytes) -> list[tuple[Kind, str]]:
    """What is odd about a file whose clips should last 5 s."""
    return [(one.kind, one.text) for one in decoded(data).findings(5)]


def kinds(data: bytes) -> list[Kind]:
    return [kind for kind, _ in texts(data)]


# Sound


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
@pytest.mark.parametrize("name", ["clip.bin", "clip.raw"])
def test_every_format_reads_as_the_sound_it_holds(tmp_path, kind, subtype, tolerance, name):
    path = tmp_path / name  # the format is known by its content, not by its name
    path.write_bytes(encoded(tone(5, 16_000), 16_000, kind, subtype))
    read = reading.read_clip(path)
    assert read.findings == ()
    assert read.waveform.shape == (80_000,)
    assert read.waveform.dtype == np.float32
    inner = slice(1000, -1000)  # lossy codecs smear the edges
    np.testing.assert_allclose(read.waveform[inner], tone(5, 16_000)[inner], atol=tolerance)


def test_samples_beyond_full_scale_are_clipped(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(np.array([3.0, -3.0, 0.5], dtype=np.float32), 16_000, "WAV", "FLOAT"))
    read = reading.read_clip(path)
    np.testing.assert_array_equal(read.waveform, [1.0, -1.0, 0.5])
    np.testing.assert_array_equal(read.unlimited, [3.0, -3.0, 0.5])


def test_a_written_wav_reads_back(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.clip(4 * tone(5, 16_000), -1, 1), 16_000, subtype="PCM_16")
    clip = reading.read_clip(tmp_path / "clip.wav").waveform
    np.testing.assert_allclose(clip, np.clip(4 * tone(5, 16_000), -1, 1), atol=1e-4)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_of_a_long_file_only_what_is_used_is_decoded(tmp_path, kind, rate, monkeypatch):
    path = tmp_path / "clip"
    path.write_bytes(encoded(noise(20 * rate), rate, kind))
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    frames = 0
    read = soundfile.SoundFile.read

    def counted(self, *arguments, **named):
        nonlocal frames
        samples = read(self, *arguments, **named)
        frames += len(samples)
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    with reading.opened(path) as file:
        found = reading.as_clip(reading.decode(file, str(path), seconds=5), 5)
    assert 5 * rate <= frames <= 6 * rate
    np.testing.assert_array_equal(found.unlimited, audio.to_clip(whole, rate, seconds=5))
    assert [(one.kind, one.text) for one in found.findings] == [(Kind.long, "lasts 20.00 s instead of 5 s")]
    assert reading.read_clip(path).waveform.shape == (20 * 16_000,)  # of which nobody says how long it is


# Files that are refused


def assert_refused(path: Path, words: str) -> None:
    with pytest.raises(AudioError) as caught:
        reading.read_clip(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "object at 0x" not in str(caught.value)
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_wav_with_undefined_samples_is_refused(tmp_path, bad):
    samples = tone(5, 16_000)
    samples[1234] = bad
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(samples, 16_000, "WAV", "FLOAT"))
    assert_refused(path, "NaN or infinite")


def test_samples_that_overflow_when_they_are_mixed_are_refused(tmp_path):
    """Two channels of 3e38 are finite, and their sum is not: a clip of infinities, or of NaN once resampled."""
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(np.full((1000, 2), 3e38, dtype=np.float32), 44_100, "WAV", "FLOAT"))
    assert_refused(path, "holds samples up to 3e+38")


@pytest.mark.parametrize("rate", [1, 999, 384_001, 2**31 - 1])
def test_a_rate_of_no_recorder_is_refused_before_anything_is_decoded(tmp_path, rate, monkeypatch):
    data = bytearray(encoded(tone(5, 16_000), 16_000, "WAV"))
    data[24:28] = struct.pack("<I", rate)
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    assert_refused(path, f"has a sample rate of {rate} Hz; expected 1000 to 384000 Hz")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert_refused(tmp_path / "nothing.wav", "cannot be read")
    assert_refused(tmp_path, "a folder, pipe or device, not a file")


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened, which waits for a writer"))
    os.mkfifo(tmp_path / "pipe.wav")
    assert_refused(tmp_path / "pipe.wav", "a folder, pipe or device, not a file")
    assert_refused(Path(os.devnull), "a folder, pipe or device, not a file")
    (tmp_path / "link.wav").symlink_to("/dev/zero")
    assert_refused(tmp_path / "link.wav", "a folder, pipe or device, not a file")


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"\xff\xfb", b"ID3"]))
def test_no_bytes_make_decode_fail_otherwise_than_as_an_audio_error(data, start):
    try:
        found = decoded(start + data)
    except AudioError:
        return
    assert len(found.samples) > 0
    assert found.rate > 0


# Files that are truncated


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_truncated_file_is_found_and_a_whole_one_is_not(kind, subtype):
    data = encoded(noise(80_000), 16_000, kind, subtype)
    assert texts(data) == []
    for share in (0.3, 0.5, 0.9):
        (found,) = texts(data[: int(share * len(data))])
        assert found[0] is Kind.truncated
        seconds = float(found[1].removeprefix("is truncated after ").removesuffix(" s"))
        assert abs(seconds - 5 * share) < 1.5  # Ogg loses the whole page


@pytest.mark.parametrize("lost", [10, 100, 1000, 5000])
def test_an_ogg_or_wav_that_lacks_its_last_bytes_is_truncated(lost):
    for kind in ("OGG", "WAV"):
        data = encoded(noise(80_000), 16_000, kind)
        assert kinds(data[:-lost]) == [Kind.truncated]


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("seconds", [5.0, 5.05])
def test_no_whole_mp3_is_called_truncated(mode, seconds):
    buffer = io.BytesIO()
    sound = noise(int(seconds * 22_050))
    soundfile.write(buffer, sound, 22_050, format="MP3", bitrate_mode=mode, compression_level=0.5)
    data = buffer.getvalue()
    assert texts(data) == []
    tagged = b"ID3\x04\x00\x00" + bytes([0, 0, 0x40, 0]) + bytes(0x40 << 7) + data  # 8 KiB of title and cover
    assert texts(tagged) == []
    assert kinds(tagged[: -len(data) // 2]) == [Kind.truncated]
    # Without the first frame, which holds its length, the file promises nothing: libmpg123 guesses.
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    assert Kind.truncated not in kinds(data[data.index(b"\xff\xf3", tag) :])


@pytest.mark.parametrize(
    ("riff", "size"), [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (0x7FFFFFFF, 0x7FFFFFDB), (160_044, 160_000)]
)
def test_a_wav_that_was_written_to_a_pipe_is_not_truncated(riff, size):
    data = bytearray(encoded(noise(80_000), 16_000, "WAV"))
    data[4:8], data[40:44] = struct.pack("<I", riff), struct.pack("<I", size)
    assert texts(bytes(data)) == []


def test_what_follows_the_sound_truncates_nothing():
    for kind in ("OGG", "WAV", "MP3"):
        assert texts(encoded(noise(80_000), 16_000, kind) + bytes(300_000)) == []


# Files with little in them


def test_a_short_file_and_a_long_one():
    assert texts(encoded(noise(800), 16_000, "WAV")) == [(Kind.short, "lasts 0.05 s instead of 5 s")]
    assert kinds(encoded(noise(1), 16_000, "WAV")) == [Kind.silent, Kind.short]
    assert texts(encoded(noise(4 * 44_100), 44_100, "WAV")) == [(Kind.short, "lasts 4.00 s instead of 5 s")]
    assert texts(encoded(noise(6 * 8000), 8000, "WAV")) == [(Kind.long, "lasts 6.00 s instead of 5 s")]


def test_one_sample_is_read_at_any_rate():
    for rate in (8000, 16_000, 44_100, 44_101):
        assert np.isfinite(reading.as_clip(decoded(encoded(noise(1), rate, "WAV"))).unlimited).all()


def test_a_cut_file_that_is_long_enough_is_still_truncated():
    data = encoded(noise(20 * 16_000), 16_000, "WAV")
    assert texts(data[: len(data) // 2]) == [(Kind.truncated, "is truncated after 10.00 s")]
