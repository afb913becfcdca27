"""The steps of a reproduction: which folds, done once, resumed, pooled; and what they are said to cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.toy_paper import BRIEF, FOLDS, PAPER, Tones, tiny, toy
from xaibench.classifiers import checkpoint, references, training
from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, XaibenchError
from xaibench.explaining import fitting
from xaibench.papers import cost, steps
from xaibench.papers.config import SMOKE_EPOCHS
from xaibench.papers.steps import Tick
from xaibench.sound.dataset import OFFICIAL, Split
from xaibench.sound.subset import Few
from xaibench.sound.synth import Synth

SHIPPED = references.find("synth/cnn-micro", None).parent


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "build", tiny)


def ignore(tick: Tick) -> None:
    pass


def test_the_official_folds_are_those_of_test_fold_5() -> None:
    assert Split.testing(5, FOLDS) == OFFICIAL


def test_every_fold_validates_on_the_one_before_and_trains_on_the_rest() -> None:
    assert Split.testing(1, FOLDS) == Split((2, 3, 4), (5,), (1,))
    assert Split.testing(3, (5, 4, 3, 2, 1)) == Split((1, 4, 5), (2,), (3,))


def test_other_folds_change_what_a_stopped_training_must_share() -> None:
    one = training.TrainingConfig(
        classifier="tiny",
        dataset="tones",
        seed=0,
        recipe=Recipe(),
        precision=torch.float32,
        device=torch.device("cpu"),
        command="",
    )
    other = replace(one, split=Split.testing(1, FOLDS))
    assert one.identity()["folds"] == [(1, 2, 3), (4,), (5,)]
    assert other.identity() == one.identity() | {"folds": [(2, 3, 4), (5,), (1,)]}


def test_pooled_folds_score_every_clip_once_by_models_that_have_not_seen_it(tmp_path: Path) -> None:
    outcome = steps.run(toy(tmp_path, (1, 5)), ignore)
    rows = outcome.rows
    assert set(rows["clip"]) == {"tone-1-0", "tone-1-1", "tone-5-0", "tone-5-1"}
    assert set(rows["method"]) == {"saliency", "piq", "random"}
    assert not rows.duplicated(["clip", "method", "mask", "metric", "area"]).any()
    assert [card.train_folds for card in outcome.cards["cnn"]] == [(2, 3, 4), (1, 2, 3)]
    fits = outcome.fitted["cnn", "piq"]
    assert [(fit.train_folds, fit.validation_folds) for fit in fits] == [((2, 3, 4), (5,)), ((1, 2, 3), (4,))]
    shas = [card.weights_sha256 for card in outcome.cards["cnn"]]
    assert [fit.classifier_sha256 for fit in fits] == shas
    assert shas[0] != shas[1]
    assert {card.epochs for card in outcome.cards["cnn"]} == {SMOKE_EPOCHS}
    assert fits[0].settings | BRIEF == fits[0].settings


class Stopped(Exception):
    """Somebody pulled the plug."""


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = steps.run(toy(tmp_path / "whole"), ignore)

    def stop(tick: Tick) -> None:
        if tick.step.kind == "score":
            raise Stopped

    with pytest.raises(Stopped):
        steps.run(toy(tmp_path / "killed"), stop)
    found = [(step.kind, step.method, step.found) for step in steps.steps_of(toy(tmp_path / "killed"))]
    assert found == [("train", "", "trained earlier"), ("fit", "piq", "fitted earlier"), ("score", "", "")]
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(fitting, "fit", lambda *_: pytest.fail("fitted again"))
    resumed = steps.run(toy(tmp_path / "killed"), ignore)
    assert resumed.rows.equals(whole.rows)


def test_weights_of_other_clips_are_refused(tmp_path: Path) -> None:
    first = toy(tmp_path)
    steps.run(first, lambda tick: None)
    other = toy(tmp_path)
    other.dataset.clips = other.dataset.clips[:-1]
    with pytest.raises(XaibenchError, match="choose another --out"):
        steps.run(other, ignore)


def test_a_given_classifier_is_loaded_and_refused_where_it_was_trained_on_the_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = toy(tmp_path / "first")
    steps.run(first, ignore)
    classifier, card = checkpoint.load(first.work / "fold-5" / "checkpoints" / "tiny")
    given = ((LoadedClassifier("mine", classifier, card.weights_sha256), card),)
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    outcome = steps.run(toy(tmp_path / "second", given=given), ignore)
    assert set(outcome.rows["classifier"]) == {"mine"}
    with pytest.raises(CheckpointError, match="was trained on fold 1"):
        steps.run(toy(tmp_path / "third", (1,), given=given), ignore)
    with pytest.raises(CheckpointError, match="was selected by fold 4"):
        steps.run(toy(tmp_path / "fourth", (4,), given=given), ignore)


def test_the_users_own_explainers_come_before_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real network
    classifier, card = checkpoint.load(SHIPPED / "cnn-micro")
    loaded = LoadedClassifier("cnn-micro", classifier, card.weights_sha256)
    here = replace(toy(tmp_path / "work"), dataset=Synth(), explainers=tmp_path / "explainers")
    own = here.work / "fold-5" / "explainers"
    place = steps._Place(here, 5, PAPER.architectures[0])

    def found() -> tuple[Path, str] | None:
        fit = place.find_fit(loaded, "piq")
        return None if fit is None else (fit.root, fit.origin)

    assert found() == (own, "shipped weights")
    for root in (here.explainers, own):
        shutil.copytree(SHIPPED / "cnn-micro" / "piq", root / "synth" / "cnn-micro" / "piq")
        assert found() == (root, "fitted earlier")


def test_the_cost_counts_the_passes_that_the_run_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"train": 0, "fit": 0, "score": 0}
    kind = ["train"]
    monkeypatch.setattr(checkpoint, "build", counting(seen, kind))
    here = toy(tmp_path)
    to_do = steps.steps_of(here)
    costs = cost.estimate(here, to_do)
    for name in seen:
        seen[name] = 0

    def follow(tick: Tick) -> None:
        kind[0] = tick.step.kind

    steps.run(here, follow)
    said = {step.kind: one.forwards for step, one in zip(to_do, costs, strict=True) if one is not None}
    assert said["train"] == seen["train"]
    assert said["fit"] == pytest.approx(seen["fit"], rel=0.35)  # setting up is measured per clip
    # Silent and unchanged parts are not forwarded; silence itself is, once, and loading PIQ asks for a map's size.
    assert 0.8 * said["score"] <= seen["score"] <= said["score"] + 2
    assert all(one is None or (one.seconds > 0 and one.memory > 0) for one in costs)


def counting(seen: dict[str, int], kind: list[str]) -> Callable[[str, Sequence[str]], Classifier]:
    """`tiny`, which counts the clips that pass it, by the step that runs."""

    def build(name: str, classes: Sequence[str]) -> Classifier:
        made = tiny(name, classes)
        logits = made.picture_logits

        def counted(x: torch.Tensor) -> torch.Tensor:
            seen[kind[0]] += len(x)
            return logits(x)

        made.picture_logits = counted  # type: ignore[method-assign]
        return made

    return build


def test_nothing_is_estimated_of_what_is_there(tmp_path: Path) -> None:
    here = toy(tmp_path)
    steps.run(here, ignore)
    to_do = steps.steps_of(here)
    costs = cost.estimate(here, to_do)
    assert [one is None for one in costs] == [True, True, False]
    table = cost.table(here, to_do, costs)
    assert [row.name for row in table.rows] == ["score tiny, fold 5"]
    assert table.notes[:2] == (
        "Done: train tiny, fold 5 (trained earlier).",
        "Done: fit piq on tiny, fold 5 (fitted earlier).",
    )


def test_a_handful_takes_every_class_in_turn_of_every_fold() -> None:
    few = Few(Tones(), 1)
    assert [clip.fold for clip in few.clips] == list(FOLDS)
    assert len(Few(Tones(), 99).clips) == 10
    assert few.fingerprint() != Tones().fingerprint()
    assert np.array_equal(few.waveform(few.clips[0]), Tones().waveform(few.clips[0]))
