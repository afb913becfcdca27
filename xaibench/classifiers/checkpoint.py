"""Weights on disk: half-precision safetensors with a JSON card beside them; nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from xaibench import registry
from xaibench.classifiers import references
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat
from xaibench.classifiers.references import CARD
from xaibench.errors import CheckpointError, RegistryError, one_line
from xaibench.storage import cards, tensors

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Card(cards.OneFileCard):
    """What must be known of a classifier's weights before their numbers mean anything.

    Attributes:
        classes: names in the order of the logits.
        temperature: the scale that the logits are multiplied by.
        test_folds: held back, and scored once.
        epochs: passes over the training folds.
        validation_accuracy, test_accuracy: of the weights as written.
        seconds: of training.
        initialised_from, taught_by: the weights that it started from, and learned from; empty where none.
        builder: the registered checkpoint format that builds the classifier; empty for a registered classifier.
            Of the training of weights in another project's format nothing is known: 0 and NaN stand for that.
        geometry: what the builder makes the classifier of.
    """

    FILE = CARD
    WEIGHTS = WEIGHTS
    KIND = "a checkpoint card"
    COMMAND = "xaibench train"
    REMEDY = "train or copy it again"

    classes: tuple[str, ...]
    temperature: float
    test_folds: tuple[int, ...]
    epochs: int
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    initialised_from: str = ""
    taught_by: str = ""
    builder: str = ""
    geometry: dict[str, Any] = field(default_factory=dict)


def save(folder: Path, classifier: Classifier, card: Card, precision: torch.dtype = torch.float16) -> Card:
    """Write weights (half precision unless said otherwise) and card into a folder, replacing what is there."""
    state = tensors.cast(classifier.state_dict(), precision)
    return card.write(folder, lambda empty: tensors.write(empty / WEIGHTS, state))


def load(folder: Path) -> tuple[Classifier, Card]:
    """A classifier with the weights of a checkpoint folder, in evaluation mode, frozen.

    Raises:
        CheckpointError: card or weights are missing, damaged, or do not fit each other.
    """
    folder = Path(folder)
    card = Card.read(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {card.REMEDY}")
    card.check(folder)
    state, _ = tensors.read(path, card.REMEDY)
    if card.builder:
        builder: CheckpointFormat = registry.load("checkpoint_formats", card.builder)
        classifier = builder.build(card.classifier, card.classes, card.geometry)
    else:
        classifier = build(card.classifier, card.classes)
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {card.classifier}: {one_line(error, -1)}") from error
    if not (math.isfinite(card.temperature) and card.temperature > 0):
        raise CheckpointError(
            f"{folder / CARD} gives a temperature of {card.temperature:g}; expected a positive number"
        )
    classifier.temperature = card.temperature
    return freeze(classifier), card


def freeze(classifier: Classifier) -> Classifier:
    """Evaluation mode, no parameter gradients."""
    return classifier.eval().requires_grad_(False)


def build(name: str, classes: Sequence[str]) -> Classifier:
    """An untrained classifier by its registry name.

    Raises:
        RegistryError: no such classifier.
        CheckpointError: it comes with its weights.
    """
    factory = registry.load("classifiers", name)
    if not references.takes_classes(factory):
        raise CheckpointError(f"{name} brings its weights and is not trained here; choose another classifier")
    return factory(classes)


def make(name: str) -> Classifier:
    """A registered classifier with the weights that its package brings, in evaluation mode, frozen.

    Raises:
        RegistryError: no such classifier, or it cannot be made.
    """
    made = registry.create("classifiers", name)
    if not isinstance(made, Classifier):
        raise RegistryError(
            f"classifier '{name}' of {registry.origin('classifiers', name)} is a {type(made).__name__}; its function "
            "shall return what xaibench.wrap or xaibench.from_transformers makes, or another xaibench.Classifier"
        )
    made.name = name
    return freeze(made)


def resolve(reference: str, dataset: str) -> tuple[Classifier, Card]:
    """Load the classifier that a user means by a reference, as `references.find` reads it.

    Raises:
        RegistryError: a name that is unknown.
        CheckpointError: no such weights are shipped, or they are damaged.
    """
    return load(references.find(reference, dataset))
