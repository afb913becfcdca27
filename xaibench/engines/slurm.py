"""The engine `slurm`: an array of jobs, each of which claims parts in the run folder until none is left (submitit)."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from xaibench import registry
from xaibench.errors import XaibenchError, one_line
from xaibench.explaining.settings import registered_name
from xaibench.results.store import RunFolder
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.description import RunDescription, describe, few
from xaibench.scoring.engine import Engine
from xaibench.scoring.evaluate import evaluate
from xaibench.scoring.local import Local
from xaibench.scoring.loop import Event
from xaibench.scoring.part import Scoring
from xaibench.scoring.workers import Workers

_JOBS = ".jobs"  # in the run folder: what is sent to jobs, and what they print
_MINUTES = 24 * 60  # of a job, unless said otherwise; submitit gives five
_LOOK_SECONDS = 2.0
_LOOK_SHARE = 0.05  # of the time at most that looking at the folder takes


class Slurm(Engine):
    """Workers as an array of Slurm jobs, one unless more are asked for; this process waits for them.

    `address` is one of submitit's clusters: slurm unless said otherwise; local has processes of this machine in the
    place of jobs. `resources` are submitit's parameters: timeout_min, mem_gb, gpus_per_node, cpus_per_task, and all of
    Slurm's (partition, account, ...). A job whose time is over, or whose machine is wanted by others, is queued again.
    """

    def score(self, scoring: Scoring, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        """Score until all jobs have ended.

        Raises:
            XaibenchError: something cannot be sent to other machines, Slurm refuses the jobs, or jobs were lost.
        """
        described = describe(scoring, few(scoring.config.clips))
        own = Workers(scoring, 0, described)
        for name, reason in own.alone(pairs).items():
            raise XaibenchError(f"{name} cannot be sent to other machines: {reason}; leave out --engine")
        assert isinstance(described, RunDescription)
        config, number = scoring.config, self.workers or 1
        methods = {pair.name: own.settings(pair.name) for pair in pairs}
        folder = scoring.folder.path / _JOBS
        executor = self._executor(folder)
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".run", delete=False) as file:
            pickle.dump((described, methods, tuple(config.metrics)), file)
        watched = _Watched(scoring, pairs, report)
        watched.look("found")
        work = Work(Path(file.name), number)
        jobs = executor.map_array(work, range(number))
        try:
            lost = self._wait(jobs, watched)
        except BaseException:  # Ctrl-C, above all
            for job in jobs:
                with contextlib.suppress(Exception):
                    job.cancel()
            raise
        finally:
            Path(file.name).unlink(missing_ok=True)
        if watched.left and lost:
            raise XaibenchError(
                f"{len(lost)} of {number} jobs were lost ({lost[0]}; see {folder}); the same command continues"
            )

    def _executor(self, folder: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise XaibenchError("the engine slurm needs submitit; pip install 'xaibench[slurm]'") from error
        known = submitit.AutoExecutor._typed_parameters()
        given = {
            name if name in known or name.startswith("slurm_") else f"slurm_{name}": _value(text)
            for name, text in self.resources.items()
        }
        usual = {"timeout_min": _MINUTES, "cpus_per_task": torch.get_num_threads(), "name": "xaibench"}
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.address or "slurm")
            executor.update_parameters(**usual | given)
        except (NameError, AssertionError) as error:
            raise XaibenchError(f"--resource: {one_line(error)}") from error
        except (RuntimeError, ValueError) as error:
            raise XaibenchError(f"no Slurm here: {one_line(error)} Try --address local first") from error
        return executor

    def _wait(self, jobs: Sequence[Any], watched: _Watched) -> list[str]:
        """Wait for all jobs; return why some were lost, if they were."""
        while not all(job.done() for job in jobs):
            started = time.monotonic()
            watched.look("scored")
            time.sleep(max(_LOOK_SECONDS, (time.monotonic() - started) / _LOOK_SHARE))
        watched.look("scored")
        lost = []
        for job in jobs:
            if (error := job.exception()) is not None:
                lost.append(one_line(error, -1))
            else:
                watched.tell(job.result())
        return lost


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@dataclass(frozen=True)
class Work:
    """What a job does.

    Attributes:
        path: of the run's description, with its methods and metrics.
        number: of jobs.
    """

    path: Path
    number: int

    def __call__(self, rank: int) -> list[Event]:
        """Score until nothing is left, beginning elsewhere than the other jobs; return what failed."""
        run, methods, metrics = pickle.loads(self.path.read_bytes())
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # a job sees its own only
        scoring = replace(run, device=device).make(lambda what: None)
        config = replace(
            scoring.config,
            methods={
                name: registry.create("methods", registered_name(name)).with_parameters(**settings)
                for name, settings in methods.items()
            },
            metrics={name: registry.create("metrics", name) for name in metrics},
        )
        events: list[Event] = []
        evaluate(config, scoring.loaded, scoring.folder, events.append, Local(start=rank / self.number))
        return [event for event in events if event.kind == "failed"]

    def checkpoint(self, rank: int) -> Any:
        """Queue the job again when its time is over: it goes on with what is left."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, rank)


class _Watched:
    """What jobs have done, seen in the run folder.

    Args:
        scoring, pairs, report: as `Engine.score` has them.
    """

    def __init__(self, scoring: Scoring, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        self._label, self._report = scoring.loaded.label, report
        self._folder: RunFolder = scoring.folder
        self._clips = [len(clips) for clips in scoring.parts]
        self._open = {pair.label: set(range(len(self._clips))) for pair in pairs}
        self._told: set[tuple[str, str]] = set()

    @property
    def left(self) -> bool:
        """Whether a part is neither scored nor failed."""
        return any(self._open.values())

    def look(self, kind: Any) -> None:
        """Report parts that have appeared."""
        for method, index in self._appeared():
            self._report(Event(kind, self._label, method, self._clips[index]))

    def tell(self, events: Sequence[Event]) -> None:
        """Report what failed in a job, once, however many it failed in."""
        for event in events:
            if (event.method, event.metric) not in self._told:
                self._told.add((event.method, event.metric))
                self._report(event)
                if not event.metric:
                    self._open[event.method].clear()

    def _appeared(self) -> Iterator[tuple[str, int]]:
        for method, open_parts in self._open.items():
            folder = self._folder.part(self._label, method, 0).parent
            there = {int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.json")}
            for index in sorted(there & open_parts):
                open_parts.remove(index)
                yield method, index
