"""A classifier with which scoring is quick: it is small, and hears no more than the first 1.25 s of a clip.

For tests of what depends neither on the weights nor on the length of the sound.
"""

from __future__ import annotations

from torch import Tensor

from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import COSINE_SCALE
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import LinearResize
from xaibench.classifiers.loaded import LoadedClassifier, loaded_model
from xaibench.classifiers.resize import resize
from xaibench.sound.randomness import seeded
from xaibench.sound.synth import Synth
from xaibench.testing.toys import settled, toy_batch

SECONDS = 1.25


class QuickCnn(CnnClassifier):
    """A CNN for the classes of synth, whose picture has 513 x 108 bins."""

    def __init__(self) -> None:
        super().__init__("quick-cnn", Synth.classes, LinearResize((32, 32)), (8, 16))
        self.samples = round(SECONDS * self.sample_rate)
        self.temperature = COSINE_SCALE

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        return resize(maps, shape)


def quick_cnn() -> LoadedClassifier:
    """The same one every time, as a run is given it."""
    with seeded(0):
        classifier = settled(QuickCnn(), toy_batch(seconds=SECONDS).waveform)
    return loaded_model(checkpoint.freeze(classifier), "cnn")
