"""A classifier as results know it."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench.classifiers.base import Classifier


@dataclass(frozen=True)
class Subject:
    """A classifier under explanation.

    Attributes:
        label: name in the results.
        classifier: frozen, on its device.
        sha256: hash of its weights.
    """

    label: str
    classifier: Classifier
    sha256: str
