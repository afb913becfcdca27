"""The picture of sound: what is analysed comes back, what is masked adds up, and silence is silence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.domain import AUDIBLE, Domain

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000]


def noise(rate: int, seconds: float = 1.3) -> Tensor:
    return 0.1 * torch.randn(2, int(rate * seconds) + 7, generator=torch.Generator().manual_seed(rate))


def distance(first: Tensor, second: Tensor) -> float:
    """Root mean square of the difference, as a share of the first one's."""
    return float((first - second).square().mean().sqrt() / first.square().mean().sqrt())


@pytest.mark.parametrize("rate", RATES)
def test_a_sound_comes_back_from_its_picture(rate: int) -> None:
    domain, sound = Domain.at(rate), noise(rate)
    picture = domain.analyse(sound)
    assert picture.x.shape[1:] == domain.shape(sound.shape[1])
    assert distance(sound, domain.synthesise(*picture, sound.shape[1])) < 1e-6


@pytest.mark.parametrize("rate", RATES)
def test_kept_and_removed_sounds_add_up_to_the_clip(rate: int) -> None:
    domain, sound = Domain.at(rate), noise(rate)
    x, phase = domain.analyse(sound)
    generator = torch.Generator().manual_seed(0)
    hard = (torch.rand(x.shape, generator=generator) > 0.9).float()
    soft = torch.rand(x.shape, generator=generator)
    for mask in (hard, soft):
        kept, removed = (
            domain.synthesise(torch.log1p(share * torch.expm1(x)), phase, sound.shape[1]) for share in (mask, 1 - mask)
        )
        assert distance(sound, kept + removed) < 1e-6
        assert distance(domain.masked(sound, mask), kept) < 1e-5


def test_the_picture_of_a_clip_is_the_same_to_the_bit_wherever_it_stands() -> None:
    """Alone, or first, in the middle and last of several: rounding must not depend on where a tensor ends."""
    sounds = [noise(16_000, 0.5 + 0.001 * i)[:1] for i in range(8)]  # lengths that end at eight places of a vector
    for sound in sounds:
        alone = audio.DOMAIN.analyse(sound)
        together = audio.DOMAIN.analyse(torch.cat([sound, -sound, sound, sound.flip(1), sound]))
        for place in (0, 2, 4):
            assert torch.equal(together.x[place], alone.x[0])
            assert torch.equal(together.phase[place], alone.phase[0])


def test_geometry_of_the_rates() -> None:
    assert Domain.at(16_000) == Domain(16_000, 1024, 372, 186) == audio.DOMAIN
    assert Domain.at(16_000).shape(80_000) == (513, 431)
    for rate in RATES:
        domain = Domain.at(rate)
        assert domain.window_samples == 2 * domain.hop_samples
        assert domain.window_samples / rate == pytest.approx(0.02322, rel=0.01)
        assert 10 < rate / domain.n_fft < 23, "bins of about 15.6 Hz"
        assert float(domain.frequencies[-1]) == rate / 2
        assert float(domain.times(rate)[1]) == domain.hop_samples / rate


def test_the_picture_is_that_of_a_slow_transform() -> None:
    domain = Domain(8_000, 64, 32, 16)
    sound = torch.randn(1, 200, generator=torch.Generator().manual_seed(0))
    picture = domain.analyse(sound)
    window = 0.54 - 0.46 * np.cos(2 * math.pi * np.arange(32) / 32)
    padded = np.pad(sound[0].numpy().astype(float), 32)
    scale = sum(0.54 - 0.46 * math.cos(2 * math.pi * n / 372) for n in range(372)) / window.sum()
    for frame in (0, 3, 12):
        piece = padded[frame * 16 + 16 : frame * 16 + 48] * window
        for row in (0, 5, 31):
            turning = np.exp(-2j * math.pi * row * (np.arange(32) + 16) / 64)
            value = complex((piece * turning).sum())
            assert float(picture.x[0, row, frame]) == pytest.approx(math.log1p(scale * abs(value)), rel=1e-4)
            assert complex(picture.phase[0, row, frame]) == pytest.approx(value / abs(value), rel=1e-3)


def test_equal_sounds_are_equally_loud_at_all_rates() -> None:
    loudest = []
    for rate in RATES:
        time = torch.arange(rate) / rate
        loudest.append(float(Domain.at(rate).analyse(0.5 * torch.sin(2 * math.pi * 1000 * time)[None]).x.max()))
    assert max(loudest) - min(loudest) < 0.05, "a tone between two bins is a little softer"


def test_silence_is_zero_with_a_phase_of_its_own() -> None:
    picture = audio.DOMAIN.analyse(torch.zeros(1, 16_000))
    assert not picture.x.any()
    assert torch.equal(picture.phase, torch.ones_like(picture.phase))
    assert not audio.DOMAIN.synthesise(*picture, 16_000).any()


def test_frames_of_padding_and_digital_silence_are_not_audible() -> None:
    sound = torch.zeros(1, 16_000)
    sound[0, 4_000:8_000] = 2 * AUDIBLE
    sound[0, 12_000:] = AUDIBLE  # one step of 16 bits is dither, and no sound
    audible = audio.DOMAIN.audible_frames(sound)[0]
    assert len(audible) == audio.DOMAIN.shape(16_000)[1]
    for frame, heard in enumerate(audible.tolist()):
        start, stop = frame * 186 - 186, frame * 186 + 186
        assert heard == (start < 8_000 and stop > 4_000), frame


def test_a_changed_clip_is_a_clip() -> None:
    sound = noise(16_000)
    batch = Batch.of_sound(sound, ("a", "b"), audio.DOMAIN)
    mask = (torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    changed = batch.changed(batch.x * mask, audio.DOMAIN)
    assert changed.waveform is not None and batch.phase is not None
    expected = audio.DOMAIN.synthesise(batch.x * mask, batch.phase, sound.shape[1])
    assert torch.equal(changed.waveform, expected)
    assert torch.equal(changed.x, audio.DOMAIN.analyse(expected).x)
    assert not torch.allclose(changed.x, batch.x * mask, atol=1e-2), "energy comes back into silenced bins"
    fed = Batch(batch.x, ("a", "b"))
    assert torch.equal(fed.changed(batch.x * mask, audio.DOMAIN).x, batch.x * mask)
