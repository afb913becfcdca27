"""Localisation in time: agreement of the map, projected to time, with annotated events of the explained class.

Annotations say from when to when something is heard, not at which frequencies. So the map is projected to time: one
number for each of the segments of 100 ms (`xaibench.sound.events`) in which the clip sounds; padding and digital
silence are left out.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, with_reasons
from xaibench.sound.events import SEGMENTS_PER_SECOND

SHARE = 0.2  # of the segments

Projection = Literal["positive", "mean", "maximum"]

_NONE = "no segment that sounds belongs to an annotated event of the class"
_ALL = "every segment that sounds belongs to an annotated event of the class: there is no other one"


class _InTime(Metric):
    """A score of segments; the other ones of the same projection share the work.

    Attributes:
        projection: what becomes of the bins of a segment.
    """

    family = "localisation"
    reference = (
        "time-localised evaluation, arXiv 2506.04391; segments as in Mesaros et al., Applied Sciences 6(6), 2016"
    )
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"
    needs_events = True
    protocols = frozenset({"standard"})
    projection: ClassVar[Projection] = "positive"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        sounding, projected = _projected(context, self.projection)
        values, reasons = [], []
        for i, known in enumerate(context.event_segments):
            there = sounding[i]
            event, importance = known[there], projected[i][there]
            count = int(event.sum())
            reasons.append(_NONE if count == 0 else _ALL if count == len(event) else None)
            values.append(0.0 if reasons[-1] else self._of_clip(context, i, importance, event))
        return with_reasons(torch.tensor(values, dtype=torch.float64, device=sounding.device), reasons)

    def _of_clip(self, context: ScoringContext, clip: int, importance: Tensor, event: Tensor) -> float:
        """Score one clip, which has segments of both kinds.

        Args:
            context: of all clips.
            clip: its place among them.
            importance: of the segments that sound, float64 (segments,).
            event: whether they belong to an event, bool (segments,).
        """
        raise NotImplementedError


class _Auc(_InTime):
    traps = (
        "events of other classes count as no event; annotations are wider than their sounds, and a map need not cover "
        "all of one"
    )

    def _of_clip(self, context: ScoringContext, clip: int, importance: Tensor, event: Tensor) -> float:
        inside, outside = importance[event][:, None], importance[~event]
        return float(((inside > outside).double() + (inside == outside).double() / 2).mean())


class EventAuc(_Auc):
    title = "Ev-AUC"
    description = "probability that a segment of the class's events is more important than another; ties count half"
    formula = (
        "P(a_i > a_j) + P(a_i = a_j) / 2 for segments i of events, j of none; a_i is the mean over a segment's frames "
        "of the sum of max(a, 0) over frequencies"
    )
    in_default_set = True


class EventAucMean(_Auc):
    title = "Ev-AUC(mean)"
    description = "the same, of the mean of the map, in which bins that speak against the class count against a segment"
    formula = "Ev-AUC with a_i the mean of the signed map; of maps whose sign is no direction, the mean of |a|"
    projection = "mean"


class EventAucMaximum(_Auc):
    title = "Ev-AUC(max)"
    description = "the same, of the most important bin of each segment"
    formula = "Ev-AUC with a_i the largest a of the segment"
    projection = "maximum"


class _Overlap(_InTime):
    """Agreement of the most important segments with those of the events.

    Attributes:
        share: how many segments are chosen, of those that sound; None: as many as there are of events.
    """

    share: ClassVar[float | None] = None

    def _of_clip(self, context: ScoringContext, clip: int, importance: Tensor, event: Tensor) -> float:
        count = int(event.sum())
        size = count if self.share is None else max(1, round(self.share * len(event)))
        # Segments of equal importance are in a random order that belongs to the clip.
        generator = context.clean.batch.generator(clip, "events/ties")
        shuffle = torch.randperm(len(event), generator=generator).to(event.device)
        chosen = shuffle[importance[shuffle].argsort(descending=True, stable=True)[:size]]
        return self._agreement(int(event[chosen].sum()), size, count)

    @staticmethod
    def _agreement(both: int, chosen: int, known: int) -> float:
        raise NotImplementedError


class EventF1(_Overlap):
    title = "Ev-F1"
    description = "share of the |E| most important segments that belong to the class's events, |E| as many as do"
    formula = "2 |K and E| / (|K| + |E|), K the |E| most important segments; a segment's importance as in Ev-AUC"
    traps = "with |K| = |E|, precision, recall and F1 are one number; at random it is the events' share of the clip"

    @staticmethod
    def _agreement(both: int, chosen: int, known: int) -> float:
        return 2 * both / (chosen + known)


class EventIou(_Overlap):
    title = "Ev-IoU"
    description = "overlap of the |E| most important segments with those of the class's events, divided by their union"
    formula = "|K and E| / |K or E|, K the |E| most important segments; a segment's importance as in Ev-AUC"
    traps = "it orders maps of a clip as Ev-F1 does: it is F1 / (2 - F1)"

    @staticmethod
    def _agreement(both: int, chosen: int, known: int) -> float:
        return both / (chosen + known - both)


class EventF1Fifth(EventF1):
    title = "Ev-F1(20%)"
    description = "F1 of the most important fifth of the segments against those of the class's events"
    formula = "2 |K and E| / (|K| + |E|), K the 20% most important segments that sound, at least one"
    traps = "where the events fill much more or less than a fifth of the clip, no map reaches 1"
    share = SHARE


class EventIouFifth(EventIou):
    title = "Ev-IoU(20%)"
    description = (
        "overlap of the most important fifth of the segments with those of the class's events, over their union"
    )
    formula = "|K and E| / |K or E|, K the 20% most important segments that sound, at least one"
    traps = "where the events fill much more or less than a fifth of the clip, no map reaches 1"
    share = SHARE


def _projected(context: ScoringContext, projection: Projection) -> tuple[Tensor, Tensor]:
    """Project maps to segments.

    Returns:
        Which segments hold a frame that sounds, bool (batch, segments), and their importance, float64, same shape,
        which means nothing in the other ones.
    """

    def compute() -> tuple[Tensor, Tensor]:
        batch, count = context.clean.batch, context.event_segments.shape[1]
        importance = context.importance
        sounds = importance.new_ones(len(batch), importance.shape[2], dtype=torch.bool)
        sounds = sounds if batch.audible is None else batch.audible
        of_frame = _segment_of_frames(context, count)
        member = torch.nn.functional.one_hot(of_frame, count).double()  # (time, segments)
        frames = sounds.double() @ member
        if projection == "maximum":
            peaks = importance.amax(dim=1).double().masked_fill(~sounds, 0.0)
            place = of_frame.expand_as(peaks)
            found = peaks.new_zeros(frames.shape).scatter_reduce(1, place, peaks, "amax")
        else:
            signed = projection == "mean" and context.explainer.method.polarity == "positive"
            values = (context.attribution if signed else importance).double()
            of_frames = values.sum(dim=1) if projection == "positive" else values.mean(dim=1)
            found = (of_frames * sounds) @ member / frames
        return frames > 0, found

    return context.shared(("events", projection), compute)


def _segment_of_frames(context: ScoringContext, count: int) -> Tensor:
    """Return the segment in which the centre of each frame lies, (time,)."""
    domain = context.classifier.domain
    frames = torch.arange(context.importance.shape[2], device=context.importance.device)
    # The centre of the last frame may be the very end of the clip.
    return (frames * domain.hop_samples * SEGMENTS_PER_SECOND // domain.sample_rate).clamp(max=count - 1)
