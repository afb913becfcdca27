"""Rule-based methods on classifiers whose rectifications their hooks do not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.testing import toy_batch, toy_classifier

rules = Lazy("xaibench.methods.rules")


class Functional(nn.Module):
    """A ReLU that is no nn.ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)


def hidden(classifier: Classifier, which: slice) -> int:
    """Replace some of the ReLU modules by functional ones; return how many."""
    places = [
        (parent, name)
        for parent in classifier.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ReLU)
    ]
    for parent, name in places[which]:
        setattr(parent, name, Functional())
    return len(places[which])


RULES = ("deeplift", "guided-backprop", "guided-gradcam")


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("which", [slice(None), slice(0, 1), slice(-1, None)], ids=["all", "the first", "the last"])
def test_a_rectification_that_the_hooks_do_not_see_is_refused(method: str, which: slice) -> None:
    """Without the rule what is left is the gradient (times the input), under another name."""
    batch, classifier = toy_batch(), toy_classifier({"rectifiers"})
    target = classifier.picture_logits(batch.x).argmax(dim=1)
    explainer = registry.create("methods", method)
    seen = explainer.explain(classifier, batch, target)
    assert hidden(classifier, which) > 0
    assert torch.equal(classifier.picture_logits(batch.x).argmax(dim=1), target), "the classifier is the same function"
    with pytest.raises(ExplanationError, match=r"toy-cnn rectifies where the rules .* do not reach: .* an nn\.ReLU"):
        explainer.explain(classifier, batch, target)
    assert seen.map.abs().sum() > 0


def test_contributions_sum_to_the_rise_of_the_logit() -> None:
    batch, classifier = toy_batch(), toy_classifier({"rectifiers"})
    target = classifier.picture_logits(batch.x).argmax(dim=1)
    found = rules.contributions(classifier, batch, target).double().flatten(1).sum(dim=1)
    rise = classifier.temperature * (
        classifier.picture_logits(batch.x) - classifier.picture_logits(torch.zeros_like(batch.x))
    )
    torch.testing.assert_close(found, rise.gather(1, target[:, None])[:, 0].double(), rtol=1e-4, atol=1e-5)


def test_a_rise_that_is_no_larger_than_rounding_is_not_taken_for_a_rectification() -> None:
    """As after the weights were made random: the logits hardly differ from those of silence."""
    batch, classifier = toy_batch(), toy_classifier({"rectifiers"})
    last = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= 1e-6
        last.bias.fill_(1.0)
    found = rules.contributions(classifier, batch, torch.zeros(len(batch.x), dtype=torch.long))
    assert 0 < found.abs().sum() < 1e-2
