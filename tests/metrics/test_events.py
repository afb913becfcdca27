"""Scores of annotated events against slow second versions, and where they are undefined."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references import events as reference
from xaibench import registry
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores
from xaibench.sound.dataset import SoundEvent
from xaibench.sound.events import segments
from xaibench.testing import toy_batch, toy_classifier

NAMES = [name for name in registry.names("metrics") if name.startswith("event_")]
EVENTS = [[(0.43, 1.94), (1.5, 2.31)], [(2.0, 2.449), (3.25, 4.0)]]


@cache
def toys() -> tuple[Forwarder, Clean]:
    """Two clips of which the second is silent for a second, and what a toy classifier says of them."""
    batch = toy_batch(2)
    assert batch.audible is not None
    audible = batch.audible.clone()
    audible[1, 100:186] = False
    batch, forwarder = replace(batch, audible=audible), Forwarder(toy_classifier(), 16)
    return forwarder, Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))


def a_context(maps: Tensor, method: str, events: list[list[tuple[float, float]]]) -> ScoringContext:
    """Maps of the clips, in which events of the predicted class are annotated, and one of another class."""
    forwarder, clean = toys()
    classifier, known = forwarder.classifier, []
    for target, of_clip in zip(clean.target.tolist(), events, strict=True):
        other = classifier.classes[target - 1]
        named = [SoundEvent(*one, classifier.classes[target]) for one in of_clip]
        known.append(segments([*named, SoundEvent(0, 5, other)], classifier.classes, 5.0))
    clean = replace(clean, events=torch.from_numpy(np.stack(known)))
    return ScoringContext(clean, maps, BoundExplainer(registry.create("methods", method), forwarder))


def some_maps() -> Tensor:
    return torch.randn(toys()[1].batch.x.shape, generator=torch.Generator().manual_seed(3))


def compare(name: str, method: str = "input-x-gradient") -> None:
    """Compare a metric with its reference, on signed maps."""
    maps, audible = some_maps(), toys()[1].batch.audible
    assert audible is not None
    context = a_context(maps, method, EVENTS)
    found = registry.create("metrics", name).score(context, None)
    assert found.reasons == (None, None)
    absolute = registry.create("methods", method).polarity == "absolute"
    for i, of_clip in enumerate(EVENTS):
        signed = maps[i].abs() if absolute else maps[i]
        importance = signed.clamp(min=0)
        clip = reference.Clip(
            *(importance.numpy(), signed.numpy(), audible[i].numpy(), of_clip, Fraction(5), Fraction(186, 16_000))
        )
        assert float(found.values[i]) == pytest.approx(reference.score(clip, name), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_reference(name: str) -> None:
    compare(name)


def test_the_mean_of_a_map_whose_sign_is_no_direction_is_that_of_its_size() -> None:
    compare("event_auc_mean", "saliency")


def test_a_segment_belongs_to_the_events_that_cover_half_of_it() -> None:
    events = [SoundEvent(0.05, 0.12, "a"), SoundEvent(0.1, 0.14, "a"), SoundEvent(0.31, 0.34, "a")]
    events += [SoundEvent(0.31, 0.34, "a"), SoundEvent(0.42, 0.45, "a"), SoundEvent(0.0, 0.5, "b")]
    (found,) = segments([*events, SoundEvent(0.0, 0.5, "c")], ["a"], 0.45)
    # Half of the first; 0.04 s of the second, which two events share; 0.03 s twice; 0.03 of the 0.05 s that are left.
    assert found.tolist() == [True, False, False, False, True]
    (middle,) = segments([SoundEvent(2.0, 2.2, "a")], ["a"], 0.3, start=1.9)  # of a longer clip its middle is heard
    assert middle.tolist() == [False, True, True]
    assert segments([], ["a"], 5.0).shape == (1, 50)
    assert segments([], ["a"], 3 * 0.1).shape == (1, 3), "rounding makes no segment"


@pytest.mark.parametrize(
    ("events", "word"), [([], "no segment"), ([(0.0, 0.03)], "no segment"), ([(0.0, 5.0)], "every segment")]
)
def test_a_clip_with_segments_of_one_kind_is_undefined(events: list[tuple[float, float]], word: str) -> None:
    context = a_context(some_maps(), "saliency", [events, EVENTS[1]])
    for name in NAMES:
        scored: Scores = registry.create("metrics", name).score(context, None)
        assert word in str(scored.reasons[0])
        assert scored.values.isnan().tolist() == [True, False]


def test_ties_are_chance() -> None:
    flat = a_context(torch.ones_like(some_maps()), "uniform", EVENTS)
    # Frames are not of equal number in segments: a sum over them would prefer some.
    assert registry.create("metrics", "event_auc").score(flat, None).values.tolist() == [0.5, 0.5]
    f1 = registry.create("metrics", "event_f1").score(flat, None).values
    assert torch.equal(f1, registry.create("metrics", "event_f1").score(flat, None).values)
    assert float(f1.min()) > 0 and float(f1.max()) < 1


def test_the_middle_of_what_sounds_is_the_centre() -> None:
    forwarder, clean = toys()
    batch, audible = clean.batch, torch.zeros(2, clean.batch.x.shape[2], dtype=torch.bool)
    audible[0, 40:61] = True
    method = registry.create("methods", "centre")
    heights = method.explain(forwarder.classifier, replace(batch, audible=audible), clean.target)
    assert heights.map.shape == batch.x.shape
    row = heights.map[0, 0]
    assert int(row.argmax()) == 50 and float(row[50]) == 1
    assert (row[40:50].diff() > 0).all() and (row[50:61].diff() < 0).all()
    assert (row[:39] == 0).all() and (row[62:] == 0).all()
    assert (heights.map[1] == 0).all()
