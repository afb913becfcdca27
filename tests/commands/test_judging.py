"""`xaibench judge`: the judge lands where a run finds it."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Command
from xaibench.classifiers import judge_training
from xaibench.classifiers.judge import JudgeCard
from xaibench.commands import judging
from xaibench.results import store


def test_a_judge_is_trained_and_asked(xaibench: Command, small_esc50: Path, tmp_path: Path) -> None:
    data = ["--dataset", "esc50", "--data-dir", small_esc50]
    classifier = ["-c", "esc10/cnn-micro"]  # knows the dogs of these ten clips
    run = ["run", "-m", "energy", *classifier, *data, "--metric", "f_fidelity_plus", "--out", "run"]
    refused = xaibench(*run)
    assert refused.code == 2
    assert "has no judge in explainers/esc50/" in refused.err
    assert "make one with 'xaibench judge --classifier FOLDER --dataset esc50 --data-dir" in refused.err
    made = xaibench("judge", *classifier, *data, "--epochs", "1")
    assert made.code == 0
    (folder,) = (tmp_path / "explainers" / "esc50").glob("*/judge")
    card = JudgeCard.read(folder)
    assert f"accuracy on fold 4 {card.accuracy:.3f} (the classifier's: {card.original_accuracy:.3f})" in made.out
    assert str(folder.relative_to(tmp_path)) in made.out
    assert ("is not accepted" in made.err) == bool(card.fault)
    path = folder / JudgeCard.FILE
    path.write_text(path.read_text().replace(f'"masked_accuracy": {card.masked_accuracy}', '"masked_accuracy": 1.0'))
    scored = xaibench(*run)
    assert scored.code == 0 and "FFid+" in scored.out
    assert set(store.read_rows(tmp_path / "run")["metric"]) == {"f_fidelity_plus"}


def test_what_the_command_says_of_its_defaults_is_so() -> None:
    assert (judging.EPOCHS, judging.LEARNING_RATE) == (judge_training.EPOCHS, judge_training.LEARNING_RATE)
