"""Parts that strangers' code takes part in, scored in a worker process: what exits, dies or hangs there costs itself.

Methods, metrics and classifiers that other distributions register run in such a process, with a time limit for each
part. The process (`scoring.worker_process`) makes everything anew from names and folders, and scores with the same
code. What only this process has, such as a class typed into a notebook, cannot be sent there; it is scored here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import torch

from xaibench import registry
from xaibench.classifiers import references
from xaibench.classifiers.checkpoint import Card
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError, one_line
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.settings import changes, registered_name
from xaibench.scoring.config import MethodOnClassifier, RunConfig, applicable
from xaibench.scoring.metric import Metric
from xaibench.scoring.part import Outcome, Scoring, is_ours
from xaibench.storage import identity

# With this process's paths, but not with the folder that the command was given in before all others.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from xaibench.scoring.worker_process import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_START_SECONDS = 60.0  # least time that is given to start, however short a part's limit is
_ATTEMPTS = 3  # at a part by xaibench's own code, whose process somebody may have killed
_LOOK_SECONDS = 0.5  # between two looks at whether the process lives: what it started may keep its pipe open
_SCRIPTS = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """What a worker makes its run of.

    Attributes:
        config: the run's, without methods and metrics, which jobs name.
        label, classifier, classes, identity: of the classifier: its name, reference, order of classes and hash.
        device: where it computes.
        run: the run folder.
        settings: of this process, as they shall be there.
    """

    config: RunConfig
    label: str
    classifier: str
    classes: tuple[str, ...]
    identity: str
    device: torch.device
    run: Path
    settings: ProcessSettings


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part to score: its number, the method with its settings, one of its masks and its identity, and the metrics."""

    index: int
    method: str
    settings: dict[str, Any]
    soft: bool
    code_sha256: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Settings of a process that move the last digits of scores."""

    threads: int
    dtype: torch.dtype
    matmul: str
    deterministic: bool
    warn_only: bool
    benchmark: bool

    @classmethod
    def here(cls) -> ProcessSettings:
        """Read the settings of this process."""
        return cls(
            threads=torch.get_num_threads(),
            dtype=torch.get_default_dtype(),
            matmul=torch.get_float32_matmul_precision(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            benchmark=torch.backends.cudnn.benchmark,
        )

    def apply(self) -> None:
        """Make them the settings of this process."""
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_float32_matmul_precision(self.matmul)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.backends.cudnn.benchmark = self.benchmark


class Workers:
    """Tells whose parts belong in a worker process, and scores them there.

    Args:
        scoring: the run on one classifier.
        number: of the worker, where a run has several, or None. One of several scores whatever it can, each on a GPU of
            its own as far as there are so many.
    """

    def __init__(self, scoring: Scoring, number: int | None = None) -> None:
        self._scoring, self._config, self._loaded = scoring, scoring.config, scoring.loaded
        self._foreign_classifier = _is_foreign_classifier(scoring.loaded)
        self._same: dict[tuple[str, str], bool] = {}
        self._takes_all = number is not None
        described = _describe(scoring, _device(scoring.loaded.classifier.device, number or 0))
        self._obstacle = described if isinstance(described, str) else ""
        self._worker = None if isinstance(described, str) else Worker(described)

    def take(self, pair: MethodOnClassifier, metrics: dict[str, Metric]) -> bool:
        """Tell whether a part is to be scored in a worker process."""
        return (self._takes_all or self._is_foreign(pair, metrics)) and not self._why_not(pair, metrics)

    def score(self, pair: MethodOnClassifier, metrics: dict[str, Metric], index: int) -> Outcome:
        """Score a part in a worker process.

        Raises:
            XaibenchError: as `Part.score` does.
        """
        assert self._worker is not None
        code = self._scoring.identities.method(pair).sha256
        job = Job(
            index=index,
            method=pair.name,
            settings=self._settings(pair.name),
            soft=pair.soft,
            code_sha256=code,
            metrics=tuple(sorted(metrics)),
        )
        foreign = self._is_foreign(pair, metrics)
        for _attempt in range(1 if foreign else _ATTEMPTS):
            try:
                return self._worker.score(job, self._config.timeout if foreign else None)
            except _Lost as lost:
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
                    made = made.with_parameters(**self._settings(name))
            except XaibenchError:
                self._same[group, name] = False
            else:
                same = identity.of_object(made).sha256 == identity.of_object(thing).sha256
                self._same[group, name] = type(made) is type(thing) and same
        return self._same[group, name]

    def _settings(self, name: str) -> dict[str, Any]:
        """Return what is set of a method of the run that the installed one has otherwise."""
        made: Explainer = registry.create("methods", registered_name(name))
        return changes(made, self._config.methods[name].parameters)

    def _blamed(self, lost: _Lost, pair: MethodOnClassifier) -> Outcome:
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


class Worker:
    """One worker process; it is started when it is first needed, and again after it was lost.

    Args:
        run: what it scores.
    """

    def __init__(self, run: RunDescription) -> None:
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self.ended = False  # whether it is to start no process any more
        self._lock = threading.Lock()  # another thread may end what this one is starting

    def score(self, job: Job, timeout: float | None) -> Outcome:
        """Score a part in at most `timeout` seconds, or in any time.

        Raises:
            _Lost: the process exited, died, or took longer than the limit.
            XaibenchError: as `Part.score` does.
        """
        try:
            if self._process is None or self._process.poll() is not None:
                self._start(timeout)
            return self._ask(job, timeout)
        except BaseException as error:
            # Whatever it was, also Ctrl-C: nobody knows in which state it is, and another one is quickly started.
            if not isinstance(error, XaibenchError | OSError):
                self.close()
            raise

    def end(self) -> None:
        """Kill the process, and start none any more; any thread may do so."""
        with self._lock:
            self.ended = True
            self._kill()

    def close(self) -> None:
        """Kill the process, and all that it has started."""
        with self._lock:
            if self._process is not None:
                self._kill()
                self._channel.close()
                self._trace.close()
                self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _start(self, timeout: float | None) -> None:
        self.close()
        self._channel, theirs = Pipe()
        # Where the process writes its stack when it crashes, or is told to; closed by close().
        self._trace = tempfile.TemporaryFile()  # noqa: SIM115
        passed = (theirs.fileno(), self._trace.fileno())
        with self._lock:
            if self.ended:
                raise _Lost("was stopped", "", "")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *map(str, passed)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
        theirs.close()
        limit = None if timeout is None else max(timeout, _START_SECONDS)
        self._ask(None, limit)
        opened = self._ask(self._run, limit)
        if opened.reason:
            raise _Lost(f"cannot begin: {opened.reason}", "", opened.traceback)

    def _ask(self, request: RunDescription | Job | None, limit: float | None) -> Outcome:
        """Send a request (None: only wait) and return the answer; an error that is the answer is raised."""
        running, end = "", None if limit is None else time.monotonic() + limit
        try:
            if request is not None:
                self._channel.send(request)
            while True:
                left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, end - time.monotonic())
                if left <= 0:
                    raise self._late(running, limit)
                if not self._channel.poll(left):
                    assert self._process is not None
                    if self._process.poll() is not None and not self._channel.poll(0):
                        raise EOFError
                    continue
                answer = self._channel.recv()
                if isinstance(answer, str):
                    running = answer
                elif isinstance(answer, Exception):
                    raise answer
                else:
                    return answer
        except (EOFError, ConnectionError):
            raise self._dead(running) from None

    def _late(self, running: str, limit: float | None) -> _Lost:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)  # faulthandler writes where it is
        for _ in range(20):
            time.sleep(0.05)
            if os.fstat(self._trace.fileno()).st_size:
                break
        return _Lost(f"took longer than {limit:g} s for a part (--timeout)", running, self._traceback())

    def _dead(self, running: str) -> _Lost:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        if code is None:
            reason = "closed its connection"
        elif code >= 0:
            reason = f"exited with code {code}"
        elif -code == signal.SIGKILL:
            reason = "was killed (SIGKILL), perhaps because memory ran out"
        else:
            reason = f"died ({_signal(-code)})"
        return _Lost(reason, running, self._traceback())

    def _traceback(self) -> str:
        self._trace.seek(0)
        return self._trace.read().decode(errors="replace")


class _Lost(Exception):
    """A worker process is gone.

    Attributes:
        reason: what happened to it.
        running: what it had announced: "explain()", "metric NAME", or "".
        traceback: of its threads; empty where it left none.
    """

    def __init__(self, reason: str, running: str, traceback: str) -> None:
        super().__init__(reason)
        self.reason, self.running, self.traceback = reason, running, traceback


def _device(device: torch.device, number: int) -> torch.device:
    """Choose the device of a worker: GPUs go round, everything else is shared."""
    if device.type != "cuda":
        return device
    return torch.device("cuda", ((device.index or 0) + number) % torch.cuda.device_count())


def _describe(scoring: Scoring, device: torch.device) -> RunDescription | str:
    """Describe a run for a worker, or say why that is impossible."""
    config, loaded = scoring.config, scoring.loaded
    if loaded.reference is None:
        return f"{loaded.label} was not loaded from a checkpoint folder"
    for what, thing in (("dataset", config.dataset), ("protocol", config.protocol)):
        if type(thing).__module__ in _SCRIPTS:
            return f"no installed package holds the {what} {thing.name}"
    description = RunDescription(
        config=replace(config, methods={}, metrics={}),
        label=loaded.label,
        classifier=loaded.reference,
        classes=tuple(loaded.classifier.classes),
        identity=loaded.identity,
        device=device,
        run=scoring.folder.path.resolve(),
        settings=ProcessSettings.here(),
    )
    try:
        pickle.dumps(description)
    except Exception as error:
        return f"the dataset or protocol cannot be sent to another process ({one_line(error)})"
    return description


def _is_foreign_classifier(loaded: LoadedClassifier) -> bool:
    if loaded.reference is None:
        return False
    if references.brings_weights(loaded.reference):
        return registry.is_foreign("classifiers", loaded.reference)
    card = Card.read(Path(loaded.reference))
    if card.builder:
        return registry.is_foreign("checkpoint_formats", card.builder)
    return registry.is_foreign("classifiers", card.classifier)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
