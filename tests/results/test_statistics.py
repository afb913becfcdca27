"""Intervals and tests against slow loops, scipy, full enumeration and hand-worked examples."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xaibench.results import resampling
from xaibench.results.statistics import (
    FLIPS,
    corrected_p,
    flips_for,
    holm,
    mean_interval,
    paired_difference,
    paired_p,
    sign_flip_p,
    simultaneous_interval,
)


def recordings_of(clips: int, count: int) -> np.ndarray:
    return np.array([f"r{i % count}" for i in range(clips)])


def slow_bootstrap(values: np.ndarray, recordings: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """Resample whole recordings one by one and average their defined clips."""
    kept = ~np.isnan(values)
    values, recordings = values[kept], recordings[kept]
    names = np.unique(recordings)
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = generator.integers(len(names), size=len(names))
        means.append(np.concatenate([values[recordings == names[i]] for i in drawn]).mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def slow_sign_flip(differences: np.ndarray, recordings: np.ndarray, two_sided: bool) -> float:
    """p by enumerating every assignment of signs to recordings, the observed one included."""
    kept = ~np.isnan(differences)
    differences, recordings = differences[kept], recordings[kept]
    names = list(np.unique(recordings))
    observed = differences.mean()
    extreme = total = 0
    for signs in product((1, -1), repeat=len(names)):
        flipped = np.mean([d * signs[names.index(r)] for d, r in zip(differences, recordings, strict=True)])
        total += 1
        extreme += abs(flipped) >= abs(observed) - 1e-12 if two_sided else flipped >= observed - 1e-12
    return extreme / total


def test_draws_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of recordings are drawn in blocks, for the memory's sake."""
    generator = np.random.default_rng(1)
    values, recordings = generator.normal(0.1, size=(2, 60)), recordings_of(60, 30)
    whole = mean_interval(values, recordings, resamples=300)
    p = sign_flip_p(values, recordings, "two-sided", flips=300)
    monkeypatch.setattr(resampling, "_ENTRIES", 700)
    cut = mean_interval(values, recordings, resamples=300)
    np.testing.assert_allclose([cut.low, cut.high], [whole.low, whole.high], rtol=1e-12)
    assert sign_flip_p(values, recordings, "two-sided", flips=300).tolist() == p.tolist()


def test_interval_is_the_slow_bootstrap_with_the_same_draws() -> None:
    generator = np.random.default_rng(3)
    values, recordings = generator.normal(size=(3, 23)), recordings_of(23, 7)
    values[1, ::5] = np.nan
    values[2, recordings == "r2"] = np.nan  # this row is left with six recordings
    found = mean_interval(values, recordings, resamples=500, seed=9)
    for i in range(3):
        assert (found.low[i], found.high[i]) == pytest.approx(slow_bootstrap(values[i], recordings, 500, 9))
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=1))


def test_interval_agrees_with_scipy_where_a_clip_is_a_recording() -> None:
    values = np.random.default_rng(0).gamma(1.0, size=60)
    found = mean_interval(values[None], np.arange(60))
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=1, n_resamples=9999).confidence_interval
    assert (found.low[0], found.high[0]) == pytest.approx(expected, abs=0.01)


def test_clips_of_one_recording_are_no_independent_evidence() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    clustered = mean_interval(values[None], np.repeat(np.arange(20), 10))
    naive = mean_interval(values[None], np.arange(200))
    assert clustered.high[0] - clustered.low[0] > 2 * (naive.high[0] - naive.low[0])


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    recordings = np.repeat(np.arange(40), 2)
    values = np.repeat(generator.normal(size=(400, 40)), 2, axis=1) + generator.normal(size=(400, 80))
    found = mean_interval(values, recordings, resamples=2000)
    assert 0.91 < np.mean((found.low <= 0) & (found.high >= 0)) < 0.98


@pytest.mark.parametrize(
    ("values", "recordings", "mean"),
    [([0.2, 0.4], ["a", "a"], 0.3), ([np.nan, np.nan], ["a", "b"], np.nan), ([0.5, np.nan], ["a", "b"], 0.5)],
    ids=["one recording", "nothing defined", "one defined recording"],
)
def test_without_two_recordings_there_is_no_interval(values: list, recordings: list, mean: float) -> None:
    found = mean_interval(np.array([values]), np.array(recordings))
    np.testing.assert_allclose(found.mean, [mean])
    assert np.isnan([found.low[0], found.high[0]]).all()


def test_a_constant_metric_has_an_interval_of_no_width() -> None:
    found = mean_interval(np.full((1, 30), 0.1), recordings_of(30, 9))
    assert found.low[0] <= found.mean[0] <= found.high[0] == pytest.approx(found.low[0])


def test_seed_and_resamples_move_the_interval_and_other_rows_do_not() -> None:
    values, recordings = np.random.default_rng(2).normal(size=(4, 30)), recordings_of(30, 11)
    first, other = mean_interval(values, recordings), mean_interval(values, recordings, seed=1)
    assert first.low[0] != other.low[0]
    assert first.low[0] != mean_interval(values, recordings, resamples=2000).low[0]
    np.testing.assert_allclose(first.low[:1], mean_interval(values[:1], recordings).low)


rows = st.lists(
    st.tuples(st.floats(-1e3, 1e3) | st.just(float("nan")), st.sampled_from("abcdefgh")), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms())
def test_interval_contains_the_mean_and_ignores_the_order(clips: list, random) -> None:
    shuffled = random.sample(clips, len(clips))
    one, two = (
        mean_interval(np.array([[v for v, _ in c]]), np.array([r for _, r in c]), resamples=2000)
        for c in (clips, shuffled)
    )
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-9)
    if not np.isnan(one.low[0]):
        assert one.low[0] <= one.mean[0] <= one.high[0]


@settings(max_examples=60, deadline=None)
@given(rows)
def test_p_is_the_full_enumeration_for_few_recordings(clips: list) -> None:
    differences, recordings = np.array([v for v, _ in clips]).round(3), np.array([r for _, r in clips])
    for alternative in ("two-sided", "greater"):
        found = sign_flip_p(differences[None], recordings, alternative)[0]
        if np.isnan(differences).all():
            assert np.isnan(found)
        else:
            assert found == pytest.approx(slow_sign_flip(differences, recordings, alternative == "two-sided"))


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(0, 99))
def test_p_of_pairs_is_that_of_their_differences(clips: list, seed: int) -> None:
    """Whether two rows have the same defined clips or not, and whatever is tested beside them."""
    draw = np.random.default_rng(seed)
    first, recordings = np.array([v for v, _ in clips]).round(3), np.array([r for _, r in clips])
    second = np.where(draw.random(len(first)) < 0.5, first, draw.normal(size=len(first)).round(2))
    fewer = np.where(draw.random(len(first)) < 0.3, np.nan, second)
    values = np.stack([first, second, fewer, np.full(len(first), np.nan)])
    one, other = np.triu_indices(4, 1)
    found = paired_p(values, recordings, one, other, flips=99)
    np.testing.assert_array_equal(found, sign_flip_p(values[one] - values[other], recordings, "two-sided", flips=99))


def test_p_agrees_with_scipy_for_many_recordings() -> None:
    generator = np.random.default_rng(4)
    differences, recordings = generator.normal(0.25, 1, size=(3, 90)), recordings_of(90, 45)
    sums = np.array([[row[recordings == name].sum() for name in np.unique(recordings)] for row in differences])
    for alternative in ("two-sided", "greater"):
        found = sign_flip_p(differences, recordings, alternative)
        expected = stats.permutation_test(
            (sums.T,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=9999, rng=0
        ).pvalue
        np.testing.assert_allclose(found, expected, atol=0.015)


def test_p_counts_drawn_flips_in_a_loop() -> None:
    differences, recordings = np.random.default_rng(8).normal(0.2, 1, size=30), recordings_of(30, 20)
    sums = [differences[recordings == name].sum() for name in np.unique(recordings)]
    signs = 1 - 2 * np.random.default_rng(7).integers(2, size=(99, 20))
    count = sum(np.dot(row, sums) >= np.sum(sums) for row in signs)
    assert sign_flip_p(differences[None], recordings, "greater", flips=99, seed=7)[0] == (1 + count) / 100


def test_p_is_uniform_without_a_difference_and_small_with_one() -> None:
    generator = np.random.default_rng(6)
    recordings = np.repeat(np.arange(30), 2)
    noise = np.repeat(generator.normal(size=(500, 30)), 2, axis=1) + generator.normal(size=(500, 60))
    assert 0.03 < np.mean(sign_flip_p(noise, recordings, "two-sided", flips=999) <= 0.05) < 0.075
    assert sign_flip_p(noise[:1] + 9, recordings, "two-sided")[0] == 1 / (1 + FLIPS)
    assert sign_flip_p(noise[:1] - 9, recordings, "greater")[0] == 1


def test_methods_that_never_differ_have_p_1() -> None:
    assert sign_flip_p(np.zeros((1, 40)), np.arange(40), "two-sided")[0] == 1


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to the 0.06 before it.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, np.nan, 0.5])), [1.0, np.nan, 1.0])
    assert holm(np.array([])).shape == (0,)


def test_the_smallest_p_survives_holm_for_any_number_of_methods() -> None:
    for comparisons in (1, 136, 1225):
        assert comparisons / (1 + flips_for(comparisons)) <= 0.05


def test_paired_differences_are_of_common_clips_and_corrected_for_their_number() -> None:
    recordings = np.arange(40)
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.1, 0.2, (3, 40)), rng.normal(0, 0.2, (3, 40))
    first[0, :5], second[0, 5:10], second[2] = np.nan, np.nan, np.nan
    found = paired_difference(first, second, recordings)
    common = np.arange(10, 40)
    assert found.mean[0] == pytest.approx((first[0] - second[0])[common].mean())
    alone = mean_interval((first[0] - second[0])[None, common], recordings[common])
    assert (found.low[0], found.high[0]) == (pytest.approx(alone.low[0]), pytest.approx(alone.high[0]))
    np.testing.assert_array_equal(found.p, holm(sign_flip_p(first - second, recordings, "two-sided")))
    assert np.isnan([found.mean[2], found.low[2], found.p[2]]).all()


def test_values_may_lie_either_way_in_memory() -> None:
    values, recordings = np.random.default_rng(0).normal(0, 1, (7, 60)), np.arange(60) % 23
    other = np.asfortranarray(values)
    np.testing.assert_array_equal(mean_interval(values, recordings).mean, mean_interval(other, recordings).mean)
    np.testing.assert_array_equal(corrected_p(values, recordings, "greater"), corrected_p(other, recordings, "greater"))


def test_simultaneous_intervals_are_those_of_a_slow_loop() -> None:
    draw = np.random.default_rng(5)
    values, recordings = draw.normal(size=(3, 14)), recordings_of(14, 5)
    values[1, :4] = np.nan
    found = simultaneous_interval(values, recordings, resamples=300, seed=2)
    names, generator = np.unique(recordings), np.random.default_rng(2)

    def estimate(row: np.ndarray, drawn: list[str]) -> tuple[float, float]:
        """Mean over clips of the recordings drawn, and its standard error from what each recording deviates."""
        kept = ~np.isnan(row)
        blocks = [row[kept & (recordings == name)] for name in drawn]
        mean, clips = np.concatenate(blocks).mean(), sum(map(len, blocks))
        residuals = [float((block - mean).sum()) for block in blocks]
        return float(mean), float(np.sqrt(np.square(residuals).sum() * len(drawn) / (len(drawn) - 1)) / clips)

    own = [estimate(row, list(names)) for row in values]
    largest = []
    for flat in generator.integers(len(names), size=(300, len(names))):
        drawn = [estimate(row, [names[i] for i in flat]) for row in values]
        gaps = [abs(m - centre) / e if e > 1e-9 else 0.0 for (m, e), (centre, _) in zip(drawn, own, strict=True)]
        largest.append(max(gaps))
    mean, half = np.array([m for m, _ in own]), np.quantile(largest, 0.95) * np.array([e for _, e in own])
    np.testing.assert_allclose(found.mean, mean)
    np.testing.assert_allclose(found.low, mean - half)
    np.testing.assert_allclose(found.high, mean + half)


def test_simultaneous_intervals_hold_all_means_at_once_in_the_right_share_of_boards() -> None:
    """400 simulated boards of 8 methods and 40 recordings; one interval each holds all eight far less often."""
    draw, together, apart = np.random.default_rng(7), 0, 0
    for board in range(400):
        values = draw.normal(size=(8, 40)) + draw.normal(size=40)
        found = simultaneous_interval(values, recordings_of(40, 40), resamples=400, seed=board)
        together += bool(((found.low <= 0) & (found.high >= 0)).all())
        one = mean_interval(values, recordings_of(40, 40), resamples=400, seed=board)
        apart += bool(((one.low <= 0) & (one.high >= 0)).all())
    assert 0.92 <= together / 400 <= 0.98, together / 400
    assert apart / 400 < 0.88, apart / 400


def test_simultaneous_intervals_of_what_is_undefined_or_constant() -> None:
    values = np.array([[np.nan] * 6, [1.0] * 6, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]])
    found = simultaneous_interval(values, recordings_of(6, 3), resamples=100)
    assert np.isnan([found.mean[0], found.low[0], found.high[0]]).all()
    assert found.low[1] == pytest.approx(1) and found.high[1] == pytest.approx(1)
    assert found.low[2] < 0.5 < found.high[2]
    lonely = simultaneous_interval(values, np.array(["r"] * 6))
    assert lonely.mean[2] == 0.5 and np.isnan(lonely.low).all()
