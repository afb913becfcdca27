"""A classifier as results know it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.base import Classifier
from xaibench.errors import ClassifierError
from xaibench.storage import cards


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier under explanation.

    Attributes:
        label: name in the results.
        classifier: frozen, on its device.
        sha256: hash of its weights.
        geometry: what its weights do not tell: of a classifier from elsewhere (`Card.geometry`), or of one that was
            made in the program (`loaded_model`).
        reference: by which any process can load it: its checkpoint folder, or the name of one that brings its weights;
            None where it was made in the program.
    """

    label: str
    classifier: Classifier
    sha256: str
    geometry: dict[str, Any] = field(default_factory=dict)
    reference: str | None = None

    @property
    def identity(self) -> str:
        """Hash of all that decides its answers: scores and explanations belong to it, not to the weights alone."""
        model = self.classifier
        facts = [self.sha256, model.name, model.temperature, list(model.classes), self.geometry]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def loaded_model(classifier: Classifier, label: str | None = None) -> LoadedClassifier:
    """Take a classifier that was made in the program as results know it.

    Args:
        classifier: frozen, on its device; its weights may be none.
        label: name in the results, by default its own.

    Raises:
        ClassifierError: the name cannot be that of a folder.
    """
    name = classifier.name if label is None else label
    if not re.fullmatch(cards.NAME, name):
        raise ClassifierError(
            f"{name!r} cannot be the name of a folder of results; use letters, digits, dots, dashes and underscores"
        )
    known = {
        "sample_rate": classifier.sample_rate,
        "samples": classifier.samples,
        "activation": classifier.activation,
        "domain": asdict(classifier.domain),
        **classifier.settings,
    }
    return LoadedClassifier(name, classifier, _hash_of_weights(classifier), known)


def _hash_of_weights(classifier: Classifier) -> str:
    """Hash the state dict: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load(reference: str, dataset: str, device: torch.device) -> tuple[LoadedClassifier, checkpoint.Card | None]:
    """Load the classifier that a user means, with its name in the results, and its card.

    Of a classifier that its package brings with its weights there is no card.

    Args:
        reference: the name of such a classifier, or a name, DATASET/NAME or folder as `references.find` reads it.
        dataset: on which it is used.
        device: where to compute.

    Raises:
        RegistryError: a name that is unknown.
        CheckpointError: no such weights are shipped, or they are damaged.
    """
    if references.brings_weights(reference):
        return replace(loaded_model(checkpoint.make(reference).to(device)), reference=reference), None
    folder = references.find(reference, dataset)
    classifier, card = checkpoint.load(folder)
    label = references.label_of(folder, card.classifier, card.weights_sha256, dataset)
    where = str(folder.resolve())
    return LoadedClassifier(label, classifier.to(device), card.weights_sha256, card.geometry, where), card
