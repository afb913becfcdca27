"""Orders of made-up runs, whose changes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.made_up_runs import CLIPS, FF, Scores, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results.orders import Condition, Orders, changes, tau

ENERGY = ("faithfulness_equal_energy", None)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    """Sound turns the order of two methods round, and at equal energy a third is no longer told from random."""
    fed: dict[str, Scores] = {
        "one": {FF: noise(1, 0.8)},
        "two": {FF: noise(2, 0.4)},
        "three": {FF: noise(3, 0.6)},
        "random": {FF: noise(4)},
    }
    heard: dict[str, Scores] = {
        "one": {FF: noise(1, 0.4), ENERGY: noise(1, 0.4)},
        "two": {FF: noise(2, 0.8), ENERGY: noise(2, 0.8)},
        "three": {FF: noise(3, 0.6), ENERGY: noise(5)},
        "random": {FF: noise(4), ENERGY: noise(4)},
        "only-heard": {FF: noise(6, 0.5), ENERGY: noise(6, 0.5)},
    }
    pictures = write_run(tmp_path / "pictures", fed, protocol="standard-1")
    sound = write_run(tmp_path / "sound", heard, protocol="standard-2")
    return Orders(
        [
            Condition("pictures", pictures, "faithfulness"),
            Condition("sound", sound, "faithfulness"),
            Condition("energy", sound, "faithfulness_equal_energy"),
        ]
    )


def test_lines_are_means_of_what_all_conditions_have(orders: Orders) -> None:
    lines = orders.lines()
    assert set(lines["method"]) == {"one", "two", "three", "random"}
    by = lines.set_index(["condition", "method"])
    means = by["mean"].to_dict()
    assert means["pictures", "one"] == pytest.approx(noise(1, 0.8).mean())
    assert means["sound", "one"] == pytest.approx(noise(1, 0.4).mean())
    ranks = by["rank"].to_dict()
    assert [ranks["pictures", name] for name in ("one", "three", "two")] == [1, 2, 3]
    assert [ranks["sound", name] for name in ("two", "three", "one")] == [1, 2, 3]
    assert (by["n"] == CLIPS).all()
    assert ((by["low"] <= by["mean"]) & (by["mean"] <= by["high"])).all()
    better = by["better_than_random"].to_dict()
    assert better["energy", "one"]
    assert not better["energy", "three"]
    assert not better["sound", "random"]


def test_changes_are_told_by_both_tests(orders: Orders) -> None:
    pairs = orders.pairs()
    reversed_ = changes(pairs, "pictures", "sound")
    told = dict(zip(zip(reversed_["first"], reversed_["second"], strict=True), reversed_["verdict"], strict=True))
    assert told == {("one", "two"): "reversed", ("one", "three"): "reversed", ("three", "two"): "reversed"}
    (first,) = reversed_[(reversed_["first"] == "one") & (reversed_["second"] == "two")].to_dict("records")
    assert first["difference_before"] == pytest.approx((noise(1, 0.8) - noise(2, 0.4)).mean())
    assert first["difference_after"] == pytest.approx((noise(1, 0.4) - noise(2, 0.8)).mean())
    assert first["low_before"] < first["difference_before"] < first["high_before"]
    assert first["low_after"] < first["difference_after"] < first["high_after"]
    at_energy = changes(pairs, "sound", "energy").set_index(["first", "second"])["verdict"].to_dict()
    assert at_energy["three", "random"] == "tied now"


def test_tau_is_kendalls(orders: Orders) -> None:
    # Of six pairs, those of one, two and three are turned round; each stays above random.
    assert tau(orders.lines(), "cnn-micro", "pictures", "sound") == pytest.approx((3 - 3) / 6)
    assert tau(orders.lines(), "cnn-micro", "sound", "sound") == 1


def test_a_suffix_chooses_methods_with_settings(tmp_path: Path) -> None:
    scores: Scores = {FF: np.full(CLIPS, 0.1)}
    methods: dict[str, Scores] = {
        "one": scores,
        "one:path=direct": {FF: np.full(CLIPS, 0.9)},
        "two:steps=4": scores,
        "random": scores,
    }
    run = write_run(tmp_path / "run", methods)
    plain = Orders([Condition("plain", run, "faithfulness")]).lines().set_index("method")["mean"]
    direct = (
        Orders([Condition("direct", run, "faithfulness", suffix=":path=direct")]).lines().set_index("method")["mean"]
    )
    assert plain.to_dict() == pytest.approx({"one": 0.1, "random": 0.1})
    assert direct.to_dict() == pytest.approx({"one": 0.9, "random": 0.1})


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", {"random": {FF: noise(1)}})
    other = write_run(tmp_path / "other", {"random": {FF: noise(1)}}, first_clip=100)
    with pytest.raises(ResultsError, match="share no clip"):
        Orders([Condition("first", first, "faithfulness"), Condition("other", other, "faithfulness")])
    with pytest.raises(ResultsError, match="no scores by insertion_auc; score them with --metric"):
        Orders([Condition("first", first, "insertion_auc")])
