"""What the explanations and scores of a run depend on, as identities; each is told once, before anything runs."""

from __future__ import annotations

from functools import cached_property

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.scoring.config import MethodOnClassifier, RunConfig, judge_of
from xaibench.scoring.metric import Metric
from xaibench.storage import identity
from xaibench.storage.identity import Identity

# The code around a method and a metric: what asks for maps, and what makes scores of them.
_EXPLAINING = "xaibench.explaining.bound"
_SCORING = "xaibench.scoring.part"


class Identities:
    """Identities of the methods and metrics of a run on one classifier.

    Weights, parameters, sound and ground truth are compared one by one where parts are read again; an identity
    holds the code, and all that an object was made with.
    """

    def __init__(self, config: RunConfig, loaded: LoadedClassifier) -> None:
        self._config, self._loaded = config, loaded
        self._methods: dict[int, Identity] = {}
        self._metrics: dict[str, Identity] = {}

    def explanation(self, pair: MethodOnClassifier) -> Identity:
        """Identify what makes a method's maps."""
        return identity.joined(self._classifier, self._of_method(pair), identity.of_module(_EXPLAINING))

    def method(self, pair: MethodOnClassifier) -> Identity:
        """Identify what makes a method's scores, but for the metrics."""
        return identity.joined(self.shared, self._of_method(pair))

    @cached_property
    def shared(self) -> Identity:
        """Identify what makes the scores of every method: the classifier's code, the protocol and the engine."""
        return identity.joined(self._classifier, self._protocol, identity.of_module(_SCORING))

    def metric(self, name: str, metric: Metric) -> Identity:
        """Identify a metric."""
        if name not in self._metrics:
            self._metrics[name] = identity.of_object(metric)
        made = self._metrics[name], identity.of_module(_SCORING)
        return identity.joined(*made, self.judge) if metric.needs_judge else identity.joined(*made)

    @cached_property
    def judge(self) -> Identity:
        """Identify the classifier's judge by its weights."""
        found = judge_of(self._config, self._loaded)
        return Identity("" if found is None else found.card.weights_sha256)

    @cached_property
    def _classifier(self) -> Identity:
        return self._loaded.classifier.code_identity()

    @cached_property
    def _protocol(self) -> Identity:
        return identity.of_object(self._config.protocol)

    def _of_method(self, pair: MethodOnClassifier) -> Identity:
        if id(pair) not in self._methods:
            self._methods[id(pair)] = identity.of_object(pair.method)
        return self._methods[id(pair)]
