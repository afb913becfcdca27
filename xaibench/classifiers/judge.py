"""Judges: copies of classifiers that have learned to hear clips of which a part is missing (F-Fidelity).

A clip with a part taken out is unlike everything that a classifier was trained on, and its answer may say that rather
than what the part was worth. A judge is the classifier, trained a little further on clips with random parts taken out
(`classifiers.judge_training`). Explanations stay the classifier's own; metrics that need a judge ask it what the
changed clips are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, UnsupportedPairError, one_line
from xaibench.sound.dataset import data_option
from xaibench.storage import cards, tensors

FOLDER = "judge"  # in ROOT/DATASET/CLASSIFIER, beside what was fitted to the classifier
WEIGHTS = "judge.safetensors"
LARGEST_SHARE = 0.5  # of the bins that training takes out; metrics take out no more
TOLERATED = 0.05  # accuracy that a judge may lose where parts are missing


@dataclass(frozen=True, kw_only=True)
class JudgeCard(cards.OneFileCard):
    """What must be known of a judge before its answers mean anything.

    Attributes:
        classifier_sha256: hash of the weights that it started from.
        classes: in the order of its logits.
        epochs, learning_rate: of its training.
        precision: of matrix products.
        seconds: of training, on `device`.
        original_accuracy: of the classifier itself, on the validation folds.
        accuracy: of the judge on the same clips, whole.
        masked_accuracy: of the judge on the same clips with cells taken out, of a size that it has not learned from.
    """

    FILE = "judge.json"
    WEIGHTS = WEIGHTS
    KIND = "a judge's card"
    COMMAND = "xaibench judge"
    REMEDY = "delete {folder} and give 'xaibench judge' again"

    classifier_sha256: str
    classes: tuple[str, ...]
    epochs: int
    learning_rate: float
    precision: str
    seconds: float
    device: str
    original_accuracy: float
    accuracy: float
    masked_accuracy: float

    @property
    def fault(self) -> str:
        """Say why it is not accepted; empty where it is.

        It may have five points of accuracy less than the classifier, and missing parts may cost it five more.
        """
        if self.accuracy < self.original_accuracy - TOLERATED - 1e-9:
            return (
                f"is not accepted: its accuracy is {self.accuracy:.3f}, the classifier's is "
                f"{self.original_accuracy:.3f}, and {TOLERATED:g} less is allowed; train it with a lower learning "
                "rate, or longer (xaibench judge --learning-rate, --epochs)"
            )
        if self.masked_accuracy >= self.accuracy - TOLERATED - 1e-9:
            return ""
        return (
            f"is not accepted: its accuracy falls from {self.accuracy:.3f} to {self.masked_accuracy:.3f} where parts "
            f"of clips are missing, and {TOLERATED:g} is allowed; train it longer (xaibench judge --epochs)"
        )


@dataclass(frozen=True)
class Judge:
    """A judge of a classifier.

    Attributes:
        folder: where it is.
        card: of its weights.
    """

    folder: Path
    card: JudgeCard

    def of(self, classifier: Classifier) -> Classifier:
        """Make the judge: a copy of its classifier with other weights.

        Raises:
            CheckpointError: the weights are damaged, or do not fit.
        """
        self.card.check(self.folder)
        state, _ = tensors.read(self.folder / WEIGHTS, self.card.remedy(self.folder))
        made = copy.deepcopy(classifier)
        try:
            made.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{self.folder} does not fit {classifier.name}: {one_line(error, -1)}") from error
        return checkpoint.freeze(made)


def folder_of(root: Path, dataset: str, label: str) -> Path:
    """Return where a classifier's judge is: ROOT/DATASET/CLASSIFIER/judge."""
    return Path(root) / dataset / label / FOLDER


def find(loaded: LoadedClassifier, dataset: str, root: Path) -> Judge:
    """Find the judge of a classifier: one that was trained on this dataset, else on another one.

    Args:
        loaded: the classifier.
        dataset: name of the dataset whose clips are scored.
        root: folder with what the user fitted.

    Raises:
        UnsupportedPairError: there is none, or it is not accepted; the message, which follows the classifier's name,
            says what to do.
        CheckpointError: its card is damaged.
    """
    own = folder_of(root, dataset, loaded.label)
    folders = sorted((path.parent for path in Path(root).glob(f"*/*/{FOLDER}/{JudgeCard.FILE}")), key=own.__ne__)
    found = []
    for folder in folders:
        try:
            found.append(Judge(folder, JudgeCard.read(folder)))
        except CheckpointError:  # what is damaged elsewhere is of another classifier, or would have come second
            if folder == own:
                raise
    classes = tuple(loaded.classifier.classes)
    mine = [one for one in found if (one.card.classifier_sha256, one.card.classes) == (loaded.sha256, classes)]
    reference = "FOLDER" if "@" in loaded.label else loaded.label
    command = f"'xaibench judge --classifier {reference} --dataset {dataset}{data_option(dataset)}'"
    if not mine:
        if own in folders:
            raise UnsupportedPairError(
                f"has other weights or classes than the judge in {own} was made of; make another one with {command}"
            )
        raise UnsupportedPairError(f"has no judge in {own}; make one with {command}")
    if mine[0].card.fault:
        raise UnsupportedPairError(f"has a judge that {mine[0].card.fault}")
    return mine[0]
