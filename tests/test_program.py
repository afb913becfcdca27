"""The program in terminals that are narrow, closed, or know ASCII alone, and stopped before it has begun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xaibench.results.verify import verify

PROGRAM = (sys.executable, "-m", "xaibench")
# Raises KeyboardInterrupt where a module is imported: what Ctrl-C does then, at a moment that a test can choose.
STOPPED = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
sys.argv = ["xaibench", {command!r}, "--method", "random"]
import runpy
runpy.run_module("xaibench", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["xaibench.cli", "typer", "xaibench.commands.evaluation", "torch", "pandas"])
def test_the_first_interruption_is_one_line_whatever_is_imported(module: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", STOPPED.format(module=module, command="run")]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 130
    assert [line[:11] for line in done.stderr.splitlines()] == ["Interrupted"]
    assert done.stdout == ""


@pytest.mark.parametrize("command", [("--help",), ("metrics",), ("metrics", "show", "faithfulness"), ("data", "check")])
def test_every_character_can_be_written_in_ascii(command: tuple[str, ...], tmp_path: Path) -> None:
    plain = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "COLUMNS": "40"}
    done = subprocess.run([*PROGRAM, *command], capture_output=True, env=plain, cwd=tmp_path, check=False)
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()
    if command == ("metrics",):
        assert b"FF ^" in done.stdout, "an arrow stays an arrow"


@pytest.mark.parametrize("closed", ["1", "012"])
def test_closed_streams_lose_nothing(closed: str, weights: Path, tmp_path: Path) -> None:
    arguments = ["run", "-m", "random", "-c", str(weights), "--limit", "1", "--metric", "sparseness", "--out", "made"]
    arguments.append("--no-controls")
    closing = " ".join(f"{stream}>&-" for stream in closed)
    command = " ".join([*PROGRAM, *arguments, closing])
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr + done.stdout
    found = verify(tmp_path / "made")
    assert found.parts == 1
    assert not found.findings


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", " ".join([*PROGRAM, "metrics", "|", "head", "-n", "1"])], capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_importing_leaves_the_backend_of_matplotlib_alone() -> None:
    """In a notebook the backend is what shows figures in the page."""
    code = """
import pkgutil
import matplotlib
matplotlib.use("svg")
before = dict(matplotlib.rcParams)
import xaibench
for package in ("xaibench", "xaibench.methods", "xaibench.metrics"):
    holder = pkgutil.resolve_name(package)
    for module in pkgutil.walk_packages(holder.__path__, package + "."):
        if ".templates" not in module.name and not module.name.endswith("__main__"):
            pkgutil.resolve_name(module.name)
assert matplotlib.get_backend() == "svg", matplotlib.get_backend()
changed = {key for key in before if before[key] != matplotlib.rcParams[key]}
assert not changed, changed
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
