"""The steps of a reproduction: which folds, done once, resumed, pooled; and what they are said to cost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xaibench.classifiers import checkpoint, references, training
from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import MelResize
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, XaibenchError
from xaibench.papers import cost as reproduction_cost
from xaibench.papers import steps as reproduction
from xaibench.papers.paper import ACCURACY, Architecture, Column, Paper, System
from xaibench.papers.steps import Request, Tick
from xaibench.sound.audio import CLIP_SAMPLES, SAMPLE_RATE
from xaibench.sound.dataset import OFFICIAL, Clip, Dataset, Split
from xaibench.sound.subset import Few
from xaibench.sound.synth import Synth

FOLDS = (1, 2, 3, 4, 5)
SHIPPED = references.find("synth/cnn-micro", None).parent
BRIEF = {"epochs": 1, "decoder_width": 2, "codes": 8, "code_size": 4}
PAPER = Paper(
    name="toy-1999",
    title="Toy",
    reference="nobody, 1999",
    published_on="nothing",
    architectures=(Architecture("cnn", "CNN", {"tiny": "tiny"}, ("saliency", "piq")),),
    controls=("random",),
    systems=(System("Saliency", "cnn", "saliency", "top 10%"),),
    columns=(Column(ACCURACY, "accuracy", ""), Column("fidelity_in", "Fid-In", "")),
    published_columns={},
    published_note="",
    claims=(),
    brief={"piq": BRIEF},
    differences=lambda facts: [],
)


class Tones(Dataset):
    """A low or a high tone in noise: two clips in each of five folds."""

    name = "tones"
    licence = "CC0"
    classes = ("low", "high")

    def __init__(self) -> None:
        self.clips = tuple(Clip(f"tone-{f}-{i}", f, i % 2, f"recording-{f}-{i}") for f in FOLDS for i in range(2))

    def waveform(self, clip: Clip) -> np.ndarray:
        rng = np.random.default_rng([clip.fold, clip.label])
        tone = np.sin(2 * np.pi * (300 + 2000 * clip.label) * np.arange(CLIP_SAMPLES) / SAMPLE_RATE)
        return (0.4 * tone + 0.02 * rng.standard_normal(CLIP_SAMPLES)).astype(np.float32)


def tiny(name: str, classes: Sequence[str]) -> Classifier:
    """A network that trains in a second."""
    made = CnnClassifier(name, classes, MelResize((32, 32)), (4, 8))
    made.recipe = Recipe(epochs=3)
    return made


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "build", tiny)


def request(work: Path, folds: tuple[int, ...] = (5,), smoke: bool = True, **more: object) -> Request:
    """A reproduction of the toy paper on ten clips."""
    explainers = work / "none"
    return Request(PAPER, Tones(), "tiny", folds, work, "xaibench reproduce", explainers, smoke=smoke, **more)  # type: ignore[arg-type]


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
    outcome = reproduction.run(request(tmp_path, (1, 5)), ignore)
    rows = outcome.rows
    assert set(rows["clip"]) == {"tone-1-0", "tone-1-1", "tone-5-0", "tone-5-1"}
    assert set(rows["method"]) == {"saliency", "piq", "random"}
    assert not rows.duplicated(["clip", "method", "mask", "metric", "area"]).any()
    assert [card.train_folds for card in outcome.facts.cards["cnn"]] == [(2, 3, 4), (1, 2, 3)]
    fits = outcome.facts.fitted["cnn", "piq"]
    assert [(fit.train_folds, fit.validation_folds) for fit in fits] == [((2, 3, 4), (5,)), ((1, 2, 3), (4,))]
    shas = [card.weights_sha256 for card in outcome.facts.cards["cnn"]]
    assert [fit.classifier_sha256 for fit in fits] == shas
    assert shas[0] != shas[1]
    assert outcome.facts.clips == 4
    assert {card.epochs for card in outcome.facts.cards["cnn"]} == {reproduction.SMOKE_EPOCHS}
    assert fits[0].settings | BRIEF == fits[0].settings


class Stopped(Exception):
    """Somebody pulled the plug."""


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reproduction.run(request(tmp_path / "whole"), ignore)

    def stop(tick: Tick) -> None:
        if tick.step.kind == "score":
            raise Stopped

    with pytest.raises(Stopped):
        reproduction.run(request(tmp_path / "killed"), stop)
    steps = reproduction.plan(request(tmp_path / "killed"))
    found = [(step.kind, step.method, step.found) for step in steps]
    assert found == [("train", "", "trained earlier"), ("fit", "piq", "fitted earlier"), ("score", "", "")]
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(reproduction.fitting, "fit", lambda *_: pytest.fail("fitted again"))
    resumed = reproduction.run(request(tmp_path / "killed"), ignore)
    assert resumed.rows.equals(whole.rows)


def test_weights_of_other_clips_are_refused(tmp_path: Path) -> None:
    first = request(tmp_path)
    reproduction.run(first, lambda tick: None)
    other = request(tmp_path)
    other.dataset.clips = other.dataset.clips[:-1]
    with pytest.raises(XaibenchError, match="choose another --out"):
        reproduction.run(other, ignore)


def test_a_given_classifier_is_loaded_and_refused_where_it_was_trained_on_the_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduction.run(request(tmp_path / "first"), ignore)
    classifier, card = checkpoint.load(tmp_path / "first" / "fold-5" / "checkpoints" / "tiny")
    given = {"cnn": (LoadedClassifier("mine", classifier, card.weights_sha256), card)}
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained again"))
    outcome = reproduction.run(request(tmp_path / "second", given=given), ignore)
    assert set(outcome.rows["classifier"]) == {"mine"}
    with pytest.raises(CheckpointError, match="was trained on fold 1"):
        reproduction.run(request(tmp_path / "third", (1,), given=given), ignore)
    with pytest.raises(CheckpointError, match="was selected by fold 4"):
        reproduction.run(request(tmp_path / "fourth", (4,), given=given), ignore)


def test_the_users_own_explainers_come_before_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real network
    classifier, card = checkpoint.load(SHIPPED / "cnn-micro")
    loaded = LoadedClassifier("cnn-micro", classifier, card.weights_sha256)
    here = replace(request(tmp_path / "work"), dataset=Synth(), explainers=tmp_path / "explainers")
    own = tmp_path / "work" / "fold-5" / "explainers"
    assert reproduction._fitted(here, 5, loaded, "piq") == (own, "shipped weights")
    for root in (here.explainers, own):
        shutil.copytree(SHIPPED / "cnn-micro" / "piq", root / "synth" / "cnn-micro" / "piq")
        assert reproduction._fitted(here, 5, loaded, "piq") == (root, "fitted earlier")


def test_the_cost_counts_the_passes_that_the_run_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"train": 0, "fit": 0, "score": 0}
    kind = ["train"]
    monkeypatch.setattr(checkpoint, "build", counting(seen, kind))
    here = request(tmp_path)
    steps = reproduction.plan(here)
    costs = reproduction_cost.estimate(here, steps)
    for name in seen:
        seen[name] = 0

    def follow(tick: Tick) -> None:
        kind[0] = tick.step.kind

    reproduction.run(here, follow)
    said = {step.kind: cost.forwards for step, cost in zip(steps, costs, strict=True) if cost is not None}
    assert said["train"] == seen["train"]
    assert said["fit"] == pytest.approx(seen["fit"], rel=0.35)  # setting up is measured per clip
    # Silent and unchanged parts are not forwarded; silence itself is, once, and loading PIQ asks for a map's size.
    assert 0.8 * said["score"] <= seen["score"] <= said["score"] + 2
    assert all(cost is None or (cost.seconds > 0 and cost.memory > 0) for cost in costs)


def counting(seen: dict[str, int], kind: list[str]):  # type: ignore[no-untyped-def]
    """`tiny`, which counts the clips that pass it, by the step that runs."""

    def build(name: str, classes: Sequence[str]) -> Classifier:
        made = tiny(name, classes)
        logits = made.logits

        def counted(x: torch.Tensor) -> torch.Tensor:
            seen[kind[0]] += len(x)
            return logits(x)

        made.logits = counted  # type: ignore[method-assign]
        return made

    return build


def test_nothing_is_estimated_of_what_is_there(tmp_path: Path) -> None:
    here = request(tmp_path)
    reproduction.run(here, ignore)
    costs = reproduction_cost.estimate(here, reproduction.plan(here))
    assert [cost is None for cost in costs] == [True, True, False]


def test_a_handful_takes_every_class_in_turn_of_every_fold() -> None:
    few = Few(Tones(), 1)
    assert [clip.id for clip in few.clips] == [f"tone-{fold}-0" for fold in FOLDS]
    assert len(Few(Tones(), 99).clips) == 10
    assert few.fingerprint() != Tones().fingerprint()
    assert np.array_equal(few.waveform(few.clips[0]), Tones().waveform(few.clips[0]))
