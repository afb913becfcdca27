"""What the benchmark asks of an explanation method."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal

from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explanation import Explanation, Polarity
from xaibench.sound.batch import Batch

Capability = Literal["modulation", "attentions", "rectifiers", "ground_truth"]

_MISSING: dict[Capability, str] = {
    "modulation": "focal modulation, which {classifier} ({family}) has not",
    "attentions": "attention weights, which {classifier} ({family}) has not",
    "rectifiers": "ReLU as the only non-linearity, which {classifier} ({family}) has not",
    "ground_truth": "clips whose evidence is known, such as --dataset synth",
}


class Explainer(abc.ABC):
    """An explanation method; subclasses declare what it is and implement `explain`.

    Attributes:
        title: the name used in papers.
        reference: paper or definition.
        description: one sentence on how it works.
        polarity: "absolute" for sensitivity maps, "positive" for contribution maps and for maps
            that are never negative.
        requires: what a classifier or dataset must have.
        control: whether it is a yardstick rather than a method.
        native_mask: whether its map is a mask as it is, from 0 to 1; it is then scored as that too.
        protocols: names of the protocols that score it.
        parameters: everything beside classifier and clip that decides the map; provenance.
    """

    title: ClassVar[str]
    reference: ClassVar[str]
    description: ClassVar[str]
    polarity: ClassVar[Polarity]
    requires: ClassVar[frozenset[Capability]] = frozenset()
    control: ClassVar[bool] = False
    native_mask: ClassVar[bool] = False
    protocols: ClassVar[frozenset[str]] = frozenset({"standard"})
    parameters: dict[str, Any] = {}

    @abc.abstractmethod
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        """Attribute the target classes of a batch.

        Args:
            classifier: frozen, in evaluation mode; must be left as it was found.
            batch: clips (batch, 513, 431); random draws come from `batch.generator`.
            target: class indices (batch,).

        Returns:
            A map for every clip on the spectrogram's grid.
        """

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        """Why this method makes no sense here, or None."""
        available = set(classifier.capabilities) | ({"ground_truth"} if has_ground_truth else set())
        for need in sorted(self.requires):
            if need not in available:
                return "needs " + _MISSING[need].format(classifier=classifier.name, family=classifier.family)
        return None
