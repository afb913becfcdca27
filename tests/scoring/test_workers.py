"""Plugins of other distributions run in a worker process: what exits, dies or hangs there costs itself alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.support import distribution
from tests.support.evaluating import config_of, open_folder, run, values
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.results import store
from xaibench.results.verify import verify
from xaibench.scoring import description, worker
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.scoring.part import Scoring
from xaibench.sound.synth import Synth

PLUGIN = """
import ctypes, os
from xaibench import Explainer, Explanation, Metric, Scores
from xaibench.classifiers import cnn

class Good(Explainer):
    title, reference, description, polarity = "Good", "nobody", "gradient x input", "positive"

    def explain(self, classifier, batch, target):
        self.act()
        x = batch.x.clone().requires_grad_()
        classifier.picture_logits(x).gather(1, target[:, None]).sum().backward()
        return Explanation((x.grad * batch.x).abs(), batch.picture_shape)

    def act(self):
        pass

class Exits(Good):
    def act(self):
        os._exit(0)

class Level(Metric):
    title, family, reference, description, formula, traps, cost = "Level", "odd", "n", "d", "f", "t", "0"
    higher_is_better, bounds = True, (0.0, 1e9)

    def score(self, context, area):
        self.act()
        values = context.attribution.mean((1, 2)).double()
        return Scores(values, (None,) * len(values))

    def act(self):
        pass

class Crashes(Level):
    def act(self):
        ctypes.string_at(0)

def odd_cnn(classes):
    return cnn.micro(classes)
"""
POINTS = {
    "methods": {"odd-good": "Good", "odd-exits": "Exits"},
    "metrics": {"odd_level": "Level", "odd_crashes": "Crashes"},
    "classifiers": {"odd-cnn": "odd_cnn"},
}
# Programs in the place of a worker's; they load no torch.
HANGS = (
    "import faulthandler, signal, sys, time; from multiprocessing.connection import Connection\n"
    "faulthandler.register(signal.SIGUSR1, int(sys.argv[3]))\n"
    "channel = Connection(int(sys.argv[2])); channel.send('metric odd_level')\n"
    "def forever():\n    while True: time.sleep(1)\n"
    "forever()"
)
EXITS = "raise SystemExit(7)"
ENDS = "raise SystemExit('there is no worker in this test')"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with good and bad methods, metrics and a classifier."""
    folder = distribution.write(tmp_path / "installed", "odd_plugin", PLUGIN, POINTS)
    with monkeypatch.context() as patch:
        distribution.add(folder, patch)
        yield folder
    distribution.forget(folder)


@pytest.fixture
def from_folder(weights: Path) -> LoadedClassifier:
    """A classifier that a worker can load too."""
    return load(str(weights), "synth", torch.device("cpu"))[0]


def facts(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.method, event.metric) for event in events]


@pytest.mark.usefixtures("plugin")
def test_what_dies_costs_itself_alone_and_scores_are_as_here(
    synth: Synth, from_folder: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, metrics = ["energy", "odd-good"], ["faithfulness", "odd_level"]
    both = config_of(synth, ["energy", "odd-exits", "odd-good"], [*metrics, "odd_crashes"], 2)
    events = run(both, from_folder, tmp_path / "run")
    assert facts(events) == [
        ("failed", "energy", "odd_crashes"),
        ("scored", "energy", ""),
        ("failed", "odd-exits", ""),
        ("scored", "odd-good", ""),
    ]
    assert events[0].reason == "metric odd_crashes failed: its worker process died (SIGSEGV)"
    assert events[2].reason == "its worker process exited with code 0 in explain()"
    log = (tmp_path / "run" / store.LOG).read_text()
    assert f"energy on {from_folder.label}: metric odd_crashes failed" in log
    assert "odd_plugin.py" in log and "in act" in log, "faulthandler says where"
    found = verify(tmp_path / "run")
    assert found.findings == (), "a log is no stray"
    assert run(replace(both, metrics=config_of(synth, [], metrics).metrics), from_folder, tmp_path / "run")[0] == (
        Event("found", from_folder.label, "energy", 2)
    )

    monkeypatch.setattr(registry, "is_foreign", lambda group, name: False)
    monkeypatch.setattr(worker, "_START", ENDS)
    here = run(config_of(synth, methods, metrics, 2), from_folder, tmp_path / "here")
    assert {event.kind for event in here} == {"scored"}
    pd.testing.assert_series_equal(values(tmp_path / "run"), values(tmp_path / "here"), check_exact=True)


@pytest.mark.usefixtures("plugin")
def test_a_classifier_that_dies_costs_its_own_pairs(
    synth: Synth, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", EXITS)
    classifier, card = checkpoint.load(weights)
    checkpoint.save(tmp_path / "odd", classifier, replace(card, classifier="odd-cnn"))
    loaded, _ = load(str(tmp_path / "odd"), "synth", torch.device("cpu"))
    events = run(config_of(synth, ["energy", "uniform"], ["sparseness"], 1), loaded, tmp_path / "run")
    assert facts(events) == [("failed", "energy", ""), ("failed", "uniform", "")]
    assert {event.reason for event in events} == {"its worker process exited with code 7"}


@pytest.mark.usefixtures("plugin")
def test_a_metric_that_raises_costs_itself_alone(
    synth: Synth, from_folder: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(synth, ["energy", "uniform"], ["sparseness", "complexity"], 1)

    def fails(*arguments: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(config.metrics["complexity"], "score", fails, raising=False)
    events = run(config, from_folder, tmp_path)
    assert [one for one in facts(events) if one[0] != "not reused"] == [
        ("failed", "energy", "complexity"),
        ("scored", "energy", ""),
        ("failed", "uniform", "complexity"),
        ("scored", "uniform", ""),
    ]
    assert set(store.read_rows(tmp_path)["metric"]) == {"sparseness"}


def a_worker(synth: Synth, loaded: LoadedClassifier, folder: Path) -> worker.Worker:
    config = config_of(synth, ["energy"], ["sparseness"], 1)
    described = description.describe(Scoring(config, loaded, open_folder(folder, config)))
    assert isinstance(described, description.RunDescription)
    return worker.Worker(described)


JOB = worker.Job(index=0, method="energy", settings={}, soft=False, code_sha256="", metrics=("sparseness",))


def test_what_never_returns_is_stopped_by_the_limit(
    synth: Synth, from_folder: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", HANGS)
    monkeypatch.setattr(worker, "_START_SECONDS", 0.0)
    process = a_worker(synth, from_folder, tmp_path)
    with pytest.raises(worker.Lost, match=r"took longer than 3 s for a part \(--timeout\)") as lost:
        process.score(JOB, 3.0)
    assert lost.value.running == "metric odd_level"
    assert "in forever" in lost.value.traceback
    assert process._process is None


def test_ctrl_c_ends_the_worker_too(
    synth: Synth, from_folder: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", HANGS)
    process = a_worker(synth, from_folder, tmp_path)
    started: list[int] = []

    def interrupt() -> None:
        while process._process is None:
            time.sleep(0.01)
        started.append(process._process.pid)
        os.kill(os.getpid(), signal.SIGINT)

    # A suite that a shell has started in the background ignores SIGINT, and would wait here for ever.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            process.score(JOB, None)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


# Starts a worker as the benchmark does, says which, and never ends.
PARENT = """
import json, subprocess, sys, tempfile, time
from multiprocessing import Pipe
ours, theirs = Pipe()
trace = tempfile.TemporaryFile()
passed = theirs.fileno(), trace.fileno()
command = [sys.executable, "-P", "-c", sys.argv[1], json.dumps(sys.path), *map(str, passed)]
worker = subprocess.Popen(command, pass_fds=passed, start_new_session=True)
theirs.close()
ours.recv_bytes()
print(worker.pid, flush=True)
time.sleep(1000)
"""


def test_no_worker_outlives_its_process() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, worker._START], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not _lives(pid):
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def _lives(pid: int) -> bool:
    try:  # a zombie that nobody waits for is dead
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.usefixtures("plugin")
def test_what_only_this_process_has_runs_here_and_a_line_says_so(
    synth: Synth, trained: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", ENDS)
    good = type(registry.create("methods", "odd-good"))

    class Mine(good):  # type: ignore[misc, valid-type]
        """As typed into a notebook."""

    events: list[Event] = []
    config = config_of(synth, {"energy": registry.create("methods", "energy"), "mine": Mine(), "odd-good": good()})
    evaluate(config, trained, open_folder(tmp_path, config), events.append)
    told = {event.method: event.reason for event in events if event.kind == "unprotected"}
    assert told == {
        "mine": "no installed package registers it",
        "odd-good": f"{trained.label} was not loaded from a checkpoint folder",
    }
    assert [event.method for event in events if event.kind == "scored"] == ["energy", "mine", "odd-good"]
