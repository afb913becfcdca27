"""Stability of orders that are known: equal, turned round, and of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from tests.support.made_up_runs import FF, Scores, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results.comparison import by_clip
from xaibench.results.orders import Condition, rows_of
from xaibench.results.stability import Stability

FIVE = ("faithfulness", 0.05)
LEVELS = {"a": 0.9, "b": 0.7, "c": 0.5, "d": 0.3, "random": 0.1}


def levels(seed: int, names: list[str], key: tuple[str, float | None] = FF) -> dict[str, Scores]:
    """Methods whose means are LEVELS, in the order in which they are named."""
    chosen = zip(names, LEVELS.values(), strict=True)
    return {name: {key: noise(seed + i, mean)} for i, (name, mean) in enumerate(chosen)}


@pytest.fixture
def stability(tmp_path: Path) -> Stability:
    names, turned = list(LEVELS), ["b", "a", "c", "d", "random"]
    first = {name: scores | levels(50, names, FIVE)[name] for name, scores in levels(1, names).items()}
    same = write_run(tmp_path / "same", first)
    other = write_run(tmp_path / "other", levels(20, turned), first_clip=100, dataset="esc10")
    chance = write_run(tmp_path / "chance", {name: {FF: noise(30 + i, 0.5)} for i, name in enumerate(names)})
    return Stability(
        Condition("reference", same, "faithfulness"),
        [
            Condition("area 5%", same, "faithfulness", area=0.05),
            Condition("other clips", other, "faithfulness"),
            Condition("chance", chance, "faithfulness"),
        ],
    )


def test_taus_stand_beside_what_chance_leaves(stability: Stability) -> None:
    lines = stability.taus(resamples=100, splits=20).set_index("condition")
    assert lines["tau"].to_list()[:2] == pytest.approx([1, 0.8])
    assert (lines["low"] <= lines["tau"] + 1e-12).all() and (lines["tau"] <= lines["high"] + 1e-12).all()
    far_apart = lines.loc["area 5%", ["low", "split_half"]].to_list()
    assert far_apart == pytest.approx([1, 1]), "in every sample"
    assert lines["high"]["chance"] - lines["low"]["chance"] > 0.4
    assert set(lines["methods"]) == {5}


def test_tau_is_that_of_the_means(stability: Stability) -> None:
    first, second = (
        by_clip(rows_of(one), ["method"])[0].mean(axis=1) for one in (stability.reference, stability.others[2])
    )
    expected = kendalltau(first, second).statistic
    lines = stability.taus(resamples=10, splits=2).set_index("condition")
    assert lines["tau"]["chance"] == pytest.approx(expected)


def test_what_survives_is_told_apart_everywhere_with_one_sign(stability: Stability) -> None:
    firm = Stability(stability.reference, stability.others[:2])
    pairs = set(firm.survivors()[["better", "worse"]].itertuples(index=False, name=None))
    order = list(LEVELS)
    every = {(one, other) for i, one in enumerate(order) for other in order[i + 1 :]}
    assert pairs == every - {("a", "b")}
    (counts,) = firm.counts().to_dict("records")
    assert counts == {"classifier": "cnn-micro", "pairs": 10, "told_apart": 10, "surviving": 9}
    assert stability.survivors().empty and list(stability.counts()["surviving"]) == [0]


def test_a_shorter_run_is_compared_on_its_own_clips(tmp_path: Path, stability: Stability) -> None:
    """Its clips are the first eight: of these the reference has the other order."""
    names, clips = list(LEVELS), 40
    turned = {
        name: {FF: np.concatenate([1 - noise(i, mean, 8), noise(i, mean, clips - 8)])}
        for i, (name, mean) in enumerate(LEVELS.items())
    }
    whole = Condition("reference", write_run(tmp_path / "whole", turned), "faithfulness")
    short = write_run(
        tmp_path / "short", {name: {FF: 1 - noise(70 + i, LEVELS[name], 8)} for i, name in enumerate(names)}, limit=8
    )
    (line,) = (
        Stability(whole, [Condition("short", short, "faithfulness")]).taus(resamples=10, splits=2).to_dict("records")
    )
    assert line["tau"] == pytest.approx(1) and line["clips"] == 8


def test_other_weights_of_a_classifier_are_compared_with_it(tmp_path: Path, stability: Stability) -> None:
    names = list(LEVELS)
    seed = write_run(tmp_path / "seed", levels(40, names), classifier="cnn-micro@0123abcd")
    (line,) = (
        Stability(stability.reference, [Condition("seed 1", seed, "faithfulness")])
        .taus(resamples=10, splits=2)
        .to_dict("records")
    )
    assert line["classifier"] == "cnn-micro"
    assert line["tau"] == pytest.approx(1)
    write_run(tmp_path / "seed", levels(60, names), classifier="cnn-micro@4567abcd")
    with pytest.raises(ResultsError, match="several weights of cnn-micro"):
        Stability(stability.reference, [Condition("seed 1", seed, "faithfulness")])


def test_a_condition_without_scores_is_named(stability: Stability) -> None:
    missing = Condition("area 20%", stability.reference.run, "faithfulness", area=0.2)
    with pytest.raises(ResultsError, match="has no scores by faithfulness at 20% of the area"):
        Stability(stability.reference, [missing])
    with pytest.raises(ResultsError, match="two conditions have the same title"):
        Stability(stability.reference, [stability.reference])
