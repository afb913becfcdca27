"""A method bound to a classifier and a device's memory, so that metrics can ask it again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.isolation import Guard
from xaibench.classifiers.windows import Windowed
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation, validate
from xaibench.explaining.joined import by_windows
from xaibench.sound.batch import Batch


class BoundExplainer:
    """Asks one explainer for maps, in micro-batches that fit the memory.

    Attributes:
        method: the explainer.
        forwarder: the classifier under explanation, in micro-batches.
        guard: watches that the method leaves everything as it was.
    """

    def __init__(self, method: Explainer, forwarder: Forwarder, guard: Guard | None = None) -> None:
        self.method = method
        self.forwarder = forwarder
        self.guard = guard or Guard(forwarder.classifier)

    def again(self) -> BoundExplainer:
        """Return the explainer as metrics may ask it, once its maps of the clips themselves are there."""
        return self if self.method.repeatable else _AskedOnce(self.method, self.forwarder, self.guard)

    def explain(self, batch: Batch, target: Tensor, classifier: Classifier | None = None) -> Explanation:
        """Maps as the method defines them, float32 (batch, freq, time); they may hold NaN or infinities.

        Args:
            batch: the clips; a method that draws at random draws the same for the same clip.
            target: class indices (batch,).
            classifier: another classifier, or None for the one under explanation.

        Raises:
            ExplanationError: the method breaks its contract.
            IsolationError: it changes the classifier, the clips, or the state of the process.
        """
        model = classifier or self.forwarder.classifier

        def work(start: int, stop: int) -> Explanation:
            piece = batch.slice(start, stop)
            with self.guard.watched("explain()", piece, target):
                explanation = self._ask(model, piece, target[start:stop])
            return validate(explanation, tuple(piece.x.shape))

        pieces = self.forwarder.in_micro_batches(len(batch), work)
        maps = torch.cat([piece.map.detach() for piece in pieces]).float()
        return replace(pieces[0], map=maps, texts=tuple(text for piece in pieces for text in piece.texts))

    def _ask(self, model: Classifier, batch: Batch, target: Tensor) -> Explanation:
        # Controls know nothing of the classifier, and maps made elsewhere are of whole clips.
        if not isinstance(model, Windowed) or self.method.control or not self.method.repeatable:
            return self.method.explain(model, batch, target)
        return by_windows(lambda inner, window: self.method.explain(inner, window, target), model, batch)


class _AskedOnce(BoundExplainer):
    """A method that has its maps of the clips and makes no others."""

    def explain(self, batch: Batch, target: Tensor, classifier: Classifier | None = None) -> Explanation:
        raise ExplanationError(
            f"{self.method.title} cannot explain changed clips or weights, because its maps were made elsewhere; leave "
            "out this metric"
        )
