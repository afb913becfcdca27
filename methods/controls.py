"""Controls: maps that depend only on the clips, never on the classifier. Every method is compared with them."""

from __future__ import annotations

from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining import control_maps
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch


class _Control(Explainer):
    reference = "xaibench control"
    polarity = "positive"
    control = True


class Random(_Control):
    title = "Random"
    description = "independent uniform noise in every bin: what an explanation must beat"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.random(batch), batch.picture_shape)


class Uniform(_Control):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random by the tie rule"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.uniform(batch), (1, 1))


class Energy(_Control):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins matter most"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.energy(batch), batch.picture_shape)


class Oracle(_Control):
    title = "Oracle"
    description = "the known evidence, its loudest bins first; zero everywhere else"
    requires = frozenset({"ground_truth"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.oracle(batch), batch.picture_shape)
