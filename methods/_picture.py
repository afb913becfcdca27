"""Maps at a network's own resolution, brought to the picture of the clips."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import Mapped
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch


def on_picture(classifier: Classifier, maps: Tensor, batch: Batch) -> Tensor:
    """Bring maps (batch, h, w) of a classifier that knows where they lie to the picture (batch, freq, time)."""
    return cast(Mapped, classifier).to_picture(maps, batch.picture_shape)


def explained(classifier: Classifier, maps: Tensor, batch: Batch) -> Explanation:
    """Return maps (batch, h, w) as what a method says of the picture; h x w is its own resolution."""
    return Explanation(on_picture(classifier, maps, batch), (maps.shape[1], maps.shape[2]))
