"""Pairs of method and classifier, typed as METHOD or METHOD@CLASSIFIER, the method with settings or without."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.errors import UnsupportedPairError, XaibenchError

if TYPE_CHECKING:
    import torch

    from xaibench.classifiers.loaded import LoadedClassifier
    from xaibench.explaining.explainer import Explainer
    from xaibench.scoring.one_clip import Pair

AT = "@"


@dataclass
class Pairing:
    """Methods and classifiers brought together; each classifier is loaded once.

    Attributes:
        dataset: name of the dataset. A classifier's name means its weights shipped for this dataset, and
            explainers fitted on it come first.
        explainers: folder with the weights that the user fitted.
        device: where to compute.
    """

    dataset: str
    explainers: Path
    device: torch.device
    _known: dict[str, LoadedClassifier] = field(default_factory=dict, init=False)

    def pairs(self, texts: Sequence[str], classifier: str | None) -> list[Pair]:
        """Return the pairs that METHOD and METHOD@CLASSIFIER name, in this order, each once.

        Args:
            texts: METHOD or METHOD@CLASSIFIER, as typed; METHOD may be NAME:setting=value,setting=value.
            classifier: the one for methods that name none, or None for the first shipped one that they all fit.

        Raises:
            RegistryError: a method or classifier is unknown.
            CheckpointError: the weights do not exist or are damaged.
            UnsupportedPairError: a method makes no sense for its classifier, or is not fitted to it.
            XaibenchError: `classifier` is given, but every method names its own.
        """
        from xaibench.explaining import settings

        typed = {text: split(text) for text in dict.fromkeys(texts)}
        made = {method: settings.create(method) for method, _ in typed.values()}
        methods = {method: explainer for method, (_, explainer) in made.items()}
        labels = {id(explainer): label for label, explainer in settings.labelled(made.values()).items()}
        free = {method: methods[method] for method, named in typed.values() if named is None}
        if classifier is not None and not free:
            raise XaibenchError(f"every --method names its classifier after {AT}; leave out --classifier")
        found: dict[tuple[str, str | None], Pair] = {}
        if free:
            pairs = zip(free, self._free(free, classifier), strict=True)
            found |= {
                (method, None): replace(pair, name=labels.get(id(free[method]), pair.name)) for method, pair in pairs
            }
        for method, named in typed.values():
            if named is not None:
                loaded = self._subject(named)
                explainer = self._bound(method, methods[method], loaded)
                name = labels.get(id(methods[method]), settings.registered_name(method))
                found[method, named] = _pair(f"{name}{AT}{loaded.label}", explainer, loaded)
        return [found[key] for key in typed.values()]

    def _free(self, methods: dict[str, Explainer], classifier: str | None) -> list[Pair]:
        """Pair the methods with one classifier: the named one, or the first shipped one that they all fit."""
        from xaibench.classifiers import references
        from xaibench.explaining import settings

        names = [classifier] if classifier else [name for data, name in references.shipped() if data == self.dataset]
        if not names:
            raise XaibenchError(f"no weights are shipped for {self.dataset}; give --classifier a checkpoint folder")
        reasons: list[str] = []
        for name in names:
            loaded = self._subject(name)
            bound, refused = [], []
            for method, explainer in methods.items():
                try:
                    name = settings.registered_name(method)
                    bound.append(_pair(name, self._bound(method, explainer, loaded), loaded))
                except UnsupportedPairError as error:
                    refused.append(str(error))
            if not refused:
                return bound
            reasons += refused
        raise UnsupportedPairError(f"no classifier fits: {'; '.join(dict.fromkeys(reasons))}")

    def _subject(self, name: str) -> LoadedClassifier:
        from xaibench.classifiers.loaded import load

        if name not in self._known:
            self._known[name], _ = load(name, self.dataset, self.device)
        return self._known[name]

    def _bound(self, name: str, unbound: Explainer, loaded: LoadedClassifier) -> Explainer:
        """Return the method, with the weights that belong to the classifier if it is a trained one."""
        from xaibench.explaining import fitting, settings

        name = settings.registered_name(name)
        refusal = unbound.refusal(loaded.classifier, has_ground_truth=False)
        if refusal is not None:
            raise UnsupportedPairError(f"{name} {refusal}")
        explainer = copy.copy(unbound)
        try:
            card = fitting.bind(name, explainer, loaded, self.dataset, self.explainers)
        except UnsupportedPairError as error:
            raise UnsupportedPairError(f"{name} {error}") from None
        if card is not None and card.classes:
            from xaibench.classifiers.class_order import in_order

            # An added classifier has its classes in the order of its training, a fit in the order of its dataset.
            in_order(loaded.classifier, card.classes)
        return explainer


def split(text: str) -> tuple[str, str | None]:
    """Return method and classifier of METHOD@CLASSIFIER; the classifier is None where none is named.

    Raises:
        XaibenchError: one of them is empty.
    """
    method, mark, classifier = text.partition(AT)
    if mark and not (method and classifier):
        raise XaibenchError(f"--method {text!r} is neither METHOD nor METHOD{AT}CLASSIFIER")
    return method, classifier or None


def _pair(name: str, explainer: Explainer, loaded: LoadedClassifier) -> Pair:
    from xaibench.scoring.one_clip import Pair

    return Pair(name, explainer, loaded)
