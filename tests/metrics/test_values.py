"""Every registered metric against its slow reference, its bounds, its direction, and the undefined cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.references.values import REFERENCES, Clip
from tests.support.toy import LinearToy, RegionToy, context, ids, probability_function
from xaibench import registry
from xaibench.results.areas import AREAS
from xaibench.scoring.metric import Metric, Scores

# What needs more than a map and probabilities: explanations of changed clips or classifiers, or sound.
ELSEWHERE = {
    *("avg_sensitivity", "efficient_mprt", "energy_removed", "local_lipschitz", "mask_area", "mask_inconsistency"),
    *("max_sensitivity", "mprt", "random_logit", "relative_input_stability", "relative_output_stability", "si_sdr"),
    "sufficiency",
    *(name for name in registry.names("metrics") if name.startswith(("event_", "f_fidelity_", "legacy_"))),
}
# Tested here, but for the comparison with a slow reference, which needs the draws: test_references.py knows where.
REFERENCED_ELSEWHERE = {
    *("completeness", "faithfulness_correlation", "faithfulness_estimate", "infidelity", "irof"),
    *("monotonicity_correlation", "non_sensitivity", "region_perturbation", "road", "sensitivity_n"),
}
NAMES = [name for name in registry.names("metrics") if name not in ELSEWHERE]
REFERENCED = [name for name in NAMES if name not in REFERENCED_ELSEWHERE]
MASKS = {"mask_iou", "pointing_game", "relevance_rank", "top_k_intersection"}
UNDEFINED_FOR_ZEROS = ["complexity", "effective_complexity", "relevance_mass", "sparseness"]
# What reads more of a map than the order of its bins: a map of zeros is then no random order, see their own files.
UNORDERED = {
    "completeness",
    "faithfulness_correlation",
    "faithfulness_estimate",
    "infidelity",
    "monotonicity_correlation",
    "non_sensitivity",
    "sensitivity_n",
}
HUGE = float(np.float32(1e30))  # squared, or summed over a grid in float32, it overflows


def metric(name: str) -> Metric:
    return registry.load("metrics", name)()


def areas_of(scorer: Metric) -> tuple[float | None, ...]:
    return AREAS if scorer.per_area else (None,)


def ranks(name: str) -> bool:
    """Whether ties in the map leave the value to the tie order."""
    return bool(metric(name).perturbations(AREAS)) or name in MASKS


def random_clips(shape: tuple[int, int], count: int, seed: int, tied: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Spectrograms, importance maps and known evidence; evidence and importance overlap in part."""
    generator = torch.Generator().manual_seed(seed)
    size = shape[0] * shape[1]
    # Loud and quiet blocks, so that a mask can raise confidence as well as lower it.
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]
    order = torch.stack([torch.randperm(size, generator=generator) for _ in range(count)]).view(count, *shape)
    levels = (order // 7).float() if tied else order.float()
    importance = (levels / size) ** 3
    known = order.float() / size + torch.rand(count, *shape, generator=generator) > 1.3
    return x, importance, known


def check(result: Scores, count: int) -> None:
    """The contract of Scores: float64, one value and one reason a clip, NaN exactly where there is a reason."""
    assert result.values.shape == (count,)
    assert result.values.dtype == torch.float64
    assert len(result.reasons) == count
    assert [math.isnan(value) for value in result.values] == [reason is not None for reason in result.reasons]
    assert not result.values.isinf().any()


@pytest.mark.parametrize("name", REFERENCED)
def test_has_a_reference(name):
    if name not in REFERENCES:
        pytest.fail(
            f"metric '{name}' has no reference: add an independent re-derivation of it, citing its paper, "
            "to REFERENCES in tests/references/values.py"
        )


SHAPES = [(4, 3), (9, 7), (12, 15)]
CLIPS = 10


def reference_clips(shape: tuple[int, int], tied: bool) -> tuple[tuple[Tensor, Tensor, Tensor], list[Clip]]:
    """The clips of the test below, as tensors for the engine and one by one for the references."""
    tensors = random_clips(shape, CLIPS, seed=shape[0], tied=tied)
    probabilities = probability_function(LinearToy())
    x, importance, known = (tensor.numpy() for tensor in tensors)
    return tensors, [Clip(x[i], importance[i], probabilities, known[i]) for i in range(CLIPS)]


# The mask of a tied map is the tie order's own: test_masks has its properties.
@pytest.mark.parametrize("name", REFERENCED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_reference(name, shape):
    scorer = metric(name)
    for tied in (False,) if ranks(name) else (False, True):
        tensors, clips = reference_clips(shape, tied)
        batched = context(LinearToy(), *tensors)
        for area in areas_of(scorer):
            result = scorer.score(batched, area)
            check(result, CLIPS)
            expected = [REFERENCES[name](clip, area) for clip in clips]
            assert result.values.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_reference_clips_tell_formulas_apart(shape):
    """Guards the test above: where every clip scores 0, any formula agrees."""
    _, clips = reference_clips(shape, tied=False)
    for name in ("fidelity_in", "average_drop", "average_increase", "average_gain", "pointing_game"):
        found = {REFERENCES[name](clip, area) for clip in clips for area in AREAS}
        assert min(found) < max(found), name


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_alone_and_in_any_batch(name):
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=5, seed=3, tied=True)
    together = context(LinearToy(), x, importance, known)
    order = [3, 0, 4, 2, 1]
    shuffled = context(
        LinearToy(), x[order], importance[order], known[order], clip_ids=[ids(5)[i] for i in order], batch_size=2
    )
    for area in areas_of(scorer):
        values = scorer.score(together, area).values
        assert torch.allclose(scorer.score(shuffled, area).values, values[order], rtol=1e-12, atol=1e-12)
        for i in range(5):
            one = slice(i, i + 1)
            alone = context(LinearToy(), x[one], importance[one], known[one], clip_ids=[ids(5)[i]])
            assert float(scorer.score(alone, area).values) == pytest.approx(float(values[i]), rel=1e-12, abs=1e-12)


# Zeros of both signs, denormals, ties and huge values in one map.
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1.1754944e-38, 1.0, HUGE, float(np.finfo(np.float32).max)]),
    st.floats(0, HUGE, width=32),
    st.floats(0, 1, width=32),
)
MAPS = st.lists(VALUES, min_size=24, max_size=24)
KNOWN = st.lists(st.booleans(), min_size=24, max_size=24)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(values=MAPS, known=KNOWN, seed=st.integers(0, 1000), temperature=st.sampled_from([0.5, 30.0, 3000.0]))
def test_is_within_its_bounds_or_undefined_with_a_reason(name, values, known, seed, temperature):
    scorer = metric(name)
    x = torch.rand(1, 6, 4, generator=torch.Generator().manual_seed(seed))
    importance = torch.tensor(values).view(1, 6, 4)
    made = context(LinearToy(temperature=temperature), x, importance, torch.tensor(known).view(1, 6, 4))
    low, high = scorer.bounds
    for area in areas_of(scorer):
        result = scorer.score(made, area)
        check(result, 1)
        value = float(result.values)
        assert math.isnan(value) or low <= value <= high


@pytest.mark.parametrize("name", [*UNDEFINED_FOR_ZEROS, "localisation_auc"])
@settings(max_examples=60, deadline=None)
@given(values=MAPS, known=KNOWN)
def test_equals_the_reference_on_extreme_maps(name, values, known):
    importance = torch.tensor(values).view(1, 6, 4)
    mask = torch.tensor(known).view(1, 6, 4)
    x = torch.ones_like(importance)
    value = float(metric(name).score(context(LinearToy(), x, importance, mask), None).values)
    clip = Clip(x[0].numpy(), importance[0].numpy(), probability_function(LinearToy()), mask[0].numpy())
    assert value == pytest.approx(REFERENCES[name](clip, None), rel=1e-9, abs=1e-9, nan_ok=True)


# An axiom about zeros charges the right few bins for all others: test_axioms.py has its direction.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "non_sensitivity"])
def test_direction(name):
    """The right few bins beat the wrong many, in the direction that the metric declares."""
    scorer = metric(name)
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.rand(1, 9, 10, generator=generator)
    known = torch.zeros(1, 9, 10, dtype=torch.bool)
    known[:, 0, :9] = True
    x[known] = 3.0  # the predicted class's band
    x[:, 4, :8] = 2.5  # another class's band: keeping only the evidence raises confidence
    right = known * (1 + torch.rand(1, 9, 10, generator=generator))
    wrong = ~known * (1 + torch.rand(1, 9, 10, generator=generator))
    wrong[:, 4, :8] += 1
    better, worse = (context(RegionToy(), x, importance, known) for importance in (right, wrong))
    assert better.target.tolist() == [0]
    for area in (0.10,) if scorer.per_area else (None,):
        gain = float(scorer.score(better, area).values - scorer.score(worse, area).values)
        # The published polarity is declared as its paper reads it, and that is upside down.
        upwards = scorer.higher_is_better != (name == "faithfulness_kept")
        assert gain > 0 if upwards else gain < 0


@pytest.mark.parametrize("name", ["relevance_mass", "relevance_rank", "pointing_game", "localisation_auc"])
@settings(max_examples=40, deadline=None)
@given(known=KNOWN.filter(lambda bins: 0 < sum(bins) < len(bins)), values=MAPS)
def test_no_map_locates_better_than_the_oracle_nor_worse_than_its_opposite(name, known, values):
    scorer = metric(name)
    mask = torch.tensor(known).view(1, 6, 4)
    x = torch.ones(1, 6, 4)
    maps = {"oracle": mask.float(), "opposite": (~mask).float(), "any": torch.tensor(values).view(1, 6, 4)}
    value = {kind: float(scorer.score(context(LinearToy(), x, m, mask), None).values) for kind, m in maps.items()}
    assert value["oracle"] == 1.0
    # More than half of all bins cannot miss the evidence altogether.
    if name != "relevance_rank" or sum(known) <= 12:
        assert value["opposite"] == 0.0
    assert math.isnan(value["any"]) or value["opposite"] <= value["any"] <= value["oracle"]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40).filter(any),
    exponent=st.integers(-60, 60),
    shuffle=st.randoms(use_true_random=False),
)
def test_sparseness_and_complexity_ignore_scale_and_place(values, exponent, shuffle):
    values = [max(value, 1e-3) if value else 0.0 for value in values]  # keeps the scaled map out of the denormals
    moved = [value * 2.0**exponent for value in values]
    shuffle.shuffle(moved)
    maps = torch.tensor([values, moved]).view(2, 1, -1)
    made = context(LinearToy(), torch.ones_like(maps), maps)
    for name in ("sparseness", "complexity"):
        first, second = metric(name).score(made, None).values.tolist()
        assert first == pytest.approx(second, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("level", [1e-45, 1e-30, 0.1, 1 / 3, HUGE])
def test_constant_and_single_bin_maps_on_the_full_grid(level):
    """On 221,103 bins a sum of signed terms leaves the uniform map at -2.5e-13, below its bound."""
    size = 513 * 431
    maps = torch.zeros(3, 513, 431)
    maps[:2] = level
    maps[2, 100, 7] = level
    made = context(RegionToy(), torch.ones_like(maps), maps)
    assert metric("sparseness").score(made, None).values.tolist() == [0.0, 0.0, pytest.approx(1 - 1 / size, abs=1e-15)]
    assert metric("complexity").score(made, None).values.tolist() == pytest.approx([math.log(size)] * 2 + [0.0])


def test_effective_complexity_counts_what_is_more_than_negligible():
    maps = torch.tensor([[1.0, 0.5, 1.1e-5, 0.9e-5, 0.0], [0.0, 2e-5, 3.0, 4e-5, 1e-30]]).view(2, 1, 5)
    made = context(LinearToy(), torch.ones_like(maps), maps)
    assert metric("effective_complexity").score(made, None).values.tolist() == [3.0, 2.0]


def test_mask_iou_is_1_where_the_mask_is_the_evidence():
    """And 0 where the two are apart; between, the smaller set over the larger where one lies in the other."""
    x, _, _ = random_clips((10, 8), count=3, seed=1, tied=False)
    importance = torch.zeros_like(x)
    known = torch.zeros_like(x, dtype=torch.bool)
    importance[:, 2] = 1  # the 8 most important of 80 bins
    known[0, 2] = True
    known[1, 5] = True
    known[2, 2:6] = True
    assert metric("mask_iou").score(context(LinearToy(), x, importance, known), 0.1).values.tolist() == [
        1.0,
        0.0,
        0.25,
    ]


def test_relevance_mass_of_a_constant_map_is_the_share_of_evidence():
    x, _, known = random_clips((9, 7), count=3, seed=1, tied=False)
    made = context(LinearToy(), x, torch.full_like(x, HUGE), known)
    share = known.flatten(1).double().mean(dim=1)
    assert metric("relevance_mass").score(made, None).values.tolist() == pytest.approx(share.tolist())
    assert metric("localisation_auc").score(made, None).values.tolist() == [0.5] * 3


@pytest.mark.parametrize("name", NAMES)
def test_signed_zeros_are_one_zero(name):
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=2, seed=2, tied=False)
    importance = torch.where(importance > 0.3, importance, 0.0)
    negative = torch.where(importance > 0, importance, -0.0)
    assert negative.signbit().any()
    for area in areas_of(scorer):
        first, second = (scorer.score(context(LinearToy(), x, m, known), area) for m in (importance, negative))
        assert torch.equal(first.values, second.values)


@pytest.mark.parametrize("name", UNDEFINED_FOR_ZEROS)
def test_an_all_zero_map_is_undefined_for_shares(name):
    x, importance, known = random_clips((9, 7), count=3, seed=4, tied=False)
    importance[1] = 0
    result = metric(name).score(context(LinearToy(), x, importance, known), None)
    check(result, 3)
    assert [reason is None for reason in result.reasons] == [True, False, True]
    assert "zero everywhere" in result.reasons[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {*UNDEFINED_FOR_ZEROS, *UNORDERED}])
def test_an_all_zero_map_is_a_random_order_elsewhere(name):
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=3, seed=4, tied=False)
    zero, constant = (context(LinearToy(), x, torch.full_like(importance, level), known) for level in (0.0, 5.0))
    for area in areas_of(scorer):
        result = scorer.score(zero, area)
        check(result, 3)
        assert result.reasons == (None, None, None)
        assert torch.equal(result.values, scorer.score(constant, area).values)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_without_evidence_is_undefined_where_evidence_is_needed(name):
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=4, seed=5, tied=False)
    known[1] = False
    known[2] = False
    importance[2] = 0
    result = scorer.score(context(LinearToy(), x, importance, known), areas_of(scorer)[0])
    check(result, 4)
    assert result.reasons[0] is result.reasons[3] is None
    if scorer.needs_ground_truth:
        assert "no bin" in result.reasons[1]
        assert "no bin" in result.reasons[2]
    else:
        assert result.reasons[1] is None


@pytest.mark.parametrize(
    "name", ["relevance_mass", "relevance_rank", "pointing_game", "localisation_auc", "top_k_intersection"]
)
def test_a_clip_that_is_all_evidence(name):
    """Every map is right, except that nothing is left to compare with: the AUC has no value."""
    x, importance, known = random_clips((9, 7), count=2, seed=5, tied=False)
    known[1] = True
    result = metric(name).score(context(LinearToy(), x, importance, known), None)
    check(result, 2)
    if name == "localisation_auc":
        assert "every bin" in result.reasons[1]
    else:
        assert float(result.values[1]) == 1.0


def test_average_gain_is_undefined_where_nothing_can_be_gained():
    x, importance, _ = random_clips((9, 7), count=3, seed=6, tied=False)
    x[1, :3] = 500
    made = context(RegionToy(), x, importance)
    assert float(made.p_full[1]) == 1.0
    result = metric("average_gain").score(made, 0.1)
    check(result, 3)
    assert [reason is None for reason in result.reasons] == [True, False, True]
    assert "probability is 1" in result.reasons[1]


@pytest.mark.parametrize("name", NAMES)
def test_wants_exactly_what_it_reads(name):
    """All that a metric forwards must be batched beforehand: what it declares is what `score` looks up."""
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=2, seed=7, tied=False)
    classifier = LinearToy()
    made = context(classifier, x, importance, known)
    made.require(scorer.perturbations(AREAS))
    before = len(classifier.forwarded)
    for area in areas_of(scorer):
        scorer.score(made, area)
    assert len(classifier.forwarded) == before
    asked: set = set()
    lookup = made.logits
    made.logits = lambda one: (asked.add(one), lookup(one))[1]
    for area in areas_of(scorer):
        scorer.score(made, area)
    assert asked == set(scorer.perturbations(AREAS))


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_evidence_unchanged(name):
    scorer = metric(name)
    x, importance, known = random_clips((9, 7), count=2, seed=8, tied=True)
    kept = [tensor.clone() for tensor in (x, importance, known)]
    made = context(LinearToy(), x, importance, known)
    for area in areas_of(scorer):
        scorer.score(made, area)
    assert all(torch.equal(a, b) for a, b in zip(kept, (x, importance, known), strict=True))
