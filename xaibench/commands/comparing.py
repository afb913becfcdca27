"""`xaibench compare` and `xaibench leaderboard`: what the scores say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import notes, output

ResultsArgument = Annotated[
    Path, typer.Argument(help="A run folder, or a folder with run folders below.", metavar="[RESULTS]")
]


def compare(
    results: ResultsArgument = Path("results"),
    out: Annotated[Path, typer.Option(help="The CSV to write.", metavar="FILE")] = Path("results/comparison.csv"),
) -> None:
    """Write the comparison CSV: one line per dataset, classifier, method, metric and area.

    Columns: mean and 95% interval (bootstrap over recordings), clips, undefined values, rank,
    methods it is tied with, whether it beats random (Holm-corrected), seconds and memory per clip; mask
    (equal area, or soft: the method's own mask, ranked only among such masks);
    training_seconds and trained_parameters of methods that are fitted.
    """
    from xaibench.results import comparison
    from xaibench.results.store import find_runs
    from xaibench.storage.atomic import write_atomically

    runs = find_runs(results)
    with notes().status(f"comparing {len(runs)} runs"):
        lines = comparison.compare(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lines.to_csv(index=False).encode())
    output().print(f"{out}: {len(lines)} lines from {', '.join(map(str, runs))}", markup=False, soft_wrap=True)


def leaderboard(
    results: ResultsArgument = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for tables and plots.", metavar="FOLDER")] = Path("results"),
    plots: Annotated[bool, typer.Option(help="Draw the plots too.")] = True,
) -> None:
    """Print the leaderboards, and write them as CSV, Markdown, LaTeX and plots.

    Metrics that failed in a validation-*.csv of the --out folder (xaibench validate) are marked.
    """
    import pandas as pd

    from xaibench.reports import leaderboard as board
    from xaibench.results.comparison import compare as compare_runs
    from xaibench.results.store import find_runs, read_rows

    runs = find_runs(results)
    with notes().status(f"comparing {len(runs)} runs"):
        comparison = compare_runs(runs)
    unproven = board.unproven_metrics(out)
    for dataset in comparison["dataset"].unique():
        for table in board.terminal_tables(comparison, dataset, unproven):
            output().print(table)
    out.mkdir(parents=True, exist_ok=True)
    written = board.write_tables(comparison, out, unproven)
    if plots:
        from xaibench.reports.plots import write_plots

        with notes().status("drawing"):
            rows = pd.concat([read_rows(run) for run in runs], ignore_index=True)
            written += write_plots(rows, comparison, out, unproven)
    for path in written:
        output().print(f"wrote {path}", markup=False, soft_wrap=True)
