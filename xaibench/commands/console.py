"""Consoles of the commands: tables go to standard output, progress and notes to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

PIPED_WIDTH = 160


def output() -> Console:
    """Return a console on standard output. It is wide when piped, so that no column is cut."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, emoji=False)


def notes() -> Console:
    """Return a console on standard error, for everything that is not the result."""
    return Console(stderr=True, highlight=False, emoji=False)


def progress() -> Progress:
    """Return a progress bar on standard error that disappears when done."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=notes(),
        transient=True,
    )
