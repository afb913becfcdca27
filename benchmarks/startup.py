"""How long the commands take that only print: help, and the listings, from nothing and from the second call on.

    python benchmarks/startup.py            # five calls of each after the first

Each call is a process of its own; the cache of the first one is empty. Close other programs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Annotated

import typer

from xaibench import registry
from xaibench.storage.user_folders import CACHE_VARIABLE

COMMANDS = ["--help", *registry.LISTED]


def main(calls: Annotated[int, typer.Option(help="Calls of each command after the first.", min=1)] = 5) -> None:
    """Print seconds as a Markdown table."""
    print("| command | first call, s | later calls, s (median) | best |")
    print("| :-- | --: | --: | --: |")
    for command in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {CACHE_VARIABLE: folder}
            first, *later = (seconds(command, environment) for _ in range(calls + 1))
        print(f"| xaibench {command} | {first:.2f} | {statistics.median(later):.2f} | {min(later):.2f} |")


def seconds(command: str, environment: dict[str, str]) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "xaibench", command], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
