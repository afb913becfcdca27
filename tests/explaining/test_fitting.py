"""Fits of any trained explainer: folds, cards, what belongs to which classifier, and native masks in the loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, DataError, UnsupportedPairError, XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.fitting import FittingConfig
from xaibench.explaining.trainable import (
    Epoch,
    FitContext,
    Fitted,
    Setting,
    TrainableExplainer,
    TrainingClips,
    changed_settings,
)
from xaibench.registry import create
from xaibench.results import store
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.evaluate import Event, RunConfig, evaluate
from xaibench.scoring.protocol import STANDARD
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip, Dataset
from xaibench.testing import toy_classifier


class Noises(Dataset):
    """One clip of noise a fold, as loud as the fold's number."""

    name, licence, classes = "noises", "none", ("bell", "crow", "rain", "saw")

    def __init__(self, folds: tuple[int, ...] = (1, 2, 3, 4, 5)) -> None:
        self.clips = tuple(Clip(f"noise-{fold}", fold, 0, f"recording-{fold}") for fold in folds)

    def waveform(self, clip: Clip) -> np.ndarray:
        return (0.1 * clip.fold * np.random.default_rng(clip.fold).uniform(-1, 1, 80_000)).astype(np.float32)


class Level(TrainableExplainer):
    """The same everywhere: the mean of the clips that it was fitted to, times its gain."""

    title = reference = description = "a test"
    polarity = "positive"
    native_mask = True
    settings: dict[str, Setting] = {"gain": 0.5, "rounds": 2, "loud": False}  # type: ignore[misc]
    seen: list[tuple[str, ...]] = []

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(torch.ones_like(batch.x) * self.level, batch.picture_shape)

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        Level.seen = [train.ids, valid.ids]
        self.level = train.x.mean() * float(context.settings["gain"])
        epoch = Epoch(1, 1, 2.0, 1.0, {"hope": 0.5})
        context.report(epoch)
        return Fitted((epoch,), 1, 1, 1.23, {"hope": 0.5})

    def save(self, folder: Path) -> None:
        save_file({"level": self.level.reshape(1)}, folder / "level.safetensors")

    def load(self, folder: Path, classifier: Classifier) -> None:
        self.level = load_file(folder / "level.safetensors")["level"]


@pytest.fixture(scope="module")
def toy() -> LoadedClassifier:
    return LoadedClassifier("toy", toy_classifier(), "a" * 64)


def of_level(**changes: Setting) -> FittingConfig:
    return FittingConfig(
        method="level", settings=Level.settings | changes, seed=0, precision=torch.float32, command="as typed"
    )


def fit(
    loaded: LoadedClassifier, root: Path, dataset: Dataset | None = None, **changes: Setting
) -> fitting.ExplainerCard:
    dataset = dataset or Noises()
    folder = fitting.folder_of(root, dataset.name, loaded.label, "level")
    config = of_level(**changes)
    return fitting.fit(Level(), loaded, dataset, config, folder, lambda epoch: None)


def test_it_is_fitted_on_folds_1_to_3_and_stopped_by_fold_4(toy: LoadedClassifier, tmp_path: Path) -> None:
    card = fit(toy, tmp_path)
    assert Level.seen == [("noise-1", "noise-2", "noise-3"), ("noise-4",)]
    written = json.loads((tmp_path / "noises" / "toy" / "level" / "explainer.json").read_text())
    assert written["train_folds"] == [1, 2, 3]
    assert written["losses"] == [{"epoch": 1, "train": 2.0, "valid": 1.0}]
    assert written["measures"] == {"hope": 0.5}
    assert written["command"] == "as typed"
    assert written["data_licence"] == "none"
    assert written["seconds"] == 1.2
    assert len(written["weights_sha256"]) == 64
    assert card == fitting.ExplainerCard.read(tmp_path / "noises" / "toy" / "level")


def test_a_fold_without_clips_is_refused(toy: LoadedClassifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="noises has no clips in fold 4"):
        fit(toy, tmp_path, Noises((1, 2, 3, 5)))


def test_a_pair_that_makes_no_sense_is_not_fitted(toy: LoadedClassifier, tmp_path: Path) -> None:
    needy = type("Needy", (Level,), {"requires": frozenset({"attentions"})})()
    config = FittingConfig(method="needy", settings={}, seed=0, precision=torch.float32, command="")
    with pytest.raises(UnsupportedPairError, match="needy cannot be fitted here: it needs attention weights"):
        fitting.fit(needy, toy, Noises(), config, tmp_path, lambda epoch: None)


def test_a_second_fit_replaces_the_first_and_leaves_nothing_of_it(toy: LoadedClassifier, tmp_path: Path) -> None:
    first = fit(toy, tmp_path)
    folder = tmp_path / "noises" / "toy" / "level"
    (folder / "old-file").write_text("of another version")
    second = fit(toy, tmp_path, gain=0.25)
    assert second.weights_sha256 != first.weights_sha256
    assert {path.name for path in folder.iterdir()} == {"explainer.json", "level.safetensors"}
    fitting.load(Level(), folder, toy.classifier, toy.sha256)


def test_the_parameters_of_a_loaded_explainer_say_which_weights(toy: LoadedClassifier, tmp_path: Path) -> None:
    card, method = fit(toy, tmp_path), Level()
    assert fitting.bind("level", method, toy, "noises", tmp_path) == card
    assert method.parameters == Level.settings | {"weights_sha256": card.weights_sha256}
    assert Level.parameters == {}


def test_weights_of_the_same_dataset_come_first(toy: LoadedClassifier, tmp_path: Path) -> None:
    fit(toy, tmp_path)
    other = Noises()
    other.name = "clatter"  # sorts before noises
    fit(toy, tmp_path, other)
    for name in ("noises", "clatter"):
        card = fitting.bind("level", Level(), toy, name, tmp_path)
        assert card is not None
        assert card.dataset == name


def test_what_is_not_fitted_to_these_weights_is_refused_with_the_command(toy: LoadedClassifier, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPairError, match="is not fitted to toy; fit it with 'xaibench fit --method level"):
        fitting.bind("level", Level(), toy, "noises", tmp_path)
    fit(toy, tmp_path)
    other = replace(toy, sha256="b" * 64)
    with pytest.raises(UnsupportedPairError, match=r"toy/level was fitted to other weights of it\)"):
        fitting.bind("level", Level(), other, "noises", tmp_path)
    with pytest.raises(CheckpointError, match=r"fitted to other weights \(toy, SHA-256 aaaaaaaa\) than these"):
        fitting.load(Level(), tmp_path / "noises" / "toy" / "level", toy.classifier, other.sha256)


def test_a_damaged_card_stops_nobody_elses_weights(toy: LoadedClassifier, tmp_path: Path) -> None:
    card = fit(toy, tmp_path)
    damaged = tmp_path / "noises" / "another" / "level"
    damaged.mkdir(parents=True)
    (damaged / "explainer.json").write_text("{")
    assert fitting.bind("level", Level(), toy, "noises", tmp_path) == card
    with pytest.raises(
        CheckpointError, match=r"another/level/explainer\.json is not .*delete .*level and fit it again"
    ):
        fitting.bind("level", Level(), replace(toy, sha256="b" * 64), "noises", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("method", "../level"), ("classifier", "../../../pwned"), ("dataset", "a/b"), ("classifier", "..")),
        *(("parameters", "x"), ("seconds", "x"), ("dataset", 5), ("losses", [1]), ("train_folds", "1")),
        ("invented", 1),
    ],
)
def test_a_card_with_other_types_or_paths_for_names_is_none(
    toy: LoadedClassifier, tmp_path: Path, key: str, value: object
) -> None:
    fit(toy, tmp_path)
    folder = tmp_path / "noises" / "toy" / "level"
    path = folder / "explainer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=f"is not an explainer's card .*{key}.*fit it again") as caught:
        fitting.ExplainerCard.read(folder)
    assert "\n" not in str(caught.value)


def test_weights_in_folders_count_and_are_replaced(toy: LoadedClassifier, tmp_path: Path) -> None:
    class Nested(Level):
        def save(self, folder: Path) -> None:
            (folder / "deep").mkdir()
            super().save(folder / "deep")

        def load(self, folder: Path, classifier: Classifier) -> None:
            super().load(folder / "deep", classifier)

    folder = tmp_path / "fitted"
    config = of_level()
    for _ in range(2):
        card = fitting.fit(Nested(), toy, Noises(), config, folder, lambda epoch: None)
    assert fitting.load(Nested(), folder, toy.classifier, toy.sha256) == card
    weights = folder / "deep" / "level.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="does not hold the files that its card describes"):
        fitting.load(Nested(), folder, toy.classifier, toy.sha256)


def test_the_command_that_fits_is_whole(toy: LoadedClassifier, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPairError, match="--dataset esc10 --data-dir FOLDER'"):
        fitting.bind("level", Level(), toy, "esc10", tmp_path)
    with pytest.raises(UnsupportedPairError, match="--dataset synth'"):
        fitting.bind("level", Level(), toy, "synth", tmp_path)


def test_an_explainer_without_weights_is_left_alone(toy: LoadedClassifier, tmp_path: Path) -> None:
    assert fitting.bind("energy", create("methods", "energy"), toy, "noises", tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"gain": 0.5, "rounds": 2, "loud": False}),
        ({"gain": "1", "rounds": "7", "loud": "TRUE"}, {"gain": 1.0, "rounds": 7, "loud": True}),
        ({"gain": "2.5e-1"}, {"gain": 0.25, "rounds": 2, "loud": False}),
    ],
)
def test_settings_as_typed(changes: dict[str, str], expected: dict[str, Setting]) -> None:
    found = changed_settings(Level, changes)
    assert found == expected
    assert [type(value) for value in found.values()] == [float, int, bool]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gian": "1"}, "no setting 'gian'; there are gain=0.5, rounds=2, loud=False"),
        ({"gain": "much"}, "gain=much is not float as gain=0.5"),
        ({"rounds": "2.5"}, "rounds=2.5 is not int as rounds=2"),
        ({"loud": "1"}, "loud=1 is not bool as loud=False"),
        ({"gain": "nan"}, "gain=nan is not"),
        ({"gain": "inf"}, "gain=inf is not"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        changed_settings(Level, changes)


def scored(toy: LoadedClassifier, tmp_path: Path, gain: float) -> tuple[store.pd.DataFrame, list[Event]]:
    """Rows of a run with weights that were fitted with a gain."""
    fit(toy, tmp_path / "explainers", gain=gain)
    source = Noises()
    metrics = {name: create("metrics", name) for name in ("fidelity_in", "mask_area", "sparseness")}
    plan = RunConfig(
        dataset=source,
        clips=source.in_folds([5]),
        methods={"level": Level()},
        metrics=metrics,
        seed=0,
        batch_size=4,
        explainers=tmp_path / "explainers",
    )
    folder = RunFolder(
        tmp_path / "run",
        Manifest(
            dataset="noises",
            dataset_fingerprint=source.fingerprint(),
            folds=(5,),
            limit=1,
            clips=1,
            seed=0,
            protocol=STANDARD.id,
        ),
    )
    events: list[Event] = []
    evaluate(plan, toy, folder, events.append)
    return store.read_rows(folder.path), [event for event in events if event.kind != "unprotected"]


def test_a_native_mask_is_two_rows(toy: LoadedClassifier, tmp_path: Path) -> None:
    rows, events = scored(toy, tmp_path, 0.5)
    assert [event.kind for event in events] == ["scored", "scored"]
    soft = rows[rows["mask"] == "soft"]
    assert set(soft["metric"]) == {"fidelity_in", "mask_area"}
    level = float(np.mean([_mean(fold) for fold in (1, 2, 3)])) * 0.5
    assert soft.set_index("metric").loc["mask_area", "value"] == pytest.approx(level, rel=1e-5)
    assert set(rows.loc[rows["mask"] == "equal area", "metric"]) == {"fidelity_in", "sparseness"}


def test_a_map_and_its_soft_mask_are_explained_once(
    toy: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    explain = Level.explain

    def counted(self: Level, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        asked.extend(batch.clip_ids)
        return explain(self, classifier, batch, target)

    monkeypatch.setattr(Level, "explain", counted)
    rows, _ = scored(toy, tmp_path, 0.5)
    assert set(zip(rows["method"], rows["mask"], strict=True)) == {("level", "equal area"), ("level", "soft")}
    assert sorted(asked) == sorted(set(rows["clip"]))


def test_a_mask_beyond_1_fails_as_a_mask_and_is_scored_as_a_map(toy: LoadedClassifier, tmp_path: Path) -> None:
    rows, events = scored(toy, tmp_path, 100.0)
    assert {event.method: event.kind for event in events} == {"level": "scored", "level-soft": "failed"}
    assert "a mask holds values from" in events[1].reason
    assert set(rows["mask"]) == {"equal area"}


def _mean(fold: int) -> float:
    source = Noises()
    return float(TrainingClips.of(source, source.in_folds([fold])).x.mean())


def test_a_method_that_has_the_name_of_a_soft_mask_is_refused(
    toy: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(toy, tmp_path)
    source = Noises()
    plan = RunConfig(
        dataset=source,
        clips=source.clips,
        methods={"level": Level()},
        metrics={},
        seed=0,
        batch_size=4,
        explainers=tmp_path,
    )
    monkeypatch.setattr("xaibench.registry.names", lambda group: ["level-soft"])
    folder = RunFolder(
        tmp_path / "run",
        Manifest(
            dataset="noises",
            dataset_fingerprint=source.fingerprint(),
            folds=(5,),
            limit=5,
            clips=5,
            seed=0,
            protocol=STANDARD.id,
        ),
    )
    with pytest.raises(XaibenchError, match="'level-soft' has the name of level's soft mask; rename it"):
        evaluate(plan, toy, folder, lambda event: None)
