"""Which classifiers a command works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xaibench.commands.choices import ALL
from xaibench.commands.console import notes

if TYPE_CHECKING:
    import torch

    from xaibench.classifiers.checkpoint import Card
    from xaibench.data.base import Dataset
    from xaibench.subject import Subject


def subjects_of(names: list[str] | None, source: Dataset, folds: Sequence[int], device: torch.device) -> list[Subject]:
    """The named classifiers, or all shipped ones for a dataset; says so when a fold to score was trained on.

    Raises:
        CheckpointError: no such weights, or of other classes.
    """
    from xaibench.classifiers import checkpoint
    from xaibench.errors import CheckpointError
    from xaibench.subject import Subject

    if not names or ALL in names:
        names = [name for data, name in checkpoint.shipped() if data == source.name]
        if not names:
            raise CheckpointError(
                f"no weights are shipped for {source.name}; train some with 'xaibench train --classifier cnn-micro "
                f"--dataset {source.name}' and give the folder it prints as --classifier"
            )
    subjects = []
    for name in dict.fromkeys(names):
        classifier, card = checkpoint.resolve(name, source.name)
        if card.geometry and sorted(card.classes) == sorted(source.classes):
            from xaibench.classifiers import recipe

            # A recipe numbers its classes by first appearance, a dataset by its own targets.
            classifier = recipe.in_order(classifier, source.classes)
        if classifier.classes != source.classes:
            raise CheckpointError(
                f"{name} was trained on the {len(card.classes)} classes of {card.dataset}, "
                f"{source.name} has {len(source.classes)} others; choose another --classifier or --dataset"
            )
        label = label_of(name, card)
        seen = sorted(set(folds) & set(card.train_folds))
        if seen and card.dataset == source.name:
            text = f"{label} was trained on fold {', '.join(map(str, seen))}: scores there are of clips it has seen"
            notes().print(text, style="yellow", markup=False, soft_wrap=True)
        subjects.append(Subject(label, classifier.to(device), card.weights_sha256, card.geometry))
    return subjects


def label_of(name: str, card: Card) -> str:
    """How results call a classifier: by its registry name where its weights are shipped, else with their hash."""
    return name if name == card.classifier else f"{card.classifier}@{card.weights_sha256[:8]}"
