"""What the classifier, or its judge, says of clips as they are: shared by all methods."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from xaibench.classifiers.base import Activation
from xaibench.classifiers.forward import Forwarder
from xaibench.errors import ClassifierError
from xaibench.sound.batch import Batch
from xaibench.sound.fills import Fill

Shared = TypeVar("Shared")


@dataclass(frozen=True)
class Answer:
    """Logits of a perturbation that does not depend on a map, (batch, classes), and what it cost to ask for them."""

    logits: Tensor
    forwards: int
    seconds: float


@dataclass(frozen=True)
class Clean:
    """A batch and what the classifier says of it unchanged; shared by all methods.

    Logits are float64 and at the classifier's temperature: p = softmax(logits), or sigmoid.

    Attributes:
        batch: the clips.
        logits: of the clips, (batch, classes).
        silence: of an all-zero spectrogram, (classes,).
        waveform: samples of the clips, float32 (batch, samples) on the CPU, or None.
        stem: samples of the labelled event alone, float32 (batch, samples), or None.
        activation: the classifier's.
        fill: what takes the place of what is removed, or None for silence.
        filled: logits of the fills alone, (batch, classes), where there are any.
        asked: the classes to explain, (batch,), or None for the predicted ones.
        events: segments of 100 ms that belong to annotated events, bool (batch, classes, segments), or None where
            nobody has annotated any.
        answers: what is known of the perturbations that do not depend on a map, for all methods.
    """

    batch: Batch
    logits: Tensor
    silence: Tensor
    waveform: Tensor | None = None
    stem: Tensor | None = None
    activation: Activation = "softmax"
    fill: Fill | None = None
    filled: Tensor | None = None
    asked: Tensor | None = None
    events: Tensor | None = None
    answers: dict[Hashable, Answer] = field(default_factory=dict, init=False, compare=False, repr=False)
    _shared: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse logits of which no class is the largest.

        Raises:
            ClassifierError: a logit is NaN or infinite.
        """
        broken = ~torch.cat([self.logits, self.silence[None]]).isfinite().all(dim=1)
        if broken.any():
            names = (*self.batch.clip_ids, "silence")
            first = next(name for name, bad in zip(names, broken.tolist(), strict=True) if bad)
            remedy = "check its weights, and --precision if it is not float32"
            if first == "silence":
                remedy = "a division or logarithm in it needs a floor, such as log(mel + 1e-6)"
            raise ClassifierError(f"the classifier gives NaN or infinite logits ({first}); {remedy}")

    def shared(self, key: Hashable, compute: Callable[[], Shared]) -> Shared:
        """Return what `compute` gave the first time that `key` was asked for: work that all methods share."""
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    @cached_property
    def probabilities(self) -> Tensor:
        """Float64 (batch, classes)."""
        return self.activated(self.logits)

    def activated(self, logits: Tensor) -> Tensor:
        """Turn logits (batch, classes) into probabilities."""
        return torch.sigmoid(logits) if self.activation == "sigmoid" else torch.softmax(logits, dim=-1)

    @cached_property
    def predicted(self) -> Tensor:
        """Predicted classes (batch,)."""
        return self.logits.argmax(dim=1)

    @property
    def target(self) -> Tensor:
        """The classes that are explained (batch,)."""
        return self.predicted if self.asked is None else self.asked

    @cached_property
    def audible_share(self) -> Tensor:
        """Share of the frames that are not padding or digital silence, float64 (batch,)."""
        audible = self.batch.audible
        return self.logits.new_ones(len(self.batch)) if audible is None else audible.double().mean(dim=1)

    @cached_property
    def p_nothing(self) -> Tensor:
        """p_c of what is left where all is removed, float64 (batch,)."""
        return self.activated(self.nothing).gather(1, self.target[:, None])[:, 0]

    @property
    def nothing(self) -> Tensor:
        """Logits of what is left where all is removed: of the fills, or of silence, (batch, classes)."""
        return self.silence.expand_as(self.logits) if self.filled is None else self.filled


def judged(clean: Clean, judge: Forwarder) -> Clean:
    """Return what a judge says of clips as they are, of silence, and of the fills; it is asked once for all methods."""
    batch, fill = clean.batch, clean.fill

    def asked() -> Clean:
        filled = None if fill is None else judge.logits_of_clips(replace(batch, waveform=fill.waveform))
        silence = judge.silence(batch)
        return replace(clean, logits=judge.logits_of_clips(batch), silence=silence, filled=filled, asked=clean.target)

    return clean.shared((__name__, "judged"), asked)
