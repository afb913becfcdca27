"""Common parts of the Captum methods: the function that they attribute, and a batch size that fits into memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded

# Number of inputs attributed at once. Gradients keep every activation, so this limits the memory.
INTERNAL_BATCH = 16


class TargetScore(nn.Module):
    """The score that is attributed: the logits (batch, classes) at the temperature, as a function of pictures.

    Captum picks the target's column. Logits are attributed and not probabilities, because a saturated softmax has no
    gradient left (Simonyan et al., arXiv 1312.6034, section 3).
    """

    def __init__(self, classifier: Classifier, samples: int | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.samples = samples

    def forward(self, x: Tensor, phase: Tensor | None = None) -> Tensor:
        """Compute the score of pictures (batch, freq, time) of one phase, or that are fed as they are."""
        return self.classifier.temperature * self.classifier.logits_of(x, phase, self.samples)


def per_clip(batch: Batch, target: Tensor, purpose: str, attribute: Callable[[Batch, Tensor], Tensor]) -> Tensor:
    """Attribute clip by clip, each with the global random states seeded for that clip.

    Captum draws from the global states of torch and numpy (GradientShap's points on the line). The seeding makes its
    draws a function of (seed, clip, purpose), and the states are restored afterwards.
    """
    maps = []
    for i in range(len(batch)):
        with seeded(batch.generator(i, purpose).initial_seed()):
            maps.append(attribute(batch.slice(i, i + 1), target[i : i + 1]).detach())
    return torch.cat(maps)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Captum's warnings about the hooks it sets; it removes them itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks")
        yield
