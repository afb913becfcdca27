"""What the scores of a group were made with: what may not differ, and what is marked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_up_runs import CLIPS, FF, SPS, Scores, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results import agreement
from xaibench.results.comparison import compare
from xaibench.results.conditions import differences
from xaibench.results.parts import PartInfo, frame, read_info, read_part, write_part
from xaibench.results.selection import group

THREE: dict[str, Scores] = {name: {FF: noise(i), SPS: noise(i, 0.3)} for i, name in enumerate(["a", "b", "random"])}
ONE: dict[str, Scores] = {"c": {FF: noise(5), SPS: noise(5, 0.3)}}


@pytest.mark.parametrize(
    ("made", "info", "words"),
    [
        ({"audio_sha256": {f"clip{i:03d}": str(i == 3) for i in range(CLIPS)}}, {}, "clip clip000 had other sound"),
        ({"ground_truth_sha256": {"clip003": "truth"}}, {}, "clip clip003 had another ground truth"),
        ({"classifier_sha256": "others"}, {}, "cnn-micro had other weights, temperature or classes"),
        ({}, {"parameters": {"steps": 3}}, "a had other parameters"),
    ],
)
@pytest.mark.parametrize("runs", [1, 2])
def test_other_sound_weights_or_parameters_are_refused(
    tmp_path: Path, runs: int, made: dict[str, Any], info: dict[str, Any], words: str
) -> None:
    truth = {"ground_truth_sha256": {f"clip{i:03d}": "" for i in range(CLIPS)}}
    first = {"a": {FF: noise(1)}, "random": {FF: noise(2)}}
    # The soft mask of `a` is made by the same method, and may be of another run.
    other: dict[str, Scores] = {"a-soft": {("faithfulness", None): noise(3)}}
    facts = {"made": {"a": truth, "random": truth, "a-soft": truth | made}, "info": {"a-soft": info}}
    if runs == 1:
        folders = [write_run(tmp_path / "one", first | other, **facts)]
    else:
        folders = [write_run(tmp_path / "one", first, **facts), write_run(tmp_path / "two", other, **facts)]
    with pytest.raises(ResultsError, match="cannot be compared") as caught:
        compare(folders)
    line = str(caught.value)
    assert words in line and "\n" not in line
    assert str(folders[0] / "cnn-micro" / "a") in line and str(folders[-1] / "cnn-micro" / "a-soft") in line
    assert ("--run" in line) == (runs == 2) and ("give the command of the run again" in line) == (runs == 1)


def test_classifiers_of_two_rates_hear_the_same_clip(tmp_path: Path) -> None:
    sound = {f"clip{i:03d}": "b" for i in range(CLIPS)}
    made = {"b": {"audio_sha256": sound, "sample_rate": 32_000, "samples": 160_000}}
    one = write_run(tmp_path / "one", {"a": {FF: noise(1)}})
    two = write_run(tmp_path / "two", {"b": {FF: noise(2)}}, classifier="other", made=made)
    assert len(compare([one, two]))


def test_clips_of_runs_of_other_lengths_must_sound_the_same_too(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", {"a": {FF: noise(1)}})
    sound = {f"clip{i:03d}": "a" if i < 7 else "truncated" for i in range(8)}
    made = {"b": {"audio_sha256": sound}}
    short = write_run(tmp_path / "short", {"b": {FF: noise(1, clips=8)}}, limit=8, made=made)
    with pytest.raises(ResultsError, match="clip clip007 had other sound"):
        compare([whole, short])


def marks(runs: list[Path]) -> dict[str, str]:
    """What is said of the lines of FF and SPS, by method; the two are the same unless the name says otherwise."""
    (one,) = group(runs)
    lines = differences(one.parts).pivot(index="method", columns="metric", values="differs_in")
    same = lines[lines["faithfulness"] == lines["sparseness"]]["faithfulness"].to_dict()
    other = lines[lines["faithfulness"] != lines["sparseness"]].stack().to_dict()
    return same | {f"{method} {metric}": what for (method, metric), what in other.items()}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, {"c": ""}),
        ({"code_sha256": "of c"}, {"c": ""}),  # other methods have other code
        ({"shared_code_sha256": "x"}, {"c": "code"}),
        ({"metrics_sha256": {"faithfulness": "x", "sparseness": "m"}}, {"c faithfulness": "code", "c sparseness": ""}),
        ({"shared_code_sha256": ""}, {"c": "code"}),  # nobody can tell whether it is the same
        ({"versions": {"torch": "3"}}, {"c": "versions"}),
        ({"device": "cuda (H100)"}, {"c": "device;threads"}),
        ({"device": "cpu (x86_64, 1 threads)"}, {"c": "threads"}),
    ],
)
def test_other_code_versions_devices_and_threads_are_named(
    tmp_path: Path, made: dict[str, Any], expected: dict[str, str]
) -> None:
    usual = {name: {"device": "cpu (x86_64, 2 threads)"} for name in [*THREE, *ONE]}
    runs = [
        write_run(tmp_path / "one", THREE, made=usual),
        write_run(tmp_path / "two", ONE, made={"c": usual["c"] | made}),
    ]
    assert marks(runs) == {"a": "", "b": "", "random": ""} | expected


def test_code_that_nobody_knows_is_the_same_within_a_run(tmp_path: Path) -> None:
    unknown = {"code_sha256": "", "shared_code_sha256": "", "metrics_sha256": {"faithfulness": "", "sparseness": ""}}
    run = write_run(tmp_path / "one", THREE | ONE, made=dict.fromkeys([*THREE, *ONE], unknown))
    assert set(marks([run]).values()) == {""}


def test_a_method_of_two_states_of_its_code_is_marked(tmp_path: Path) -> None:
    more = {"a": {FF: noise(8, clips=8), SPS: noise(9, 0.3, 8)}}
    runs = [
        write_run(tmp_path / "one", THREE),
        write_run(tmp_path / "two", more, first_clip=CLIPS, made={"a": {"code_sha256": "edited"}}),
    ]
    assert marks(runs) == {"a": "code", "b": "", "random": ""}


# What was scored again.


@pytest.fixture
def two_states(tmp_path: Path) -> list[Path]:
    """Three methods by one state of the code, and one by an older state."""
    other = {"shared_code_sha256": "old", "code_sha256": "of c, old"}
    return [write_run(tmp_path / "one", THREE), write_run(tmp_path / "two", ONE, made={"c": other})]


def again(run: Path) -> tuple[str, PartInfo]:
    """The part of `c`, and what it would be made with by the newer state."""
    info = read_info(run / "cnn-micro" / "c" / "part-000.parquet")
    return "cnn-micro/c/part-000.parquet", replace(info, shared_code_sha256="e", code_sha256="of c, new")


def test_the_mark_of_code_goes_when_scores_came_out_again(two_states: list[Path]) -> None:
    old = two_states[1]
    assert marks(two_states)["c"] == "code"
    agreement.keep(old, [(*again(old), True)])
    assert marks(two_states)["c"] == ""
    (kept,) = json.loads((old / agreement.FILE).read_text())
    assert kept["rescored"] == ["part-000.parquet"] and kept["code"]["shared_code_sha256"] == "e"
    # The same by a third state of the code takes nothing back.
    path, info = again(old)
    agreement.keep(old, [(path, replace(info, shared_code_sha256="newest", code_sha256="newest"), True)])
    assert marks(two_states)["c"] == ""
    # The same code does not agree any more: another sample, another machine.
    agreement.keep(old, [(*again(old), False)])
    assert marks(two_states)["c"] == "code"


@pytest.mark.parametrize("same", [(True, False), (False, True)])
def test_all_parts_that_were_drawn_have_to_agree(two_states: list[Path], same: tuple[bool, bool]) -> None:
    path, info = again(two_states[1])
    agreement.keep(two_states[1], [(path, info, same[0]), (path.replace("000", "001"), None, same[1])])
    assert marks(two_states)["c"] == "code"


def test_agreement_ends_when_a_part_changes_or_is_added(two_states: list[Path]) -> None:
    old = two_states[1]
    agreement.keep(old, [(*again(old), True)])
    path = old / "cnn-micro" / "c" / "part-000.parquet"
    table, info = read_part(path)
    rows = frame([table])
    before = [(file, file.read_bytes()) for file in (path, path.with_suffix(".json"))]
    write_part(path, rows.assign(value=rows["value"] + 1e-9), info)
    assert marks(two_states)["c"] == "code"
    for file, data in before:
        file.write_bytes(data)
    assert marks(two_states)["c"] == ""
    clips = {clip: f"new-{clip}" for clip in rows["clip"]}
    more = replace(info, audio_sha256=dict.fromkeys(clips.values(), "a"))
    write_part(path.with_name("part-001.parquet"), rows.assign(clip=rows["clip"].map(clips)), more)
    assert marks(two_states)["c"] == "code"


def test_code_that_nobody_knows_agrees_with_nothing(two_states: list[Path]) -> None:
    path, info = again(two_states[1])
    agreement.keep(two_states[1], [(path, replace(info, code_sha256=""), True)])
    assert not (two_states[1] / agreement.FILE).exists()


def test_a_damaged_record_is_one_line(two_states: list[Path]) -> None:
    (two_states[1] / agreement.FILE).write_text('[{"folder": 3}]')
    with pytest.raises(ResultsError, match=r"rescored\.json is damaged .*delete it and verify the run again") as caught:
        agreement.holding(group(two_states)[0].parts)
    assert "\n" not in str(caught.value)
