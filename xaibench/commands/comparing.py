"""`xaibench compare` and `xaibench leaderboard`: compare the scores of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import notes, output

ResultsArgument = Annotated[
    Path, typer.Argument(help="Run folder, or folder with run folders below it.", metavar="[RESULTS]")
]


def compare(
    results: ResultsArgument = Path("results"),
    out: Annotated[Path, typer.Option(help="CSV file to write.", metavar="FILE")] = Path("results/comparison.csv"),
) -> None:
    """Write the comparison as CSV, with one line per dataset, classifier, method, metric and area.

    A line holds the mean and its 95% interval (bootstrap over recordings), the number of clips and of undefined
    values, the rank, the methods it is tied with, whether it is better than random (Holm-corrected), and seconds and
    memory per clip. The column mask is "equal area", or "soft" for a method's own soft mask, which is ranked only
    among soft masks. Fitted methods also have training_seconds and trained_parameters.

    [bold]Examples[/bold]

    xaibench compare

    xaibench compare results/runs/esc10-fold5 --out esc10.csv
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
    out: Annotated[Path, typer.Option(help="Folder for the tables and plots.", metavar="FOLDER")] = Path("results"),
    plots: Annotated[bool, typer.Option(help="Draw the plots as well.")] = True,
) -> None:
    """Print the leaderboards, and write them as CSV, Markdown, LaTeX and plots.

    A metric is marked if it failed in [bold]xaibench validate[/bold], that is, in a validation-*.csv of the --out
    folder.

    [bold]Examples[/bold]

    xaibench leaderboard

    xaibench leaderboard results/runs/esc10-fold5 --out board --no-plots
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
