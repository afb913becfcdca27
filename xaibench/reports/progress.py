"""How far work is: a bar in a terminal or notebook, a line now and then where neither is."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from xaibench.scoring.evaluate import Event

# A line is written when this many seconds have passed since the last one, and this share of the time until now.
EVERY_SECONDS = 10.0
EVERY_SHARE = 0.05


def progress(shown: bool = True) -> Progress:
    """Return progress on standard error (in a notebook, below the cell).

    In a terminal it is a bar that disappears when done, elsewhere plain lines with what is done, of how much, and the
    time left. The field `reused` of a task is how much of it was there before, which says nothing of the speed.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    if shown and not (console.is_terminal or console.is_jupyter):
        return _Lines(console=console, disable=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _TimeLeft(),
        console=console,
        transient=True,
        disable=not shown,
    )


def seconds_left(task: Task) -> float | None:
    """Estimate how long a task will take, from all that was done of it; None where nobody can tell yet."""
    worked = task.completed - task.fields.get("reused", 0)
    if task.total is None or worked <= 0 or task.elapsed is None:
        return None
    return task.elapsed / worked * max(0, task.total - task.completed)


class Scored:
    """The task of a run: pairs of method and classifier times clips, without those of pairs that failed.

    Args:
        bar: where the task is shown.
        pairs: how many are scored.
        clips: how many each has.
    """

    def __init__(self, bar: Progress, pairs: int, clips: int) -> None:
        self._bar, self._clips, self._total, self._reused = bar, clips, pairs * clips, 0
        self._task = bar.add_task("scoring", total=self._total, reused=0)
        self._done: Counter[tuple[str, str]] = Counter()  # by pair

    def add(self, event: Event) -> None:
        """Take note of what happened."""
        pair = (event.classifier, event.method)
        self._done[pair] += event.clips
        if event.kind == "found":
            self._reused += event.clips
        if event.kind == "failed" and not event.metric:  # its other parts are not tried
            self._total -= self._clips - self._done[pair]
        text = f"{event.classifier} · {event.method}".strip(" ·")
        self._bar.update(self._task, advance=event.clips, total=self._total, reused=self._reused, description=text)


class _TimeLeft(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = seconds_left(task)
        return Text("" if left is None else f"{_clock(left)} left", style="progress.remaining")


class _Lines(Progress):
    """Plain lines instead of a bar. The first appears after EVERY_SECONDS: what is quick needs none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._said = time.monotonic()

    def reset(self, task_id: TaskID, **changes: Any) -> None:
        super().reset(task_id, **changes)
        self._said = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        task, now = self._tasks[task_id], time.monotonic()
        if now - self._said >= max(EVERY_SECONDS, EVERY_SHARE * (task.elapsed or 0)):
            self._said = now
            self.console.print(_line(task), markup=False, soft_wrap=True)


def _line(task: Task) -> str:
    left, of = seconds_left(task), "" if task.total is None else f"/{task.total:.0f} ({task.percentage:.0f}%)"
    words = [f"{task.completed:.0f}{of}", f"{_clock(task.elapsed or 0)} passed"]
    return ", ".join([*words, *([] if left is None else [f"{_clock(left)} left"])]) + f": {task.description}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
