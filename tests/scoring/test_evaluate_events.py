"""Events in a run: annotated ones score as known ones do, other annotations are another ground truth."""

from __future__ import annotations

from pathlib import Path

import pytest

import xaibench as xb
from tests.support.command_line import Command
from xaibench.errors import ResultsError
from xaibench.sound.events import write_events


def test_annotations_score_as_known_events_do_and_may_not_change(
    xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "events.csv"
    write_events(xb.dataset("synth"), file)
    run = ["run", "-m", "energy", "-c", "cnn-micro", "--metric", "event_auc", "--metric", "event_iou_20"]
    done = xaibench(*run, "--limit", 3, "--events", file, "--out", "annotated")
    assert done.code == 0, done.err
    assert "annotated are 3 events in 3 of 3 clips\n" in done.err
    annotated = xb.load_results(tmp_path / "annotated").rows
    wanted = {"methods": "energy", "metrics": ["event_auc", "event_iou_20"], "limit": 3, "progress": False}
    known = xb.evaluate("cnn-micro", "synth", **wanted).rows
    assert annotated["value"].tolist() == known["value"].tolist()
    assert annotated["value"].notna().all()

    lines = file.read_text().splitlines()
    moved = [f"{lines[0]}", *(line for line in lines[1:] if not line.startswith("synth-320")), "synth-320,0,1,siren"]
    file.write_text("\n".join(moved) + "\n")
    with pytest.raises(ResultsError, match="another ground truth"):
        xb.evaluate("cnn-micro", xb.dataset("synth", events=file), out=tmp_path / "annotated", **wanted)
    other = xb.evaluate("cnn-micro", xb.dataset("synth", events=file), **wanted).rows
    lost = other[other["clip"] == "synth-320"]
    assert lost["reason"].str.contains("no segment that sounds belongs to an annotated event of the class").all()


def test_without_annotations_a_metric_of_events_says_what_to_give(
    xaibench: Command, small_esc50: Path, tmp_path: Path
) -> None:
    run = ["run", "-m", "energy", "-c", "esc50/cnn-micro", "--dataset", "esc50", "--data-dir", small_esc50]
    refused = xaibench(*run, "--metric", "event_auc", "--out", tmp_path / "none")
    assert refused.code == 2
    assert (
        "event_auc: not on esc50, which has no events; choose another --metric or --dataset synth, or give"
        in refused.err
    )
