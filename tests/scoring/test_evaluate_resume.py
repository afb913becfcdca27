"""Runs that go on: parts that are there, damaged, of other settings, or cut off by a kill."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from tests.support.command_line import Command
from tests.support.evaluating import assert_same, config_of, run, values
from xaibench import registry
from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.parts import PART_CLIPS
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.sound.dataset import Clip
from xaibench.sound.synth import Synth
from xaibench.storage import identity
from xaibench.storage.identity import Identity


def test_a_metric_added_later_keeps_the_earlier_ones(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    run(config_of(synth, ["energy", "uniform"], ["sparseness"], 3), loaded, tmp_path)
    first = values(tmp_path)
    events = run(config_of(synth, ["energy"], ["complexity"], 3), loaded, tmp_path)
    assert [event.kind for event in events] == ["scored"]
    both = values(tmp_path)
    assert_same(both[both.index.get_level_values("metric") == "sparseness"], first, tolerance=0)
    metrics = store.read_rows(tmp_path).groupby("method")["metric"].unique()
    assert set(metrics["energy"]) == {"sparseness", "complexity"}
    assert set(metrics["uniform"]) == {"sparseness"}
    events = run(config_of(synth, ["energy"], ["sparseness"], 3), loaded, tmp_path)
    assert [event.kind for event in events] == ["found"], "a metric asked for again is not scored again"


def test_a_damaged_part_is_made_again(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    config = config_of(synth, ["energy", "uniform"], ["complexity"], PART_CLIPS + 2)
    run(config, loaded, tmp_path)
    parts = sorted(tmp_path.rglob("*.parquet"))
    assert len(parts) == 4
    before = [part.read_bytes() for part in parts]
    parts[1].write_bytes(before[1][:-50])
    parts[2].with_suffix(".json").unlink()
    kinds = [event.kind for event in run(config, loaded, tmp_path)]
    assert sorted(kinds) == ["found", "found", "scored", "scored"]
    assert [part.read_bytes() for part in parts] == before


def test_what_would_mix_two_runs_is_refused(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(synth, ["occlusion"], ["sparseness"], 1)
    run(config, loaded, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(ResultsError, match="holds a run with seed 0, this one has 7; choose another --out"):
        run(replace(config, seed=7), loaded, tmp_path)
    with pytest.raises(ResultsError, match=r"scored with another cnn .*choose another --out"):
        run(config, replace(loaded, sha256="0" * 64), tmp_path)
    warmer = copy.copy(loaded.classifier)
    warmer.temperature = loaded.classifier.temperature / 3
    with pytest.raises(ResultsError, match="temperature or classes differ"):
        run(config, replace(loaded, classifier=warmer), tmp_path)
    with pytest.raises(ResultsError, match="temperature or classes differ"):
        run(config, replace(loaded, geometry={"image_size": 96}), tmp_path)

    class Other(registry.load("methods", "occlusion")):  # type: ignore[misc]
        parameters: ClassVar[dict[str, Any]] = {"window": (20, 20), "stride": (10, 10), "baseline": "silence"}

    with pytest.raises(ResultsError, match="made with other parameters of occlusion; choose another --out"):
        run(replace(config, methods={"occlusion": Other()}), loaded, tmp_path)

    class Quieter(Synth):
        def waveform(self, clip: Clip) -> np.ndarray:
            return super().waveform(clip) * np.float32(0.5)

    with pytest.raises(ResultsError, match="made with other sound in the same clips; choose another --out"):
        run(replace(config, dataset=Quieter()), loaded, tmp_path)
    for changed, name in (("methods", "occlusion"), ("metrics", "metric sparseness")):
        leaf = type(getattr(config, changed)[name.split()[-1]])
        with monkeypatch.context() as patch:
            patch.setattr(identity, "of_object", partial(other_code, leaf, identity.of_object))
            with pytest.raises(
                ResultsError, match=f"other code of {name}, of cnn, or of xaibench; .*delete .*occlusion to score"
            ):
                run(config, loaded, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def other_code(changed: type, of_object: Callable[[Any], Identity], thing: Any) -> Identity:
    return Identity("new") if type(thing) is changed else of_object(thing)


def test_what_cannot_be_identified_is_computed_again_and_a_line_says_so(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    method = registry.create("methods", "energy")
    method.lock = threading.Lock()
    config = config_of(synth, {"holding": method}, ["sparseness"], 1)
    for _ in range(2):
        events = run(config, loaded, tmp_path)
        assert [event.kind for event in events] == ["not reused", "scored"]
        assert "_thread.lock" in events[0].reason


# The program, which kills itself (kill -9) when the third part is about to get its name: its bytes are written by then.
KILLED = """
import os, signal, sys
from xaibench import cli

rename, parts = os.replace, []

def rename_two(source, target, **options):
    if str(target).endswith(".parquet"):
        parts.append(target)
        if len(parts) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(source, target, **options)

os.replace = rename_two
sys.argv = ["xaibench", *sys.argv[1:]]
cli.main()
"""


def test_a_killed_run_goes_on_to_the_same_bytes(xaibench: Command, tmp_path: Path, weights: Path) -> None:
    """A kill in the middle of writing, then the same command: every part as in an undisturbed run."""
    command = ["run", "-m", "energy", "-m", "saliency", "-c", str(weights), "--limit", "17"]
    command += ["--metric", "sparseness", "--device", "cpu", "--out"]

    def parts(out: str) -> dict[str, bytes]:
        root = tmp_path / out
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}

    # As many threads as here, so that sums round alike.
    variables = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *command, tmp_path / "killed"], env=variables, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    early = parts("killed")
    assert len(early) == 2
    for out in ("whole", "killed"):
        done = xaibench(*command, tmp_path / out)
        assert done.code == 0, done.err
        assert "saliency" in done.out
    assert len(parts("whole")) == 4
    assert parts("killed") == parts("whole")
    assert early.items() <= parts("killed").items()
