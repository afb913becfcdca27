"""SIGKILL at random moments and at every point of writing: the same call then ends with the same bytes.

`make test` kills each job four times at random, and at every ninth point; XAIBENCH_LONG=1 a hundred times, and at
every point (about ten minutes).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.support.killing import JOBS

LONG = bool(os.environ.get("XAIBENCH_LONG"))
KILLS = ("--every", "1", "--at-random", "100") if LONG else ("--every", "9", "--at-random", "4")


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes() -> None:
    command = [sys.executable, "-m", "tests.support.killing", *JOBS, *KILLS]
    # One thread: a child that is forked has no others, and sums then round alike.
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^(\w+): (\d+) kills, 0 differences$", done.stdout, flags=re.MULTILINE)
    assert [job for job, _ in found] == list(JOBS)
    assert all(int(kills) > 4 for _, kills in found), done.stdout
