"""A classifier as results know it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.base import Classifier


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier under explanation.

    Attributes:
        label: name in the results.
        classifier: frozen, on its device.
        sha256: hash of its weights.
        geometry: what its weights do not tell, of a classifier from elsewhere (`Card.geometry`).
        folder: checkpoint folder from which it was loaded, or None where it was made in the program.
    """

    label: str
    classifier: Classifier
    sha256: str
    geometry: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def identity(self) -> str:
        """Hash of all that decides its answers: scores and explanations belong to it, not to the weights alone."""
        model = self.classifier
        facts = [self.sha256, model.name, model.temperature, list(model.classes), self.geometry]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def load(reference: str, dataset: str, device: torch.device) -> tuple[LoadedClassifier, checkpoint.Card]:
    """Load the classifier that a user means, with its name in the results, and its card.

    Args:
        reference: a name, DATASET/NAME or a folder, as `references.find` reads it.
        dataset: on which it is used.
        device: where to compute.

    Raises:
        RegistryError: a name that is unknown.
        CheckpointError: no such weights are shipped, or they are damaged.
    """
    folder = references.find(reference, dataset)
    classifier, card = checkpoint.load(folder)
    label = references.label_of(folder, card.classifier, card.weights_sha256, dataset)
    return LoadedClassifier(label, classifier.to(device), card.weights_sha256, card.geometry, folder), card
