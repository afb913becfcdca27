"""The feature maps of a classifier: which of its layers a method reads, and what that shows while it is asked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import FeatureMapped
from xaibench.classifiers.layers import FEATURE_MAPS
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer

# Of a network with more layers an error names those that are called most like the one that was asked for.
MOST_NAMES = 50


class ClassActivation(Explainer):
    """A method that reads the maps of one layer.

    Attributes:
        parameters: `layer` is one of the names in `classifier.map_layers()`: `feature_maps`, the map that the
            classifier itself names, or a module of its network.
    """

    family = "class activation"
    polarity = "positive"
    requires = frozenset({"gradients", "feature_map"})
    parameters = {"layer": FEATURE_MAPS}

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        reason = super().refusal(classifier, has_ground_truth)
        if reason is not None or classifier.training:  # a pass in training would move the statistics of batch norm
            return reason
        return None if self._find(classifier) is not None else self._no_layer(classifier)

    def layer(self, classifier: Classifier) -> nn.Module:
        """Return the module whose output is read, (batch, channels, h, w).

        Raises:
            ExplanationError: the classifier has no such layer.
        """
        found = self._find(classifier)
        if found is None:
            raise ExplanationError(f"{self.title} {self._no_layer(classifier)}")
        return found

    def _find(self, classifier: Classifier) -> nn.Module | None:
        if self.parameters["layer"] == FEATURE_MAPS:  # without a pass
            return cast(FeatureMapped, classifier).feature_maps
        return classifier.map_layers().get(self.parameters["layer"])

    def _no_layer(self, classifier: Classifier) -> str:
        name, every = self.parameters["layer"], list(classifier.map_layers())
        near = difflib.get_close_matches(name, every, n=MOST_NAMES, cutoff=0.0)
        names = every if len(every) <= MOST_NAMES else near
        more = len(every) - len(names)
        there = ", ".join(names) + (f" and {more} more, the keys of classifier.map_layers()" if more else "")
        return f"finds no layer '{name}' that gives maps in {classifier.name}; there are {there}"


@contextmanager
def seen_maps(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer gives, (batch, channels, h, w), in every pass inside `with`."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, args, out: seen.append(out))
    try:
        yield seen
    finally:
        hook.remove()
