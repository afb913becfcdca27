"""Training learns, is reproducible, and goes on exactly where it stopped."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from xaibench import registry
from xaibench.classifiers import checkpoint, training
from xaibench.classifiers.base import Classifier, CosineHead, Recipe
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import MelResize
from xaibench.errors import CheckpointError, DataError, RegistryError
from xaibench.sound.audio import CLIP_SAMPLES, SAMPLE_RATE
from xaibench.sound.dataset import Clip, Dataset
from xaibench.storage.cards import file_hash
from xaibench.storage.user_folders import DATA_VARIABLE


class Tones(Dataset):
    """A low or a high tone in noise: four clips in each of five folds."""

    name = "tones"
    licence = "CC0"
    classes = ("low", "high")

    def __init__(self, folds: Sequence[int] = (1, 2, 3, 4, 5)) -> None:
        self.clips = tuple(Clip(f"tone-{f}-{i}", f, i % 2, f"recording-{f}-{i}") for f in folds for i in range(4))
        self.read: list[str] = []

    def waveform(self, clip: Clip) -> np.ndarray:
        self.read.append(clip.id)
        rng = np.random.default_rng([clip.fold, int(clip.id[-1])])
        pitch = rng.uniform(200, 400) * (1 + 9 * clip.label)
        tone = np.sin(2 * np.pi * pitch * np.arange(CLIP_SAMPLES) / SAMPLE_RATE)
        return (0.4 * tone + 0.02 * rng.standard_normal(CLIP_SAMPLES)).astype(np.float32)


SMALL = MelResize((32, 32))


def tiny(name: str, classes: Sequence[str]) -> Classifier:
    """A network with batch norm and dropout that trains in seconds."""
    return CnnClassifier(name, classes, SMALL, (8, 16))


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "build", tiny)


def config(epochs: int = 7, seed: int = 0, learning_rate: float = 3e-3) -> training.TrainingConfig:
    """Of a short training on the CPU."""
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate)
    return training.TrainingConfig(
        classifier="tiny",
        dataset="tones",
        seed=seed,
        recipe=recipe,
        precision=torch.float32,
        device=torch.device("cpu"),
        command="xaibench train --classifier tiny",
    )


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_after(epoch: int) -> Callable[[training.Progress], None]:
    """A report that pulls the plug."""

    def report(step: training.Progress) -> None:
        if step.epoch == epoch:
            raise Stopped

    return report


def ignore(step: training.Progress) -> None:
    """Report to nobody."""


def weights(folder: Path) -> bytes:
    """Bytes of the written weights."""
    return (folder / checkpoint.WEIGHTS).read_bytes()


def test_it_learns_what_can_be_learned(tmp_path: Path) -> None:
    steps: list[training.Progress] = []
    card = training.train(Tones(), config(epochs=60, learning_rate=1e-2), tmp_path / "made", steps.append)
    losses = [step.loss for step in steps]
    assert [step.epoch for step in steps] == list(range(1, 61))
    # Mixed, smoothed labels keep the loss from 0; guessing two classes costs log 2 = 0.693.
    assert sum(losses[-10:]) / 10 < 0.8 * sum(losses[:3]) / 3
    assert card.validation_accuracy == card.test_accuracy == 1.0
    assert steps[-1].best_accuracy == max(step.validation_accuracy for step in steps)
    assert steps[card.best_epoch - 1].validation_accuracy == steps[-1].best_accuracy


def test_the_card_is_complete_and_true(tmp_path: Path) -> None:
    dataset = Tones()
    given = config(epochs=2)
    card = training.train(dataset, given, tmp_path, ignore)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.CARD, checkpoint.WEIGHTS]
    loaded, stored = checkpoint.load(tmp_path)
    assert stored == dataclasses.replace(card, weights_sha256=file_hash(tmp_path / checkpoint.WEIGHTS))
    assert (stored.classifier, stored.dataset, stored.dataset_fingerprint) == ("tiny", "tones", dataset.fingerprint())
    assert (stored.data_licence, stored.classes, stored.seed) == ("CC0", ("low", "high"), 0)
    assert (stored.train_folds, stored.validation_folds, stored.test_folds) == ((1, 2, 3), (4,), (5,))
    assert (stored.epochs, stored.command) == (2, given.command)
    assert 1 <= stored.best_epoch <= 2
    assert stored.seconds >= 0
    assert stored.parameters == loaded.parameter_count
    assert {"python", "xaibench", "torch"} <= set(stored.versions)
    for fold, stated in ((4, stored.validation_accuracy), (5, stored.test_accuracy)):
        x, labels = training.magnitudes(dataset, dataset.in_folds([fold]))
        right = [int(loaded.picture_logits(torch.log1p(clip)[None]).argmax()) for clip in x]
        assert stated == sum(a == b for a, b in zip(right, labels.tolist(), strict=True)) / len(labels)


def test_fold_five_is_read_only_at_the_end(tmp_path: Path) -> None:
    dataset = Tones()
    seen: list[int] = []
    training.train(
        dataset, config(epochs=2), tmp_path, lambda step: seen.append(sum("tone-5" in c for c in dataset.read))
    )
    assert seen == [0, 0]
    assert any("tone-5" in clip for clip in dataset.read)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(7)  # the caller's random state must not matter
        training.train(Tones(), config(epochs=2, seed=seed), tmp_path / folder, ignore)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize("epoch", [4, 5, 6])
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path, epoch: int) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    card = training.train(Tones(), config(), whole, ignore)
    with pytest.raises(Stopped):
        training.train(Tones(), config(), stopped, stop_after(epoch))
    # The state is written after every fifth epoch.
    assert (stopped / "unfinished" / "state.pt").exists() == (epoch >= 5)
    assert not (stopped / checkpoint.CARD).exists()
    torch.rand(11)
    epochs: list[int] = []
    resumed = training.train(Tones(), config(), stopped, lambda step: epochs.append(step.epoch))
    assert epochs == (list(range(1, 8)) if epoch == 4 else [6, 7])
    assert weights(whole) == weights(stopped)
    same = {"seconds": 0.0}
    assert dataclasses.replace(card, **same) == dataclasses.replace(resumed, **same)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 8}, {"learning_rate": 1e-4}], ids=["seed", "epochs", "learning rate"]
)
def test_other_settings_do_not_go_on(tmp_path: Path, change: dict[str, float]) -> None:
    with pytest.raises(Stopped):
        training.train(Tones(), config(), tmp_path, stop_after(6))
    state = tmp_path / "unfinished" / "state.pt"
    before, words = state.read_bytes(), f"with other {next(iter(change))}; delete it or choose another --out"
    with pytest.raises(CheckpointError, match=f"holds an unfinished training {words}"):
        training.train(Tones(), config(**change), tmp_path, ignore)  # type: ignore[arg-type]
    assert state.read_bytes() == before


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        training.train(Tones(), config(), tmp_path, stop_after(5))
    (tmp_path / "unfinished" / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match=r"unfinished/state\.pt is damaged; delete it to start over$"):
        training.train(Tones(), config(), tmp_path, ignore)


def test_a_missing_fold_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tones has no clips in fold 4"):
        training.train(Tones(folds=(1, 2, 3, 5)), config(epochs=1), tmp_path, ignore)


def test_measure_is_accuracy_and_cross_entropy() -> None:
    dataset = Tones()
    torch.manual_seed(0)
    classifier = tiny("tiny", dataset.classes)
    x, labels = training.magnitudes(dataset, dataset.clips)
    accuracy, loss = training.measure(classifier, torch.log1p(x), labels, torch.device("cpu"))
    assert not classifier.training
    total, right = 0.0, 0
    with torch.inference_mode():
        for clip, label in zip(torch.log1p(x), labels.tolist(), strict=True):
            p = torch.softmax(classifier.picture_logits(clip[None]).double(), dim=-1)[0]
            total -= math.log(float(p[label]))
            right += int(p.argmax()) == label
    assert accuracy == right / len(labels)
    assert loss == pytest.approx(total / len(labels), abs=1e-5)


def test_a_training_can_start_from_other_weights_all_but_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = training.train(Tones(), config(epochs=2), tmp_path / "first", ignore)
    started: dict[str, torch.Tensor] = {}
    real = training._Trainer.run_epoch

    def spy(trainer: training._Trainer, generator: torch.Generator) -> training.Progress:
        if not started:
            started.update({key: value.clone() for key, value in trainer.network.state_dict().items()})
        return real(trainer, generator)

    monkeypatch.setattr(training._Trainer, "run_epoch", spy)
    again = dataclasses.replace(config(epochs=1, seed=5), init=str(tmp_path / "first"))
    card = training.train(Tones(), again, tmp_path / "second", ignore)
    source, _ = checkpoint.load(tmp_path / "first")
    for key, value in source.state_dict().items():
        if key.startswith("head.") and key.endswith("weight"):
            assert not torch.equal(value, started[key])
        elif not key.startswith("head."):
            assert torch.equal(value, started[key])
    assert first.initialised_from == ""
    assert "tones" in card.initialised_from
    assert file_hash(tmp_path / "first" / checkpoint.WEIGHTS) in card.initialised_from


def test_what_is_frozen_stays_as_it_was(tmp_path: Path) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "first", ignore)
    frozen = dataclasses.replace(config(epochs=1, seed=5), init=str(tmp_path / "first"), frozen=True)
    training.train(Tones(), frozen, tmp_path / "second", ignore)
    first, second = (checkpoint.load(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    changed = {key for key, tensor in second.items() if not torch.equal(tensor, first[key])}
    assert changed and all(key.startswith("head.") for key in changed)


def test_a_training_can_start_from_a_deeper_network_that_begins_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "deeper", ignore)
    source, card = checkpoint.load(tmp_path / "deeper")
    monkeypatch.setattr(checkpoint, "resolve", lambda reference, dataset: (source, card))
    model = CnnClassifier("shallow", Tones.classes, SMALL, (8,))
    assert "tiny trained on tones" in training._initialise(model, "deeper", "tones")
    first = "blocks.0.0.weight"
    assert torch.equal(model.state_dict()[first], source.state_dict()[first])


def test_a_training_cannot_start_from_another_architecture_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "first", ignore)
    widths = {"other": (8, 17), "tiny": (8, 16)}
    monkeypatch.setattr(checkpoint, "build", lambda name, classes: CnnClassifier(name, classes, SMALL, widths[name]))
    other = dataclasses.replace(config(), classifier="other", init=str(tmp_path / "first"))
    with pytest.raises(CheckpointError, match="holds a tiny, not a other"):
        training.train(Tones(), other, tmp_path / "second", ignore)
    with pytest.raises(RegistryError, match="unknown classifier 'nowhere'"):
        training.train(Tones(), dataclasses.replace(config(), init="nowhere"), tmp_path / "third", ignore)


def test_a_training_can_start_from_a_name_and_learn_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "classifiers" / "mine", ignore)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    named = dataclasses.replace(config(epochs=1, seed=5), init="mine", teachers=("mine",))
    card = training.train(Tones(), named, tmp_path / "second", ignore)
    sha256 = file_hash(tmp_path / "classifiers" / "mine" / checkpoint.WEIGHTS)
    assert sha256 in card.initialised_from
    assert sha256 in card.taught_by


@pytest.mark.parametrize("fits", [True, False])
def test_a_training_can_start_from_another_project_s_classifier_if_its_tensors_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "theirs", ignore)
    path = tmp_path / "theirs" / checkpoint.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classifier": "theirs", "builder": "invented"}))

    class Format:
        def build(self, name: str, classes: Sequence[str], geometry: object) -> Classifier:
            return tiny(name, classes)

    monkeypatch.setattr(registry, "load", lambda group, name: Format())
    if not fits:
        monkeypatch.setattr(checkpoint, "build", lambda name, classes: CnnClassifier(name, classes, SMALL, (8, 17)))
    started = dataclasses.replace(config(epochs=1), init=str(tmp_path / "theirs"))
    if fits:
        assert "theirs trained on tones" in training.train(Tones(), started, tmp_path / "out", ignore).initialised_from
    else:
        with pytest.raises(CheckpointError, match="holds a theirs, not a tiny; choose another --init"):
            training.train(Tones(), started, tmp_path / "out", ignore)


@pytest.mark.parametrize("count", [1, 2])
def test_the_mean_of_the_teachers_is_half_of_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    folders = [tmp_path / f"teacher-{seed}" for seed in range(count)]
    for seed, folder in enumerate(folders):
        training.train(Tones(), config(epochs=2, seed=seed), folder, ignore)
    views: list[tuple[torch.Tensor, torch.Tensor]] = []
    targets: list[torch.Tensor] = []
    augment, cross_entropy = training.augment, torch.nn.functional.cross_entropy

    def seen_views(*args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        views.append(augment(*args))  # type: ignore[arg-type]
        return views[-1]

    def seen_targets(logits: torch.Tensor, target: torch.Tensor, **options: float) -> torch.Tensor:
        targets.append(target)
        return cross_entropy(logits, target, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "augment", seen_views)
    monkeypatch.setattr(training.functional, "cross_entropy", seen_targets)
    taught = dataclasses.replace(config(epochs=1, seed=5), teachers=tuple(map(str, folders)))
    card = training.train(Tones(), taught, tmp_path / "student", ignore)
    (x, mixed), target = views[0], targets[0]
    with torch.no_grad():
        means = sum(checkpoint.load(folder)[0].probabilities(x) for folder in folders) / count
    assert torch.allclose(target, mixed / 2 + means / 2, atol=1e-6)
    for folder in folders:
        assert file_hash(folder / checkpoint.WEIGHTS) in card.taught_by


def test_batch_size_and_stretch_are_the_recipe_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float]] = []
    augment = training.augment

    def counting(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((len(args[0]), args[4]))  # type: ignore[arg-type]
        return augment(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "augment", counting)
    given = config(epochs=1)
    recipe = dataclasses.replace(given.recipe, batch_size=5, stretch=0.1)
    training.train(Tones(), dataclasses.replace(given, recipe=recipe), tmp_path, ignore)
    assert seen == [(5, 0.1), (5, 0.1), (2, 0.1)]  # 12 clips in three folds


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    training.train(Tones(), config(epochs=1), tmp_path / "first", ignore)
    others = Tones()
    others.classes = ("quiet", "loud")
    with pytest.raises(CheckpointError, match="other classes"):
        taught = dataclasses.replace(config(), teachers=(str(tmp_path / "first"),))
        training.train(others, taught, tmp_path / "second", ignore)


def test_a_batch_of_one_clip_is_never_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm of an embedding, as in the FocalNets and ViTs, refuses it: 12 clips in batches of 11."""

    def with_cosine_head(name: str, classes: Sequence[str]) -> Classifier:
        made = CnnClassifier(name, classes, SMALL, (8, 16))
        made.head = CosineHead(16, 8, len(classes))
        return made

    monkeypatch.setattr(checkpoint, "build", with_cosine_head)
    short = config(epochs=1)
    short = dataclasses.replace(short, recipe=dataclasses.replace(short.recipe, batch_size=11))
    assert training.train(Tones(), short, tmp_path, lambda step: None).best_epoch == 1
