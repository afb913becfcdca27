"""SIGKILL at random moments and at every point of writing: the same call then ends with the same bytes.

`make test` kills ten times at random, and at every sixth point; XAIBENCH_LONG=1 a hundred times each, and at every
point (about ten minutes).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.killing import JOBS

LONG = bool(os.environ.get("XAIBENCH_LONG"))
RANDOM_KILLS = dict.fromkeys(JOBS, 100) if LONG else {"run": 4, "fit": 3, "train": 3}


def killed(*arguments: object) -> str:
    """What the killing program prints; it must have found no difference."""
    command = [sys.executable, "-m", "tests.support.killing", *map(str, arguments)]
    # One thread: a child that is forked has no others, and sums then round alike.
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_any_point_of_writing_it_goes_on_to_the_same_bytes(job: str) -> None:
    assert "0 differences" in killed(job, "--every", 1 if LONG else 6)


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(job: str) -> None:
    assert "0 differences" in killed(job, "--at-random", RANDOM_KILLS[job])
