"""What metrics look at: one method's maps of one batch, changed versions of its clips, and the answers about them."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ClassifierError, ExplanationError
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import importance
from xaibench.scoring.ranking import Ranking
from xaibench.sound.batch import Batch

Part = Literal["kept", "removed"]
Shared = TypeVar("Shared")


class Perturbation(abc.ABC):
    """One changed version of every clip of a batch.

    Subclasses are frozen dataclasses: what compares equal is made and forwarded once, whichever
    metrics ask for it. Random draws come from `context.clean.batch.generator(index, purpose)`, so
    that they belong to a clip and not to its batch.

    Attributes:
        depends_on_map: False where the changed clip is the same whatever the method's map is: it is
            then forwarded once for all methods.
    """

    depends_on_map: ClassVar[bool] = True

    @abc.abstractmethod
    def apply(self, context: ScoringContext) -> Tensor:
        """The changed spectrograms, float32 (batch, freq, time)."""


@dataclass(frozen=True)
class Masked(Perturbation):
    """The spectrogram with only its most important bins ("kept"), or without them ("removed").

    Attributes:
        part: which of the two.
        area: share of all bins that count as most important, 0 to 1; None for the method's own soft
            mask, which multiplies the linear magnitude: what is scored is what is heard.
    """

    part: Part
    area: float | None

    def apply(self, context: ScoringContext) -> Tensor:
        if self.area is None:
            share = context.soft_mask if self.part == "kept" else 1 - context.soft_mask
            return torch.log1p(share * torch.expm1(context.clean.batch.x))
        mask = context.ranking.top(self.area)
        share = mask if self.part == "kept" else ~mask
        return context.clean.batch.x * share.float()  # a third of the time that a bool takes on a CPU


@dataclass(frozen=True)
class Answer:
    """Logits of a perturbation that does not depend on a map, (batch, classes), and what it cost to ask for them."""

    logits: Tensor
    forwards: int
    seconds: float


@dataclass(frozen=True)
class Clean:
    """A batch and what the classifier says of it unchanged; shared by all methods.

    Logits are float64 and at the classifier's temperature: p = softmax(logits).

    Attributes:
        batch: the clips.
        logits: of the clips, (batch, classes).
        silence: of an all-zero spectrogram, (classes,).
        waveform: samples of the clips, float32 (batch, samples), or None.
        stem: samples of the labelled event alone, float32 (batch, samples), or None.
        answers: what is known of the perturbations that do not depend on a map, for all methods.
        inputs: changed clips that metrics ask methods about again, for all methods.
    """

    batch: Batch
    logits: Tensor
    silence: Tensor
    waveform: Tensor | None = None
    stem: Tensor | None = None
    answers: dict[Perturbation, Answer] = field(default_factory=dict, init=False, compare=False, repr=False)
    inputs: dict[Perturbation, Tensor] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse logits of which no class is the largest.

        Raises:
            ClassifierError: a logit is NaN or infinite.
        """
        broken = ~torch.cat([self.logits, self.silence[None]]).isfinite().all(dim=1)
        if broken.any():
            names = (*self.batch.clip_ids, "silence")
            first = next(name for name, bad in zip(names, broken.tolist(), strict=True) if bad)
            raise ClassifierError(
                f"the classifier gives NaN or infinite logits ({first}); check its weights, and --precision if it is "
                "not float32"
            )

    @cached_property
    def probabilities(self) -> Tensor:
        """Float64 (batch, classes)."""
        return torch.softmax(self.logits, dim=-1)

    @cached_property
    def target(self) -> Tensor:
        """Predicted classes (batch,)."""
        return self.logits.argmax(dim=1)


class ScoringContext:
    """One method's maps of one batch, and what classifier and method say of changed versions of it.

    Each perturbation is forwarded, and explained, at most once, whichever metrics ask.

    Attributes:
        clean: the batch and what the classifier says of it.
        attribution: the maps as the method defines them, finite, float32 (batch, freq, time).
        importance: what counts of them, non-negative, same shape.
        explainer: the method itself, to be asked again about other inputs, targets or weights.
        borrowed: answers that other methods had asked for before. Their cost counts for this method as well, so that
            what a method costs does not depend on which methods came before it.
    """

    def __init__(self, clean: Clean, attribution: Tensor, explainer: BoundExplainer) -> None:
        self.clean = clean
        self.attribution = attribution
        self.importance = importance(attribution, explainer.method.polarity)
        self.explainer = explainer
        self.borrowed: dict[Perturbation, Answer] = {}
        self._logits: dict[Perturbation, Tensor] = {}
        self._shared: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.clean.batch)

    @property
    def classifier(self) -> Classifier:
        """The classifier under explanation; to be left as it was found."""
        return self.explainer.forwarder.classifier

    @cached_property
    def ranking(self) -> Ranking:
        """Order of the bins by importance."""
        return Ranking(self.importance, self.clean.batch)

    def mask(self, area: float | None) -> Tensor:
        """The most important bins, bool (batch, freq, time); for None the soft mask, float32."""
        return self.soft_mask if area is None else self.ranking.top(area)

    @cached_property
    def soft_mask(self) -> Tensor:
        """The maps as masks, float32 (batch, freq, time) in [0, 1].

        Raises:
            ExplanationError: the maps leave that range.
        """
        low, high = self.attribution.aminmax()
        if low < 0 or high > 1:
            raise ExplanationError(f"a mask holds values from {low:.3g} to {high:.3g}, expected 0 to 1")
        return self.attribution

    @property
    def target(self) -> Tensor:
        """Predicted class of the clean clip, c, (batch,)."""
        return self.clean.target

    @property
    def p_full(self) -> Tensor:
        """p_c(x), (batch,)."""
        return self.of_target(self.clean.probabilities)

    def p_kept(self, area: float | None) -> Tensor:
        """p_c of the most important bins alone, (batch,)."""
        return self.p_changed(Masked("kept", area))

    def p_removed(self, area: float | None) -> Tensor:
        """p_c without the most important bins, (batch,)."""
        return self.p_changed(Masked("removed", area))

    def p_changed(self, perturbation: Perturbation) -> Tensor:
        """p_c of the changed clips, (batch,)."""
        return self.of_target(self.probabilities(perturbation))

    def probabilities(self, perturbation: Perturbation) -> Tensor:
        """Class probabilities of the changed clips, float64 (batch, classes)."""
        return torch.softmax(self.logits(perturbation), dim=-1)

    def logits(self, perturbation: Perturbation) -> Tensor:
        """Logits of the changed clips at the temperature, float64 (batch, classes)."""
        self.require([perturbation])
        return self._logits[perturbation]

    def require(self, wanted: Sequence[Perturbation]) -> None:
        """Forward many perturbations in full micro-batches."""
        missing = [one for one in dict.fromkeys(wanted) if one not in self._logits]
        for one in missing:
            if not one.depends_on_map and one in self.clean.answers:
                self.borrowed[one] = self.clean.answers[one]
                self._logits[one] = self.borrowed[one].logits
        missing = [one for one in missing if one not in self._logits]
        group = self.explainer.forwarder.group(len(self))
        for start in range(0, len(missing), group):
            perturbations = missing[start : start + group]
            for one, answer in zip(perturbations, self._ask(perturbations), strict=True):
                self._logits[one] = answer.logits
                if not one.depends_on_map:
                    self.clean.answers[one] = answer

    def of_target(self, values: Tensor) -> Tensor:
        """The target's column of (batch, classes): (batch,)."""
        return values.gather(1, self.target[:, None])[:, 0]

    @property
    def ground_truth(self) -> Tensor | None:
        """Where the event is known to be, bool (batch, freq, time), or None."""
        return self.clean.batch.ground_truth

    def shared(self, key: Hashable, compute: Callable[[], Shared]) -> Shared:
        """What `compute` gave the first time that `key` was asked for: work that several metrics share.

        Keys start with the name of the module that owns them.
        """
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    def _ask(self, perturbations: list[Perturbation]) -> list[Answer]:
        """Ask for the logits of changed batches, each (batch, classes).

        Clips that are unchanged, or silent, are not forwarded: much digital silence makes parts equal
        to the clip, and the rounding of another batch would then decide whether confidence rose.
        """
        started = time.perf_counter()
        inputs = [one.apply(self) for one in perturbations]
        x = self.clean.batch.x
        unchanged = [_equal(one, x) for one in inputs]
        silent = [_equal(one, torch.zeros((), device=x.device).expand_as(one)) for one in inputs]
        answers = [torch.where(same[:, None], self.clean.logits, self.clean.silence) for same in unchanged]
        open_questions = [~(same | none) for same, none in zip(unchanged, silent, strict=True)]
        rest = [one if asked.all() else one[asked] for one, asked in zip(inputs, open_questions, strict=True)]
        together = rest[0] if len(rest) == 1 else torch.cat(rest)
        if len(together):
            found = self.explainer.forwarder.logits(together).split([len(one) for one in rest])
            for answer, asked, part in zip(answers, open_questions, found, strict=True):
                answer[asked] = part
        seconds = (time.perf_counter() - started) / len(inputs)
        return [Answer(answer, len(one), seconds) for answer, one in zip(answers, rest, strict=True)]


def _equal(first: Tensor, second: Tensor) -> Tensor:
    """Per clip, whether spectrograms (batch, freq, time) are equal, bool (batch,)."""
    # A sparse look decides nearly always, at a fraction of the cost of a full one.
    equal = (first[:, ::8, ::8] == second[:, ::8, ::8]).flatten(1).all(dim=1)
    for i in equal.nonzero()[:, 0].tolist():
        equal[i] = torch.equal(first[i], second[i])
    return equal
