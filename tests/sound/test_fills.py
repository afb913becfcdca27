"""Fills against a slow derivation, and what is promised of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references.fills import REFERENCES, Geometry
from xaibench.errors import ExplanationError
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain, Picture
from xaibench.sound.fills import FILLS, Fill, fill_of, left
from xaibench.sound.synth import Synth

SOUNDS = [name for name in FILLS if name != "silence"]
SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
SAMPLES = 90


def clips(count: int = 3) -> Batch:
    """Sounds of more low than high frequencies; the second is silent in its middle, and padded."""
    generator = torch.Generator().manual_seed(0)
    sound = 0.2 * torch.randn(count, SAMPLES, generator=generator).cumsum(dim=1)
    if count > 1:
        sound[1, 30:55] = 0
        sound[1, 80:] = 0
    return Batch.of_sound(sound, tuple(f"clip-{i}" for i in range(count)), SMALL, 7)


def drawn(name: str, batch: Batch, domain: Domain = SMALL) -> Fill:
    found = fill_of(name, batch, domain)
    assert found is not None
    return found


def waveform_of(batch: Batch) -> Tensor:
    assert batch.waveform is not None
    return batch.waveform


@pytest.mark.parametrize("name", SOUNDS)
def test_equals_the_reference(name: str) -> None:
    batch = clips()
    found = drawn(name, batch)
    for i, sound in enumerate(waveform_of(batch).double().numpy()):
        white = torch.randn(SAMPLES, generator=batch.generator(i, "fill")).double().numpy()
        expected = REFERENCES[name](sound, white, Geometry(SMALL.n_fft, SMALL.window_samples, SMALL.hop_samples))
        np.testing.assert_allclose(found.waveform[i].numpy(), expected, atol=1e-5)


def test_silence_is_nothing_to_mix_and_pictures_cannot_be_filled_with_sound() -> None:
    batch = clips()
    assert fill_of("silence", batch, SMALL) is None
    with pytest.raises(ExplanationError, match="the fill mean is a sound, and the classifier is fed pictures"):
        fill_of("mean", Batch(batch.x, batch.clip_ids), SMALL)


@pytest.mark.parametrize("name", SOUNDS)
def test_a_fill_belongs_to_the_seed_and_the_clip(name: str) -> None:
    """To the bit: whatever the batch is, in whatever order."""
    batch = clips()
    whole = drawn(name, batch)
    backwards = Batch.of_sound(waveform_of(batch).flip(0), batch.clip_ids[::-1], SMALL, batch.seed)
    for i in range(len(batch)):
        alone = drawn(name, batch.slice(i, i + 1))
        assert torch.equal(alone.waveform[0], whole.waveform[i])
        assert torch.equal(alone.picture.x[0], whole.picture.x[i])
        assert torch.equal(alone.picture.phase[0], whole.picture.phase[i])
    assert torch.equal(drawn(name, backwards).waveform.flip(0), whole.waveform)
    for other in (replace(batch, seed=8), replace(batch, clip_ids=("x", "y", "z"))):
        assert not torch.allclose(drawn(name, other).waveform[0], whole.waveform[0], atol=0.1)


@pytest.mark.parametrize("name", SOUNDS)
def test_a_fill_has_the_energy_of_the_clip_and_is_silent_where_it_is(name: str) -> None:
    batch = clips()
    found, sound = drawn(name, batch).waveform, waveform_of(batch)
    torch.testing.assert_close(found.square().sum(dim=1), sound.square().sum(dim=1))
    assert batch.audible is not None and not batch.audible[1].all()
    assert not drawn(name, batch).picture.x[1][:, ~batch.audible[1]].any()
    nothing = Batch.of_sound(torch.zeros(1, SAMPLES), ("a",), SMALL)
    assert not drawn(name, nothing).waveform.any()


def spectrum(waveform: Tensor, domain: Domain) -> Tensor:
    """Mean power in dB, (batch, freq)."""
    return 10 * domain.stft(waveform).abs().square().mean(dim=2).log10()


def test_the_mean_fill_has_the_spectrum_of_the_clip_and_white_noise_has_not() -> None:
    domain, generator = Domain.at(16_000), torch.Generator().manual_seed(0)
    white = torch.fft.rfft(torch.randn(1, 80_000, generator=generator))
    slope = 1 / (1 + torch.linspace(0, 1, 40_001) * 30)  # 30 dB less power at the top
    batch = Batch.of_sound(0.1 * torch.fft.irfft(white * slope), ("a",), domain)
    expected = spectrum(waveform_of(batch), domain)
    gaps = {name: (spectrum(drawn(name, batch, domain).waveform, domain) - expected)[0, 2:-2] for name in SOUNDS}
    assert gaps["mean"].abs().mean() < 0.5, "dB; two noises of 431 frames differ so much by chance"
    assert gaps["noise"][-50:].mean() > 10


def test_what_a_mask_leaves_is_the_clip_and_elsewhere_the_fill() -> None:
    batch = clips()
    generator = torch.Generator().manual_seed(1)
    shares = torch.rand(batch.x.shape, generator=generator)
    shares[0] = (shares[0] > 0.5).float()
    for name in FILLS:
        fill = fill_of(name, batch, SMALL)
        rest = torch.zeros_like(waveform_of(batch)) if fill is None else fill.waveform
        wanted = shares * SMALL.stft(waveform_of(batch)) + (1 - shares) * SMALL.stft(rest)
        expected = SMALL.istft(wanted, SAMPLES)
        assert batch.phase is not None
        for mask in (shares, shares > 0.5):
            changed = left(batch, mask, fill, SMALL)
            picture = changed if isinstance(changed, Picture) else Picture(changed, batch.phase)
            found = SMALL.synthesise(*picture, SAMPLES)
            close = slice(None) if mask is shares else slice(0, 1)  # the first clip's shares are 0 and 1
            torch.testing.assert_close(found[close], expected[close], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_all_is_the_clip_and_nothing_is_the_fill_to_the_bit(name: str, kind: torch.dtype) -> None:
    batch = clips()
    fill, ones = drawn(name, batch), torch.ones_like(batch.x)
    assert batch.phase is not None
    for shares, expected in ((ones, Picture(batch.x, batch.phase)), (0 * ones, fill.picture)):
        found = left(batch, shares.to(kind), fill, SMALL)
        assert isinstance(found, Picture)
        assert torch.equal(found.x, expected.x)
        assert torch.equal(found.phase, expected.phase)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Of sounds (batch, samples)."""
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))


@pytest.mark.parametrize("name", SOUNDS)
def test_the_sound_of_a_fill_does_not_tell_what_was_removed(name: str) -> None:
    """With a phase of its own it correlates with the removed sound by chance only; with the clip's it would not."""
    dataset, domain = Synth(), Domain.at(16_000)
    some = dataset.in_folds([5])[:4]
    heard = torch.stack([torch.from_numpy(dataset.waveform(clip)) for clip in some])
    batch = Batch.of_sound(heard, tuple(clip.id for clip in some), domain)
    fill, sound = drawn(name, batch, domain), waveform_of(batch)
    assert batch.phase is not None and batch.samples is not None
    loud = batch.x > torch.stack([one.flatten().quantile(0.9) for one in batch.x])[:, None, None]
    removed = domain.masked(sound, loud)
    own = domain.synthesise(fill.picture.x * loud, fill.picture.phase, batch.samples)
    betrayed = domain.synthesise(fill.picture.x * loud, batch.phase, batch.samples)
    assert correlation(own, removed).abs().mean() < 0.02
    assert correlation(betrayed, removed).min() > 0.4
