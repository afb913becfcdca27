"""Parts that are left, given to one worker after another, by threads of this process that wait for them."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Literal

import torch

from xaibench.errors import AudioError, one_line
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.description import describe, few
from xaibench.scoring.messages import Away
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.queue import Item, Queue
from xaibench.scoring.workers import ATTEMPTS, Start, Workers


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
        of_clips: whether it failed because of these clips: their sound could not be read any more, or the classifier
            gave no answer to them; other parts go on.
    """

    kind: Literal["scored", "found", "failed", "not reused", "costly", "unprotected", "alone"]
    classifier: str
    method: str
    clips: int
    reason: str = ""
    metric: str = ""
    traceback: str = ""
    of_clips: bool = False


def tell_who_stays(
    scoring: Scoring, workers: Workers, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]
) -> None:
    """Tell what runs in this process although it should run in another."""
    label = scoring.loaded.label
    for name, reason in workers.left_here(pairs).items():
        report(Event("unprotected", label, name, 0, reason))
    for name, reason in workers.alone(pairs).items():
        report(Event("alone", label, name, 0, reason))


def together(
    scoring: Scoring, pairs: Sequence[MethodOnClassifier], number: int, start: Start, report: Callable[[Event], None]
) -> None:
    """Score with several workers; each has a thread here that waits for it. `report` is called in this thread.

    Args:
        scoring: the run on one classifier.
        pairs: its methods.
        number: how many workers.
        start: makes a worker.
        report: told of what happens.
    """
    events: SimpleQueue[Event | None] = SimpleQueue()
    loop, threads = Loop(scoring, pairs, events.put), torch.get_num_threads()
    described = describe(scoring, few(scoring.config.clips))
    several = [Workers(scoring, one, described, start) for one in range(number)]
    tell_who_stays(scoring, several[0], pairs, report)

    def work(number: int) -> None:
        torch.set_num_threads(threads)  # torch counts them for each thread that calls it
        try:
            loop.work(number, several[number])
        except BaseException:
            loop.stop()
            raise
        finally:
            several[number].close()  # its place may be wanted by others
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


class Loop:
    """Goes over parts and methods, and remembers who failed; several threads may do so together.

    Args:
        scoring: the run on one classifier.
        pairs: the methods.
        report: told of what happens.
        start: where among the parts it begins, from 0 to 1.
    """

    def __init__(
        self,
        scoring: Scoring,
        pairs: Sequence[MethodOnClassifier],
        report: Callable[[Event], None],
        start: float = 0.0,
    ) -> None:
        self._scoring, self._report = scoring, report
        self._queue = Queue(pairs, len(scoring.parts), int(start * len(scoring.parts)))
        self._here = threading.Lock()  # this process scores one part at a time
        self._stopped = False
        self._failed: set[str] = set()
        self._away: Counter[tuple[int, str]] = Counter()  # by part: workers that were lost with their machine
        self._classifier = ""  # why no method can be scored on it any more
        self._no_answer: dict[int, str] = {}  # by part: why the classifier gave none
        self._answered = False  # whether it ever did
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
        while (item := self._next(number, workers)) is not None:
            pair = item.pair
            if pair.label in self._failed:
                continue
            if part is None or part.index != item.index:
                part = Part(self._scoring, item.index)
            with self._scoring.folder.claim(label, pair.label, item.index, item.wait) as mine:
                if not mine:
                    self._queue.pass_over(item)
                    continue
                event: Event | None
                try:
                    event = self._attempt(workers, part, pair)
                except Away as lost:
                    event = self._lost(lost, item, len(part.clips))
            if event is None:
                self._queue.pass_over(item)
                continue
            if self._stopped:
                return  # what was lost with its process did not fail
            if event.kind == "failed" and pair.label in self._failed:
                continue  # another worker has told
            self._tell(event)
            if event.kind == "failed" and not event.of_clips:
                self._failed.add(pair.label)

    def _next(self, number: int, workers: Workers) -> Item | None:
        """Wait until a worker has a place, as long as anything is left; then take the next part for it."""
        while not workers.ready():
            if self._queue.empty:
                return None
        return self._queue.take(number)

    def _lost(self, lost: Away, item: Item, clips: int) -> Event | None:
        """Let others score what a machine was lost with; it fails if that happens again and again."""
        label, key = item.pair.label, (item.index, item.pair.label)
        self._away[key] += 1
        if self._away[key] < ATTEMPTS:
            return None
        return Event("failed", self._scoring.loaded.label, label, clips, f"{lost}, {ATTEMPTS} times")

    def _attempt(self, workers: Workers, part: Part, pair: MethodOnClassifier) -> Event:
        """Score a part; of a file that has vanished meanwhile only this part is lost."""
        try:
            return self._finish(workers, part, pair)
        except AudioError as error:
            reason = f"{one_line(error)}; bring the file back and give the same command again"
            return Event("failed", self._scoring.loaded.label, pair.label, len(part.clips), reason, of_clips=True)

    def _finish(self, workers: Workers, part: Part, pair: MethodOnClassifier) -> Event:
        """Score a part, unless that is done, without the metrics that fail."""
        label, clips = self._scoring.loaded.label, len(part.clips)
        while True:
            without = self._lost_metrics | self._failed_metrics[pair.label]
            metrics = part.needed(pair, without)
            if metrics is None:
                self._answered = True
                return Event("found", label, pair.label, clips)
            if self._classifier or not metrics:
                reason = self._classifier or next(iter(without.values()))
                return Event("failed", label, pair.label, clips, reason)
            if part.index in self._no_answer:
                return Event("failed", label, pair.label, clips, self._no_answer[part.index], of_clips=True)
            if workers.take(pair, metrics):
                outcome = workers.score(pair, metrics, part.index)
            else:
                with self._here:
                    outcome = part.score(pair, metrics)
            if not outcome.reason:
                self._answered = True
                return Event("scored", label, pair.label, clips)
            if outcome.of_classifier:
                self._no_answer[part.index] = outcome.reason
                if not self._answered and len(self._no_answer) > 1:
                    self._classifier = outcome.reason  # so it is not a clip's fault
                of_clips = not self._classifier
                return Event(
                    "failed", label, pair.label, clips, outcome.reason, "", outcome.traceback, of_clips=of_clips
                )
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
