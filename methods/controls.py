"""Controls: maps that do not depend on the classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch


class _Control(Explainer):
    reference = "xaibench control"
    polarity = "positive"
    control = True


class Random(_Control):
    title = "Random"
    description = "independent uniform noise in every bin; an explanation must be better than this"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = [torch.rand(batch.picture_shape, generator=batch.generator(i, "random")) for i in range(len(batch))]
        return Explanation(torch.stack(maps).to(batch.x.device), batch.picture_shape)


class Uniform(_Control):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random, by the rule for ties"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(torch.ones_like(batch.x), (1, 1))


class Energy(_Control):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins are the most important"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(batch.x.clone(), batch.picture_shape)


class Oracle(_Control):
    title = "Oracle"
    description = "the spectrogram within the ground truth, and zero everywhere else"
    requires = frozenset({"ground_truth"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        assert batch.ground_truth is not None
        return Explanation(batch.x * batch.ground_truth, batch.picture_shape)
