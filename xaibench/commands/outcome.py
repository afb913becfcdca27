"""What `xaibench run` prints at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.commands.console import notes, output, show, warnings
from xaibench.errors import debugging

if TYPE_CHECKING:
    import pandas as pd

    from xaibench.scoring.evaluate import Event
    from xaibench.scoring.protocol import Summary


def print_outcome(folder: Path, failures: Sequence[Event]) -> None:
    """Print the failures of a run, its boards, and what to do next."""
    from xaibench.reports import boards
    from xaibench.results.comparison import compare
    from xaibench.results.store import LOG, parts_of, read_costs

    for event in failures:
        text = f"failed: {event.method} on {event.classifier}: {event.reason} (see {folder / LOG})"
        warnings().print(text, style="red", markup=False, soft_wrap=True)
        if debugging() and event.traceback:
            warnings().print(event.traceback, markup=False, soft_wrap=True)
    if parts_of(folder):
        with notes().status("comparing methods"):
            comparison = compare([folder])
        show(
            *boards.boards(comparison, comparison["group"].iloc[0]).values(),
            remedy="xaibench leaderboard --columns chooses",
        )
        costs = read_costs(folder)
        explaining, scoring, forwards = (
            float((costs[column] * costs["clips"]).sum())
            for column in ("explain_seconds_per_clip", "score_seconds_per_clip", "forwards_per_clip")
        )
        notes().print(
            f"time: {explaining:.0f} s explaining, {scoring:.0f} s scoring ({forwards:,.0f} forward passes; "
            "what methods share counts for each)",
            style="dim",
        )
        output().print(f"per-clip scores: {folder}", markup=False, soft_wrap=True)
        output().print("next: xaibench compare, xaibench leaderboard, xaibench report", markup=False, soft_wrap=True)


def print_summary_of_protocol(folder: Path, summarise: Callable[[pd.DataFrame], list[Summary]]) -> None:
    """Print the tables that a protocol makes of the scores of a run."""
    from xaibench.reports import tables
    from xaibench.results.store import parts_of, read_rows

    if parts_of(folder):
        for summary in summarise(read_rows(folder)):
            show(tables.of_frame(summary.title, summary.lines, summary.notes, names="Metric"))
