"""Validation scores the reference maps once, tells what failed, and looks at methods of the same weights alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.support.made_up_maps import RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF, noise, write_run
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import ResultsError, XaibenchError
from xaibench.results import store
from xaibench.scoring.evaluate import Event
from xaibench.sound.batch import Batch
from xaibench.validation import assess
from xaibench.validation.reference_maps import REFERENCE_MAPS, Half
from xaibench.validation.validate import rows_of_methods, validate_metrics


def test_methods_of_other_runs_have_the_same_weights_and_are_no_controls(tmp_path: Path) -> None:
    scores = {"good": {FF: noise(1)}, "random": {FF: noise(2)}}
    write_run(tmp_path / "runs" / "a", scores, protocol="standard-2", sha256="mine")
    write_run(tmp_path / "runs" / "b", {"other": {FF: noise(1)}}, protocol="standard-2", sha256="theirs")
    write_run(tmp_path / "runs" / "c", {"far": {FF: noise(1)}}, dataset="esc10", protocol="standard-2", sha256="mine")
    write_run(tmp_path / "runs" / "d", {"old": {FF: noise(1)}}, protocol="legacy", sha256="mine")
    found = rows_of_methods(tmp_path, {"cnn-micro": "mine"})
    assert set(found["method"]) == {"good"}
    assert rows_of_methods(tmp_path / "nowhere", {}).empty
    assert assessed(rows_of({FF: RIGHT}), rows_of_methods(tmp_path / "nowhere", {})) is not None


def test_a_map_that_fails_is_named_and_the_others_are_kept(
    loaded: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Half, batch: Batch) -> None:
        raise RuntimeError("out of luck")

    events: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(Half, "weigh", fail)
        with pytest.raises(XaibenchError, match=r"^1 of the reference maps .*first: half on cnn: RuntimeError: out of"):
            validate_metrics([loaded], {}, limit=1, out=tmp_path, results=tmp_path, report=events.append)
    assert [event.method for event in events] == list(REFERENCE_MAPS)
    assert {event.method for event in events if event.kind == "failed"} == {"half"}
    events.clear()
    lines = validate_metrics([loaded], {}, limit=1, out=tmp_path, results=tmp_path, report=events.append)
    assert {event.method for event in events if event.kind == "scored"} == {"half"}
    assert len(lines) and set(lines["family"]) == {"localisation"}  # the metrics of the agreement, scored unasked


def test_the_command_scores_draws_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaibench.cli import app

    monkeypatch.chdir(tmp_path)
    command = ["validate", "-c", "cnn-micro", "--metric", "fidelity_in", "--limit", "2", "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "wrote results/validation-synth.csv" in done.output
    lines = pd.read_csv("results/validation-synth.csv")
    assert {"fidelity_in", "relevance_rank", "localisation_auc"} <= set(lines["metric"])
    assert set(lines["verdict"]) == {assess.UNDECIDED}  # two clips decide nothing
    assert (lines.loc[lines["metric"] == "relevance_rank", "oracle"] == 1).all()
    parts = sorted(Path("results").rglob("part-*.parquet"))
    assert {part.parent.name for part in parts} == set(REFERENCE_MAPS)
    stamps = [part.stat().st_mtime_ns for part in parts]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [part.stat().st_mtime_ns for part in parts] == stamps
    with pytest.raises(ResultsError, match="holds no results"):
        store.find_runs(Path("results"))  # scores of reference maps are no results of methods
    assert len(store.find_runs(parts[0].parent.parent.parent)) == 1
