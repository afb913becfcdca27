"""The metrics of legacy-speechbrain by hand and against Quantus; test_protocol.py has the original values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toy import LinearToy, ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.sound.batch import Batch

CLIPS, PICTURE_SHAPE = 4, (513, 431)
NAMES = [name for name in registry.names("metrics") if name.startswith("legacy_")]
OF_QUANTUS = {"legacy_sparseness": "Sparseness", "legacy_complexity": "Complexity"}
BY_HAND = [name for name in NAMES if name not in OF_QUANTUS]


class Map(Explainer):
    """A method whose maps are made elsewhere."""

    title = reference = description = "toy"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        raise AssertionError("no legacy metric asks the method again")


class SoftMask(Map):
    native_mask = True


def draws(seed: int) -> Tensor:
    return torch.rand(CLIPS, *PICTURE_SHAPE, generator=torch.Generator().manual_seed(seed))


def context(method: Explainer, maps: Tensor) -> ScoringContext:
    forwarder = Forwarder(LinearToy(), 16, temperature=1.0)
    batch = Batch(draws(1), ids(CLIPS))
    clean = Clean(batch, forwarder.logits(batch.x), forwarder.logits(torch.zeros(1, *PICTURE_SHAPE))[0])
    return ScoringContext(clean, maps, BoundExplainer(method, forwarder))


def score(name: str, made: ScoringContext) -> list[float]:
    metric = registry.create("metrics", name)
    made.require(metric.perturbations(AREAS))
    return metric.score(made, None).values.tolist()


def by_hand(made: ScoringContext, mask: Tensor) -> list[dict[str, float]]:
    """Every number of one clip at a time, in plain Python."""
    classifier, found = LinearToy(), []
    for i in range(CLIPS):
        x, m = made.clean.batch.x[i : i + 1], mask[i : i + 1]
        full, kept, removed = (
            [math.exp(v) for v in classifier.picture_logits(one)[0].double().tolist()]
            for one in (x, x * m, x * (1 - m))
        )
        p, k, r = ([v / sum(one) for v in one] for one in (full, kept, removed))
        q, qk = ([math.exp(v) / sum(math.exp(u) for u in one) for v in one] for one in (p, k))
        c = p.index(max(p))
        found.append(
            {
                "legacy_input_fidelity": float(k.index(max(k)) == c),
                "legacy_faithfulness_kept": p[c] - k[c],
                "legacy_faithfulness_removed": p[c] - r[c],
                "legacy_average_increase": 100.0 * (k[c] > p[c]),
                "legacy_average_drop": 100 * max(0.0, q[c] - qk[c]) / q[c],
                "legacy_average_gain": 100 * max(0.0, k[c] - p[c]) / (1 - p[c]),
                "legacy_mask_fraction": float(m.double().mean()),
            }
        )
    return found


def test_the_metrics_of_the_protocol_are_named_after_it() -> None:
    every = registry.names("metrics")
    assert [name for name in every if "legacy-speechbrain" in registry.load("metrics", name).protocols] == NAMES


def test_every_metric_of_a_soft_mask_by_hand() -> None:
    made = context(SoftMask(), draws(2))
    expected = by_hand(made, draws(2))
    for name in BY_HAND:
        assert score(name, made) == pytest.approx([one[name] for one in expected], abs=1e-6), name


def test_a_map_is_kept_where_it_reaches_its_quantile() -> None:
    maps = draws(3)
    maps[1, :200] = 2.0  # a plateau above the quantile: all of it is kept
    maps[2] = 0.5
    cuts = [np.quantile(one.numpy().astype(np.float64), 0.90) for one in maps]
    mask = torch.stack([(one.double() >= cut).float() for one, cut in zip(maps, cuts, strict=True)])
    made = context(Map(), maps)
    expected = by_hand(made, mask)
    for name in ("legacy_input_fidelity", "legacy_faithfulness_kept", "legacy_mask_fraction"):
        assert score(name, made) == pytest.approx([one[name] for one in expected], abs=1e-6), name
    fractions = score("legacy_mask_fraction", made)
    assert fractions[0] == pytest.approx(0.1, abs=1e-5)
    assert fractions[1] == pytest.approx(200 / 513)
    assert fractions[2] == 1.0


def test_sparseness_and_complexity_are_quantus() -> None:
    import quantus

    mask = draws(4) ** 4
    mask[3] = 0.47
    made = context(SoftMask(), mask)
    arguments: dict[str, Any] = {"model": None, "y_batch": np.zeros(CLIPS, int), "softmax": False, "device": "cpu"}
    for name, theirs_name in OF_QUANTUS.items():
        theirs = getattr(quantus, theirs_name)(abs=True, disable_warnings=True)(
            x_batch=mask[:, None].numpy().copy(), a_batch=mask[:, None].double().numpy().copy(), **arguments
        )
        assert score(name, made) == pytest.approx(theirs, rel=1e-6, abs=1e-9), name


def test_a_mask_of_zeros_has_neither() -> None:
    mask = draws(5)
    mask[1] = 0.0
    made = context(SoftMask(), mask)
    for name in OF_QUANTUS:
        scored = registry.create("metrics", name).score(made, None)
        assert [reason is not None for reason in scored.reasons] == [False, True, False, False]


def test_which_recipe_prints_what() -> None:
    def of(method: Explainer) -> set[str]:
        return {name for name in NAMES if registry.create("metrics", name).applies_to(method)}

    both = {"legacy_input_fidelity", "legacy_mask_fraction"}
    assert of(Map()) == both | {"legacy_faithfulness_kept"}
    assert of(SoftMask()) == set(NAMES) - {"legacy_faithfulness_kept"}
