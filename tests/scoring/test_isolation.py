"""A plugin that changes what others are scored with fails by name; the others' scores are those of a run without it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.support.evaluating import config_of, run, values
from tests.support.quick import quick_cnn
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

Act = Callable[[Classifier, Batch, Tensor], Any]


class Meddler(Explainer):
    """Explains by energy, and does something else beside."""

    title = "Meddler"
    reference = "tests"
    description = "changes what it is given"
    polarity = "positive"

    def __init__(self, act: Act, fails: bool = False) -> None:
        self.act, self.fails = act, fails

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        explanation = Explanation(batch.x.clone(), batch.picture_shape)
        self.act(classifier, batch, target)
        if self.fails:
            raise RuntimeError("and it breaks")
        return explanation


def first(classifier: Classifier) -> Tensor:
    return next(classifier.parameters())


def multiply(classifier: Classifier, batch: Batch, target: Tensor) -> None:
    with torch.no_grad():
        first(classifier).mul_(1.5)


def through_numpy(classifier: Classifier, batch: Batch, target: Tensor) -> None:
    first(classifier).detach().numpy()[...] *= 1.5


def replace_module(classifier: Any, batch: Batch, target: Tensor) -> None:
    name, _ = list(classifier.named_children())[-1]
    setattr(classifier, name, torch.nn.Identity())


def change_buffer(classifier: Classifier, batch: Batch, target: Tensor) -> None:
    next(buffer for buffer in classifier.buffers() if buffer.is_floating_point()).add_(1.0)


MEDDLING: dict[str, tuple[Act, str]] = {
    "training mode": (lambda c, b, t: c.train(), "the training mode of"),
    "one module's mode": (lambda c, b, t: next(iter(c.children())).train(), "the training mode of"),
    "a hook": (lambda c, b, t: c.register_forward_hook(lambda *_: None), "hooks of"),
    "a hook of a parameter": (
        lambda c, b, t: first(c.requires_grad_(True)).register_hook(lambda gradient: gradient),
        "leaves changed",
    ),
    "a weight": (multiply, "leaves changed"),
    "a weight's data": (lambda c, b, t: first(c).data.mul_(1.5), "leaves changed"),
    "a weight through numpy": (through_numpy, "leaves changed"),
    "a buffer": (change_buffer, "leaves changed"),
    "gradients on": (lambda c, b, t: c.requires_grad_(True), "leaves changed"),
    "a submodule": (replace_module, "modules of"),
    "forward()": (lambda c, b, t: setattr(c, "forward", lambda x: x), "forward() of"),
    "the temperature": (lambda c, b, t: setattr(c, "temperature", 9.0), "the classifier's temperature"),
    "the classes": (lambda c, b, t: setattr(c, "classes", c.classes[::-1]), "the classifier's classes"),
    "the clip": (lambda c, b, t: b.x.mul_(0.5), "batch.x"),
    "the clip's data": (lambda c, b, t: b.x.data.mul_(0.5), "batch.x"),
    "the clip through numpy": (lambda c, b, t: b.x.numpy().fill(0.0), "batch.x"),
    "the ground truth": (lambda c, b, t: b.ground_truth.zero_(), "batch.ground_truth"),
    "the target": (lambda c, b, t: t.zero_().add_(1), "the target"),
    "the default dtype": (lambda c, b, t: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    "the gradient mode": (lambda c, b, t: torch.set_grad_enabled(False), "torch's gradient mode"),
    "the threads": (lambda c, b, t: torch.set_num_threads(7), "torch's number of threads"),
    "torch's random state": (lambda c, b, t: torch.rand(1), "torch's global random state"),
    "numpy's random state": (lambda c, b, t: np.random.rand(), "numpy's global random state"),
    "Python's random state": (lambda c, b, t: random.random(), "Python's global random state"),
}


@pytest.fixture
def fresh() -> LoadedClassifier:
    """A classifier that no other test sees."""
    return quick_cnn()


def scored(methods: dict[str, Explainer], synth: Synth, loaded: LoadedClassifier, folder: Path) -> pd.Series:
    config = config_of(synth, methods, ["faithfulness", "sparseness"], 2)
    config = replace(config, cache=ExplanationCache(folder / "cache"))
    run(config, loaded, folder / "run")
    return values(folder / "run")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.Series:
    """The scores of saliency without any plugin beside it."""
    methods = {"zz-later": registry.create("methods", "saliency")}
    return scored(methods, Synth(), quick_cnn(), tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("fails", [False, True], ids=["", "and raises"])
@pytest.mark.parametrize("name", MEDDLING)
def test_who_changes_anything_fails_and_the_others_are_as_without_it(
    name: str,
    fails: bool,
    synth: Synth,
    fresh: LoadedClassifier,
    alone: pd.Series,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xaibench.explaining.cache.WORTH_KEEPING_SECONDS", 0.0)
    act, words = MEDDLING[name]
    before = {key: tensor.clone() for key, tensor in fresh.classifier.state_dict().items()}
    methods = {"meddler": Meddler(act, fails), "zz-later": registry.create("methods", "saliency")}
    config = replace(
        config_of(synth, methods, ["faithfulness", "sparseness"], 2), cache=ExplanationCache(tmp_path / "cache")
    )
    events = run(config, fresh, tmp_path / "run")
    told = {event.method: event for event in events if event.kind in {"failed", "scored"}}
    assert told["meddler"].kind == "failed", "nobody noticed"
    assert words in told["meddler"].reason
    assert told["zz-later"].kind == "scored"
    found = values(tmp_path / "run")
    pd.testing.assert_series_equal(found, alone, check_exact=True)
    after = fresh.classifier.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert not any(module.training for module in fresh.classifier.modules())


@pytest.mark.parametrize("how", [sys.exit, exit])
def test_a_method_that_leaves_the_process_costs_itself_alone(
    how: Callable[[], Any], synth: Synth, fresh: LoadedClassifier, alone: pd.Series, tmp_path: Path
) -> None:
    methods = {"leaver": Meddler(lambda c, b, t: how()), "zz-later": registry.create("methods", "saliency")}
    config = config_of(synth, methods, ["faithfulness", "sparseness"], 2)
    events = run(config, fresh, tmp_path)
    (reason,) = [event.reason for event in events if event.kind == "failed"]
    assert reason.startswith("SystemExit")
    pd.testing.assert_series_equal(values(tmp_path), alone, check_exact=True)


class Spoiler(Metric):
    """A metric that switches the classifier to training."""

    title = "Spoiler"
    family = "tests"
    reference = "tests"
    description = formula = traps = cost = "none"
    higher_is_better = True
    bounds = (0.0, 1.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        context.classifier.train()
        return scores(torch.zeros(len(context)))


def test_a_metric_is_watched_too(synth: Synth, fresh: LoadedClassifier, tmp_path: Path) -> None:
    config = config_of(synth, ["energy"], {"spoiler": Spoiler()}, 1)
    (event,) = [event for event in run(config, fresh, tmp_path) if event.kind != "not reused"]
    assert event.kind == "failed"
    assert event.reason.startswith("metric spoiler leaves changed: the training mode of")
    assert not fresh.classifier.training
