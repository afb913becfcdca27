"""Equal-area masks: exact area, nested, and each clip's own, whatever the map and whatever the batch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.toy import ids
from xaibench.results.areas import AREAS, CURVE_AREAS
from xaibench.scoring.ranking import Ranking
from xaibench.sound.batch import Batch

SHAPE = (6, 5)
SIZE = 30
LEVELS = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1.1754944e-38, 0.5, 3.4028234663852886e38]),
    st.floats(0, 1, width=32),
)
MAPS = st.one_of(
    st.lists(LEVELS, min_size=SIZE, max_size=SIZE),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=SIZE, max_size=SIZE),
    st.sampled_from([0.0, 0.25]).map(lambda level: [level] * SIZE),
    st.permutations(range(SIZE)).map(lambda order: [float(i) for i in order]),
)


def batch(clip_ids: tuple[str, ...], shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Batch:
    return Batch(torch.zeros(len(clip_ids), *shape), clip_ids, seed)


def ranking(*maps: list[float]) -> Ranking:
    importance = torch.tensor(maps).view(len(maps), *SHAPE)
    return Ranking(importance, batch(ids(len(maps))))


@settings(max_examples=100, deadline=None)
@given(values=MAPS, area=st.floats(0, 1))
def test_area_is_exact(values, area):
    mask = ranking(values).top(area)
    assert mask.dtype == torch.bool
    assert mask.shape == (1, *SHAPE)
    assert int(mask.sum()) == round(area * SIZE)


@settings(max_examples=100, deadline=None)
@given(values=MAPS, area=st.floats(0, 1))
def test_no_bin_outside_is_more_important_than_one_inside(values, area):
    mask = ranking(values).top(area)[0]
    importance = torch.tensor(values).view(SHAPE)
    if mask.any() and not mask.all():
        assert importance[mask].min() >= importance[~mask].max()


@settings(max_examples=60, deadline=None)
@given(values=MAPS)
def test_larger_masks_hold_the_smaller_ones(values):
    ranked = ranking(values)
    masks = [ranked.top(count / SIZE) for count in range(SIZE + 1)]
    for smaller, larger in pairwise(masks):
        assert not (smaller & ~larger).any()


@settings(max_examples=60, deadline=None)
@given(maps=st.lists(MAPS, min_size=2, max_size=5), data=st.data())
def test_a_clips_mask_does_not_depend_on_its_batch(maps, data):
    names = ids(len(maps))
    order = data.draw(st.permutations(range(len(maps))))
    chosen = order[: data.draw(st.integers(1, len(maps)))]
    importance = torch.tensor(maps).view(len(maps), *SHAPE)
    whole = Ranking(importance, batch(names))
    part = Ranking(importance[chosen], batch(tuple(names[i] for i in chosen)))
    for area in CURVE_AREAS:
        assert torch.equal(whole.top(area)[chosen], part.top(area))


def test_random_masks_differ_between_clips_and_seeds_and_repeat_for_one():
    constant = torch.full((3, 20, 30), 0.7)
    first = Ranking(constant, batch(ids(3), (20, 30))).top(0.2)
    assert torch.equal(first, Ranking(constant, batch(ids(3), (20, 30))).top(0.2))
    other_seed = Ranking(constant, batch(ids(3), (20, 30), seed=1)).top(0.2)
    for mask, other in [(first[0], first[1]), (first[1], first[2]), (first[0], other_seed[0])]:
        # Two independent masks of a fifth share a fifth of their bins: 24 of 120, deviation 4.
        assert 8 <= int((mask & other).sum()) <= 40


def test_random_masks_favour_no_bin():
    clips = 2000
    constant = torch.zeros(clips, *SHAPE)
    share = Ranking(constant, batch(ids(clips))).top(0.2).double().mean(dim=0)
    assert (share - 0.2).abs().max() < 5 * (0.2 * 0.8 / clips) ** 0.5


def test_signed_zeros_tie():
    signs = torch.tensor([0.0, -0.0]).repeat(1, 15).view(1, *SHAPE)
    for area in CURVE_AREAS:
        assert torch.equal(
            Ranking(signs, batch(ids(1))).top(area), Ranking(torch.zeros(1, *SHAPE), batch(ids(1))).top(area)
        )


def test_neighbouring_floats_and_denormals_do_not_tie():
    smallest = torch.arange(SIZE, dtype=torch.int32).view(torch.float32)  # 0, 1.4e-45, 2.8e-45, ...
    near_one = (torch.arange(SIZE, dtype=torch.int32) + torch.tensor(1.0).view(torch.int32)).view(torch.float32)
    for values in (smallest, near_one):
        mask = Ranking(values.view(1, *SHAPE), batch(ids(1))).top_counts(torch.tensor([7]))
        assert mask.flatten().nonzero().flatten().tolist() == list(range(SIZE - 7, SIZE))


def test_ties_are_broken_only_among_equals():
    """Lifting one bin of a constant map by the least amount puts it first, and leaves the rest's order."""
    constant = torch.ones(1, *SHAPE)
    lifted = constant.clone()
    lifted[0, 2, 3] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    before, after = Ranking(constant, batch(ids(1))), Ranking(lifted, batch(ids(1)))
    for count in range(1, SIZE + 1):
        mask = after.top_counts(torch.tensor([count]))
        assert mask[0, 2, 3]
        rest = mask.clone()
        rest[0, 2, 3] = False
        known = [before.top_counts(torch.tensor([c])).clone() for c in (count - 1, count)]
        for one in known:
            one[0, 2, 3] = False
        assert any(torch.equal(rest, one) for one in known)


@settings(max_examples=60, deadline=None)
@given(maps=st.lists(MAPS, min_size=1, max_size=4), data=st.data())
def test_top_counts_gives_each_clip_its_own_number(maps, data):
    counts = data.draw(st.lists(st.integers(0, SIZE), min_size=len(maps), max_size=len(maps)))
    ranked = ranking(*maps)
    masks = ranked.top_counts(torch.tensor(counts))
    assert masks.flatten(1).sum(dim=1).tolist() == counts
    for i, count in enumerate(counts):
        assert torch.equal(masks[i], ranked.top(count / SIZE)[i])


@pytest.mark.parametrize("area", AREAS)
def test_areas_on_the_real_grid(area):
    generator = torch.Generator().manual_seed(0)
    maps = torch.stack([torch.rand(513, 431, generator=generator), torch.zeros(513, 431)])
    ranked = Ranking(maps, batch(ids(2), (513, 431)))
    assert ranked.sizes.tolist() == [513 * 431] * 2
    mask = ranked.top(area)
    assert mask.flatten(1).sum(dim=1).tolist() == [round(area * 513 * 431)] * 2
    # The quantile that the source paper cuts at, on a map without ties.
    assert abs(float(maps[0][mask[0]].min()) - (1 - area)) < 0.01


@pytest.mark.parametrize("area", AREAS)
def test_padding_and_digital_silence_do_not_count(area):
    generator = torch.Generator().manual_seed(0)
    maps = torch.stack([torch.rand(20, 30, generator=generator), torch.zeros(20, 30)])
    audible = torch.zeros(2, 30, dtype=torch.bool)
    audible[0, :10], audible[1, 25:] = True, True
    clips = Batch(torch.zeros(2, 20, 30), ids(2), audible=audible)
    ranked = Ranking(maps, clips)
    mask = ranked.top(area)
    assert ranked.sizes.tolist() == [200, 100]
    assert mask.flatten(1).sum(dim=1).tolist() == [round(area * 200), round(area * 100)]
    assert not (mask & ~audible[:, None]).any()
    alone = Ranking(maps[:1, :, :10], Batch(torch.zeros(1, 20, 10), ids(1)))
    assert torch.equal(mask[:1, :, :10], alone.top(area)), "of the audible bins, the most important ones"
    assert ranked.top(1.0).all(), "the whole clip is the whole clip"
    assert not ranked.top(0.0).any()
    assert torch.equal(ranked.ascending[0], maps[0, :, :10].flatten().sort().values)
    assert torch.equal(ranked.ascending[1], torch.zeros(100))
