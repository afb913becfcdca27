"""The rule by which a rule-based classifier decides, in words and as the places of its concepts."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import RuleBased
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._picture import explained

_SMALLEST = 1e-5  # truth by which is divided


class LogicRules(Explainer):
    """The truest rule of the class: an AND of concepts and of concepts that must be absent.

    The map is how the logarithm of the rule's truth changes with the truth of each concept, times what each place adds
    to this truth, summed over the concepts of the rule. So every concept that the rule asks for has a sum of 1 over its
    places, since without it the rule is false; a concept that must be absent counts against the places where there is
    some of it, the more the nearer it is to making the rule false.
    """

    title = "Logic rules"
    family = "by design"
    reference = "Perreault, Inoue, Labib, Hertz, arXiv 2508.08172"
    description = (
        "the truest rule of the class in words, and the places of its concepts, each as far as the rule needs it"
    )
    polarity = "positive"
    requires = frozenset({"rules"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        model, seen = cast(RuleBased, classifier), []
        hook = model.concepts.register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            with torch.inference_mode():
                classifier.logits_of_clips(batch)
        finally:
            hook.remove()
        places = seen[0].clone()
        truth = places.sum(dim=(2, 3))
        literals, confidences = model.literals()[target], model.confidences()[target]  # of each clip's own class
        wanted, unwanted = literals > 0, literals < 0
        factors = torch.where(wanted, truth[:, None], torch.where(unwanted, 1 - truth[:, None], 1.0))
        truths = confidences * factors.prod(dim=2)
        clips, best = torch.arange(len(batch), device=target.device), truths.argmax(dim=1)
        rule, factor = literals[clips, best], factors[clips, best]
        maps = (places * (rule / factor.clamp(min=_SMALLEST))[:, :, None, None]).sum(dim=1)
        texts = tuple(
            _text(
                classifier.classes[int(target[i])],
                float(truths[i, best[i]]),
                float(confidences[i, best[i]]),
                [(model.concept_names[k], float(truth[i, k]), bool(rule[i, k] > 0)) for k in _order(rule[i])],
            )
            for i in clips.tolist()
        )
        made = explained(classifier, maps, batch)
        return Explanation(made.map, made.native_shape, texts)


def _order(rule: Tensor) -> list[int]:
    """The concepts of a rule (concepts,), those that it asks for first."""
    return [int(k) for sign in (1, -1) for k in torch.nonzero(rule == sign)[:, 0]]


def _text(name: str, truth: float, confidence: float, concepts: list[tuple[str, float, bool]]) -> str:
    """Write a rule with its truth, and the truth of its concepts."""
    words = [f"{'' if wanted else 'NOT '}{concept} ({value:.2f})" for concept, value, wanted in concepts]
    said = " AND ".join(words) or "always"
    held = "holds" if truth > 0.5 else "does not hold, and no other rule of it is truer"
    return f"{name.replace('_', ' ')}: {said}; this rule {held} (truth {truth:.2f} of at most {confidence:.2f})"
