"""Where commands write: tables to standard output, progress and notes to standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PIPED_WIDTH = 160


def output() -> Console:
    """Standard output; wide when piped, so that no column is cut."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, emoji=False)


def notes() -> Console:
    """Standard error, for everything that is not the result."""
    return Console(stderr=True, highlight=False, emoji=False)


def progress() -> Progress:
    """A progress bar on standard error that disappears when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=notes(),
        transient=True,
    )
