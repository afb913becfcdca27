"""The axioms against their references, what attributions keep them exactly, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references.axioms import completeness, non_sensitivity
from tests.references.values import Clip
from tests.support.toy import LinearToy, RegionToy, context, ids, probability_function
from xaibench import registry
from xaibench.scoring.metric import Scores
from xaibench.testing import GradientTimesInput

SHAPE = (30, 17)


def score(name: str, made) -> Scores:
    return registry.load("metrics", name)().score(made, None)


def clips(count: int, shape: tuple[int, int] = SHAPE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    return torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]


def gradient_times_input(classifier, x: Tensor) -> Tensor:
    """The exact attribution of a linear classifier's logit at the temperature."""
    made = context(classifier, x, torch.zeros_like(x))
    return classifier.temperature * GradientTimesInput().explain(classifier, made.clean.batch, made.target).map.float()


@pytest.mark.parametrize("shape", [(4, 3), (9, 7), SHAPE], ids=str)
def test_completeness_equals_the_reference(shape):
    x, classifier = clips(6, shape), LinearToy()
    attribution = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    assert (attribution < 0).any()  # the sign counts
    made = context(classifier, x, attribution)
    for i, value in enumerate(score("completeness", made).values.tolist()):
        full, silent = (3.0 * classifier.picture_logits(one)[0] for one in (x[i : i + 1], torch.zeros_like(x[:1])))
        c = int(full.argmax())
        assert value == pytest.approx(completeness(attribution[i].numpy(), float(full[c]), float(silent[c])), rel=1e-9)


def test_the_exact_attribution_is_complete_and_scaling_it_is_not():
    x, classifier = clips(6), LinearToy()
    exact = gradient_times_input(classifier, x)
    assert score("completeness", context(classifier, x, exact)).values.tolist() == pytest.approx([0.0] * 6, abs=1e-6)
    for scale in (0.0, 0.5, 2.0):
        values = score("completeness", context(classifier, x, scale * exact)).values.tolist()
        assert values == pytest.approx([abs(scale - 1)] * 6, abs=1e-5)
    assert not registry.load("metrics", "completeness").higher_is_better


def test_completeness_is_undefined_for_a_clip_like_silence():
    x = clips(4)
    x[1] = 0
    x[2] *= 1e-3  # the logit moves by less than a hundredth
    result = score("completeness", context(LinearToy(), x, torch.ones_like(x)))
    assert [math.isnan(value) for value in result.values] == [False, True, True, False]
    assert [reason and "silence" in reason for reason in result.reasons] == [None, True, True, None]


def test_completeness_forwards_nothing():
    classifier = LinearToy()
    x = clips(2)
    made = context(classifier, x, x)
    before = len(classifier.forwarded)
    score("completeness", made)
    assert len(classifier.forwarded) == before


def sparse(count: int, shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Clips with silent blocks, and maps of one sign with blocks of zeros and of next to nothing elsewhere."""
    x = clips(count, shape, seed)
    x[:, : shape[0] // 3, : shape[1] // 2] = 0
    maps = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed + 1)) + 0.1
    maps[:, : shape[0] // 2, : shape[1] // 3] = 0
    maps[:, -shape[0] // 4 :, :] *= 1e-7
    return x, maps


@pytest.mark.parametrize("shape", [(4, 3), (9, 7), SHAPE], ids=str)
def test_non_sensitivity_equals_the_reference(shape):
    x, maps = sparse(5, shape, seed=shape[0])
    probabilities = probability_function(LinearToy())
    values = score("non_sensitivity", context(LinearToy(), x, maps)).values.tolist()
    known = np.zeros(shape, dtype=bool)
    expected = [non_sensitivity(Clip(x[i].numpy(), maps[i].numpy(), probabilities, known), None) for i in range(5)]
    assert min(expected) > 0.1
    assert values == pytest.approx(expected, abs=1e-12)
    # Attribution against the class is attribution.
    signs = torch.where(torch.rand(maps.shape, generator=torch.Generator().manual_seed(9)) < 0.5, -1.0, 1.0)
    assert score("non_sensitivity", context(LinearToy(), x, maps * signs)).values.tolist() == values


def test_non_sensitivity_of_right_and_wrong_maps():
    x = clips(3) + 0.2
    x[:, :, 8:] = 0  # silence is what the classifier cannot depend on
    sounding, classifier = (x.amax(dim=1, keepdim=True) > 0).float().expand_as(x), LinearToy()
    exact = gradient_times_input(classifier, x)
    value = {
        name: score("non_sensitivity", context(classifier, x, m)).values
        for name, m in {"exact": exact, "all": torch.ones_like(x), "opposite": 1 - sounding, "none": 0 * x}.items()
    }
    cells = torch.full((12,), False)
    cells[[int(t) * 12 // 17 for t in range(8)]] = True
    share = float(cells.double().mean())  # of the cells that hold sound
    assert value["exact"].tolist() == [0.0] * 3
    assert value["all"].tolist() == pytest.approx([1 - share] * 3)
    assert value["none"].tolist() == pytest.approx([share] * 3)
    assert (value["opposite"] > 0.9).all()
    assert not registry.load("metrics", "non_sensitivity").higher_is_better


def test_non_sensitivity_costs_one_forward_per_sounding_cell():
    classifier = LinearToy()
    for shape, expected in (((30, 17), 144), ((9, 7), 63)):
        x = clips(1, shape) + 0.1
        made = context(classifier, x, x)
        classifier.forwarded.clear()
        score("non_sensitivity", made)
        assert sum(classifier.forwarded) == expected


@pytest.mark.parametrize("name", ["completeness", "non_sensitivity"])
def test_a_clip_scores_the_same_alone_and_in_any_batch(name):
    x, maps = sparse(5, SHAPE, seed=2)
    values = score(name, context(RegionToy(), x, maps)).values
    order = [3, 0, 4, 2, 1]
    shuffled = context(RegionToy(), x[order], maps[order], clip_ids=[ids(5)[i] for i in order], batch_size=2)
    assert torch.allclose(score(name, shuffled).values, values[order], rtol=1e-12, atol=1e-12)
    assert values.unique().numel() > 1
    assert torch.equal(score(name, context(RegionToy(), x, maps)).values, values)
