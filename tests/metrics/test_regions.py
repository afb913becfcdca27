"""IROF and region perturbation against their references, and what their order of cells and their bounds promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.references.regions import REFERENCES, cells
from tests.references.values import Clip
from tests.support.toy import LinearToy, RegionToy, context, ids, probability_function
from xaibench import registry

NAMES = ["irof", "region_perturbation"]


def score(name: str, made) -> Tensor:
    result = registry.load("metrics", name)().score(made, None)
    assert result.reasons == (None,) * len(made)
    assert result.values.dtype == torch.float64
    return result.values


def clips(count: int, shape: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]
    return x, torch.rand(count, *shape, generator=generator) ** 3


def banded(importance: Tensor) -> Tensor:
    """A clip of class 0, whose evidence is its upper third, and a faint second class."""
    x = 0.1 * torch.rand(importance.shape, generator=torch.Generator().manual_seed(1))
    x[:, :8] += 2.0
    x[:, 8:16] += 1.0
    return x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 3), (9, 7), (12, 15), (30, 17)], ids=str)
def test_equals_the_reference(name, shape):
    x, importance = clips(6, shape, seed=shape[0])
    values = score(name, context(LinearToy(), x, importance))
    probabilities = probability_function(LinearToy())
    known = torch.zeros(shape, dtype=torch.bool).numpy()
    expected = [
        REFERENCES[name](Clip(one.numpy(), a.numpy(), probabilities, known), None)
        for one, a in zip(x, importance, strict=True)
    ]
    assert max(expected) - min(expected) > 0.02
    assert values.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_cells_of_the_reference_are_a_partition():
    for shape in [(4, 3), (30, 17), (49, 31)]:
        found = [bin for cell in cells(shape) for bin in cell]
        assert len(found) == len(set(found)) == shape[0] * shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_right_order_scores_more_than_the_opposite(name):
    right = torch.linspace(1, 0, 24)[:, None].expand(1, 24, 24)
    better, worse = (score(name, context(RegionToy(), banded(m), m)) for m in (right, 1 - right))
    assert registry.load("metrics", name).higher_is_better
    assert float(better) > float(worse) + 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_alone_and_in_any_batch(name):
    x, importance = clips(5, (30, 17))
    importance[2:4] = 0  # ordered by chance, the clip's own
    values = score(name, context(LinearToy(), x, importance))
    order = [3, 0, 4, 2, 1]
    names = [ids(5)[i] for i in order]
    shuffled = score(name, context(LinearToy(), x[order], importance[order], clip_ids=names, batch_size=2))
    assert torch.allclose(shuffled, values[order], rtol=1e-12, atol=1e-12)
    again = score(name, context(LinearToy(), x, importance))
    assert torch.equal(again, values)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_map_is_a_random_order_of_the_clips_own(name):
    """Cells of 513 x 431 differ in size by one bin: by their sums, a constant map would rank them by size."""
    x, _ = clips(1, (30, 17))
    x = x.expand(8, -1, -1)
    values = score(name, context(LinearToy(), x, torch.full_like(x, 1 / 3)))
    assert values.unique().numel() == 8  # eight ids, eight orders
    assert torch.equal(values, score(name, context(LinearToy(), x, torch.zeros_like(x))))


def test_a_map_without_influence_scores_zero_not_one_step():
    """Quantus's IROF gives 1, one segment, to a classifier that never reacts."""
    x, importance = clips(2, (12, 12))
    deaf = RegionToy(temperature=1e-12)
    assert score("irof", context(deaf, x, importance)).tolist() == pytest.approx([0, 0], abs=1e-9)
    assert score("region_perturbation", context(deaf, x, importance)).tolist() == pytest.approx([0, 0], abs=1e-9)


def test_irof_is_below_zero_where_confidence_rises():
    distractor = torch.zeros(1, 24, 24)
    distractor[:, 8:] = 1  # the second class, almost as loud, goes first
    x = banded(distractor)
    x[:, 8:16] += 0.9
    assert float(score("irof", context(RegionToy(), x, distractor))) < 0


def test_a_silent_clip_loses_nothing():
    x = torch.zeros(1, 12, 12)
    importance = clips(1, (12, 12))[1]
    assert float(score("irof", context(RegionToy(), x, importance))) == pytest.approx(0.0, abs=1e-12)
    assert float(score("region_perturbation", context(RegionToy(), x, importance))) == 0.0


@pytest.mark.parametrize(("name", "forwards"), [("irof", 48), ("region_perturbation", 36)])
def test_costs_what_it_says(name, forwards):
    x, importance = clips(3, (30, 17))
    classifier = LinearToy()
    made = context(classifier, x, importance)
    classifier.forwarded.clear()
    score(name, made)
    assert sum(classifier.forwarded) == 3 * forwards
    assert registry.load("metrics", name).cost == str(forwards)
