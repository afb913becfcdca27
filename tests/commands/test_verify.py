"""`xaibench verify`, and scoring again, through the program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import xaibench as xb
from tests.support.command_line import Command
from tests.support.objects import LoudBins, MeanLoss
from xaibench.results.parts import frame, read_part, write_part

RUN = ("run", "-m", "energy", "-m", "random", "-c", "cnn-micro", "--limit", 17, "--metric", "sparseness")


@pytest.fixture
def folder(xaibench: Command, tmp_path: Path, once: Path) -> Path:
    """Two parts each of two methods that ask no classifier about anything but the clean clip."""
    if not (once / "parts").exists():
        done = xaibench(*RUN, "--device", "cpu", "--out", once / "parts")
        assert done.code == 0, done.err
    return Path(shutil.copytree(once / "parts", tmp_path / "made"))


def test_a_run_verifies_and_comes_out_again(xaibench: Command, folder: Path) -> None:
    done = xaibench("verify", folder)
    assert done.code == 0, done.err + done.out
    assert "4 parts of 2 pairs: all as it should be" in done.out
    done = xaibench("verify", folder, "--rescore", 3, "--device", "cpu")
    assert done.code == 0, done.err + done.out
    assert "scored again: all as it should be" in done.out


def test_what_does_not_come_out_is_a_finding(xaibench: Command, folder: Path) -> None:
    path = folder / "cnn-micro" / "energy" / "part-000.parquet"
    table, info = read_part(path)
    rows = frame([table])
    rows.loc[3, "value"] += 1e-12
    write_part(path, rows, info)
    assert xaibench("verify", folder).code == 0, "nobody can see it"
    done = xaibench("verify", folder, "--rescore", 100, "--device", "cpu")
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if "when scored again" in line]
    assert "cnn-micro/energy/part-000.parquet" in line and "sparseness of " in line


def test_a_parameter_that_came_later_has_its_default_when_scored_again(xaibench: Command, tmp_path: Path) -> None:
    out = tmp_path / "made"
    done = xaibench("run", "-m", "saliency", "-c", "cnn-micro", "--limit", 1, "--metric", "sparseness", "--out", out)
    assert done.code == 0, done.err
    path = out / "cnn-micro" / "saliency" / "part-000.parquet"
    table, info = read_part(path)
    assert "path" in info.method.parameters
    earlier = {name: value for name, value in info.method.parameters.items() if name != "path"}
    for parameters, code in ((earlier, 0), (earlier | {"gone": 1}, 1)):
        write_part(path, frame([table]), replace(info, method=replace(info.method, parameters=parameters)))
        done = xaibench("verify", out, "--rescore", 1)
        assert done.code == code, done.out + done.err


def test_what_was_made_in_a_notebook_is_left_out_in_one_line_and_the_rest_is_scored(
    xaibench: Command, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    methods: list[Any] = [LoudBins, "energy"]
    xb.evaluate(
        "cnn-micro", xb.dataset("synth"), methods, "sparseness", limit=1, out=out, progress=False, controls=False
    )
    done = xaibench("verify", out, "--rescore", 10, "--device", "cpu")
    assert done.code == 0, done.err + done.out
    assert "2 parts of 2 pairs, 1 scored again: all as it should be" in done.out
    (line,) = [line for line in done.err.splitlines() if "left out" in line]
    assert "1 of 2 parts are left out: loud-bins cannot be made anew here, as objects of a notebook" in line


def test_a_classifier_of_a_notebook_is_left_out_too(xaibench: Command, tmp_path: Path) -> None:
    out, classifier = tmp_path / "mine", xb.toy_classifier()
    classifier.classes = xb.dataset("synth").classes[: len(classifier.classes)]
    metrics: list[Any] = ["sparseness", MeanLoss]
    xb.evaluate(classifier, xb.dataset("synth"), "energy", metrics, limit=1, out=out, progress=False, controls=False)
    done = xaibench("verify", out, "--rescore", 10, "--device", "cpu")
    assert done.code == 0, done.err + done.out
    assert "1 of 1 parts are left out: mean_loss, toy-cnn cannot be made anew here" in done.err


def test_the_mark_of_other_code_goes_when_the_scores_come_out_again(xaibench: Command, folder: Path) -> None:
    for path in sorted((folder / "cnn-micro" / "energy").glob("*.parquet")):
        table, info = read_part(path)
        write_part(path, frame([table]), replace(info, code_sha256="older", shared_code_sha256="older"))

    def marked() -> set[str]:
        assert xaibench("compare", folder, "--out", "comparison.csv").code == 0
        lines = pd.read_csv(folder.parent / "comparison.csv", keep_default_na=False)
        return set(lines["differs_in"])

    assert marked() == {"code", ""}
    # Other code may round otherwise, as other versions may; beyond 1e-4 of the range it is a finding.
    first = folder / "cnn-micro" / "energy" / "part-000.parquet"
    table, info = read_part(first)
    for moved, code in ((1e-3, 1), (1e-6, 0)):
        rows = frame([table])
        rows.loc[3, "value"] += moved
        write_part(first, rows, info)
        assert xaibench("verify", folder, "--rescore", 100, "--device", "cpu").code == code
    write_part(first, frame([table]), info)
    assert marked() == {"code", ""}
    assert xaibench("verify", folder, "--rescore", 100, "--device", "cpu").code == 0
    assert marked() == {""}
    assert xaibench("verify", folder).code == 0, "the record is no finding"


# They are forked, so that what takes long to import is imported once.
FOUR = """
import json, os, sys
from xaibench import cli, registry
from xaibench.scoring import evaluate

for group, name in (("methods", "random"), ("metrics", "sparseness"), ("classifiers", "cnn-micro")):
    registry.load(group, name)
sys.argv[0] = "xaibench"
started = []
for _ in range(4):
    started.append(os.fork())
    if not started[-1]:
        code = 1
        try:
            code = cli.main() or 0
        except SystemExit as stopped:
            code = stopped.code or 0
        finally:
            os._exit(code)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]))
"""


def test_four_processes_fill_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOUR, *map(str, RUN), "--device", "cpu", "--out", "made"]
    # One thread: a pool of threads does not survive a fork.
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=one, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout.splitlines()[-1]) == [0] * 4, done.stdout + done.stderr
    made = tmp_path / "made"
    assert sorted(path.name for path in (made / "cnn-micro" / "energy").iterdir()) == [
        *("part-000.json", "part-000.parquet", "part-001.json", "part-001.parquet"),
    ]
    assert not list(made.rglob("*.tmp"))
