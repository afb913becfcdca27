"""Events in a run: annotated ones score as known ones do, other annotations are another ground truth."""

from __future__ import annotations

from pathlib import Path

import pytest

import xaibench as xb
from tests.support.command_line import Command
from xaibench.errors import ResultsError
from xaibench.sound.events import write_events


def test_annotations_score_as_known_events_do_and_may_not_change(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    write_events(xb.dataset("synth", limit=3), file)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("synth-321")]
    file.write_text("\n".join(lines) + "\n")
    wanted = {"methods": "energy", "metrics": ["event_auc", "event_iou_20"], "limit": 3, "progress": False}
    known = xb.evaluate("cnn-micro", "synth", **wanted).rows
    annotated = xb.evaluate("cnn-micro", xb.dataset("synth", events=file), out=tmp_path / "run", **wanted).rows
    there = annotated["clip"] != "synth-321"
    assert annotated.loc[there, "value"].tolist() == known.loc[there, "value"].tolist()
    assert annotated.loc[there, "value"].notna().all()
    lost = annotated.loc[~there, "reason"]
    assert lost.str.contains("no segment that sounds belongs to an annotated event of the class").all()

    file.write_text("\n".join([*lines, "synth-320,0,1,siren"]) + "\n")
    with pytest.raises(ResultsError, match="another ground truth"):
        xb.evaluate("cnn-micro", xb.dataset("synth", events=file), out=tmp_path / "run", **wanted)


def test_a_run_says_how_many_events_there_are_and_what_a_metric_of_events_needs(
    xaibench: Command, small_esc50: Path, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text("file,start,end,label\n5-5000-A-0.wav,1,2,dog\n")
    run = ["run", "-m", "energy", "-c", "esc50/cnn-micro", "--dataset", "esc50", "--data-dir", small_esc50]
    said = xaibench(*run, "--metric", "pointing_game", "--events", tmp_path / "events.csv", "--out", tmp_path / "none")
    assert "annotated are 1 events in 1 of 2 clips\n" in said.err
    assert "pointing_game: not on esc50, which has no ground truth" in said.err
    refused = xaibench(*run, "--metric", "event_auc", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "which has no events; choose another --metric or --dataset synth, or give --events" in refused.err
