"""The program of a worker process: it scores the parts that another process names, and ends with it."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from xaibench import registry
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.errors import RegistryError, ResultsError, XaibenchError, named, one_line
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.settings import registered_name
from xaibench.scoring.config import MethodOnClassifier, bound
from xaibench.scoring.description import RunDescription
from xaibench.scoring.messages import Job, Outcome
from xaibench.scoring.metric import Metric
from xaibench.scoring.part import Part, formatted

_PR_SET_PDEATHSIG = 1  # prctl(2)
_BADNESS = Path("/proc/self/oom_score_adj")


@freed_memory_reused()
def main(channel: int, trace: int) -> None:
    """Answer requests until the other process ends.

    Args:
        channel: file descriptor of the connection to it.
        trace: file descriptor that the stack is written to when this process crashes, or on SIGUSR1.
    """
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # the other process's standard output is for results
    faulthandler.enable(trace, all_threads=False)
    faulthandler.register(signal.SIGUSR1, trace, all_threads=False)
    with contextlib.suppress(OSError):
        _BADNESS.write_text("500")  # where memory runs out, Linux shall take this process and not the other one
    if sys.platform == "linux":  # beside the thread below: a plugin may hold the interpreter's lock for ever
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    connection: Connection = Connection(channel)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    connection.send(Outcome())
    session = None
    answer: Outcome | Exception
    while True:
        try:
            request = pickle.loads(requests.get())
            if isinstance(request, RunDescription):
                session, answer = _Session(request, connection), Outcome()
            else:
                assert session is not None
                answer = session.score(request)
        except (XaibenchError, OSError) as error:
            answer = error
        except BaseException as error:
            answer = Outcome(named(error), traceback=formatted(error))
        connection.send(answer)


def _listen(connection: Connection, requests: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            requests.put(connection.recv_bytes())
    except (EOFError, OSError):  # the other process is gone
        os.killpg(0, signal.SIGKILL)


class _Session:
    """A run on one classifier, made anew from its description."""

    def __init__(self, run: RunDescription, connection: Connection) -> None:
        self._announce = connection.send
        self._scoring = run.make(self._announce)
        self._metrics: dict[str, Metric] = {}
        self._pairs: dict[tuple[str, bool], MethodOnClassifier] = {}
        self._part: Part | None = None

    def score(self, job: Job) -> Outcome:
        """Score one part; the last part's clips are kept for its next method."""
        running = "explain()"
        try:
            self._announce(running)
            pair = self._pair(job)
            for name in job.metrics:
                running = f"metric {name}"
                self._announce(running)
                if name not in self._metrics:
                    self._metrics[name] = registry.create("metrics", name)
            self._announce("")
        except (Exception, SystemExit) as error:
            reason = one_line(error) if isinstance(error, XaibenchError) else named(error)
            if isinstance(error, RegistryError):
                reason += f" (on {socket.gethostname()}; every machine needs the same packages)"
            return Outcome(reason, running.partition("metric ")[2], traceback=formatted(error))
        if self._part is None or self._part.index != job.index:
            self._part = Part(self._scoring, job.index)
        return self._part.score(pair, {name: self._metrics[name] for name in job.metrics})

    def _pair(self, job: Job) -> MethodOnClassifier:
        if (job.method, job.soft) not in self._pairs:
            other = self._pairs.get((job.method, not job.soft)) or self._made(job)
            self._pairs[job.method, job.soft] = replace(other, soft=job.soft)
        pair = self._pairs[job.method, job.soft]
        if self._scoring.identities.method(pair).sha256 != job.code_sha256:
            raise ResultsError(
                f"the code of {job.method} on {socket.gethostname()} is not that of the run; install the same "
                "there, or give the command again"
            )
        return pair

    def _made(self, job: Job) -> MethodOnClassifier:
        """Make a method with its settings, and with the weights that belong to the classifier."""
        method: Explainer = registry.create("methods", registered_name(job.method)).with_parameters(**job.settings)
        config = replace(self._scoring.config, methods={job.method: method})
        return bound(config, self._scoring.loaded, job.method)
