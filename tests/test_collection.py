"""Collecting the suite loads no explainer, no metric and no library that only some of them use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LEAVES = ("xaibench.methods", "xaibench.metrics", "captum", "quantus", "transformers")
PROGRAM = """
import sys
import pytest

class Report:
    def pytest_collection_finish(self, session):
        print("COLLECTED", len(session.items), *sorted(sys.modules))

sys.exit(pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "no:xdist", "-s"], [Report()]))
"""


def collect() -> tuple[int, list[str]]:
    """Collect the whole suite in a process: how many tests there are, and the modules that are imported then."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("COLLECTED")]
    _, count, *modules = line.split()
    return int(count), modules


def test_collecting_the_suite_loads_no_leaf(collected: tuple[int, list[str]]) -> None:
    # Where only a part of the suite runs, the whole of it is collected for this.
    count, modules = collected if collected[0] > 2000 else collect()
    assert count > 2000
    assert "xaibench.registry" in modules
    assert [name for name in modules if name.startswith(LEAVES)] == []


def test_all_processes_of_the_suite_together_take_two_threads() -> None:
    """More threads than cores wait for each other: the suite then takes four times as long."""
    import torch

    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    assert processes * torch.get_num_threads() <= max(2, processes)
