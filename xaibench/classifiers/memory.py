"""How much memory a piece of work added at its peak, where the system can say."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Peak:
    """Filled when the `with` block of `measure_peak` ends; None where the system cannot say."""

    added_bytes: int | None = None


@contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """Peak memory above that at the start: of the GPU on a GPU, else of the process (Linux).

    On a CPU it is resident memory: what the allocator had kept and uses again does not count, so a
    small number late in a long run is a lower bound. A GPU is waited for before and after, so that
    what is timed inside is the work and not its launch.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.added_bytes = torch.cuda.max_memory_allocated(device) - before
        return
    start = _reset_high_water_mark()
    yield peak
    end = _kibibytes("VmHWM")
    if start is not None and end is not None:
        peak.added_bytes = max(0, end - start) * 1024


def _reset_high_water_mark() -> int | None:
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        # Freed memory that the allocator keeps would hide what comes next.
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return None
    return _kibibytes("VmRSS")


def _kibibytes(field: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), None)
