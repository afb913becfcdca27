"""`xaibench train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Command, assert_refused
from xaibench.classifiers import checkpoint


def test_train_writes_a_checkpoint_that_run_takes(
    xaibench: Command, small_esc50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = xaibench(
        *("train", "-c", "cnn-micro", "--dataset", "esc10", "--data-dir", small_esc50, "--epochs", 1),
        *("--device", "cpu", "--out", "mine"),
    )
    assert done.code == 0, done.err
    assert "cnn-micro on esc10: accuracy" in done.out
    assert "weights and card: mine" in done.out
    card = checkpoint.Card.read(tmp_path / "mine")
    assert card.command.startswith("xaibench train -c cnn-micro --dataset esc10 --data-dir ")
    assert card.epochs == 1
    done = xaibench(
        *("run", "-m", "energy", "-c", "mine", "--dataset", "esc10", "--data-dir", small_esc50),
        *("--metric", "sparseness", "--out", "made", "--batch-size", 3),
    )
    assert done.code == 0, done.err
    info = json.loads(next((tmp_path / "made").rglob("part-000.json")).read_text())
    assert info["batch_size"] == 3


def test_what_is_kept_must_be_named(xaibench: Command) -> None:
    done = xaibench("train", "-c", "cnn-micro", "--freeze")
    assert_refused(done, "freeze keeps the weights that init names; give init")
