"""Augmentation does what it is called, from the generator alone."""

from __future__ import annotations

import pytest
import torch

from xaibench.classifiers import augmentation
from xaibench.classifiers.augmentation import augment


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)


def magnitudes(count: int = 6) -> torch.Tensor:
    """Positive magnitudes (count, 513, 431)."""
    return 0.1 + torch.rand(count, 513, 431, generator=generator(99))


@pytest.mark.parametrize("axis", [1, 2])
def test_masks_have_the_drawn_places_and_widths(axis: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "MASKS", 1)
    x = augmentation._mask(torch.ones(40, 513, 431), generator())
    dark = (x == 0).all(dim=3 - axis)  # (clips, size): bands or spans that are zero throughout
    draws = generator()
    # The same four draws of 40 in the same order: frequency width and start, time width and start.
    numbers = [torch.rand(40, generator=draws) for _ in range(4)][2 * (axis - 1) :]
    size = x.shape[axis]
    for clip in range(40):
        width = float(numbers[0][clip]) * augmentation.WIDEST_MASK
        start = float(numbers[1][clip]) * (size - width)
        expected = [start <= position < start + width for position in range(size)]
        assert dark[clip].tolist() == expected
    widths = dark.sum(dim=1)
    assert widths.max() <= augmentation.WIDEST_MASK + 1
    assert widths.float().std() > 5, "widths differ from clip to clip"


def test_nothing_but_the_masks_is_zero() -> None:
    x = augmentation._mask(torch.ones(8, 513, 431), generator())
    bands, spans = (x == 0).all(dim=2), (x == 0).all(dim=1)
    assert torch.equal(x == 0, bands[:, :, None] | spans[:, None, :])
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert (bands.sum(dim=1) <= augmentation.MASKS * (augmentation.WIDEST_MASK + 1)).all()


def test_roll_and_gain_keep_what_is_heard() -> None:
    magnitude = magnitudes()
    view = augmentation._roll_and_gain(magnitude, generator())
    moved = 0
    for before, after in zip(magnitude, view, strict=True):
        ratio = float((after.double().square().sum() / before.double().square().sum()).sqrt())
        assert 10 ** (-augmentation.GAIN_DECIBEL / 20) <= ratio <= 10 ** (augmentation.GAIN_DECIBEL / 20)
        scaled = after / ratio
        # One circular shift, the same in all bands, explains the whole.
        errors = [float((before[3].roll(s) - scaled[3]).abs().max()) for s in range(431)]
        shift = min(range(431), key=errors.__getitem__)
        torch.testing.assert_close(before.roll(shift, dims=-1), scaled, rtol=1e-4, atol=1e-5)
        moved += shift != 0
    assert moved >= 4


def test_mixup_mixes_powers_and_labels_by_the_same_share() -> None:
    count = 64
    # Clip i is silent but for bin i, so that a mixture shows what it was made of.
    magnitude = torch.zeros(count, 513, 431)
    magnitude[torch.arange(count), torch.arange(count), 0] = 1.0
    target = torch.eye(count)
    mixed, mixed_target = augmentation._mixup(magnitude, target, generator())
    torch.testing.assert_close(mixed_target.sum(dim=1), torch.ones(count))
    assert mixed_target.min() >= 0
    share = mixed_target.diagonal()
    assert (share >= 0.5).all(), "a clip stays the louder one"
    whole = int((share == 1).sum())
    assert count / 4 < whole < count, "about half of the batch is left whole"
    # A clip that was drawn as its own partner has share 1 in the labels and adds no second sound.
    apart = (share < 1).nonzero()[:, 0]
    torch.testing.assert_close(mixed[apart, :count, 0], mixed_target[apart])
    # Where both sounds overlap, powers add: sqrt((s a)^2 + ((1 - s) b)^2).
    flat, _ = augmentation._mixup(torch.ones(count, 513, 431), target, generator())
    torch.testing.assert_close(flat[apart, 0, 0], (share[apart] ** 2 + (1 - share[apart]) ** 2).sqrt())


def test_augment_is_its_parts_in_order() -> None:
    target = torch.eye(6)
    draws = generator(5)
    view, _ = augmentation._mixup(augmentation._roll_and_gain(magnitudes(), draws), target, draws)
    expected = augmentation._mask(torch.log1p(view), draws)
    torch.testing.assert_close(augment(magnitudes(), target, generator(5))[0], expected, rtol=0, atol=0)


def test_every_draw_comes_from_the_generator() -> None:
    target = torch.eye(6)
    state = torch.get_rng_state()
    first = augment(magnitudes(), target, generator(1))
    torch.rand(100)
    again = augment(magnitudes(), target, generator(1))
    other = augment(magnitudes(), target, generator(2))
    torch.set_rng_state(state)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    before = torch.get_rng_state()
    augment(magnitudes(), target, generator(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_batch_given_is_left_alone() -> None:
    magnitude, target = magnitudes(), torch.eye(6)
    kept, kept_target = magnitude.clone(), target.clone()
    augment(magnitude, target, generator())
    assert torch.equal(magnitude, kept)
    assert torch.equal(target, kept_target)


def test_a_shift_moves_clips_along_the_frequency_axis_and_not_around_it() -> None:
    magnitude = torch.zeros(200, 513, 4)
    magnitude[:, 250] = 1.0
    magnitude[:, 0] = magnitude[:, 512] = 2.0
    moved = augmentation._shift(magnitude, generator(), 5)
    places = (moved[:, :, 0] == 1.0).nonzero()[:, 1] - 250
    assert sorted(set(places.tolist())) == list(range(-5, 6))
    for clip, shift in zip(moved, places.tolist(), strict=True):
        assert torch.equal(clip[:, 0], clip[:, 3])
        assert (clip[:, 0] == 2.0).nonzero().flatten().tolist() == (
            [0, 512] if shift == 0 else [shift] if shift > 0 else [512 + shift]
        )


def test_no_shift_draws_nothing() -> None:
    target = torch.eye(6)
    plain, _ = augment(magnitudes(), target, generator())
    explicit, _ = augment(magnitudes(), target, generator(), frequency_shift=0)
    shifted, _ = augment(magnitudes(), target, generator(), frequency_shift=20)
    assert torch.equal(plain, explicit)
    assert not torch.equal(plain, shifted)


def test_stretching_multiplies_places_by_a_factor_and_leaves_the_origin() -> None:
    magnitude = torch.zeros(300, 513, 431)
    # Broad bumps, so that interpolation moves them whole.
    magnitude[:, 198:203, 148:153] = 1.0
    magnitude[:, 0, 0] = 5.0
    moved = augmentation._stretch(magnitude, generator(), 0.25)
    assert torch.allclose(moved[:, 0, 0], torch.tensor(5.0), atol=1e-3)
    moved[:, :3, :3] = 0.0
    weight = moved / moved.sum(dim=(1, 2), keepdim=True)
    row = (weight.sum(dim=2) * torch.arange(513)).sum(dim=1) / 200
    column = (weight.sum(dim=1) * torch.arange(431)).sum(dim=1) / 150
    for factors in (row, column):
        assert 0.795 < float(factors.min()) < 0.83
        assert 1.2 < float(factors.max()) < 1.255
    assert abs(float(torch.corrcoef(torch.stack([row, column]))[0, 1])) < 0.2, "both factors are drawn apart"


def test_what_a_squeezed_clip_lacks_is_silent() -> None:
    moved = augmentation._stretch(torch.ones(40, 513, 431), generator(), 0.5)
    edges = moved[:, 5, :].sum(dim=1) / 431
    assert float(moved.max()) <= 1 + 1e-5
    assert 0.66 < float(edges.min()) < 0.8, "the shortest clip ends at 1 / 1.5 of the time"
    assert (edges > 0.999).sum() >= 10


def test_no_stretch_draws_nothing() -> None:
    target = torch.eye(6)
    plain, _ = augment(magnitudes(), target, generator())
    assert torch.equal(plain, augment(magnitudes(), target, generator(), stretch=0.0)[0])
    assert not torch.equal(plain, augment(magnitudes(), target, generator(), stretch=0.1)[0])
