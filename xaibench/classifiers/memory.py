"""Memory of a process: how much a piece of work added at its peak, and what becomes of what it frees."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
# What glibc itself comes to in a program that has freed large blocks: its largest threshold, and twice that.
_USUAL_MMAP, _USUAL_TRIM = 32 << 20, 64 << 20
_NEVER = -1


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


@contextmanager
def freed_memory_reused() -> Iterator[None]:
    """Let blocks that are freed inside be used again inside, and give them back to the system at the end.

    By default glibc maps every large block anew, and the system hands out its pages one fault at a time, which can take
    as long as the convolution whose result is written there. No score depends on it. Without glibc it does nothing.
    """
    _set_thresholds(trim=_NEVER, mmap=1 << 30)
    try:
        yield
    finally:
        _set_thresholds(trim=_USUAL_TRIM, mmap=_USUAL_MMAP)
        _trim()


def _set_thresholds(*, trim: int, mmap: int) -> None:
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        set_parameter = ctypes.CDLL(None).mallopt
        set_parameter(_TRIM_THRESHOLD, trim)
        set_parameter(_MMAP_THRESHOLD, mmap)


def _trim() -> None:
    """Give what is freed back to the system."""
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _reset_high_water_mark() -> int | None:
    _trim()  # freed memory that the allocator keeps would hide what comes next
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
