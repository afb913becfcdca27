"""Events in a run: annotated ones score as known ones do, other annotations are another ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xaibench as xb
from tests.support.command_line import Command
from xaibench.errors import ResultsError
from xaibench.sound.events import write_events


def test_annotations_score_as_known_events_do_and_may_not_change(tmp_path: Path) -> None:
    file, few = tmp_path / "events.csv", xb.dataset("synth", limit=3)
    lost, other, _ = (clip.id for clip in few.in_folds([5]))
    write_events(few, file)
    lines = [line for line in file.read_text().splitlines() if not line.startswith(lost)]
    file.write_text("\n".join(lines) + "\n")
    wanted: dict[str, Any] = {
        "methods": "energy",
        "metrics": ["event_auc", "event_iou_20"],
        "limit": 3,
        "progress": False,
    }
    known = xb.evaluate("cnn-micro", "synth", **wanted, controls=False).rows
    annotated = xb.evaluate(
        "cnn-micro", xb.dataset("synth", events=file), out=tmp_path / "run", **wanted, controls=False
    ).rows
    there = annotated["clip"] != lost
    assert annotated.loc[there, "value"].tolist() == known.loc[there, "value"].tolist()
    assert annotated.loc[there, "value"].notna().all()
    assert annotated.loc[~there, "reason"].str.contains("no segment that sounds belongs to an annotated event").all()

    file.write_text("\n".join([*lines, f"{other},0,1,siren"]) + "\n")
    with pytest.raises(ResultsError, match="another ground truth"):
        xb.evaluate("cnn-micro", xb.dataset("synth", events=file), out=tmp_path / "run", **wanted, controls=False)


def test_events_of_the_middle_of_a_long_clip_are_where_it_is_heard(tmp_path: Path) -> None:
    """The first second of the middle five of nine is loud, from 2 to 3 s of the clip."""
    sound = 0.01 * np.random.default_rng(0).standard_normal(9 * 16_000).astype(np.float32)
    sound[32_000:48_000] *= 10
    classes = xb.classifier("cnn-micro", dataset="synth").classes
    data = xb.clips([sound], 16_000, [classes[0]], events=[[(2.0, 3.0, name) for name in classes]])
    wanted: dict[str, Any] = {"methods": "energy", "metrics": ["event_auc"], "progress": False}
    middle = xb.evaluate("synth/cnn-micro", data, long="center", **wanted, controls=False).rows
    assert middle["value"].tolist() == [1.0]
    beginning = xb.evaluate("synth/cnn-micro", data, **wanted, controls=False).rows
    assert beginning["value"].tolist() == [1.0]


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
