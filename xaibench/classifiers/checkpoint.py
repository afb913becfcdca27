"""Weights on disk: half-precision safetensors with a JSON card beside them; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from xaibench import registry
from xaibench.classifiers import references
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat
from xaibench.classifiers.references import CARD
from xaibench.errors import CheckpointError, one_line
from xaibench.storage import cards

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """What must be known of trained weights before their numbers mean anything.

    Attributes:
        builder: the registered checkpoint format that builds the classifier; empty for a registered classifier.
            Of the training of weights in another project's format nothing is known: 0 and NaN stand for that.
        geometry: what the builder makes the classifier of.
        origin: where weights from elsewhere came from.
        source_sha256: SHA-256 of the files they were converted from, by name.
    """

    classifier: cards.Name
    dataset: cards.NameOrNone
    dataset_fingerprint: str
    data_licence: str
    classes: tuple[str, ...]
    temperature: float
    train_folds: tuple[int, ...]
    validation_folds: tuple[int, ...]
    test_folds: tuple[int, ...]
    seed: int
    epochs: int
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float
    parameters: int
    seconds: float
    command: str
    versions: dict[str, str]
    initialised_from: str = ""
    taught_by: str = ""
    weights_sha256: str = ""
    builder: str = ""
    geometry: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    source_sha256: dict[str, str] = field(default_factory=dict)


def save(folder: Path, classifier: Classifier, card: Card, precision: torch.dtype = torch.float16) -> None:
    """Write weights (half precision unless said otherwise) and card into a folder, replacing what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: (value.to(precision) if value.is_floating_point() else value).contiguous().clone()
        for key, value in classifier.state_dict().items()
    }
    temporary = folder / (WEIGHTS + ".tmp")
    save_file(state, temporary)
    temporary.chmod(0o644)  # safetensors makes it private to its writer
    content = asdict(card) | {"weights_sha256": file_hash(temporary)}
    os.replace(temporary, folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(content, indent=2) + "\n")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_card(folder: Path) -> Card:
    """The card of a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it is not a card.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {CARD}; expected a folder written by 'xaibench train'")
    return cards.read(path, Card, "a checkpoint card", "train or copy it again")


def load(folder: Path) -> tuple[Classifier, Card]:
    """A classifier with the weights of a checkpoint folder, in evaluation mode, frozen.

    Raises:
        CheckpointError: card or weights are missing, damaged, or do not fit each other.
    """
    folder = Path(folder)
    card = read_card(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    if file_hash(path) != card.weights_sha256:
        raise CheckpointError(f"{path} is not the file its card describes (SHA-256 differs); train or copy it again")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    if card.builder:
        builder: CheckpointFormat = registry.load("checkpoint_formats", card.builder)
        classifier = builder.build(card.classifier, card.classes, card.geometry)
    else:
        classifier = build(card.classifier, card.classes)
    try:
        classifier.load_state_dict(
            {key: value.to(torch.float32) if value.is_floating_point() else value for key, value in state.items()}
        )
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
    """
    return registry.load("classifiers", name)(classes)


def resolve(reference: str, dataset: str) -> tuple[Classifier, Card]:
    """Load the classifier that a user means by a reference, as `references.find` reads it.

    Raises:
        RegistryError: a name that is unknown.
        CheckpointError: no such weights are shipped, or they are damaged.
    """
    return load(references.find(reference, dataset))
