"""Load the classifiers that a command works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xaibench.commands.console import notes
from xaibench.commands.options import ALL

if TYPE_CHECKING:
    import torch

    from xaibench.classifiers.checkpoint import Card
    from xaibench.classifiers.loaded import LoadedClassifier
    from xaibench.explaining.fitting import ExplainerCard
    from xaibench.sound.dataset import Dataset


def load_classifiers(
    names: list[str] | None, source: Dataset, folds: Sequence[int], device: torch.device
) -> list[LoadedClassifier]:
    """Load the named classifiers, or all that are shipped for a dataset.

    A warning is printed if a fold to score was used in training.

    Raises:
        CheckpointError: there are no such weights, or they are for other classes.
    """
    from xaibench.classifiers import references
    from xaibench.classifiers.class_order import in_order
    from xaibench.classifiers.loaded import load
    from xaibench.errors import CheckpointError
    from xaibench.sound.dataset import data_option

    if not names or ALL in names:
        names = [name for data, name in references.shipped() if data == source.name]
        if not names:
            where = f"{source.name}{data_option(source.name)}"
            raise CheckpointError(
                f"no weights are shipped for {source.name}; train some with 'xaibench train --classifier cnn-micro "
                f"--dataset {where}' and give the folder it prints as --classifier"
            )
    found: dict[str, LoadedClassifier] = {}
    for name in dict.fromkeys(names):
        loaded, card = load(name, source.name, device)
        if loaded.label in found:  # cnn-micro and synth/cnn-micro, perhaps
            continue
        if card.builder and sorted(card.classes) == sorted(source.classes):
            # Another project numbers its classes in its own way, a dataset by its targets.
            in_order(loaded.classifier, source.classes)
        if loaded.classifier.classes != source.classes:
            raise CheckpointError(
                f"{name} was trained on the {len(card.classes)} classes of {card.dataset}, "
                f"{source.name} has {len(source.classes)} others; choose another --classifier or --dataset"
            )
        if card.dataset == source.name:
            warn_of_seen_folds(loaded.label, "trained", folds, card)
        found[loaded.label] = loaded
    return list(found.values())


def warn_of_seen_folds(label: str, done: str, folds: Sequence[int], card: Card | ExplainerCard) -> None:
    """Print a warning if a fold to score was used for training or for choosing the epoch."""
    for seen, what in (
        (sorted(set(folds) & set(card.train_folds)), f"{done} on"),
        (sorted(set(folds) & set(card.validation_folds)), "selected by"),
    ):
        if seen:
            text = f"{label} was {what} fold {', '.join(map(str, seen))}: it has seen the clips that are scored there"
            notes().print(text, style="yellow", markup=False, soft_wrap=True)
