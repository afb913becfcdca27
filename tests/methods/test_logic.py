"""`logic-rules`: the rule in words is the one that decides, and its map shows the places of its concepts alone."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.explaining.explanation import Explanation
from xaibench.sound.audio import spectrogram
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

toys = Lazy("xaibench.testing.toys")


@pytest.fixture(scope="module")
def shipped() -> Any:
    return checkpoint.resolve("logic-micro", "synth")[0]


@pytest.fixture(scope="module")
def batch() -> Batch:
    source = Synth()
    clips = source.in_folds([5])[:10]
    x = spectrogram(torch.stack([torch.from_numpy(source.waveform(clip)) for clip in clips]))
    return Batch(x, tuple(clip.id for clip in clips), seed=0)


def explain(classifier: Any, batch: Batch, target: torch.Tensor) -> Explanation:
    return registry.create("methods", "logic-rules").explain(classifier, batch, target)


def truths_by_loops(classifier: Any, x: torch.Tensor) -> np.ndarray:
    """The truth of each concept (clips, concepts): a mean over places of sigmoids, weighted by exponentials."""
    with torch.inference_mode():
        scores = classifier.head.scores(classifier.blocks(classifier._image(x))).double().numpy()
    truth = np.zeros(scores.shape[:2])
    for clip, concept in np.ndindex(*truth.shape):
        places = scores[clip, concept].flatten()
        weight = sum(math.exp(score) for score in places)
        truth[clip, concept] = sum(math.exp(score) / weight / (1 + math.exp(-score)) for score in places)
    return truth


def test_the_rule_in_words_is_what_the_network_computes(shipped: Any, batch: Batch) -> None:
    """Read the text as a stranger would, compute it from the named concepts, and compare with the logits."""
    names, truth = list(shipped.concept_names), truths_by_loops(shipped, batch.x)
    with torch.inference_mode():
        logits = shipped.picture_logits(batch.x)
    target = logits.argmax(dim=1)
    texts = explain(shipped, batch, target).texts
    assert len(texts) == len(batch)
    for clip, text in enumerate(texts):
        name, rule, held, limit = re.fullmatch(
            r"(.+?): (.+); this rule .*\(truth (\S+) of at most (\S+)\)", text
        ).groups()  # type: ignore[union-attr]
        assert name == shipped.classes[target[clip]]
        value = 1.0
        for literal in rule.split(" AND "):
            negated, concept, said = re.fullmatch(r"(NOT )?(.+) \((\S+)\)", literal).groups()  # type: ignore[union-attr]
            found = truth[clip, names.index(concept)]
            assert float(said) == pytest.approx(found, abs=0.0051)
            value *= 1 - found if negated else found
        confidences = shipped.confidences()[target[clip]]
        best = min(confidences.tolist(), key=lambda one: abs(one - float(limit)))
        assert float(held) == pytest.approx(best * value, abs=0.0052)
        # The class is the OR of its rules, so at least as true as this one.
        assert torch.sigmoid(logits[clip, target[clip]]) >= best * value - 1e-4


def test_the_map_is_of_the_concepts_in_the_rule_alone(shipped: Any, batch: Batch) -> None:
    """By loops over concepts; what concepts beside the rule do changes nothing."""
    few, places = batch.slice(0, 3), []
    hook = shipped.concepts.register_forward_hook(lambda module, args, output: places.append(output.clone()))
    target = torch.tensor([0, 4, 7])
    made = explain(shipped, few, target)
    hook.remove()
    literals, confidences = shipped.literals(), shipped.confidences()
    beside = torch.ones(3, literals.shape[2], dtype=torch.bool)
    for clip, name in enumerate(target.tolist()):
        truth = places[0][clip].sum(dim=(1, 2))
        best, value = 0, -1.0
        for rule in range(literals.shape[1]):
            holds = float(confidences[name, rule])
            for concept, sign in enumerate(literals[name, rule].tolist()):
                holds *= 1.0 if sign == 0 else float(truth[concept] if sign > 0 else 1 - truth[concept])
            best, value = (rule, holds) if holds > value else (best, value)
        expected = torch.zeros(places[0].shape[2:])
        for concept, sign in enumerate(literals[name, best].tolist()):
            if sign > 0:
                expected += places[0][clip, concept] / truth[concept]
            elif sign < 0:
                expected -= places[0][clip, concept] / (1 - truth[concept])
        torch.testing.assert_close(made.map[clip], shipped.front_end.to_picture(expected[None])[0])
        beside[clip] = literals[name].abs().sum(dim=0) == 0
    assert beside.any(dim=1).all()

    def disturbed(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.where(beside[:, :, None, None], output.flip(3) * 0.5, output)

    hook = shipped.concepts.register_forward_hook(disturbed)
    again = explain(shipped, few, target)
    hook.remove()
    torch.testing.assert_close(again.map, made.map)
    assert again.texts == made.texts


def test_a_class_whose_rules_do_not_hold_is_said_so(batch: Batch) -> None:
    toy = toys.toy_classifier({"rules"})
    clips = toys.toy_batch(2)
    toy.head.rules.tenths.data[0] = 0
    toy.head.rules.tenths.data[0, :, 1], toy.head.rules.tenths.data[0, :, 3] = -0.1, 0.1
    toy.head.scores[2].bias.data[1] = 30  # true of every clip
    first, _ = explain(toy, clips, torch.zeros(2, dtype=torch.long)).texts
    assert re.fullmatch(
        r"bell: concept 4 \(0\.\d\d\) AND NOT concept 2 \(1\.00\); this rule does not hold, and no other rule of it is "
        r"truer \(truth 0\.00 of at most 0\.95\)",
        first,
    )
    toy.head.rules.tenths.data[0] = 0
    assert explain(toy, clips, torch.zeros(2, dtype=torch.long)).texts[0].startswith("bell: always; this rule holds")
