"""The memory that work adds."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xaibench.classifiers import memory
from xaibench.classifiers.memory import measure_peak

CLEAR = Path("/proc/self/clear_refs")
CPU = torch.device("cpu")


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the file in which Linux tells of a process; the one that resets it is beside it."""
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "clear_refs")
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t   9000 kB\nVmRSS:\t   5000 kB\n")
    return tmp_path / "status"


def test_the_peak_is_the_high_water_mark_above_what_was_resident(status: Path) -> None:
    with measure_peak(CPU) as peak:
        assert (status.parent / "clear_refs").read_text() == "5", "resets the mark: proc_pid_clear_refs(5)"
        assert peak.added_bytes is None
        status.write_text("Name:\tpython\nVmHWM:\t   7500 kB\nVmRSS:\t   5100 kB\n")
    assert peak.added_bytes == 2500 * 1024


def test_memory_that_only_shrinks_adds_nothing(status: Path) -> None:
    with measure_peak(CPU) as peak:
        status.write_text("VmHWM:\t   4000 kB\nVmRSS:\t   4000 kB\n")
    assert peak.added_bytes == 0


def test_a_system_that_cannot_say_is_not_asked(status: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR", status.parent / "absent" / "clear_refs")
    with measure_peak(CPU) as peak:
        pass
    assert peak.added_bytes is None


def test_a_tensor_that_came_and_went_is_seen() -> None:
    """In a process of its own: memory that an allocator has kept from earlier tests would not count."""
    try:
        CLEAR.write_text("5")
    except OSError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"this system has no writable {CLEAR}, so it cannot reset its high-water mark")
    program = (
        "import torch; from xaibench.classifiers.memory import measure_peak\n"
        "with measure_peak(torch.device('cpu')) as peak:\n"
        "    block = torch.ones(8_000_000)\n"  # 32 MB
        "    del block\n"
        "print(peak.added_bytes)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert 25e6 < int(printed) < 120e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep what is freed")
def test_large_blocks_are_mapped_once_and_given_back_at_the_end() -> None:
    program = (
        "import resource; from pathlib import Path; import torch\n"
        "from xaibench.classifiers.memory import freed_memory_reused\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def pages(): return int(Path('/proc/self/statm').read_text().split()[1])\n"
        "def work():\n"
        "    before = faults()\n"
        "    for _ in range(10): torch.ones(40_000_000)\n"  # 160 MB, more than glibc's own largest threshold
        "    return faults() - before\n"
        "torch.ones(8).sum()\n"
        "start, plain = pages(), work()\n"
        "with freed_memory_reused():\n"
        "    work()\n"
        "    again, inside = work(), pages()\n"
        "print(plain, again, inside - start, pages() - start)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    plain, again, kept, left = map(int, printed.split())
    assert again < plain / 20
    assert left < kept / 10, "what was kept is given back"
