"""The conformance kit on trained explainers: each broken promise of fit, save and load is caught and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import CheckpointError
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import Epoch, FitContext, Fitted, TrainableExplainer, TrainingClips
from xaibench.sound.batch import Batch
from xaibench.testing import check_explainer

WEIGHTS = "scale.safetensors"


class Good(TrainableExplainer):
    """The spectrogram times a number per frequency, which every epoch adds to."""

    title = "Good"
    reference = "none"
    description = "keeps every promise"
    polarity = "positive"
    settings = {"epochs": 4, "step": 0.5}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        with torch.no_grad():
            confidence = classifier.probabilities(batch.x).amax(dim=1)
        return Explanation(batch.x * self.scale[:, None] * confidence[:, None, None], batch.picture_shape)

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        state = context.state / "state.pt"
        self.scale, done = torch.zeros(train.x.shape[1]), 0
        if state.is_file():
            kept = torch.load(state, weights_only=True)
            self.scale, done = kept["scale"], kept["done"]
        epochs = [Epoch(i + 1, 2, 1.0, 1.0) for i in range(int(context.settings["epochs"]))]
        for epoch in epochs[done:]:
            draws = torch.Generator().manual_seed(context.seed + epoch.epoch)
            self.step(classifier, train, float(context.settings["step"]), draws)
            torch.save({"scale": self.scale, "done": epoch.epoch}, state)
            context.report(epoch)
        return Fitted(tuple(epochs), len(epochs), len(self.scale), 1.0)

    def step(self, classifier: Classifier, train: TrainingClips, size: float, draws: torch.Generator) -> None:
        self.scale = self.scale + size * train.x.mean(dim=(0, 2)) * torch.rand(len(self.scale), generator=draws)

    def save(self, folder: Path) -> None:
        save_file({"scale": self.scale}, folder / WEIGHTS)

    def load(self, folder: Path, classifier: Classifier) -> None:
        try:
            self.scale = load_file(folder / WEIGHTS)["scale"]
        except (OSError, SafetensorError, KeyError) as error:
            raise CheckpointError(f"{folder / WEIGHTS}: {error}") from None


class WordSetting(Good):
    settings = {"epochs": 4, "step": 0.5, "mode": "fast"}  # type: ignore[dict-item]


class GlobalDraws(Good):
    def step(self, classifier: Classifier, train: TrainingClips, size: float, draws: torch.Generator) -> None:
        self.scale = self.scale + torch.rand(len(self.scale))


class TrainsTheClassifier(Good):
    def step(self, classifier: Classifier, train: TrainingClips, size: float, draws: torch.Generator) -> None:
        super().step(classifier, train, size, draws)
        with torch.no_grad():
            next(classifier.parameters()).mul_(1.01)


class LeavesTrainingMode(Good):
    def step(self, classifier: Classifier, train: TrainingClips, size: float, draws: torch.Generator) -> None:
        super().step(classifier, train, size, draws)
        classifier.train()


class ForgetsItsState(Good):
    """Goes on with the epochs that were left, without what the first had learned."""

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        state = context.state / "state.pt"
        if state.is_file():
            kept = torch.load(state, weights_only=True)
            torch.save(kept | {"scale": torch.zeros_like(kept["scale"])}, state)
        return super().fit(classifier, train, valid, context)


class ReturnsNothing(Good):
    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Any:
        super().fit(classifier, train, valid, context)


class BestOfNoEpoch(Good):
    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        fitted = super().fit(classifier, train, valid, context)
        return Fitted(fitted.epochs, 99, fitted.parameters, fitted.seconds)


class SavesNothing(Good):
    def save(self, folder: Path) -> None:
        pass


class SavesHalf(Good):
    def save(self, folder: Path) -> None:
        save_file({"scale": self.scale * (torch.arange(len(self.scale)) % 2)}, folder / WEIGHTS)


class LoadsOnlyWhereItWasFitted(Good):
    """Works in the instance that was fitted, and in no other."""

    def load(self, folder: Path, classifier: Classifier) -> None:
        super().load(folder, classifier)
        if not hasattr(self, "fitted"):
            self.scale = torch.flip(self.scale, (0,))

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        self.fitted = True
        return super().fit(classifier, train, valid, context)


class Unpickles(Good):
    def save(self, folder: Path) -> None:
        torch.save(self.scale, folder / "scale.pt")

    def load(self, folder: Path, classifier: Classifier) -> None:
        try:
            self.scale = torch.load(folder / "scale.pt", weights_only=False)
        except Exception as error:
            raise CheckpointError(str(error)) from None


class RaisesAnything(Good):
    def load(self, folder: Path, classifier: Classifier) -> None:
        self.scale = load_file(folder / WEIGHTS)["scale"]


class HeedsNoDamage(Good):
    """Falls back on a scale of its own."""

    def load(self, folder: Path, classifier: Classifier) -> None:
        try:
            super().load(folder, classifier)
        except CheckpointError:
            self.scale = torch.ones(513)


class KnowsOneClassifier(Good):
    """Keeps the classifier that it was fitted to, and asks it whichever it is given."""

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        self.own = classifier
        return super().fit(classifier, train, valid, context)

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        explanation = super().explain(classifier, batch, target)
        if classifier is not getattr(self, "own", classifier):
            return Explanation(torch.rand(batch.x.shape), batch.picture_shape)
        return explanation


BAD_EXPLAINERS = {
    WordSetting: "setting mode is 'fast'; expected True, False or a number",
    GlobalDraws: "two fits with the same seed gave two maps",
    TrainsTheClassifier: r"fit\(\) left these changed: blocks\.0\.0\.weight",
    LeavesTrainingMode: r"fit\(\) left these changed: .*training",
    ForgetsItsState: "a fit that was stopped and called again gave other maps",
    ReturnsNothing: r"fit\(\) returned NoneType, expected Fitted",
    BestOfNoEpoch: "best_epoch 99 is none of the epochs",
    SavesNothing: r"save\(\) wrote no file",
    SavesHalf: "saved and loaded, it gives other maps",
    LoadsOnlyWhereItWasFitted: "loaded, saved and loaded in a new instance, it gives other maps",
    Unpickles: r"load\(\) unpickles scale\.pt, which may run anybody's code",
    RaisesAnything: r"load\(\) of a folder whose scale\.safetensors .* expected CheckpointError",
    HeedsNoDamage: r"load\(\) of a folder whose scale\.safetensors .* raised nothing, expected CheckpointError",
    KnowsOneClassifier: "a copy of the classifier is explained in another way",
}


def test_a_good_trained_explainer_passes() -> None:
    check_explainer(Good)


@pytest.mark.parametrize("explainer", BAD_EXPLAINERS, ids=lambda explainer: explainer.__name__)
def test_a_bad_trained_explainer_is_caught(explainer: type[TrainableExplainer]) -> None:
    with pytest.raises(AssertionError, match=BAD_EXPLAINERS[explainer]):
        check_explainer(explainer)
