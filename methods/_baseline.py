"""The baseline of a method: what a clip is compared with, and what takes the place of bins that are taken out of it.

It is one of the fills of `xaibench.sound.fills`, the same that metrics use. Of silence, bins of the picture are made
softer, down to 0, and keep the clip's phase. Another fill is a sound, f: with u of a bin from the clip and 1 - u from
the fill, what is heard is the sound of u X + (1 - u) STFT(f), and the share u is what is attributed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.sound.batch import Batch
from xaibench.sound.domain import scaled
from xaibench.sound.fills import FILLS, fill_of

from ._captum import INTERNAL_BATCH, TargetScore

BASELINES = FILLS


@dataclass(frozen=True)
class Attributed:
    """A function that is attributed, and where.

    Attributes:
        score: maps inputs (n, freq, time) and `extra` to logits (n, classes) at the temperature.
        inputs: that stand for the clips, (batch, freq, time); 0 everywhere stands for the baseline.
        extra: further arguments, tensors (batch, freq, time) or None.
        mixed: whether the inputs are shares of the clip, and not its log magnitudes.
    """

    score: nn.Module
    inputs: Tensor
    extra: tuple[Tensor | None, ...]
    mixed: bool

    @property
    def span(self) -> Tensor:
        """Range of the inputs, which noise is measured by: float32, as scores of before were rounded."""
        return self.inputs.new_ones(()) if self.mixed else self.inputs.max() - self.inputs.min()

    def answers(self, gains: Tensor) -> Tensor:
        """Compute the scores (n, classes) of what gains leave of one clip, without gradients.

        Args:
            gains: of the bins, float32 (n, freq, time), or bool.
        """
        found = []
        for part in gains.split(INTERNAL_BATCH):
            inputs = part.float() if self.mixed else scaled(self.inputs, part)
            extra = [None if one is None else one.expand(len(part), -1, -1) for one in self.extra]
            with torch.inference_mode():
                found.append(self.score(inputs, *extra))
        return torch.cat(found).clone()  # else autograd could never use what is made of it


def attributed(classifier: Classifier, batch: Batch, baseline: str, direct: bool = False) -> Attributed:
    """Return the function that methods attribute, so that 0 is the baseline.

    Args:
        classifier: to be explained.
        batch: the clips.
        baseline: one of BASELINES.
        direct: whether a classifier that reads pictures is fed them, although it hears the clips.

    Raises:
        ExplanationError: the baseline is a sound, and the classifier does not hear the clips.
    """
    fill = fill_of(baseline, batch, classifier.domain)
    if fill is None:
        phase = None if direct else batch.phase
        return Attributed(TargetScore(classifier, batch.samples), batch.x, (phase,), False)
    ones, score = torch.ones_like(batch.x), _MixedScore(classifier, batch.samples)
    if direct:
        return Attributed(score, ones, (batch.x, fill.picture.x), True)
    assert batch.phase is not None
    domain = classifier.domain
    clip, rest = domain.coefficients(batch.x, batch.phase), domain.coefficients(*fill.picture)
    return Attributed(score, ones, (clip, rest), True)


def probability(classifier: Classifier, logits: Tensor, target: int) -> Tensor:
    """Compute the probability (n,) of one class from logits (n, classes) at the temperature."""
    every = torch.sigmoid(logits) if classifier.activation == "sigmoid" else torch.softmax(logits, dim=1)
    return every[:, target]


class _MixedScore(nn.Module):
    """The logits (n, classes) at the temperature, as a function of shares of the clip in each bin."""

    def __init__(self, classifier: Classifier, samples: int | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.samples = samples

    def forward(self, shares: Tensor, clip: Tensor, rest: Tensor) -> Tensor:
        """Compute the score of what is mixed of clips and fills, (n, freq, time).

        Args:
            shares: of the clip, (n, freq, time).
            clip, rest: complex coefficients of the clips and of their fills; or their pictures, which are then fed.
        """
        mixed = rest + shares * (clip - rest)
        if not mixed.is_complex():
            return self.classifier.temperature * self.classifier.logits_of(mixed)
        assert self.samples is not None
        return self.classifier.temperature * self.classifier.logits(self.classifier.domain.istft(mixed, self.samples))
