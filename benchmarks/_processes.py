"""Commands of xaibench as processes of their own: how long they take, and how much memory they and theirs hold."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

POLL_SECONDS = 0.05
LOOK_SHARE = 0.02  # of the time at most that looking takes: Ray has dozens of processes with hundreds of threads


class Measured(NamedTuple):
    """What a command took: seconds by the clock, seconds of processors, and the most bytes held at one time.

    Seconds of processors count this command alone, whatever ran beside it, but not children that it left to others.
    """

    seconds: float
    busy: float
    peak: int


def xaibench(*arguments: object) -> list[str]:
    """Return a command of xaibench as a process of its own runs it."""
    return [sys.executable, "-m", "xaibench", *map(str, arguments)]


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Measured:
    """Run a command, and measure it with its children."""
    started, before, peak = time.perf_counter(), _busy(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        while process.poll() is None:
            looked = time.perf_counter()
            # The mark of each process is reset now and then, by what measures the memory of an explanation.
            peak = max(peak, sum(map(held, family(process.pid))))
            time.sleep(max(POLL_SECONDS, (time.perf_counter() - looked) / LOOK_SHARE))
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return Measured(time.perf_counter() - started, _busy() - before, peak)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def family(process: int) -> Iterator[int]:
    """Yield a process, its children and theirs."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in children.read_text().split():
                yield from family(int(child))


def held(process: int) -> int:
    """Return the most bytes that a process held since its mark was reset."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0
