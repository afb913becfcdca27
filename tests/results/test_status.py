"""How far a run is, told from outside."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.support.command_line import Command
from tests.support.evaluating import config_of, open_folder, run
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import ResultsError
from xaibench.results.status import status
from xaibench.sound.synth import Synth


def test_an_unfinished_run_says_what_is_done_at_work_and_left(
    loaded: LoadedClassifier, synth: Synth, tmp_path: Path, xaibench: Command
) -> None:
    config = config_of(synth, ["energy", "uniform"], ["sparseness"], 2)
    run(config, loaded, tmp_path / "run")
    folder = open_folder(tmp_path / "run", config)
    whole = status(tmp_path / "run")
    assert [(one.method, one.done, one.parts) for one in whole.pairs] == [("energy", 1, 1), ("uniform", 1, 1)]
    assert (whole.done, whole.parts, whole.at_work, whole.seconds_left) == (2, 2, 0, None)
    assert xaibench("status", tmp_path / "run").out.endswith("run: done, 2 parts\n")

    folder.expect(loaded.label, "saliency", 3)
    folder.log(loaded.label, "saliency", "it failed\nTraceback of it")
    for seconds, name in ((30, "energy"), (10, "uniform")):
        path = folder.part(loaded.label, name, 0).with_suffix(".json")
        os.utime(path, (time.time() - seconds,) * 2)
    with folder.claim(loaded.label, "saliency", 1, wait=False) as mine:
        assert mine
        found = status(tmp_path / "run")
        said = xaibench("status", tmp_path)
        listed = json.loads(xaibench("status", tmp_path, "--json").out)
    saliency = next(one for one in found.pairs if one.method == "saliency")
    assert (saliency.done, saliency.parts, saliency.at_work) == (0, 3, 1)
    assert found.seconds_left == pytest.approx(3 * 30, abs=15), "two parts in the last 30 s, three are left"
    assert found.seconds_since_last == pytest.approx(10, abs=5)
    assert "2 of 5 parts (40%), 1 at work, about " in said.out and " left, last part 1" in said.out
    assert f"{loaded.label} saliency: 0 of 3, 1 at work" in said.out
    assert "energy" not in said.out, "finished pairs are not listed"
    assert "saliency on" in said.err and "it failed" in said.err and "Traceback" not in said.err
    assert listed[0]["parts"] == 5 and listed[0]["pairs"][1]["method"] == "saliency"
    assert "nobody is at work" in xaibench("status", tmp_path).out


def test_a_run_that_has_only_begun(loaded: LoadedClassifier, synth: Synth, tmp_path: Path, xaibench: Command) -> None:
    folder = open_folder(tmp_path / "run", config_of(synth, ["energy"], ["sparseness"], 2))
    assert status(tmp_path / "run").pairs == ()
    folder.expect(loaded.label, "energy", 3)
    found = status(tmp_path / "run")
    assert (found.done, found.parts, found.seconds_since_last) == (0, 3, None)
    assert "0 of 3 parts" in xaibench("status", tmp_path).out


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="expected a folder written by 'xaibench run'"):
        status(tmp_path)
