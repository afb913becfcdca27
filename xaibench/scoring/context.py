"""What metrics look at: one method's maps of one batch, changed versions of its clips, and the answers about them."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.errors import ExplanationError
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import importance
from xaibench.scoring.clean import Answer, Clean, judged
from xaibench.scoring.ranking import Ranking
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Picture
from xaibench.sound.fills import left, noise_phase

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
    def apply(self, context: ScoringContext) -> Tensor | Picture:
        """Change the pictures of the clips.

        Returns:
            Pictures, float32 (batch, freq, time), where bins of the clip are made louder or softer: they keep its
            phase. A `Picture` where bins are filled with something else: it brings its own phase, because the clip's
            would betray what was removed. `ScoringContext.left` fills what a mask removes as the run says, and
            `ScoringContext.filled` with other magnitudes.
        """


@dataclass(frozen=True)
class Masked(Perturbation):
    """The clip with only its most important bins ("kept"), or without them ("removed").

    Attributes:
        part: which of the two.
        area: share of the audible bins that count as most important, 0 to 1; None for the method's own soft
            mask. Masks multiply the linear magnitude.
    """

    part: Part
    area: float | None

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        return context.left(self.shares(context))

    def shares(self, context: ScoringContext) -> Tensor:
        """Return what is left of each bin, bool or float32 (batch, freq, time)."""
        mask = context.mask(self.area)
        if self.part == "kept":
            return mask
        return 1 - mask if mask.is_floating_point() else ~mask


class ScoringContext:
    """One method's maps of one batch, and what classifier and method say of changed versions of it.

    Each perturbation is forwarded, and explained, at most once, whichever metrics ask.

    Attributes:
        clean: the batch and what the classifier says of it.
        attribution: the maps as the method defines them, finite, float32 (batch, freq, time).
        importance: what counts of them, non-negative, same shape; 0 in frames of padding or digital silence.
        explainer: the method itself, to be asked again about other inputs, targets or weights.
        texts: what the method says of each clip in words, or nothing at all.
        judge: the classifier's judge, in micro-batches; where there is none, the classifier judges itself.
        borrowed: answers that other methods had asked for before. Their cost counts for this method as well, so that
            what a method costs does not depend on which methods came before it.
        broken: clips of which a changed version, since somebody last set this to False, had NaN or infinite logits:
            what a metric makes of these is no score. Bool (batch,).
    """

    def __init__(
        self,
        clean: Clean,
        attribution: Tensor,
        explainer: BoundExplainer,
        texts: tuple[str, ...] = (),
        judge: Forwarder | None = None,
    ) -> None:
        self.clean, self.texts, self.judge = clean, texts, judge or explainer.forwarder
        self.attribution = attribution
        self.importance = self.audible(importance(attribution, explainer.method.polarity))
        self.explainer = explainer.again()
        self.borrowed: dict[Perturbation, Answer] = {}
        self.broken = torch.zeros(len(clean.batch), dtype=torch.bool, device=clean.logits.device)
        self._logits: dict[Perturbation, Tensor] = {}
        self._shared: dict[Hashable, tuple[Any, Tensor]] = {}

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

    @cached_property
    def judged(self) -> ScoringContext:
        """The same clips and maps, as the judge answers about them; explained is still what the classifier said.

        Only metrics that say so in `needs_judge` may ask.
        """
        clean = judged(self.clean, self.judge)
        explainer = BoundExplainer(self.explainer.method, self.judge, self.explainer.guard)
        found = ScoringContext(clean, self.attribution, explainer)
        found.ranking, found.broken = self.ranking, self.broken
        return found

    def mask(self, area: float | None) -> Tensor:
        """The mask of an area, (batch, freq, time).

        Bool, True in the most important bins. For None the method's soft mask, float32; of a control that attenuates,
        the area itself in every bin, float32.
        """
        if area is None:
            return self.soft_mask
        # At the ends the clip and silence themselves, which need not be asked about.
        if self.explainer.method.attenuates and 0 < area < 1:
            return torch.full_like(self.importance, area)
        return self.ranking.top(area)

    def changed(self, perturbation: Perturbation) -> Batch:
        """The changed clips, as clips that the method can be asked about."""
        return self.clean.batch.changed(perturbation.apply(self), self.classifier.domain)

    def sound(self, perturbation: Perturbation) -> Tensor:
        """The changed clips as they are heard, float32 (batch, samples); only where the classifier hears sound."""
        batch, domain = self.clean.batch, self.classifier.domain
        x, phase = _picture(perturbation.apply(self), batch.phase)
        samples = batch.samples
        assert phase is not None and samples is not None

        def synthesise(start: int, stop: int) -> Tensor:
            return domain.synthesise(x[start:stop], phase[start:stop], samples)

        return torch.cat(self.explainer.forwarder.in_micro_batches(len(self), synthesise))

    def left(self, shares: Tensor) -> Tensor | Picture:
        """Return what a mask leaves of the clips, with the run's fill in the place of the rest.

        Args:
            shares: what is left of each bin, bool or 0 to 1, (batch, freq, time).
        """
        return left(self.clean.batch, shares, self.clean.fill, self.classifier.domain)

    def filled(self, missing: Tensor, x: Tensor) -> Tensor | Picture:
        """Fill bins with other magnitudes and, where the classifier hears sound, with the phase of a noise.

        This is for metrics that say themselves what takes the place of bins, whatever the fill of the run is.

        Args:
            missing: bins to fill, bool (batch, freq, time).
            x: what they are filled with, float32, same shape.
        """
        batch = self.clean.batch
        if batch.audible is not None:  # padding stays padding
            missing = missing & batch.audible[:, None, :]
        filled = torch.where(missing, x, batch.x)
        if batch.phase is None:
            return filled
        return Picture(filled, torch.where(missing, self._noise_phase, batch.phase))

    @cached_property
    def _noise_phase(self) -> Tensor:
        """Phase of white noise that belongs to each clip, complex64 (batch, freq, time)."""

        return self.clean.shared("phase of a fill", lambda: noise_phase(self.clean.batch, self.classifier.domain))

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
        """The class that is explained, c, (batch,): the one predicted for the clean clip, or its label."""
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
        return self.clean.activated(self.logits(perturbation))

    def logits(self, perturbation: Perturbation) -> Tensor:
        """Logits of the changed clips at the temperature, float64 (batch, classes)."""
        self.require([perturbation])
        found = self._logits[perturbation]
        self.broken |= ~found.isfinite().all(dim=1)
        return found

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

    @property
    def event_segments(self) -> Tensor:
        """Segments of 100 ms that belong to events of the target, bool (batch, segments).

        Only metrics that say so in `needs_events` may ask.
        """
        events = self.clean.events
        assert events is not None
        return events[torch.arange(len(self), device=events.device), self.target]

    def shared(self, key: Hashable, compute: Callable[[], Shared]) -> Shared:
        """What `compute` gave the first time that `key` was asked for: work that several metrics share.

        Keys start with the name of the module that owns them.
        """
        if key not in self._shared:
            before = self.broken.clone()
            self.broken.zero_()
            self._shared[key] = compute(), self.broken.clone()
            self.broken |= before
        found, broken = self._shared[key]
        self.broken |= broken
        return found

    def audible(self, maps: Tensor) -> Tensor:
        """Set maps (batch, freq, time) to 0 in frames of padding or digital silence."""
        audible = self.clean.batch.audible
        return maps if audible is None else maps * audible[:, None, :]

    def _ask(self, perturbations: list[Perturbation]) -> list[Answer]:
        """Ask for the logits of changed batches, each (batch, classes).

        Clips that are unchanged, silent, or nothing but their fill are not forwarded: much digital silence makes parts
        equal to the clip, and the rounding of another batch would then decide whether confidence rose.
        """
        started = time.perf_counter()
        batch = self.clean.batch
        inputs = [_picture(one.apply(self), batch.phase) for one in perturbations]
        answers, open_questions = zip(*(self._known(one) for one in inputs), strict=True)
        sizes = [int(asked.sum()) for asked in open_questions]
        if sum(sizes):
            together = _those([one.x for one in inputs], open_questions)
            phases = [one.phase for one in inputs if one.phase is not None]
            phase = _those(phases, open_questions) if phases else None
            found = self.explainer.forwarder.logits(together, phase, batch.samples).split(sizes)
            for answer, asked, part in zip(answers, open_questions, found, strict=True):
                answer[asked] = part
        seconds = (time.perf_counter() - started) / len(inputs)
        return [Answer(answer, size, seconds) for answer, size in zip(answers, sizes, strict=True)]

    def _known(self, changed: _Pictures) -> tuple[Tensor, Tensor]:
        """Return the logits of clips that need not be forwarded, (batch, classes), and which clips are left, bool."""
        clean, batch, fill = self.clean, self.clean.batch, self.clean.fill
        unchanged = _equal(changed.x, batch.x) & _equal_phase(changed.phase, batch.phase)
        silent = _equal(changed.x, torch.zeros((), device=batch.x.device).expand_as(batch.x))
        logits, known = torch.where(unchanged[:, None], clean.logits, clean.silence), unchanged | silent
        if fill is not None:
            nothing = _equal(changed.x, fill.picture.x) & _equal_phase(changed.phase, fill.picture.phase) & ~known
            logits, known = torch.where(nothing[:, None], clean.nothing, logits), known | nothing
        return logits, ~known


class _Pictures(NamedTuple):
    x: Tensor
    phase: Tensor | None


def _picture(changed: Tensor | Picture, phase: Tensor | None) -> _Pictures:
    return _Pictures(*changed) if isinstance(changed, Picture) else _Pictures(changed, phase)


def _those(tensors: Sequence[Tensor], chosen: Sequence[Tensor]) -> Tensor:
    """Join the chosen clips of several batches."""
    parts = [one if mine.all() else one[mine] for one, mine in zip(tensors, chosen, strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _equal_phase(first: Tensor | None, second: Tensor | None) -> Tensor | bool:
    """Per clip, whether phases are equal; True where nobody changed them."""
    if first is second or first is None or second is None:
        return True
    return _equal(first, second)


def _equal(first: Tensor, second: Tensor) -> Tensor:
    """Per clip, whether spectrograms (batch, freq, time) are equal, bool (batch,)."""
    # A sparse look decides nearly always, at a fraction of the cost of a full one.
    equal = (first[:, ::8, ::8] == second[:, ::8, ::8]).flatten(1).all(dim=1)
    for i in equal.nonzero()[:, 0].tolist():
        equal[i] = torch.equal(first[i], second[i])
    return equal
