"""Ranks that tests leave open, first places, the order over families: slow loops, hand-worked cases, simulations."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from xaibench.results.parts import MetricFacts
from xaibench.results.places import overall, rank_sets
from xaibench.results.statistics import corrected_p, mean_interval, share_first, standard_error
from xaibench.results.verdicts import BASELINE

BOARDS = 1000 if os.environ.get("XAIBENCH_LONG") else 100


def facts(family: str, rises: bool = True) -> MetricFacts:
    return MetricFacts(title="t", family=family, higher_is_better=rises, low=None, high=None, needs_ground_truth=False)


def order(values: dict[str, np.ndarray], recordings: np.ndarray, metrics: dict[str, MetricFacts]) -> pd.DataFrame:
    """The overall order of arrays (methods, clips) by metric."""
    lines = {metric: pd.DataFrame(own, index=[f"m{i}" for i in range(len(own))]) for metric, own in values.items()}
    return overall(pd.concat(lines, names=["metric", "method"]), recordings, metrics)


def worse_of(values: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """Which methods the tests of a board find worse than which."""
    first, second = np.triu_indices(len(values), 1)
    gaps = values[first] - values[second]
    apart = corrected_p(gaps, recordings, "two-sided") <= 0.05
    worse = np.zeros((len(values), len(values)), bool)
    worse[first, second] = apart & (gaps.sum(axis=1) < 0)
    worse[second, first] = apart & (gaps.sum(axis=1) > 0)
    return worse


def test_a_method_stands_behind_all_that_are_better_and_before_all_that_are_worse() -> None:
    worse = np.zeros((4, 4), bool)
    worse[2, 0] = worse[3, 0] = worse[3, 1] = True
    assert rank_sets(worse, np.array([True] * 4)) == ([1, 1, 2, 3], [2, 3, 4, 4])
    unranked = np.array([True, True, True, False])
    worse[3] = False
    assert rank_sets(worse, unranked) == ([1, 1, 2, None], [2, 3, 3, None])


def test_first_places_are_counted_in_a_loop() -> None:
    draw = np.random.default_rng(0)
    values, recordings = draw.normal(size=(3, 12)), np.arange(12) // 2
    values[1, :3] = np.nan
    found = share_first(values, recordings, [np.arange(3)], resamples=200, seed=3)
    wins, generator = np.zeros(3), np.random.default_rng(3)
    for drawn in generator.integers(6, size=(200, 6)):
        clips = np.concatenate([np.flatnonzero(recordings == one) for one in drawn])
        wins[np.argmax(np.nanmean(values[:, clips], axis=1))] += 1
    np.testing.assert_allclose(found, wins / 200)
    same = np.array([[1.0, 2.0], [1.0, 2.0], [np.nan, np.nan]])
    np.testing.assert_allclose(share_first(same, np.arange(2), [np.arange(3)], resamples=50), [0.5, 0.5, np.nan])


def test_contests_do_not_know_of_each_other() -> None:
    draw = np.random.default_rng(4)
    values, recordings = draw.normal(size=(6, 20)), np.arange(20) // 2
    values[4, :7] = np.nan
    contests = [np.array([0, 2]), np.array([5, 4, 1])]
    found = share_first(values, recordings, contests, resamples=300)
    for rows in contests:
        np.testing.assert_allclose(
            found[rows], share_first(values[rows], recordings, [np.arange(len(rows))], resamples=300)
        )
        assert found[rows].sum() == pytest.approx(1)
    assert np.isnan(found[3]), "in no contest"


def test_the_standard_error_is_the_textbooks_where_a_clip_is_a_recording() -> None:
    values = np.random.default_rng(1).normal(size=(2, 30))
    values[1, 7:] = np.nan
    expected = [values[0].std(ddof=1) / np.sqrt(30), values[1, :7].std(ddof=1) / np.sqrt(7)]
    np.testing.assert_allclose(standard_error(values, np.arange(30)), expected)
    assert np.isnan(standard_error(values[:1], np.zeros(30))).all()


def test_the_order_over_families_is_that_of_a_slow_loop_and_copies_of_a_metric_change_nothing() -> None:
    draw = np.random.default_rng(2)
    recordings = np.array([f"r{i % 7}" for i in range(14)])
    values = {name: draw.normal(size=(4, 14)) for name in ("a", "b", "c")}
    metrics = {"a": facts("one"), "b": facts("one", rises=False), "c": facts("two")}
    found = order(values, recordings, metrics)
    per_recording = []
    for name in sorted(set(recordings)):
        places = {
            metric: rankdata(-(1 if metric != "b" else -1) * own[:, recordings == name].mean(axis=1))
            for metric, own in values.items()
        }
        per_recording.append((rankdata(places["a"] + places["b"]) + places["c"]) / 2)
    np.testing.assert_allclose(found["overall"], np.mean(per_recording, axis=0))
    expected = mean_interval(np.transpose(per_recording), np.arange(7))
    np.testing.assert_allclose(found["overall_low"], expected.low)
    assert set(found["overall_of"]) == {"one;two"}
    copies = {f"c{i}": values["c"] for i in range(9)}
    again = order(values | copies, recordings, metrics | dict.fromkeys(copies, facts("two")))
    pd.testing.assert_frame_equal(found, again)


def test_what_is_undefined_has_no_place_and_budgets_are_no_merit() -> None:
    draw, recordings = np.random.default_rng(3), np.arange(10).astype(str)
    values = {"a": draw.normal(size=(3, 10)), "b": draw.normal(size=(3, 10))}
    values["b"][2] = np.nan
    values["b"][:, 4] = np.nan  # of no method
    metrics = {"a": facts("one"), "b": facts("two"), "energy_removed": facts("two")}
    found = order(values, recordings, metrics)
    assert np.isnan(found["overall"][2]) and found["overall"][:2].between(1, 3).all()
    rest = order({name: np.delete(own, 4, axis=1) for name, own in values.items()}, recordings[:9], metrics)
    np.testing.assert_allclose(rest["overall"], found["overall"])
    values["c"] = np.r_[draw.normal(size=(1, 10)), np.full((2, 10), np.nan)]  # a family of one method
    pd.testing.assert_frame_equal(found, order(values, recordings, metrics | {"c": facts("three")}))
    more = values | {"energy_removed": draw.normal(size=(3, 10))}
    pd.testing.assert_frame_equal(found, order(more, recordings, metrics | {"c": facts("three")}))


def test_rank_sets_and_verdicts_hold_in_the_right_share_of_simulated_boards() -> None:
    """Nearly alike methods, two that are alike, and one far better: all sets hold at once in 95% of the boards."""
    draw, recordings = np.random.default_rng(4), np.arange(40)
    truth = np.array([0.0, 0.0, 0.05, 0.1, 0.15, 1.0])
    least, most = 1 + (truth > truth[:, None]).sum(axis=1), (truth >= truth[:, None]).sum(axis=1)
    held = found = contradicted = 0
    for _ in range(BOARDS):
        values = truth[:, None] + draw.normal(size=(6, 40)) * 0.5 + draw.normal(size=40)
        best, last = (np.array(one) for one in rank_sets(worse_of(values, recordings), np.ones(6, bool)))
        held += bool(((best <= least) & (most <= last)).all())
        found += bool(last[5] == 1)
        contradicted += bool((best > last).any())
    print(f"{BOARDS} boards: all sets hold in {held / BOARDS:.3f}, the best found in {found / BOARDS:.3f}")
    assert held / BOARDS >= 0.93 and found / BOARDS > 0.95 and contradicted == 0


def test_the_interval_of_the_order_over_families_covers_the_truth() -> None:
    """Methods nearly alike, where resampled ranks of means would be sure of what nobody knows."""
    draw, truth = np.random.default_rng(5), np.array([0.0, 0.02, 0.04, 0.06, 0.5])
    metrics = {"a": facts("one"), "b": facts("one"), "c": facts("two")}

    def board(count: int) -> dict[str, np.ndarray]:
        shared = draw.normal(size=(5, count))
        made = {"a": shared, "b": 0.7 * shared + 0.3 * draw.normal(size=(5, count)), "c": draw.normal(size=(5, count))}
        return {name: truth[:, None] + own for name, own in made.items()}

    many = 10 * BOARDS
    exact = order(board(many), np.arange(many).astype(str), metrics)["overall"]
    boards = BOARDS // 5
    covered = np.zeros(5)
    for _ in range(boards):
        found = order(board(40), np.arange(40).astype(str), metrics)
        covered += (found["overall_low"] <= exact) & (exact <= found["overall_high"])
    print(f"{boards} boards: covered {np.round(covered / boards, 3)}, mean {covered.mean() / boards:.3f}")
    assert 0.88 <= covered.mean() / boards <= 0.99


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1])
def test_intervals_of_a_proportion_cover_rare_events(rate: float) -> None:
    draw, boards = np.random.default_rng(6), 4 * BOARDS
    values = (draw.random((boards, 40)) < rate).astype(float)
    ranges = np.tile([0.0, 1.0], (boards, 1))
    found = mean_interval(values, np.arange(40), ranges=ranges, resamples=400)
    bare = mean_interval(values, np.arange(40), resamples=400)
    covered, before = (np.mean((one.low <= rate) & (rate <= one.high)) for one in (found, bare))
    print(f"rate {rate}: covered {covered:.3f}, without the ends {before:.3f}")
    assert covered >= 0.88 and (rate != 0.02 or before < 0.6)


def test_better_than_random_is_wrong_on_few_boards_of_noise() -> None:
    """One family: on boards where all is random, any claim at all, of whatever kind, is made in 5% of them."""
    assert BASELINE == "random"
    draw, wrong = np.random.default_rng(7), 0
    for _ in range(BOARDS):
        values = draw.normal(size=(6, 30)) + draw.normal(size=30)
        wrong += bool(worse_of(values, np.arange(30)).any())
    print(f"{BOARDS} boards of noise: something told apart in {wrong / BOARDS:.3f}")
    assert wrong / BOARDS < 0.09
