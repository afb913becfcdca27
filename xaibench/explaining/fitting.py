"""Fit explainers, keep their weights with a card, and find the ones that belong to a classifier."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.classifiers.resumable import UNFINISHED, claim
from xaibench.errors import CheckpointError, UnsupportedPairError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.trainable import Epoch, FitContext, Setting, TrainableExplainer, TrainingClips
from xaibench.sound.dataset import OFFICIAL, Dataset, Split, data_option
from xaibench.storage import cards, provenance

CARD = "explainer.json"
ROOT = Path("explainers")


@dataclass(frozen=True, kw_only=True)
class ExplainerCard(cards.WeightsCard):
    """What must be known of a fitted explainer before its maps mean anything.

    Attributes:
        method: registry name.
        classifier_sha256: hash of the weights that it was fitted to.
        precision: of matrix products.
        settings: hyperparameters.
        seconds: of fitting, on `device`; None for imported weights, whose cost nobody knows.
        losses: of every epoch: epoch, train, valid.
        measures: of the kept weights.
        classes: of the classifier, in the order that it had; empty for weights that do not depend on it.
        fitted_through: "sound" or "picture": how the classifier was asked about changed clips; empty where none was
            changed, or nobody knows.
    """

    FILE = CARD
    KIND = "an explainer's card"
    COMMAND = "xaibench fit"
    REMEDY = "delete {folder} and fit it again"

    method: cards.Name
    classifier_sha256: str
    precision: str
    settings: dict[str, Setting]
    seconds: float | None
    device: str
    losses: list[dict[str, float]]
    measures: dict[str, float]
    classes: tuple[str, ...] = ()
    fitted_through: str = ""

    @classmethod
    def weights_in(cls, folder: Path) -> list[Path]:
        return [path for path in folder.iterdir() if path.name not in (CARD, UNFINISHED, cards.FINISHED)]

    @classmethod
    def hash_of(cls, folder: Path) -> str:
        """Return the SHA-256 of the names and bytes of all files of the weights."""
        digest = hashlib.sha256()
        below = (path for one in cls.weights_in(folder) for path in (one, *one.rglob("*")))
        for path in sorted(path for path in below if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + bytes.fromhex(cards.file_hash(path)))
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class FittingConfig:
    """What to fit, and what the card says of it beside.

    Attributes:
        method: registry name.
        settings: the method's, with changes.
        seed: of every random draw.
        precision: of matrix products.
        command: as typed.
        split: folds to fit on and to stop by.
    """

    method: str
    settings: dict[str, Setting]
    seed: int
    precision: torch.dtype
    command: str
    split: Split = OFFICIAL


def folder_of(root: Path, dataset: str, label: str, method: str) -> Path:
    """Where an explainer fitted by the user is: ROOT/DATASET/CLASSIFIER/METHOD."""
    return Path(root) / dataset / label / method


@freed_memory_reused()
def fit(
    explainer: TrainableExplainer,
    loaded: LoadedClassifier,
    dataset: Dataset,
    config: FittingConfig,
    folder: Path,
    report: Callable[[Epoch], None],
) -> ExplainerCard:
    """Fit on the training folds, stop by the validation fold, and write weights and card; a killed fit goes on.

    Args:
        explainer: made, not yet fitted.
        loaded: the classifier.
        dataset: sound in official folds.
        config: what decides the result.
        folder: where weights and card go.
        report: called after every epoch.

    Raises:
        CheckpointError: the folder holds an unfinished fit with other settings, data or classifier.
        DataError: a fold has no clips.
        UnsupportedPairError: the method makes no sense for the classifier.
    """
    refusal = explainer.refusal(loaded.classifier, dataset.has_ground_truth)
    if refusal is not None:
        raise UnsupportedPairError(f"{config.method} cannot be fitted here: it {refusal}")
    train = TrainingClips.of(dataset, dataset.in_folds(config.split.train))
    valid = TrainingClips.of(dataset, dataset.in_folds(config.split.validation))
    state = folder / UNFINISHED
    claim(state, _identity(loaded, dataset, config), "fit", "--explainers")
    context = FitContext(
        settings=config.settings,
        seed=config.seed,
        device=loaded.classifier.device,
        precision=config.precision,
        state=state,
        report=report,
    )
    fitted = explainer.fit(loaded.classifier, train, valid, context)
    card = ExplainerCard(
        method=config.method,
        classifier=loaded.label,
        classifier_sha256=loaded.sha256,
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        data_licence=dataset.licence,
        train_folds=config.split.train,
        validation_folds=config.split.validation,
        seed=config.seed,
        precision=str(config.precision).removeprefix("torch."),
        settings=config.settings,
        parameters=fitted.parameters,
        seconds=round(fitted.seconds, 1),
        device=provenance.device_name(loaded.classifier.device),
        best_epoch=fitted.best_epoch,
        losses=[{"epoch": e.epoch, "train": e.train_loss, "valid": e.valid_loss} for e in fitted.epochs],
        measures=fitted.measures,
        command=config.command,
        classes=tuple(loaded.classifier.classes),
        fitted_through=explainer.fitted_through,
        versions=provenance.versions(),
    )
    card = card.write(folder, explainer.save)
    shutil.rmtree(state)
    return card


def load(explainer: TrainableExplainer, folder: Path, classifier: Classifier, sha256: str) -> ExplainerCard:
    """Give an explainer the weights of a folder; its `parameters` then say which.

    Raises:
        CheckpointError: the weights belong to another classifier, or are damaged.
    """
    card = ExplainerCard.read(folder)
    if card.classifier_sha256 != sha256:
        raise CheckpointError(
            f"{folder} was fitted to other weights ({card.classifier}, SHA-256 {card.classifier_sha256[:8]}) than "
            f"these of {classifier.name} ({sha256[:8]}); fit it to these with 'xaibench fit'"
        )
    card.check(folder)
    explainer.load(folder, classifier)
    explainer.parameters = {**explainer.parameters, **card.settings, "weights_sha256": card.weights_sha256}
    return card


def bind(
    name: str, explainer: Explainer, loaded: LoadedClassifier, dataset: str, root: Path = ROOT
) -> ExplainerCard | None:
    """Load the weights that a trained explainer has for a classifier: the user's own, else the shipped ones.

    Args:
        name: registry name of the explainer.
        explainer: made, not yet loaded; one that is not trained is left as it is.
        loaded: the classifier.
        dataset: weights fitted on this dataset come first.
        root: folder with what the user fitted.

    Returns:
        The card of the weights, or None where the method needs none.

    Raises:
        UnsupportedPairError: there are none; says how to make them, as a refusal does.
        CheckpointError: they are damaged.
    """
    if not isinstance(explainer, TrainableExplainer):
        return None
    known, damaged = _cards(name, root)
    for folder, error in damaged.items():
        if folder.parent.name == loaded.label:  # no others in its place, unasked
            raise error
    mine = [folder for folder, card in known.items() if card.classifier_sha256 == loaded.sha256]
    mine.sort(key=lambda folder: known[folder].dataset != dataset)  # stable: the user's own stay first
    if mine:
        return load(explainer, mine[0], loaded.classifier, loaded.sha256)
    if damaged:  # it may have been the one
        raise next(iter(damaged.values()))
    other = [folder for folder, card in known.items() if card.classifier == loaded.label]
    aside = f" ({other[0]} was fitted to other weights of it)" if other else ""
    reference = "FOLDER" if "@" in loaded.label else loaded.label
    remedy = (
        f"fit it with 'xaibench fit --method {name} --classifier {reference} --dataset {dataset}{data_option(dataset)}'"
        if explainer.fittable
        else f"add its weights with 'xaibench weights add {name} --classifier {reference} --from FOLDER'"
    )
    raise UnsupportedPairError(f"is not fitted to {loaded.label}{aside}; {remedy}")


def fitted_by_user(name: str, loaded: LoadedClassifier, root: Path) -> bool:
    """Whether a user's folder has weights of a method for a classifier, whatever is shipped."""
    known, _ = _cards(name, root)
    return any(
        card.classifier_sha256 == loaded.sha256 and folder.is_relative_to(root) for folder, card in known.items()
    )


def _cards(name: str, root: Path) -> tuple[dict[Path, ExplainerCard], dict[Path, CheckpointError]]:
    """Cards of a method's fits, the user's own first, and what is wrong with those that cannot be read."""
    known, damaged = {}, {}
    for folder in found(root):
        if folder.name == name:
            try:
                known[folder] = ExplainerCard.read(folder)
            except CheckpointError as error:  # of another classifier, perhaps
                damaged[folder] = error
    return known, damaged


def found(root: Path = ROOT) -> list[Path]:
    """Folders of all fitted explainers: the user's own below a root, then the shipped ones."""
    shipped = Path(str(resources.files("xaibench"))) / "weights"
    return [path.parent for base in (Path(root), shipped) for path in sorted(base.glob(f"*/*/*/{CARD}"))]


def _identity(loaded: LoadedClassifier, dataset: Dataset, config: FittingConfig) -> dict[str, Any]:
    """What a fit that goes on must share with the interrupted one."""
    return {
        "method": config.method,
        "classifier_sha256": loaded.sha256,
        "data": dataset.fingerprint(),
        "settings": config.settings,
        "seed": config.seed,
        "precision": str(config.precision),
        "folds": [config.split.train, config.split.validation],
    }
