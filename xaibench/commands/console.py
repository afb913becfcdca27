"""Consoles of the commands: results go to standard output, progress and notes to standard error."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from xaibench.errors import QUIET, VERBOSE

if TYPE_CHECKING:
    from rich.progress import Progress

    from xaibench.reports.tables import Table

_UNLIMITED = 100_000  # characters: a line of a table that is piped is never broken


def output() -> Console:
    """Return a console on standard output. Its lines are as long as they need to be when piped."""
    return Console(width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False, emoji=False)


def notes() -> Console:
    """Return a console on standard error, for everything that is not the result; silent if the user wants it so."""
    return Console(stderr=True, highlight=False, emoji=False, quiet=QUIET in sys.argv)


def warnings() -> Console:
    """Return a console on standard error that is never silent, for warnings and errors."""
    return Console(stderr=True, highlight=False, emoji=False)


def progress() -> Progress:
    """Return a progress bar on standard error, or lines where that is no terminal; silent if the user wants it so."""
    from xaibench.reports.progress import progress as bar_of

    return bar_of(progress_wanted())


def progress_wanted() -> bool:
    """Tell whether the user wants to see how far work is."""
    return QUIET not in sys.argv


def verbose() -> bool:
    """Tell whether the user wants every line instead of a summary."""
    return VERBOSE in sys.argv


def show(*shown: Table, remedy: str = "", console: Console | None = None) -> None:
    """Print tables with as many of their columns as the console is wide, and every note once.

    Args:
        shown: the tables.
        remedy: how to see columns that have no place.
        console: where. None: standard output.
    """
    from xaibench.reports import tables

    where = console or output()
    width = where.width
    for table in tables.say_once([one.fit(width, remedy) for one in shown]):
        where.width = max(width, table.width)  # rich would cut what is wider than its console
        where.print(tables.terminal(table), crop=False)
    where.width = width


def print_json(document: Any) -> None:
    """Print a document as JSON; numbers that are none become null, and what JSON does not know its text."""
    print(json.dumps(_plain(document), indent=2, ensure_ascii=False, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
