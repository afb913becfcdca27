"""The only loop: clips -> explanations -> evidence -> per-clip rows, part by part."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import AudioError, UnsupportedPairError, one_line
from xaibench.results.store import RunFolder
from xaibench.scoring.config import MethodOnClassifier, RunConfig, lacking, methods_on
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.workers import Workers


@dataclass(frozen=True)
class Event:
    """What just happened to one (classifier, method) on one part, for whoever shows progress.

    Attributes:
        kind: "scored", "found" (an earlier run had it), "failed", "not reused": nothing that was computed of the
            method earlier is used again, because nobody can tell that it would be the same; "costly": its maps take
            many forward passes, told before the first; "unprotected": it runs in this process, without a time limit,
            although it is not xaibench's own.
        method: of "unprotected", whatever runs so.
        reason: one line, where failed, not reused, costly or unprotected.
        metric: that failed, where only this metric did.
        traceback: where failed, as far as it is known; the run's log has it too.
        of_sound: whether it failed because the sound of a clip could not be read any more; other parts go on.
    """

    kind: Literal["scored", "found", "failed", "not reused", "costly", "unprotected"]
    classifier: str
    method: str
    clips: int
    reason: str = ""
    metric: str = ""
    traceback: str = ""
    of_sound: bool = False


def evaluate(config: RunConfig, loaded: LoadedClassifier, folder: RunFolder, report: Callable[[Event], None]) -> None:
    """Score every sensible method for one classifier, leaving out what `folder` has already.

    Parts are written as they are finished. A method that fails is reported and left; the others go on. Where a metric
    fails, the method goes on without it. Parts that plugins take part in are scored in a worker process
    (`scoring.workers`).

    Raises:
        UnsupportedPairError: no method or no metric is left that makes sense.
        ResultsError: the folder holds parts made with other weights, parameters or sound.
        XaibenchError: a clip does not fit in memory.
    """
    found, refused = methods_on(config, loaded)
    if len(refused) == len(config.methods):
        lines = "; ".join(f"{name} {reason}" for name, reason in refused.items())
        raise UnsupportedPairError(f"nothing to run on {loaded.label}: {lines}")
    needed = {lacking(config.dataset, one) for one in config.metrics.values()} - {None}
    if not found and all(lacking(config.dataset, one) for one in config.metrics.values()):
        what = " and no ".join(sorted(map(str, needed)))
        annotate = ", or give --events" if needed == {"events"} else ""
        raise UnsupportedPairError(
            f"{', '.join(config.metrics)}: not on {config.dataset.name}, which has no {what}; "
            f"choose another --metric or --dataset synth{annotate}"
        )
    if not found:
        raise UnsupportedPairError(
            f"{', '.join(config.metrics)}: says nothing of the methods here, because it reads soft masks only, which "
            "they do not make, or maps, which a control that attenuates has not; choose another --metric or --method"
        )
    scoring = Scoring(config, loaded, folder)
    for pair in found:
        doubt = scoring.identities.method(pair).doubt
        if doubt:
            report(Event("not reused", loaded.label, pair.label, 0, doubt))
        cost = pair.method.forwards_parameter
        if cost is not None and not pair.soft:  # a soft mask shares the maps
            reason = f"{pair.method.parameters[cost]:,} forward passes a clip, by its parameter {cost}"
            report(Event("costly", loaded.label, pair.label, 0, reason))
    with contextlib.closing(Workers(scoring)) as workers:
        for name, reason in workers.left_here(found).items():
            report(Event("unprotected", loaded.label, name, 0, reason))
        _Loop(scoring, workers, report).run(found)


class _Loop:
    """Goes over parts and methods, and remembers who failed."""

    def __init__(self, scoring: Scoring, workers: Workers, report: Callable[[Event], None]) -> None:
        self._scoring, self._workers, self._report = scoring, workers, report
        self._failed: set[str] = set()
        self._classifier = ""  # why no method can be scored on it any more
        self._lost_metrics: dict[str, str] = {}  # for all methods, with the reason
        self._failed_metrics: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by method

    def run(self, pairs: list[MethodOnClassifier]) -> None:
        label = self._scoring.loaded.label
        todo = {index: list(pairs) for index in range(len(self._scoring.parts))}
        # What another process is making is passed over first, and waited for in the end: it may be given up.
        for wait in (False, True):
            for index, left in todo.items():
                part = Part(self._scoring, index)
                for pair in list(left):
                    if pair.label in self._failed:
                        continue
                    with self._scoring.folder.claim(label, pair.label, index, wait) as mine:
                        if not mine:
                            continue
                        event = self._attempt(part, pair)
                    left.remove(pair)
                    self._tell(event)
                    if event.kind == "failed" and not event.of_sound:
                        self._failed.add(pair.label)

    def _attempt(self, part: Part, pair: MethodOnClassifier) -> Event:
        """Score a part; of a file that has vanished meanwhile only this part is lost."""
        try:
            return self._finish(part, pair)
        except AudioError as error:
            reason = f"{one_line(error)}; bring the file back and give the same command again"
            return Event("failed", self._scoring.loaded.label, pair.label, len(part.clips), reason, of_sound=True)

    def _finish(self, part: Part, pair: MethodOnClassifier) -> Event:
        """Score a part, unless that is done, without the metrics that fail."""
        label, clips = self._scoring.loaded.label, len(part.clips)
        while True:
            without = self._lost_metrics | self._failed_metrics[pair.label]
            metrics = part.needed(pair, without)
            if metrics is None:
                return Event("found", label, pair.label, clips)
            if self._classifier or not metrics:
                reason = self._classifier or next(iter(without.values()))
                return Event("failed", label, pair.label, clips, reason)
            if self._workers.take(pair, metrics):
                outcome = self._workers.score(pair, metrics, part.index)
            else:
                outcome = part.score(pair, metrics)
            if not outcome.reason:
                return Event("scored", label, pair.label, clips)
            if outcome.of_classifier:
                self._classifier = outcome.reason
            if outcome.metric:
                of = self._lost_metrics if outcome.lasting else self._failed_metrics[pair.label]
                of[outcome.metric] = outcome.reason
            if not outcome.metric or len(metrics) == 1:
                return Event("failed", label, pair.label, clips, outcome.reason, "", outcome.traceback)
            self._tell(Event("failed", label, pair.label, 0, outcome.reason, outcome.metric, outcome.traceback))

    def _tell(self, event: Event) -> None:
        if event.kind == "failed":
            self._scoring.folder.log(event.classifier, event.method, f"{event.reason}\n{event.traceback}")
        self._report(event)
