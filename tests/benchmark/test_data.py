"""Clips in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaibench as xb
from tests.support.objects import sounds
from xaibench.sound import audio


def test_clips_of_any_rate_and_length_become_clips() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * 44_100) / 44_100, dtype=np.float32)
    stereo = torch.from_numpy(np.stack([tone, tone], axis=1))
    data = xb.clips([tone, stereo, np.tile(tone, 3)], 44_100, ["a", "b", "a"], groups=["r", "s", "r"])
    assert data.classes == ("a", "b") and [clip.label for clip in data.clips] == [0, 1, 0]
    assert [clip.src_file for clip in data.clips] == ["r", "s", "r"]
    found = [data.waveform(clip) for clip in data.clips]
    assert [len(one) for one in found] == [48_000, 48_000, 144_000]
    assert [data.length(clip) for clip in data.clips] == [3, 3, 9]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    heard = [data.waveform_at(clip, *audio.INPUT) for clip in data.clips]
    assert not heard[0][48_000:].any() and heard[2][48_000:].any()
    assert data.odd_sound(data.clips) == []


def test_what_does_not_fit_together_is_refused() -> None:
    (sound,) = sounds(1)
    broken = sound.copy()
    broken[7] = np.nan
    for arguments, words in (
        (([sound], 16_000, ["a", "b"]), "1 waveforms and 2 labels"),
        (([], 16_000, []), "no waveforms"),
        (([sound], 16_000, ["c"], ["a", "b"]), "'c' is none of the classes"),
        (([sound], 16_000, [2], ["a", "b"]), "2 is no place in the 2 classes"),
        (([sound, sound], 16_000, ["a", "a"], None, None, ["x", "x"]), "same id"),
        (([broken], 16_000, ["a"]), "clip-0: holds NaN"),
        (([sound[None]], 16_000, ["a"]), r"clip-0 has the shape \(1, 80000\)"),
        (([sound], 16, ["a"]), "the rate is 16"),
        # As scipy reads a file; taken for floats, nearly all of it would be clipped.
        (([(sound * 32767).astype(np.int16)], 16_000, ["a"]), "samples of int16; expected floats .*divide by 32768"),
        (([np.zeros(9, np.uint8)], 16_000, ["a"]), "samples of uint8; expected floats .*shift and scale them"),
    ):
        with pytest.raises(xb.XaibenchError, match=words):
            xb.clips(*arguments)
