"""`xaibench run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Command, assert_refused
from tests.support.few_passes import let_all_ask_rarely
from xaibench.classifiers import checkpoint
from xaibench.classifiers.forward import Forwarder
from xaibench.results import store
from xaibench.storage.cards import file_hash


def test_run_prints_a_table_and_a_second_run_scores_nothing(
    xaibench: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("run", "-m", "energy", "-m", "random", "-c", weights, "--limit", 2, "--metric", "faithfulness")
    first = xaibench(*arguments)
    assert first.code == 0
    assert "energy" in first.out
    assert "random" in first.out
    assert "FF ↑" in first.out
    assert "per-clip scores: results/runs/synth-fold5-limit2" in first.out
    # Progress and notes are no results.
    assert "scoring" not in first.out
    assert "\x1b" not in first.out
    assert "\r" not in first.out
    made = tmp_path / "results" / "runs" / "synth-fold5-limit2"
    rows = store.read_rows(made)
    assert rows["clip"].nunique() == 2
    label = f"cnn-micro@{file_hash(weights / checkpoint.WEIGHTS)[:8]}"
    assert set(rows["classifier"]) == {label}, "weights that are not the shipped ones are not called so"
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(Forwarder, "logits", lambda *_: pytest.fail("a second run forwards clips"))
        second = xaibench(*arguments)
    assert second.out == first.out
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
    # A method that cannot run beside one that can is a note, not an error.
    let_all_ask_rarely(monkeypatch, tmp_path)
    run = ("run", "-m", "all", "-c", weights, "--limit", 1, "--metric", "sparseness", "--folds", "4,5")
    third = xaibench(*run, "--verbose")
    assert third.code == 0
    for name in ("focalnet", "vit-attention", "vit-rollout"):
        assert f"left out: {name} on {label} (needs " in third.err
        assert name not in third.out
    assert "gradcam" in third.out
    assert (tmp_path / "results" / "runs" / "synth-fold4-5-limit1").is_dir()


def test_scoring_clips_that_were_trained_on_is_said(xaibench: Command, weights: Path) -> None:
    run = ("run", "-m", "energy", "-c", weights, "--limit", 1, "--metric", "sparseness")
    done = xaibench(*run, "--folds", "1,5")
    assert done.code == 0
    assert "was trained on fold 1: it has seen the clips that are scored there" in done.err
    assert "was selected by fold 4: it has seen" in xaibench(*run, "--folds", "4,5").err
    assert "it has seen" not in xaibench(*run, "--folds", "5").err
    done = xaibench("run", "-m", "piq", "-c", "cnn-micro", "--limit", 1, "--metric", "sparseness", "--folds", "4")
    assert "piq for cnn-micro was selected by fold 4: it has seen the clips that are scored there" in done.err


def test_other_settings_in_the_same_folder_are_refused(xaibench: Command, a_run: Path, weights: Path) -> None:
    run = ("run", "-m", "energy", "-c", weights, "--limit", 2, "--metric", "sparseness", "--out", a_run)
    assert_refused(xaibench(*run, "--seed", 3), "made holds a run with seed 0, this one has 3; choose another --out")
    other_fold = xaibench(*run, "--folds", "4")
    assert other_fold.code == 2
    assert "choose another --out" in other_fold.error_lines[-1]
    assert xaibench(*run).code == 0
    (a_run.parent / "file").write_text("")
    assert_refused(xaibench(*run[:-1], "file"), "file cannot be written")


def test_a_metric_that_needs_evidence_where_there_is_none(
    xaibench: Command, tmp_path: Path, esc50_folder: Path
) -> None:
    arguments = ("--dataset", "esc10", "--data-dir", esc50_folder, "-c", "cnn-micro", "--device", "cpu")
    done = xaibench("run", "-m", "energy", "--metric", "pointing_game", *arguments)
    assert_refused(done, "pointing_game: not on esc10, which has no ground truth; choose another --metric")
    done = xaibench("run", "-m", "oracle", *arguments)
    assert_refused(done, "oracle cannot run here: it needs clips with ground truth, such as --dataset synth")


def test_of_several_methods_those_that_do_not_fit_are_left_out(xaibench: Command, weights: Path) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "--device", "cpu")
    done = xaibench(*run, "-m", "focalnet", "-m", "random", "-m", "vit-rollout")
    assert done.code == 0
    said = "2 pairs left out, since the method does not fit the classifier or the data: --verbose lists them"
    assert done.error_lines[0] == said and "left out" not in "".join(done.error_lines[1:])
    assert "random" in done.out
    assert all(word not in xaibench(*run, "-m", "focalnet", "-m", "random", "--quiet").err for word in ("left", "time"))
    done = xaibench(*run, "-m", "focalnet", "-m", "vit-rollout")
    assert done.code == 2
    (line,) = done.error_lines
    assert line.startswith("Error: no pair of method and classifier is left to run: focalnet needs focal modulation")
    assert "vit-rollout needs attention weights" in line
