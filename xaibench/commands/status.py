"""`xaibench status`: how far runs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.commands.console import notes, output, verbose, warnings
from xaibench.errors import VERBOSE

if TYPE_CHECKING:
    from xaibench.results.status import RunStatus


def status(
    folder: Annotated[
        Path, typer.Argument(help="Run folder, or folder with run folders below it.", metavar="FOLDER")
    ] = Path("results/runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how far runs are, also while other processes work at them.

    A part is up to 16 clips by one method on one classifier. The time left is estimated from the last parts that were
    finished.

    [bold]Examples[/bold]

    xaibench status

    xaibench status results/runs/esc10-fold5 --json
    """
    from xaibench.results import store
    from xaibench.results.runs import find_runs
    from xaibench.results.status import status as look

    found = [look(run) for run in find_runs(folder)]
    if as_json:
        output().print_json(json.dumps([_plain(one) for one in found]))
        return
    hidden = False
    for one in found:
        output().print(_line(one), markup=False, soft_wrap=True)
        shown = one.pairs if verbose() else [pair for pair in one.pairs if pair.done < pair.parts]
        hidden |= len(shown) < len(one.pairs)
        for pair in shown:
            working = f", {pair.at_work} at work" if pair.at_work else ""
            text = f"  {pair.classifier} {pair.method}: {pair.done} of {pair.parts}{working}"
            output().print(text, markup=False, soft_wrap=True)
        for entry in one.logged[-3:]:
            warnings().print(f"  {store.LOG}: {entry}", markup=False, soft_wrap=True)
    if hidden:
        notes().print(f"finished pairs are not listed; {VERBOSE} lists them", style="dim", markup=False)


def _line(one: RunStatus) -> str:
    from xaibench.reports.tables import duration

    if one.parts and one.done == one.parts:
        return f"{one.path}: done, {one.parts} parts"
    words = [f"{one.done} of {one.parts} parts" + (f" ({one.done / one.parts:.0%})" if one.parts else "")]
    words.append(f"{one.at_work} at work" if one.at_work else "nobody is at work; the command that began it continues")
    if one.seconds_left is not None:
        words.append(f"about {duration(one.seconds_left)} left")
    if one.seconds_since_last is not None:
        words.append(f"last part {duration(one.seconds_since_last)} ago")
    return f"{one.path}: {', '.join(words)}"


def _plain(one: RunStatus) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "parts": one.parts,
        "done": one.done,
        "at_work": one.at_work,
        "seconds_since_last": one.seconds_since_last,
        "seconds_left": one.seconds_left,
        "pairs": [vars(pair) for pair in one.pairs],
        "logged": one.logged,
    }
