"""Clips at the rate and length of whoever hears them, and what is known of them there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from xaibench.sound import audio
from xaibench.sound.dataset import Dataset
from xaibench.sound.domain import Domain
from xaibench.sound.esc50 import Esc50
from xaibench.sound.subset import Few
from xaibench.sound.synth import Synth
from xaibench.storage import array_cache


def loudest_hz(waveform: np.ndarray, rate: int) -> float:
    """The frequency of the strongest bin."""
    return float(np.abs(np.fft.rfft(waveform)).argmax() * rate / len(waveform))


def test_at_16_khz_the_samples_are_those_of_the_dataset(synth: Synth, small_esc50: Path) -> None:
    for dataset in (synth, Few(synth, 2), Esc50(small_esc50)):
        clip = dataset.clips[0]
        for samples in (None, audio.CLIP_SAMPLES):
            found = dataset.waveform_at(clip, audio.SAMPLE_RATE, samples)
            np.testing.assert_array_equal(found, dataset.waveform(clip))


@pytest.mark.parametrize("rate", [8_000, 22_050, 32_000, 44_100])
def test_a_clip_is_the_same_sound_at_every_rate(synth: Synth, small_esc50: Path, rate: int) -> None:
    for dataset in (synth, Few(synth, 2), Esc50(small_esc50)):
        clip = dataset.clips[0]
        waveform = dataset.waveform_at(clip, rate)
        assert waveform.shape == (5 * rate,) and waveform.dtype == np.float32 and np.abs(waveform).max() <= 1
        if isinstance(dataset, Esc50):
            assert loudest_hz(waveform, rate) == pytest.approx(loudest_hz(dataset.waveform(clip), 16_000), abs=1)


def test_a_clip_is_cut_or_padded_to_the_length_that_is_asked_for(synth: Synth, small_esc50: Path) -> None:
    for dataset in (synth, Esc50(small_esc50)):
        clip = dataset.clips[0]
        whole = dataset.waveform_at(clip, 32_000)
        np.testing.assert_array_equal(dataset.waveform_at(clip, 32_000, 96_000), whole[:96_000])
        padded = dataset.waveform_at(clip, 32_000, 320_000)
        np.testing.assert_array_equal(padded, np.pad(whole, (0, 160_000)))


def test_a_file_is_resampled_once_from_its_own_rate(small_esc50: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Esc50(small_esc50)
    clip = dataset.clips[0]
    path = small_esc50 / "audio" / clip.filename
    rate = 44_100
    tone = (0.5 * np.sin(2 * np.pi * 12_000 * np.arange(5 * rate) / rate)).astype(np.float32)  # 16 kHz cannot hold it
    soundfile.write(path, tone, rate, subtype="FLOAT", format="WAV")
    np.testing.assert_array_equal(dataset.waveform_at(clip, rate), tone)
    assert loudest_hz(dataset.waveform_at(clip, 32_000), 32_000) == pytest.approx(12_000, abs=1)
    assert dataset.waveform(clip).std() < 0.01
    # Each rate has an entry of its own, and is decoded once.
    monkeypatch.setattr(array_cache.np, "save", pytest.fail)
    np.testing.assert_array_equal(dataset.waveform_at(clip, rate), tone)
    assert len(dataset.waveform_at(clip, 32_000)) == 160_000


def test_known_events_lie_where_they_do_at_16_khz(synth: Synth) -> None:
    clip = synth.clips[2]  # a stack of harmonics
    at_home = synth.ground_truth(clip)
    np.testing.assert_array_equal(synth.ground_truth_at(clip, audio.DOMAIN), at_home)
    domain = Domain.at(32_000)
    for dataset in (synth, Few(synth, 80)):
        known = dataset.ground_truth_at(clip, domain)
        assert known.shape == domain.shape(160_000) and not known[domain.frequencies >= 8_000].any()
        # The bins of both domains are 15.6 Hz and 11.6 ms apart.
        both = known[:513, : at_home.shape[1]]
        assert (both == at_home).mean() > 0.97 and both.sum() > 0
        assert dataset.ground_truth_at(clip, domain, 64_000).shape == domain.shape(64_000)
        assert dataset.stem_at(clip, 32_000, 64_000).shape == (64_000,)


def test_what_is_known_at_16_khz_follows_from_the_stems(synth: Synth) -> None:
    clip = synth.clips[4]
    elsewhere = Dataset.ground_truth_at(synth, clip, audio.DOMAIN, 79_998)  # computed, since it is cut
    assert (elsewhere[:, :-2] == synth.ground_truth(clip)[:, : elsewhere.shape[1] - 2]).mean() > 0.99
