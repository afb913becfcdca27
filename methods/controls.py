"""Controls: maps that depend only on the clips, never on the classifier. Every method is compared with them."""

from __future__ import annotations

from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining import control_maps
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_sides


class _Control(Explainer):
    family = "control"
    reference = "xaibench control"
    polarity = "positive"
    control = True


class Random(_Control):
    title = "Random"
    description = "independent uniform noise in every bin; an explanation must be better than this"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.random(batch), batch.picture_shape)


class RandomCells(_Control):
    title = "Random cells"
    description = (
        "one uniform random number for each of 12 x 12 cells; heard, scattered random bins are the whole clip made "
        "softer, and cells are not, so an explanation must be better than this too"
    )
    protocols = frozenset({"standard"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.random_cells(batch), cell_sides(batch.picture_shape))


class Attenuated(_Control):
    title = "Attenuated"
    description = (
        "the whole clip made softer: the mask of an area a is a gain of a in every bin; scored only by metrics that "
        "read nothing but masks"
    )
    attenuates = True
    protocols = frozenset({"standard"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.uniform(batch), (1, 1))


class Uniform(_Control):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random, by the rule for ties"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.uniform(batch), (1, 1))


class Energy(_Control):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins are the most important"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.energy(batch), batch.picture_shape)


class Centre(_Control):
    title = "Centre"
    description = (
        "the middle of what sounds of the clip matters most, at all frequencies alike, and less towards both ends; "
        "annotated events are often there, so a map that finds them must be better than this"
    )
    protocols = frozenset({"standard"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.centre(batch), (1, batch.picture_shape[1]))


class Oracle(_Control):
    title = "Oracle"
    description = "the spectrogram within the ground truth, and zero everywhere else"
    requires = frozenset({"ground_truth"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(control_maps.oracle(batch), batch.picture_shape)
