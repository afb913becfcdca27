"""The engine `ray`: worker processes on the machines of a Ray cluster, each held there by an actor."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from xaibench.engines.ray_host import Host
from xaibench.errors import XaibenchError, one_line
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.description import RunDescription
from xaibench.scoring.engine import Engine
from xaibench.scoring.loop import Event, together
from xaibench.scoring.messages import Away, Job, Lost, Outcome
from xaibench.scoring.part import Scoring

_LOCAL = "local"  # Ray's word for a cluster of its own on this machine
_LOOK_SECONDS = 1.0


class Ray(Engine):
    """Workers on a Ray cluster, or on one of this machine alone where no address is given.

    An actor is one worker, on a GPU of its own where this process would compute on one, else on as many cores as it
    has threads; `resources` are options of Ray's actors (num_gpus, num_cpus, memory, ...). Only what is to be done and
    what came of it passes between the machines: sound is read, and scores are written, where they are made. An actor
    whose machine is lost is started elsewhere, by Ray; its part is scored by whoever is free.
    """

    def score(self, scoring: Scoring, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        """Score until nothing is left.

        Raises:
            XaibenchError: there is no such cluster, or it has no place for a worker.
        """
        ray = _ray()
        options = self._options(scoring)
        connected = not ray.is_initialized()
        if connected:
            try:
                # Its log is that of all machines, and its dashboard opens a port.
                ray.init(
                    self.address or _LOCAL,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **({} if self.address else {"include_dashboard": False}),
                )
            except Exception as error:  # Ray has no kind of its own for what fails at its start
                raise XaibenchError(f"no Ray cluster at {self.address or _LOCAL}: {one_line(error)}") from error
        try:
            try:
                host = ray.remote(Host).options(max_restarts=-1, scheduling_strategy="SPREAD", **options)
            except ValueError as error:
                raise XaibenchError(f"--resource: {one_line(error)}") from error
            sent: list[Any] = []  # a description may be large: it is sent once

            def start(run: RunDescription, number: int) -> OnRay:
                if not sent:
                    device = torch.device("cuda" if options["num_gpus"] else "cpu")  # Ray shows an actor its own only
                    sent.append(ray.put(pickle.dumps(replace(run, device=device))))
                return OnRay(host, sent)

            together(scoring, pairs, self.workers or _places(ray.cluster_resources(), options), start, report)
        finally:
            if connected:
                ray.shutdown()

    def _options(self, scoring: Scoring) -> dict[str, Any]:
        on_gpu = scoring.loaded.classifier.device.type == "cuda"
        asked = {name: _value(name, text) for name, text in self.resources.items()}
        return {"num_cpus": torch.get_num_threads(), "num_gpus": int(on_gpu)} | asked


def _ray() -> Any:
    # Ray reports its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise XaibenchError("the engine ray needs Ray; pip install 'xaibench[ray]'") from error
    return ray


def _value(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise XaibenchError(f"--resource {name}={text}: Ray takes a number, as in num_gpus=1 or memory=8e9") from None


def _places(cluster: Mapping[str, float], options: Mapping[str, Any]) -> int:
    """Count how many workers a cluster has room for.

    Raises:
        XaibenchError: none.
    """
    wanted = {"GPU": options["num_gpus"], "CPU": options["num_cpus"]}
    found = min(int(cluster.get(name, 0) / number) for name, number in wanted.items() if number)
    if not found:
        asked = ", ".join(f"{number:g} {name}" for name, number in wanted.items() if number)
        raise XaibenchError(f"the Ray cluster has no machine with {asked} for a worker; give other --resource")
    return found


class OnRay:
    """A worker process somewhere in a cluster, as the process that waits for it sees it (`scoring.worker.Process`).

    Args:
        host: the remote class of actors.
        sent: a reference to what is scored, in Ray's store.
    """

    def __init__(self, host: Any, sent: Sequence[Any]) -> None:
        self._ray, self._sent = _ray(), sent
        self._actor = host.remote()
        self._asked: Any = None
        self.ended = False

    def ready(self) -> bool:
        """Tell whether the actor has a place; wait a moment for that.

        Raises:
            XaibenchError: no machine can make such an actor.
        """
        errors = self._ray.exceptions
        if self.ended:
            return True  # and `score` says so
        if self._asked is None:
            self._asked = self._actor.ready.remote()
        done, _ = self._ray.wait([self._asked], timeout=_LOOK_SECONDS)
        if not done:
            return False
        asked, self._asked = self._asked, None
        try:
            self._ray.get(asked)
        except errors.ActorUnavailableError:  # it is being started elsewhere
            time.sleep(_LOOK_SECONDS)
            return False
        except errors.ActorDiedError as error:
            if self.ended:
                return True
            raise XaibenchError(
                f"Ray cannot start a worker ({one_line(error, -1)}); install xaibench[ray], of the same version, on "
                "every machine"
            ) from error
        return True

    def score(self, job: Job, timeout: float | None) -> Outcome:
        """Score a part on the actor's machine.

        Raises:
            Lost: the process there exited, died, or took longer than the limit.
            Away: its machine was lost.
            XaibenchError: as `Part.score` does.
        """
        try:
            answer: Outcome | Exception = self._ray.get(self._actor.score.remote(self._sent, job, timeout))
        except self._ray.exceptions.RayActorError as error:
            if self.ended:
                raise Lost("was stopped", "", "") from error
            raise Away("its worker was lost with its machine") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """Stop the actor for good; any thread may do so."""
        self.ended = True
        self.close()

    def close(self) -> None:
        """Stop the actor; its worker process ends with it."""
        with contextlib.suppress(Exception):  # the cluster may be gone already
            self._ray.kill(self._actor)
