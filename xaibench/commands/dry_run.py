"""`xaibench run --dry-run`: what a run will cost, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.commands.console import notes, show

if TYPE_CHECKING:
    from xaibench.benchmark.plan import Plan
    from xaibench.benchmark.run import Run


def print_plan(run: Run, out: Path) -> None:
    """Estimate what is left to do of a run, and print it.

    Args:
        run: what is scored.
        out: its run folder, which need not be there.
    """
    from xaibench.benchmark.plan import plan

    with notes().status("scoring a few clips by each method"):
        found = plan(run, out)
    _print(found, out)


def _print(plan: Plan, out: Path) -> None:
    from xaibench.benchmark.plan import SAMPLE
    from xaibench.reports.tables import Cell, Row, Table, duration

    rows = []
    for pair in plan.pairs:
        cells = (
            f"{pair.parts:,}",
            f"{pair.clips:,}",
            f"{pair.forwards:,.0f}",
            f"{pair.seconds:.2g}",
            duration(pair.all_seconds),
        )
        rows.append(Row(f"{pair.method} on {pair.classifier}", False, tuple(map(Cell, cells))))
    each = f"{plan.threads} thread{'s' * (plan.threads > 1)} each"
    said = [
        f"In all: {plan.parts:,} parts, {plan.forwards:,} forward passes, {duration(plan.seconds_of_one)} of one "
        f"worker; about {duration(plan.seconds)} with {plan.workers} at once ({plan.device}, {each}).",
        f"{_size(plan.bytes)} go to {out}"
        + (f"; each worker takes about {_size(plan.memory_bytes)} of memory." if plan.memory_bytes else "."),
        f"Seconds are those of earlier parts of this run, or of {SAMPLE} clips that were scored now, on the machine as "
        "busy as it is. Not counted are the start of processes, and the comparison in the end. Passes for maps are "
        "counted where the method asks for them by the benchmark; gradients are in the seconds.",
        *(f"Failed on these clips: {what} ({reason})" for what, reason in plan.failed.items()),
    ]
    show(Table("To do", ("Parts", "Clips", "Forwards a clip", "s a clip", "Time"), tuple(rows), tuple(said)))


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
