"""Which runs are compared with which others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.made_up_runs import FF, SPS, Scores, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.comparison import compare_groups
from xaibench.results.selection import classified_right, group, left_out, select

A: dict[str, Scores] = {"a": {FF: noise(1)}}
B: dict[str, Scores] = {"b": {FF: noise(2)}}


def names(runs: list[Path]) -> dict[str, list[str]]:
    """The names of the groups, and of the folders of their runs."""
    return {one.name: [run.name for run in one.runs] for one in group(runs)}


def test_runs_of_the_same_conditions_are_one_group(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "fold5", A | B),
        write_run(tmp_path / "fold4", A, first_clip=100, folds=(4,)),
        write_run(tmp_path / "more", {"a": {SPS: noise(1, 0.3)}}),  # another metric of the same clips
        write_run(tmp_path / "fewer", {"c": {FF: noise(3, clips=8)}}, limit=8),
    ]
    assert names(runs) == {"synth": ["fold5", "fold4", "more", "fewer"]}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"dataset_fingerprint": "0123456789"}, ["synth-clips01234567", "synth-clipsfingerpr"]),
        ({"seed": 7}, ["synth-seed0", "synth-seed7"]),
        ({"precision": "bfloat16"}, ["synth-bfloat16", "synth-float32"]),
        ({"compiled": True}, ["synth", "synth-compiled"]),
        ({"protocol": "legacy"}, ["synth-legacy", "synth-standard"]),
        ({"fill": "mean"}, ["synth-fill-mean", "synth-fill-silence"]),
        ({"long": "center"}, ["synth-long-center", "synth-long-cut"]),
        ({"target": "label"}, ["synth-target-label", "synth-target-predicted"]),
        ({"protocol": "legacy", "seed": 7}, ["synth-legacy-seed7", "synth-standard-seed0"]),
        ({"dataset": "esc10"}, ["esc10", "synth"]),
    ],
)
def test_runs_of_other_conditions_are_other_groups(
    tmp_path: Path, condition: dict[str, Any], expected: list[str]
) -> None:
    runs = [write_run(tmp_path / "one", A), write_run(tmp_path / "two", B, **condition)]
    assert list(names(runs)) == expected


def test_a_clip_is_in_a_group_once(tmp_path: Path) -> None:
    """Short runs are compared with each other, whatever their names are."""
    short = {"a": {FF: noise(3, clips=8)}, "b": {FF: noise(4, clips=8)}}
    runs = [
        write_run(tmp_path / "synth-a-limit8", {"a": short["a"]}, limit=8),
        write_run(tmp_path / "synth-b-limit8", {"b": short["b"]}, limit=8),
        write_run(tmp_path / "synth-whole", A),
        write_run(tmp_path / "synth-whole-b", B),
    ]
    expected = {
        "synth-a-limit8": ["synth-a-limit8", "synth-b-limit8"],
        "synth-whole": ["synth-whole", "synth-whole-b"],
    }
    assert names(runs) == names(runs[::-1]) == expected
    twice = [write_run(tmp_path / folder / "mine", A) for folder in ("x", "y", "z")]
    assert sorted(names(twice)) == ["synth-mine", "synth-mine-2", "synth-mine-3"]


def test_runs_are_chosen_by_what_they_say(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", A)
    two = write_run(tmp_path / "two", A, seed=7)
    old = write_run(tmp_path / "old", A, protocol="standard-1")
    esc = write_run(tmp_path / "esc", A, dataset="esc10")
    runs = [one, two, old, esc]
    assert select(runs) == runs
    assert select(runs, datasets=["esc10"]) == [esc]
    assert select(runs, seeds=[0, 7], datasets=["synth"]) == [one, two, old]
    assert select(runs, protocols=["standard-1"]) == [old]
    assert select(runs, names=["two", str(tmp_path / "one")]) == [one, two]
    present = "there are datasets esc10, synth; protocols standard, standard-1; seeds 0, 7; runs esc, old, one, two"
    for choice, words in [
        ({"seeds": [0, 9]}, "there is no run of the seed 9"),
        ({"datasets": ["esc50"]}, "there is no run of the dataset esc50"),
        ({"protocols": ["mine"]}, "there is no run of the protocol mine"),
        ({"names": ["three"]}, "there is no run of the run three"),
        ({"seeds": [7], "datasets": ["esc10"]}, "no run is all that was chosen"),
    ]:
        with pytest.raises(ResultsError) as caught:
            select(runs, **choice)  # type: ignore[arg-type]
        assert str(caught.value) == f"{words}; {present}"


def test_a_protocol_is_chosen_by_name(tmp_path: Path) -> None:
    from xaibench.scoring import protocol

    runs = [write_run(tmp_path / name, A, protocol=name) for name in (protocol.default().id, "mine")]
    assert select(runs, protocols=[protocol.DEFAULT]) == runs[:1]


def test_what_is_not_finished_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", A | B)
    assert left_out([run]) == ""
    (run / "cnn-micro" / "b" / "part-000.json").unlink()
    assert [part.info.method.name for part in group([run])[0].parts] == ["a"]
    assert left_out([run]) == (
        f"left out: 1 part not finished (scores without a description), in {run}; give the command of the run again"
    )
    empty = store.RunFolder(tmp_path / "empty", store.read_manifest(run)).path
    assert "1 part not finished (scores without a description) and 1 run without scores" in left_out([run, empty])
    assert names([run, empty]) == {"synth": ["run"]}
    with pytest.raises(ResultsError, match="holds no scores yet"):
        group([empty])
    with pytest.raises(ResultsError, match="no run to compare"):
        group([])


def test_controls_that_came_out_the_same_count_once(tmp_path: Path) -> None:
    """Every run has controls; a method joins the board of somebody else's run all the same."""
    random, rounded = noise(5), noise(5) + 1e-7  # of another machine
    theirs = write_run(tmp_path / "theirs", A | {"random": {FF: random}})
    mine = write_run(tmp_path / "mine", B | {"random": {FF: rounded, SPS: noise(6, 0.5)}})
    (one,) = group([theirs, mine])
    assert one.repeated == ("random",)
    rows = one.rows()
    assert rows.groupby(["method", "metric"]).size().to_dict() == {
        ("a", FF[0]): 40, ("b", FF[0]): 40, ("random", FF[0]): 40, ("random", SPS[0]): 40
    }  # fmt: skip
    kept = rows[(rows["method"] == "random") & (rows["metric"] == FF[0])]["value"].to_numpy()
    assert (kept == rounded).all(), "of the first run by name"
    other = write_run(tmp_path / "other", {"c": {FF: noise(7)}, "random": {FF: random + 1e-3}})
    assert list(names([theirs, mine, other])) == ["synth-mine", "synth-other"]


def test_repeated_controls_are_those_of_the_largest_run_whatever_its_path(tmp_path: Path) -> None:
    """The path of an archive is a hash: what a board marks must not change with it."""
    control: dict[str, Scores] = {"random": {FF: noise(3)}}
    for large, small in (("a", "b"), ("b", "a")):
        runs = [
            write_run(tmp_path / f"{large}-large" / "large", A | B | control),
            write_run(tmp_path / f"{small}-small" / "small", {"c": {FF: noise(4)}} | control),
        ]
        (one,) = group(runs)
        homes = [part.path.parents[2].name for part in one.parts if part.info.method.name == "random"]
        assert set(homes) == {"large"}


def test_the_clips_that_are_classified_right_are_a_group_of_their_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"a": {FF: noise(1, 0.5)}, "random": {FF: noise(2)}})
    (right,) = classified_right(group([run]))
    assert right.name == "synth-correct" and right.rows()["correct"].all()
    lines = compare_groups([right]).set_index("method")
    own = group([run])[0].rows()
    own = own[own["correct"] & (own["method"] == "a")]
    assert lines.loc["a", "mean"] == pytest.approx(own["value"].mean()) and lines.loc["a", "n"] == len(own) == 30
    assert (lines["accuracy"] == 1).all()
    nobody = [replace(part, table=part.table.filter(pa.array([False] * part.table.num_rows))) for part in right.parts]
    with pytest.raises(ResultsError, match="no clip of synth is known to be classified right"):
        classified_right([replace(right, name="synth", parts=tuple(nobody))])
