"""Reference maps: explanations whose order is known in advance, with which the metrics themselves are tested.

They are made from the ground truth of clips, from the clips' energy or from nothing, never from the classifier. A
metric that asks *where* the importance lies must put the oracle above random bins and above what is loud beside the
ground truth, and degraded oracles between the oracle and random bins.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining import control_maps
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Dataset

# Of 5 s, 0.25 s: the shifted oracle still covers 36% of the ground truth of synth on average.
SHIFT = 0.05
# Bins that much softer than the loudest one are a clip's noise floor, and none of its sounds.
FLOOR_DECIBEL = 60.0


class ReferenceMap(Explainer):
    """A map of known quality; subclasses implement `weigh`."""

    reference = "xaibench validate"
    polarity = "positive"
    control = True

    @abc.abstractmethod
    def weigh(self, batch: Batch) -> Tensor:
        """Return non-negative importance (batch, freq, time) on any scale."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        """Scale the map of each clip to sum to 1; `classifier` and `target` are not used."""
        maps = self.weigh(batch)
        # All of the same mass: a metric that reads the scale of a map must not tell them apart by it.
        mass = maps.sum(dim=(1, 2), keepdim=True)
        return Explanation(maps / torch.where(mass > 0, mass, 1), batch.picture_shape)


class Oracle(ReferenceMap):
    title = "Oracle"
    description = "the ground truth, its loudest bins first; zero everywhere else"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        return control_maps.oracle(batch)


class Half(ReferenceMap):
    title = "Half"
    description = "the oracle without a random half of the ground truth"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        draws = [torch.rand(batch.picture_shape, generator=batch.generator(i, "half")) < 0.5 for i in range(len(batch))]
        return control_maps.oracle(batch) * torch.stack(draws).to(batch.x.device)


class Shifted(ReferenceMap):
    title = "Shifted"
    description = "the oracle, later by a fixed share of the clip; what leaves it at the end enters at its beginning"
    requires = frozenset({"ground_truth"})
    parameters = {"share": SHIFT}

    def weigh(self, batch: Batch) -> Tensor:
        return control_maps.oracle(batch).roll(round(SHIFT * batch.picture_shape[1]), dims=2)


class Energy(ReferenceMap):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins matter most"

    def weigh(self, batch: Batch) -> Tensor:
        return control_maps.energy(batch)


class Uniform(ReferenceMap):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random by the tie rule"

    def weigh(self, batch: Batch) -> Tensor:
        return control_maps.uniform(batch)


class Random(ReferenceMap):
    title = "Random"
    description = "independent uniform noise in every bin"

    def weigh(self, batch: Batch) -> Tensor:
        return control_maps.random(batch)


class Inverted(ReferenceMap):
    title = "Inverted"
    description = "everything but the ground truth, its loudest bins first; zero on the ground truth"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        assert batch.ground_truth is not None
        return batch.x * ~batch.ground_truth


class Swapped(ReferenceMap):
    title = "Swapped"
    description = "the other sound of the clip, its loudest bins first; zero on the ground truth"
    requires = frozenset({"ground_truth"})
    parameters = {"floor_decibel": FLOOR_DECIBEL}

    def weigh(self, batch: Batch) -> Tensor:
        assert batch.ground_truth is not None
        magnitude = torch.expm1(batch.x)
        floor = 10 ** (-FLOOR_DECIBEL / 20) * magnitude.amax(dim=(1, 2), keepdim=True)
        return batch.x * (~batch.ground_truth & (magnitude > floor))


REFERENCE_MAPS: dict[str, type[ReferenceMap]] = {
    kind.__name__.lower(): kind for kind in (Oracle, Half, Shifted, Energy, Uniform, Random, Inverted, Swapped)
}
BEST = "oracle"  # the best of them
_OF_ONE_SOUND = frozenset({"shifted", "inverted"})
_OF_TWO_SOUNDS = frozenset({"swapped"})


def reference_maps(dataset: Dataset) -> dict[str, Explainer]:
    """Make the reference maps that make sense on a dataset, by name and in the order of REFERENCE_MAPS.

    Where the rest of a clip is another sound, the map of that sound takes the place of the shifted oracle, and of the
    inverted one, from which it differs in inaudible bins only.
    """
    without = _OF_ONE_SOUND if dataset.has_two_sounds else _OF_TWO_SOUNDS
    return {name: kind() for name, kind in REFERENCE_MAPS.items() if name not in without}
