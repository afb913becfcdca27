"""How far a run is, where there is no terminal, and how long it will take."""

from __future__ import annotations

import itertools

import pytest
from rich.progress import Progress

from xaibench.reports import progress as module
from xaibench.reports.progress import Scored, progress, seconds_left
from xaibench.scoring.evaluate import Event


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its first element."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_was_there_and_what_failed_says_nothing_of_the_time_left(clock: list[float]) -> None:
    bar = Progress(disable=True, get_time=lambda: clock[0])
    scored = Scored(bar, pairs=3, clips=40)
    (task,) = bar.tasks
    assert seconds_left(task) is None
    scored.add(Event("found", "cnn", "a", 16))
    assert seconds_left(task) is None, "nothing was worked at yet"
    clock[0] += 8
    scored.add(Event("scored", "cnn", "b", 16))
    assert (task.completed, task.total) == (32, 120)
    assert seconds_left(task) == pytest.approx(88 * 8 / 16)
    scored.add(Event("failed", "cnn", "b", 0, "only a metric", "road"))
    assert task.total == 120
    scored.add(Event("failed", "cnn", "c", 16, "no such luck"))
    assert task.total == 96, "the other 24 clips of c are not tried"
    for clips in (16, 8):
        scored.add(Event("scored", "cnn", "a", clips))
    for clips in (16, 8):
        scored.add(Event("scored", "cnn", "b", clips))
    assert task.completed == task.total and seconds_left(task) == 0


def test_lines_where_there_is_no_terminal(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        bar.get_time = lambda: clock[0]
        task = bar.add_task("scoring", total=1000)
        bar.update(task, advance=1)
        assert capsys.readouterr().err == "", "what is quick needs no line"
        for done in itertools.repeat(1, 999):
            clock[0] += 4
            bar.update(task, advance=done, description="cnn · saliency")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "4/1000 (0%), 0:12 passed, 49:48 left: cnn · saliency"
    assert 40 < len(lines) < 90, "fewer and fewer: a long run does not fill a log"
    with progress(shown=False) as bar:
        clock[0] += 4
        bar.update(bar.add_task("scoring", total=2), advance=1)
        clock[0] += 60
    assert capsys.readouterr().err == ""
