"""Weights of explainers that another project fitted: taken over, kept with a card, found by the classifier's hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xaibench.classifiers import checkpoint, references
from xaibench.errors import CheckpointError, UnsupportedPairError
from xaibench.explaining import fitting
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.storage import provenance
from xaibench.storage.cards import file_hash

UNKNOWN = "unknown"  # the folder of a classifier whose dataset is not known


@dataclass(frozen=True, kw_only=True)
class AddExplainerConfig:
    """What to take over.

    Attributes:
        method: registry name.
        classifier: a name, DATASET/NAME or a folder, as `references.find` reads it.
        source: folder with the other project's files.
        root: folder of the user's fitted explainers.
        command: recorded in the card.
    """

    method: str
    classifier: str
    source: Path
    root: Path = fitting.ROOT
    command: str = ""


@dataclass(frozen=True)
class Added:
    """Weights that were taken over, and where they are."""

    folder: Path
    card: fitting.ExplainerCard


def add(config: AddExplainerConfig, explainer: TrainableExplainer, force: bool = False) -> Added:
    """Import weights for a classifier and keep them where runs look for them.

    Args:
        config: what to take over.
        explainer: of the method, just made.
        force: replace weights that the method has already for this classifier.

    Raises:
        CheckpointError: there are weights already; or the source or the classifier is missing, damaged, or
            they do not fit each other.
        UnsupportedPairError: the method knows no other project's format, or makes no sense for the classifier.
    """
    home = references.find(config.classifier, None)
    # In the class order of its own training, which a run changes to the dataset's.
    classifier, its_card = checkpoint.load(home)
    refusal = explainer.refusal(classifier, has_ground_truth=False)
    if refusal is not None:
        raise UnsupportedPairError(f"{config.method} cannot be used for {config.classifier}: it {refusal}")
    label = references.label_of(home, its_card.classifier, its_card.weights_sha256, its_card.dataset)
    folder = fitting.folder_of(config.root, its_card.dataset or UNKNOWN, label, config.method)
    if (folder / fitting.CARD).is_file() and not force:
        raise CheckpointError(f"{folder} holds weights of {config.method} for {label} already; give --force")
    imported = explainer.import_checkpoint(config.source, classifier)
    card = fitting.ExplainerCard(
        method=config.method,
        classifier=label,
        classifier_sha256=its_card.weights_sha256,
        dataset=its_card.dataset,
        dataset_fingerprint=its_card.dataset_fingerprint,
        data_licence=its_card.data_licence,
        train_folds=its_card.train_folds,
        validation_folds=its_card.validation_folds,
        seed=0,
        precision="",
        settings={},
        parameters=imported.parameters,
        seconds=None,
        device="",
        best_epoch=0,
        losses=[],
        measures={},
        command=config.command,
        versions=provenance.versions(),
        origin=str(Path(config.source).resolve()),
        source_sha256={path.name: file_hash(path) for path in imported.files},
    )
    return Added(folder, card.write(folder, explainer.save))
