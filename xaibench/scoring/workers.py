"""Parts that strangers' code takes part in, scored in a worker process: what exits, dies or hangs there costs itself.

Methods, metrics and classifiers that other distributions register run in such a process, with a time limit for each
part. The process (`scoring.worker`) makes everything anew from names and folders, and scores with the same
code. What only this process has, such as a class typed into a notebook, cannot be sent there; it is scored here.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from xaibench import registry
from xaibench.classifiers import references
from xaibench.classifiers.checkpoint import Card
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.settings import changes, registered_name
from xaibench.scoring.config import MethodOnClassifier, applicable
from xaibench.scoring.description import RunDescription, describe
from xaibench.scoring.messages import Job, Lost, Outcome
from xaibench.scoring.metric import Metric
from xaibench.scoring.part import Scoring, is_ours
from xaibench.scoring.worker import Process, Worker
from xaibench.storage import identity

ATTEMPTS = 3  # at a part by xaibench's own code, whose process somebody may have killed
Start = Callable[[RunDescription, int], Process]  # with the worker's number


def start_here(run: RunDescription, number: int) -> Worker:
    """Make a worker of this machine, on a GPU of its own as far as there are so many."""
    device = run.device
    if device.type == "cuda":  # they go round; everything else is shared
        device = torch.device("cuda", ((device.index or 0) + number) % torch.cuda.device_count())
    return Worker(pickle.dumps(replace(run, device=device)))


class Workers:
    """Tells whose parts belong in a worker process, and scores them there.

    Args:
        scoring: the run on one classifier.
        number: of the worker, where a run has several, or None. One of several scores whatever it can.
        described: the run, as worker processes get it, or why that is impossible; None to describe it now.
        start: makes the process.
    """

    def __init__(
        self,
        scoring: Scoring,
        number: int | None = None,
        described: RunDescription | str | None = None,
        start: Start = start_here,
    ) -> None:
        self._scoring, self._config, self._loaded = scoring, scoring.config, scoring.loaded
        self._foreign_classifier = _is_foreign_classifier(scoring.loaded)
        self._same: dict[tuple[str, str], bool] = {}
        self._takes_all = number is not None
        described = describe(scoring) if described is None else described
        self._obstacle = described if isinstance(described, str) else ""
        self._worker = None if isinstance(described, str) else start(described, number or 0)

    def take(self, pair: MethodOnClassifier, metrics: dict[str, Metric]) -> bool:
        """Tell whether a part is to be scored in a worker process."""
        return (self._takes_all or self._is_foreign(pair, metrics)) and not self._why_not(pair, metrics)

    def ready(self) -> bool:
        """Tell whether a part can be given to it now; wait a moment for that."""
        return self._worker is None or self._worker.ready()

    def score(self, pair: MethodOnClassifier, metrics: dict[str, Metric], index: int) -> Outcome:
        """Score a part in a worker process.

        Raises:
            Away: its machine was lost.
            XaibenchError: as `Part.score` does.
        """
        assert self._worker is not None
        code = self._scoring.identities.method(pair).sha256
        job = Job(
            index=index,
            method=pair.name,
            settings=self.settings(pair.name),
            soft=pair.soft,
            code_sha256=code,
            metrics=tuple(sorted(metrics)),
        )
        foreign = self._is_foreign(pair, metrics)
        for _attempt in range(1 if foreign else ATTEMPTS):
            try:
                return self._worker.score(job, self._config.timeout if foreign else None)
            except Lost as lost:
                outcome = self._blamed(lost, pair)
            if self._worker.ended:
                break
        return outcome

    def left_here(self, pairs: Sequence[MethodOnClassifier]) -> dict[str, str]:
        """Name strangers' code that runs in this process, without a time limit, and say why."""
        found = {}
        for pair in pairs:
            metrics = applicable(self._config.metrics, self._config.dataset, pair)
            if self._is_foreign(pair, metrics) and (why := self._why_not(pair, metrics)):
                found[pair.name] = why
            elif not (is_ours(pair.method) or registry.is_foreign("methods", registered_name(pair.name))):
                found[pair.name] = "no installed package registers it"
        for name, metric in self._config.metrics.items():
            if not (is_ours(metric) or registry.is_foreign("metrics", name)):
                found[f"metric {name}"] = "no installed package registers it"
        if not (is_ours(self._loaded.classifier) or self._foreign_classifier):
            found[self._loaded.label] = "no installed package registers it"
        return found

    def alone(self, pairs: Sequence[MethodOnClassifier]) -> dict[str, str]:
        """Name what this process scores although there are several workers, and say why."""
        found = {}
        for pair in pairs if self._takes_all else ():
            if why := self._why_not(pair, applicable(self._config.metrics, self._config.dataset, pair)):
                found[pair.name] = why
        return found

    def settings(self, name: str) -> dict[str, Any]:
        """Return what is set of a method of the run that the installed one has otherwise."""
        made: Explainer = registry.create("methods", registered_name(name))
        return changes(made, self._config.methods[name].parameters)

    def end(self) -> None:
        """Stop the process for good, while another thread may wait for it."""
        if self._worker is not None:
            self._worker.end()

    def close(self) -> None:
        """Stop the process, if there is one."""
        if self._worker is not None:
            self._worker.close()

    def _is_foreign(self, pair: MethodOnClassifier, metrics: dict[str, Metric]) -> bool:
        return (
            self._foreign_classifier
            or registry.is_foreign("methods", registered_name(pair.name))
            or any(registry.is_foreign("metrics", name) for name in metrics)
        )

    def _why_not(self, pair: MethodOnClassifier, metrics: dict[str, Metric]) -> str:
        """Say what a worker could not make anew; nothing where it could make all."""
        if self._obstacle:
            return self._obstacle
        things: list[tuple[registry.Group, str, object]] = [("methods", pair.name, self._config.methods[pair.name])]
        things += [("metrics", name, metric) for name, metric in metrics.items()]
        odd = next((name for group, name, thing in things if not self._is_named(group, name, thing)), None)
        return "" if odd is None else f"{odd} is another than the installed one of this name"

    def _is_named(self, group: registry.Group, name: str, thing: object) -> bool:
        """Tell whether an object is what its name makes in another process too."""
        if (group, name) not in self._same:
            try:
                made = registry.create(group, registered_name(name) if group == "methods" else name)
                if group == "methods":
                    made = made.with_parameters(**self.settings(name))
            except XaibenchError:
                self._same[group, name] = False
            else:
                same = identity.of_object(made).sha256 == identity.of_object(thing).sha256
                self._same[group, name] = type(made) is type(thing) and same
        return self._same[group, name]

    def _blamed(self, lost: Lost, pair: MethodOnClassifier) -> Outcome:
        """Say whose fault it is that the process was lost: of what ran last, unless that is xaibench's own."""
        metric = lost.running.removeprefix("metric ") if lost.running.startswith("metric ") else ""
        foreign = (
            registry.is_foreign("metrics", metric)
            if metric
            else registry.is_foreign("methods", registered_name(pair.name))
        )
        of_classifier = self._foreign_classifier and (not foreign or not lost.running)
        what = "" if of_classifier or not metric else f"metric {metric} failed: "
        doing = f" in {lost.running}" if lost.running and not metric else ""
        return Outcome(
            f"{what}its worker process {lost.reason}{doing}",
            "" if of_classifier else metric,
            of_classifier,
            lasting=True,
            traceback=lost.traceback,
        )


def _is_foreign_classifier(loaded: LoadedClassifier) -> bool:
    if loaded.reference is None:
        return False
    if references.brings_weights(loaded.reference):
        return registry.is_foreign("classifiers", loaded.reference)
    card = Card.read(Path(loaded.reference))
    if card.builder:
        return registry.is_foreign("checkpoint_formats", card.builder)
    return registry.is_foreign("classifiers", card.classifier)
