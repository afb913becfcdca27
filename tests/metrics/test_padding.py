"""What is read off the map alone says nothing of frames that hold padding or digital silence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.toy import LinearToy, context
from xaibench import registry
from xaibench.results.areas import AREAS
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric

FREQ, TIME = 13, 42


NAMES = [
    *("complexity", "effective_complexity", "mask_area", "sparseness"),
    *("localisation_auc", "mask_iou", "pointing_game", "relevance_mass", "relevance_rank", "top_k_intersection"),
]


def area_of(scorer: Metric) -> float | None:
    return AREAS[1] if scorer.per_area and scorer.soft_mask != "only" else None


def clips() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures, maps, ground truth (3, freq, time), and which frames sound: all, all but an end, all but a hole."""
    generator = torch.Generator().manual_seed(5)
    x, importance = torch.rand(2, 3, FREQ, TIME, generator=generator)
    known = torch.rand(3, FREQ, TIME, generator=generator) < 0.2
    audible = torch.ones(3, TIME, dtype=torch.bool)
    audible[1, 30:] = False
    audible[2, 5:20] = False
    return x, importance, known, audible


def padded(x: Tensor, importance: Tensor, known: Tensor, audible: Tensor | None) -> ScoringContext:
    made = context(LinearToy(), x, importance, known)
    return ScoringContext(
        replace(made.clean, batch=replace(made.clean.batch, audible=audible)), importance, made.explainer
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_as_its_audible_frames_alone(name: str) -> None:
    """Maps and ground truth hold something in silent frames, too, which must not count."""
    scorer: Metric = registry.load("metrics", name)()
    area = area_of(scorer)
    x, importance, known, audible = clips()
    values = scorer.score(padded(x, importance, known, audible), area).values
    for i, frames in enumerate(audible):
        cut = [part[i : i + 1, :, frames] for part in (x, importance, known)]
        assert values[i].item() == pytest.approx(scorer.score(padded(*cut, None), area).values.item(), rel=1e-12)


def test_a_constant_map_is_not_sparse_and_locates_by_chance() -> None:
    x, _, known, audible = clips()
    made = padded(x, torch.full_like(x, 0.7), known, audible)
    assert registry.load("metrics", "sparseness")().score(made, None).values.tolist() == [0.0, 0.0, 0.0]
    assert registry.load("metrics", "localisation_auc")().score(made, None).values.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_clip_has_no_value(name: str) -> None:
    scorer: Metric = registry.load("metrics", name)()
    x, importance, known, _ = clips()
    made = padded(x, importance, known, torch.zeros(3, TIME, dtype=torch.bool))
    found = scorer.score(made, area_of(scorer))
    assert found.values.isnan().all()
    assert all(found.reasons)
