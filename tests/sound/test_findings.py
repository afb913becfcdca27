"""What is odd about a sound, and that ESC-50 is not drowned in it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sound.test_audio import tone
from xaibench.errors import AudioError
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.esc50 import Esc50
from xaibench.sound.findings import Finding, Kind, of_sound, sentences
from xaibench.sound.reading import Decoded
from xaibench.sound.subset import Few

RATE = 16_000


def found(*channels: np.ndarray) -> list[tuple[Kind, str]]:
    return [(one.kind, one.text) for one in of_sound(np.stack(channels, axis=1).astype(np.float32), RATE)]


def padded(samples: np.ndarray) -> np.ndarray:
    return np.pad(samples, (0, 5 * RATE - len(samples)))


def test_silence():
    assert found(np.zeros(5 * RATE)) == [(Kind.silent, "is silent")]
    assert found(np.zeros(5 * RATE), np.zeros(5 * RATE)) == [(Kind.silent, "is silent")]
    assert found(np.full(5 * RATE, 0.1)) == [(Kind.silent, "is silent")], "an offset is no sound"
    dither = np.random.default_rng(0).uniform(-(2.0**-16), 2.0**-16, 5 * RATE)
    assert found(dither) == [(Kind.silent, "is silent")]


def test_nearly_silence():
    assert found(padded(np.ones(1) / 2)) == [(Kind.silent, "is silent but for 0.0625 ms")]
    ((kind, text),) = found(padded(tone(0.05, RATE)))
    assert kind is Kind.silent
    assert text.startswith("is silent but for 49")
    assert found(padded(tone(0.2, RATE))) == []
    assert found(tone(0.05, RATE)) == [], "short, which reading tells, and not silent"


def test_channels_in_opposite_phase():
    left = tone(5, RATE)
    expected = [(Kind.opposite, "has channels in opposite phase, which cancel when they are mixed to one")]
    assert found(left, -left) == expected
    assert found(left, -0.95 * left) == expected
    assert found(left, -0.5 * left) == []
    assert found(left, tone(5, RATE, 700.0)) == []
    assert found(left, np.zeros_like(left)) == []
    assert found(left, left) == []


def test_a_clipped_sound():
    assert found(tone(5, RATE) * 2) == [], "a sine at full scale"
    assert found(np.clip(8 * tone(5, RATE), -1, 1)) == [
        (Kind.clipped, "is clipped: 84% of its samples are at full scale")
    ]
    assert found(3 * tone(5, RATE)) == [(Kind.clipped, "is clipped: 54% of its samples are at full scale")]


def test_a_sound_on_another_scale():
    assert found(32_768 * tone(5, RATE)) == [(Kind.loud, "has samples up to 1.64e+04; full scale is 1")]
    click = padded(tone(1, RATE))
    click[100] = 2.5
    assert found(click) == [(Kind.loud, "has samples up to 2.5; full scale is 1")]
    click[100] = 1.4  # Vorbis does so
    assert found(click) == []


def test_only_what_is_used_counts():
    for sound, odd in (
        (np.concatenate([tone(5, RATE), 100 * tone(1, RATE)]), []),
        (np.concatenate([np.zeros(5 * RATE), tone(1, RATE)]), [Kind.silent]),
    ):
        decoded = Decoded(sound.astype(np.float32)[:, None], RATE, 6.0, False)
        assert [one.kind for one in decoded.findings(5)] == [*odd, Kind.long]


def test_no_length_is_odd_where_nobody_says_how_long_clips_are():
    for seconds in (0.2, 1.7, 12.0):
        assert Decoded(tone(seconds, RATE)[:, None], RATE, seconds, False).findings() == ()


def test_each_kind_is_said_once_with_the_count_and_the_first_names():
    silent, short = Finding(Kind.silent, "is silent"), Finding(Kind.short, "lasts 1.00 s instead of 5 s")
    assert sentences({"a": (), "b": ()}) == []
    assert sentences({"a": (silent,)}) == ["1 of 1 clip is silent, or nearly so: a"]
    assert sentences({"a": (silent,), "b": (short, silent), "c": ()}) == [
        "1 of 3 clips is shorter than the clips of this dataset are (the rest is taken as silence): b",
        "2 of 3 clips are silent, or nearly so: a, b",
    ]
    assert sentences(dict.fromkeys("abcdefgh", (silent,))) == [
        "8 of 8 clips are silent, or nearly so: a, b, c and 5 more"
    ]


def test_every_kind_has_a_description():
    assert all(kind.description for kind in Kind)


class Given(Dataset):
    """One clip of given sound."""

    name, licence, classes = "given", "none", ("a",)

    def __init__(self, sound: np.ndarray) -> None:
        self.sound = sound.astype(np.float32)
        self.clips = (Clip("one", 5, 0, "one"),)

    def waveform(self, clip: Clip) -> np.ndarray:
        return self.sound


def test_a_dataset_without_files_is_judged_by_its_sound():
    silent = Given(np.zeros(80_000))
    assert silent.odd_sound(silent.clips) == ["1 of 1 clip is silent, or nearly so: one"]
    assert Few(silent, 1).odd_sound(silent.clips) == silent.odd_sound(silent.clips)
    assert Given(tone(5, RATE)).odd_sound(silent.clips) == []
    with pytest.raises(AudioError, match="given: clip one holds NaN or infinite samples"):
        Given(np.full(80_000, np.nan)).odd_sound(silent.clips)


def test_synth_is_not_odd(synth):
    assert synth.odd_sound(synth.in_folds([5])[:16]) == []


def test_nothing_is_said_of_genuine_clips(esc50_folder):
    """Those that come nearest: the sparsest, the most clipped, the loudest and the most padded of all 2,000."""
    names = ("1-100032-A-0", "3-51909-B-42", "2-103426-A-3", "1-47709-A-16", "5-156999-B-19", "4-204777-C-39")
    dataset = Esc50(esc50_folder)
    clips = [clip for clip in dataset.clips if clip.id in names]
    assert dataset.odd_sound(clips) == []
