"""The same classifier with its classes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from xaibench.classifiers.base import Classifier, CosineHead


def in_order(classifier: Classifier, classes: Sequence[str]) -> Classifier:
    """Put the classes of a classifier with a cosine head into another order, in place, and return it.

    Raises:
        ValueError: the classes are others, or the head is no cosine head.
    """
    if classifier.classes == tuple(classes):
        return classifier
    head: Any = getattr(classifier, "head", None)
    if not isinstance(head, CosineHead) or sorted(classifier.classes) != sorted(classes):
        raise ValueError("only the order of a cosine head's classes can change")
    index = torch.tensor([classifier.classes.index(name) for name in classes])
    head.weight.data = head.weight.data[index]
    classifier.classes = tuple(classes)
    return classifier
