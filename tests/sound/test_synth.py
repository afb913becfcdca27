"""The embedded set: what it promises, re-derived from its two stems."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from xaibench import registry
from xaibench.sound import audio, synth
from xaibench.sound.synth import Synth, stems
from xaibench.storage.user_folders import CACHE_VARIABLE

INDEX = st.integers(0, 399)
LABEL = st.integers(0, 9)
SOME = (0, 57, 123, 244, 311, 399)


def power(x: np.ndarray) -> float:
    return float(np.mean(x**2))


def test_the_registry_gives_the_set():
    assert registry.load("datasets", "synth") is Synth


def test_400_clips_eight_of_each_class_in_each_fold():
    dataset = Synth()
    assert len(dataset.clips) == 400
    assert len({clip.id for clip in dataset.clips}) == 400
    assert len({clip.src_file for clip in dataset.clips}) == 400
    cells = Counter((clip.fold, clip.label) for clip in dataset.clips)
    assert cells == {(fold, label): 8 for fold in range(1, 6) for label in range(10)}


def test_classes_are_in_the_order_of_the_events():
    assert len(set(Synth.classes)) == len(Synth.classes) == len(synth.EVENTS) == 10
    assert Synth.classes[0] == "rising chirp"
    assert Synth.classes[9] == "melody"


def test_two_fresh_caches_hold_the_same_bytes(monkeypatch, tmp_path):
    made = []
    for name in ("first", "second"):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / name))
        dataset = Synth()
        clips = [dataset.clips[i] for i in (SOME if name == "first" else reversed(SOME))]
        made.append(
            {clip.id: dataset.waveform(clip).tobytes() + dataset.ground_truth(clip).tobytes() for clip in clips}
        )
        assert len(list((tmp_path / name).rglob("*.npy"))) == 2 * len(SOME)
    assert made[0] == made[1]


def test_the_cache_gives_back_what_was_made():
    dataset = Synth()
    for clip in (dataset.clips[i] for i in SOME):
        first, second = dataset.waveform(clip), dataset.waveform(clip)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(dataset.ground_truth(clip), dataset.ground_truth(clip))


def test_a_clip_is_its_stems_rounded_to_16_bits():
    dataset = Synth()
    for i in SOME:
        clip = dataset.clips[i]
        waveform = dataset.waveform(clip)
        assert waveform.shape == (80_000,)
        assert waveform.dtype == np.float32
        steps = waveform.astype(np.float64) * 32767
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-2)
        event, background = stems(i, clip.label)
        assert np.abs(steps - (event + background) * 32767).max() <= 0.5 + 1e-2


def test_evidence_is_where_the_event_is_louder_than_the_background():
    """Naive re-derivation in float64 with numpy's FFT, frame by frame; bins that are nearly equal may differ."""
    window = np.zeros(1024)
    window[326 : 326 + 372] = signal.get_window("hamming", 372)
    dataset = Synth()
    for i in SOME[:3]:
        clip = dataset.clips[i]
        context = dataset.ground_truth(clip)
        assert context.shape == audio.PICTURE_SHAPE
        assert context.dtype == bool
        magnitudes = []
        for stem in stems(i, clip.label):
            padded = np.pad(stem, 512)
            frames = np.stack([padded[t * 186 : t * 186 + 1024] for t in range(431)], axis=1)
            magnitudes.append(np.abs(np.fft.rfft(frames * window[:, None], axis=0)))
        event, background = magnitudes
        clear = np.abs(event - background) > 1e-4 * (event + background)
        assert clear.mean() > 0.999
        np.testing.assert_array_equal(context[clear], (event > background)[clear])


def test_every_clip_has_evidence_and_silence_beside_it():
    dataset = Synth()
    shares = np.array([dataset.ground_truth(clip).mean() for clip in dataset.clips[:80]])
    assert (shares > 0.0005).all()
    assert (shares < 0.6).all()


@settings(max_examples=20, deadline=None)
@given(index=INDEX, label=LABEL)
def test_the_event_is_0_to_20_db_above_the_background(index, label):
    event, background = stems(index, label)
    sounding = np.flatnonzero(event)
    during = event[sounding[0] : sounding[-1] + 1]
    # Beeps and clicks begin or end in silence, so the support may be a little shorter than the draw.
    snr = 10 * np.log10(power(during) / power(background))
    assert -0.1 <= snr <= 20.5
    assert 0.15 < len(during) / 16_000 <= 2.5


def test_signal_to_noise_ratios_fill_the_range():
    ratios = []
    for i in range(0, 60):
        event, background = stems(i, 5)  # noise bursts sound for the whole of their length
        ratios.append(10 * np.log10(power(event[event != 0]) / power(background)))
    assert min(ratios) < 3
    assert max(ratios) > 17
    assert min(ratios) >= -0.05
    assert max(ratios) <= 20.05


@settings(max_examples=20, deadline=None)
@given(index=INDEX, one=LABEL, other=LABEL)
def test_the_background_tells_nothing_about_the_class(index, one, other):
    first, second = stems(index, one)[1], stems(index, other)[1]
    np.testing.assert_allclose(first / np.sqrt(power(first)), second / np.sqrt(power(second)), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(index=INDEX, label=LABEL)
def test_the_sum_is_loud_and_never_clips(index, label):
    peak = np.abs(np.add(*stems(index, label))).max()
    assert 0.2 <= peak <= 0.9 + 1e-12


@settings(max_examples=10, deadline=None)
@given(label=LABEL, first=INDEX, second=INDEX)
def test_clips_differ_unless_they_are_the_same_clip(label, first, second):
    same = np.array_equal(stems(first, label)[0], stems(second, label)[0])
    assert same == (first == second)


def test_the_evidence_of_a_pure_tone_follows_the_tone():
    """A rising chirp: the loudest evident bin climbs from frame to frame."""
    dataset = Synth()
    clip = dataset.clips[0]
    assert dataset.classes[clip.label] == "rising chirp"
    context = dataset.ground_truth(clip)
    frames = np.flatnonzero(context.any(axis=0))
    centres = [np.flatnonzero(context[:, t]).mean() for t in frames]
    assert np.corrcoef(frames, centres)[0, 1] > 0.8


@pytest.mark.parametrize("label", range(10), ids=Synth.classes)
def test_events_of_a_class_vary(label):
    events = [stems(i, label)[0] for i in range(3)]
    onsets = {int(np.flatnonzero(event)[0]) for event in events}
    assert len(onsets) == 3
