"""The only loop: clips -> explanations -> evidence -> per-clip rows, part by part."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Literal

import torch

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import AudioError, UnsupportedPairError, one_line
from xaibench.results.store import RunFolder
from xaibench.scoring.config import MethodOnClassifier, RunConfig, lacking, methods_on
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.queue import Queue
from xaibench.scoring.workers import Workers


@dataclass(frozen=True)
class Event:
    """What just happened to one (classifier, method) on one part, for whoever shows progress.

    Attributes:
        kind: "scored", "found" (an earlier run had it), "failed", "not reused": nothing that was computed of the
            method earlier is used again, because nobody can tell that it would be the same; "costly": its maps take
            many forward passes, told before the first; "unprotected": it runs in this process, without a time limit,
            although it is not xaibench's own; "alone": it runs in this process, one part at a time, although there are
            several workers.
        method: of "unprotected", whatever runs so.
        reason: one line, where failed, not reused, costly, unprotected or alone.
        metric: that failed, where only this metric did.
        traceback: where failed, as far as it is known; the run's log has it too.
        of_sound: whether it failed because the sound of a clip could not be read any more; other parts go on.
    """

    kind: Literal["scored", "found", "failed", "not reused", "costly", "unprotected", "alone"]
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
    (`scoring.workers`), and all parts are where the run has several workers.

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
        folder.expect(loaded.label, pair.label, len(scoring.parts))
        doubt = scoring.identities.method(pair).doubt
        if doubt:
            report(Event("not reused", loaded.label, pair.label, 0, doubt))
        cost = pair.method.forwards_parameter
        if cost is not None and not pair.soft:  # a soft mask shares the maps
            reason = f"{pair.method.parameters[cost]:,} forward passes a clip, by its parameter {cost}"
            report(Event("costly", loaded.label, pair.label, 0, reason))
    if config.workers == 1:
        with contextlib.closing(Workers(scoring)) as workers:
            _tell_who_stays(scoring, workers, found, report)
            _Loop(scoring, found, report).work(0, workers)
        return
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(contextlib.closing(Workers(scoring, one))) for one in range(config.workers)]
        _tell_who_stays(scoring, several[0], found, report)
        _together(scoring, found, several, report)


def _tell_who_stays(
    scoring: Scoring, workers: Workers, pairs: list[MethodOnClassifier], report: Callable[[Event], None]
) -> None:
    """Tell what runs in this process although it should run in another."""
    label = scoring.loaded.label
    for name, reason in workers.left_here(pairs).items():
        report(Event("unprotected", label, name, 0, reason))
    for name, reason in workers.alone(pairs).items():
        report(Event("alone", label, name, 0, reason))


def _together(
    scoring: Scoring, pairs: list[MethodOnClassifier], several: list[Workers], report: Callable[[Event], None]
) -> None:
    """Score with several workers; each has a thread here that waits for it. `report` is called in this thread."""
    events: SimpleQueue[Event | None] = SimpleQueue()
    loop, threads = _Loop(scoring, pairs, events.put), torch.get_num_threads()

    def work(number: int) -> None:
        torch.set_num_threads(threads)  # torch counts them for each thread that calls it
        try:
            loop.work(number, several[number])
        except BaseException:
            loop.stop()
            raise
        finally:
            events.put(None)

    with ThreadPoolExecutor(len(several)) as pool:
        done = [pool.submit(work, number) for number in range(len(several))]
        try:
            busy = len(several)
            while busy:
                event = events.get()
                if event is None:
                    busy -= 1
                else:
                    report(event)
        except BaseException:  # Ctrl-C, above all
            loop.stop()
            for workers in several:
                workers.end()
            raise
    for one in done:
        one.result()


class _Loop:
    """Goes over parts and methods, and remembers who failed; several threads may do so together.

    Args:
        scoring: the run on one classifier.
        pairs: the methods.
        report: told of what happens.
    """

    def __init__(self, scoring: Scoring, pairs: list[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        self._scoring, self._report = scoring, report
        self._queue = Queue(pairs, len(scoring.parts))
        self._here = threading.Lock()  # this process scores one part at a time
        self._stopped = False
        self._failed: set[str] = set()
        self._classifier = ""  # why no method can be scored on it any more
        self._lost_metrics: dict[str, str] = {}  # for all methods, with the reason
        self._failed_metrics: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by method

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._queue.clear()

    def work(self, number: int, workers: Workers) -> None:
        """Score until nothing is left.

        Args:
            number: of the worker.
            workers: its process.
        """
        label = self._scoring.loaded.label
        part: Part | None = None
        while (item := self._queue.take(number)) is not None:
            pair = item.pair
            if pair.label in self._failed:
                continue
            if part is None or part.index != item.index:
                part = Part(self._scoring, item.index)
            with self._scoring.folder.claim(label, pair.label, item.index, item.wait) as mine:
                if not mine:
                    self._queue.pass_over(item)
                    continue
                event = self._attempt(workers, part, pair)
            if self._stopped:
                return  # what was lost with its process did not fail
            if event.kind == "failed" and pair.label in self._failed:
                continue  # another worker has told
            self._tell(event)
            if event.kind == "failed" and not event.of_sound:
                self._failed.add(pair.label)

    def _attempt(self, workers: Workers, part: Part, pair: MethodOnClassifier) -> Event:
        """Score a part; of a file that has vanished meanwhile only this part is lost."""
        try:
            return self._finish(workers, part, pair)
        except AudioError as error:
            reason = f"{one_line(error)}; bring the file back and give the same command again"
            return Event("failed", self._scoring.loaded.label, pair.label, len(part.clips), reason, of_sound=True)

    def _finish(self, workers: Workers, part: Part, pair: MethodOnClassifier) -> Event:
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
            if workers.take(pair, metrics):
                outcome = workers.score(pair, metrics, part.index)
            else:
                with self._here:
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
