"""Consoles of the commands: tables go to standard output, progress and notes to standard error."""

from __future__ import annotations

import sys

from rich.console import Console

from xaibench.reports.progress import progress as progress

PIPED_WIDTH = 160


def output() -> Console:
    """Return a console on standard output. It is wide when piped, so that no column is cut."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, emoji=False)


def notes() -> Console:
    """Return a console on standard error, for everything that is not the result."""
    return Console(stderr=True, highlight=False, emoji=False)
