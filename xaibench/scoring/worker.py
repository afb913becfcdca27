"""One worker process, as the process that started it sees it; its program is in `scoring.worker_process`.

Nothing here loads torch: where a worker is held for another machine, that process would load it for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import Pipe
from typing import Protocol

from xaibench.errors import XaibenchError
from xaibench.scoring.messages import Job, Lost, Outcome

# With this process's paths, but not with the folder that the command was given in before all others.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from xaibench.scoring.worker_process import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_START_SECONDS = 60.0  # least time that is given to start, however short a part's limit is
_LOOK_SECONDS = 0.5  # between two looks at whether the process lives: what it started may keep its pipe open


class Worker:
    """One worker process; it is started when it is first needed, and again after it was lost.

    Args:
        run: a pickled `RunDescription`: what it scores.
    """

    def __init__(self, run: bytes) -> None:
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self.ended = False  # whether it is to start no process any more
        self._lock = threading.Lock()  # another thread may end what this one is starting

    def ready(self) -> bool:
        """Tell that it can be started here at any time."""
        return True

    def score(self, job: Job, timeout: float | None) -> Outcome:
        """Score a part in at most `timeout` seconds, or in any time.

        Raises:
            Lost: the process exited, died, or took longer than the limit.
            XaibenchError: as `Part.score` does.
        """
        try:
            if self._process is None or self._process.poll() is not None:
                self._start(timeout)
            with contextlib.suppress(ConnectionError):
                self._channel.send(job)
            return self._answer(timeout)
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
                raise Lost("was stopped", "", "")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *map(str, passed)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
        theirs.close()
        limit = None if timeout is None else max(timeout, _START_SECONDS)
        self._answer(limit)
        with contextlib.suppress(ConnectionError):  # a process that died says so when it is asked for its answer
            self._channel.send_bytes(self._run)
        opened = self._answer(limit)
        if opened.reason:
            raise Lost(f"cannot begin: {opened.reason}", "", opened.traceback)

    def _answer(self, limit: float | None) -> Outcome:
        """Wait for an answer, which is returned; an error that is the answer is raised."""
        running, end = "", None if limit is None else time.monotonic() + limit
        try:
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

    def _late(self, running: str, limit: float | None) -> Lost:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)  # faulthandler writes where it is
        for _ in range(20):
            time.sleep(0.05)
            if os.fstat(self._trace.fileno()).st_size:
                break
        return Lost(f"took longer than {limit:g} s for a part (--timeout)", running, self._traceback())

    def _dead(self, running: str) -> Lost:
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
        return Lost(reason, running, self._traceback())

    def _traceback(self) -> str:
        self._trace.seek(0)
        return self._trace.read().decode(errors="replace")


class Process(Protocol):
    """A worker process, wherever it is.

    Attributes:
        ended: whether it is to start no more.
    """

    ended: bool

    def ready(self) -> bool:
        """Tell whether it has a place to run; wait a moment for that."""

    def score(self, job: Job, timeout: float | None) -> Outcome:
        """Score a part in at most `timeout` seconds, or in any time.

        Raises:
            Lost: the process exited, died, or took longer than the limit.
            Away: its machine was lost.
            XaibenchError: as `Part.score` does.
        """

    def end(self) -> None:
        """Kill the process, and start none any more; any thread may do so."""

    def close(self) -> None:
        """Kill the process, and all that it has started."""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
