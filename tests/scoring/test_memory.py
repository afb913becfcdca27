"""The memory that work adds."""

from __future__ import annotations

import subprocess
import sys


def test_peak_memory_sees_what_was_used() -> None:
    """In a process of its own: memory that an allocator has kept from earlier tests would not count."""
    program = (
        "import torch; from xaibench.scoring.memory import measure_peak\n"
        "with measure_peak(torch.device('cpu')) as peak:\n"
        "    block = torch.ones(8_000_000)\n"  # 32 MB
        "    del block\n"
        "print(peak.added_bytes)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    if printed.strip() != "None":
        assert 25e6 < int(printed) < 120e6
