"""Several workers end with the bytes of one process, and what happens to one of them costs nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.evaluating import config_of, open_folder, run
from xaibench import registry
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.scoring import worker
from xaibench.scoring.config import MethodOnClassifier, RunConfig
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.scoring.local import Local
from xaibench.scoring.queue import Item, Queue
from xaibench.sound.synth import Synth

METHODS = ["energy", "random", "random-cells", "uniform"]
EXITS = "raise SystemExit(7)"
WAITS = (
    "import sys, time; from multiprocessing.connection import Connection\n"
    "channel = Connection(int(sys.argv[2]))\n"
    "while True: time.sleep(1)"
)


@pytest.fixture(scope="module")
def from_folder(weights: Path) -> LoadedClassifier:
    """A classifier that a worker can load too."""
    return load(str(weights), "synth", torch.device("cpu"))[0]


@pytest.fixture
def config(synth: Synth) -> RunConfig:
    return config_of(synth, METHODS, ["sparseness", "faithfulness"], 2)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids of workers, in the order of their starts."""
    ids: list[int] = []
    popen = worker.subprocess.Popen

    class Noted(popen):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **settings)
            ids.append(self.pid)

    monkeypatch.setattr(worker.subprocess, "Popen", Noted)
    return ids


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scores(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*.parquet")}


def test_two_workers_of_which_one_is_killed_end_with_the_bytes_of_one_process(
    config: RunConfig, from_folder: LoadedClassifier, tmp_path: Path, started: list[int]
) -> None:
    assert {event.kind for event in run(config, from_folder, tmp_path / "one")} == {"scored"}
    assert started == [], "one process needs no worker"

    events = list[Event]()

    def report(event: Event) -> None:
        if not events:
            os.kill(started[0], signal.SIGKILL)
        events.append(event)

    evaluate(config, from_folder, open_folder(tmp_path / "two", config), report, Local(workers=2))
    assert Counter(event.kind for event in events) == {"scored": len(METHODS)}, events
    assert len(started) >= 3, "at least one worker had to be started again"
    assert scores(tmp_path / "two") == scores(tmp_path / "one")
    again = run(config, from_folder, tmp_path / "two", Local(workers=2))
    assert {event.kind for event in again} == {"found"}


def test_what_always_ends_its_process_fails_after_three_attempts(
    config: RunConfig,
    from_folder: LoadedClassifier,
    tmp_path: Path,
    started: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "_START", EXITS)
    events = run(config, from_folder, tmp_path / "run", Local(workers=2))
    assert sorted((event.kind, event.method) for event in events) == [("failed", name) for name in METHODS]
    assert {event.reason for event in events} == {"its worker process exited with code 7"}
    assert len(started) == 3 * len(METHODS)


def test_an_interrupt_ends_all_workers(
    config: RunConfig,
    from_folder: LoadedClassifier,
    tmp_path: Path,
    started: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "_START", WAITS)
    own = type("Own", (type(config.methods["uniform"]),), {"__module__": "__main__"})()
    three = replace(config, methods={"own": own, **config.methods})

    def report(event: Event) -> None:
        if event.kind == "scored":
            raise KeyboardInterrupt  # as Ctrl-C in a terminal, while the other workers are at work

    with pytest.raises(KeyboardInterrupt):
        evaluate(three, from_folder, open_folder(tmp_path, three), report, Local(workers=3))
    for one in started:
        with pytest.raises(ProcessLookupError):
            os.kill(one, 0)


def test_what_only_this_process_has_is_scored_here_and_a_line_says_so(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path, started: list[int]
) -> None:
    events: list[Event] = []
    evaluate(config, loaded, open_folder(tmp_path, config), events.append, Local(workers=2))
    assert {event.reason for event in events if event.kind == "alone"} == {
        f"{loaded.label} was not loaded from a checkpoint folder"
    }
    assert Counter(event.kind for event in events)["scored"] == len(METHODS)
    assert started == []


def pairs(*names: str) -> list[MethodOnClassifier]:
    return [MethodOnClassifier(name=name, method=registry.create("methods", "uniform")) for name in names]


def test_one_worker_goes_through_the_parts_in_order() -> None:
    queue = Queue(pairs("a", "b"), 2)
    taken = [queue.take(0) for _ in range(5)]
    assert [(item.index, item.pair.name) for item in taken if item] == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert taken[-1] is None


def test_workers_keep_to_their_clips_and_help_where_most_is_left() -> None:
    queue = Queue(pairs("a", "b", "c"), 2)
    first, second = queue.take(0), queue.take(1)
    assert first and second and (first.index, second.index) == (0, 1)
    assert [queue.take(0).index for _ in range(2)] == [0, 0]  # type: ignore[union-attr]
    helped = queue.take(0)
    assert helped and (helped.index, helped.pair.name) == (1, "b")


def test_what_another_process_makes_comes_last_and_is_waited_for() -> None:
    queue = Queue(pairs("a", "b"), 1)
    first = queue.take(0)
    assert first and not first.wait
    queue.pass_over(first)
    second, third = queue.take(0), queue.take(0)
    assert second and second.pair.name == "b"
    assert third == Item(0, first.pair, wait=True)
    queue.pass_over(third)
    queue.clear()
    assert queue.take(0) is None
