"""`xaibench compare` and `xaibench leaderboard`: compare the scores of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands.console import notes, output, print_json, show, warnings

if TYPE_CHECKING:
    from xaibench.results.selection import Group

ResultsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Run folders, folders with run folders below them, or archives (xaibench publish). Default: results.",
        metavar="[RESULTS]...",
    ),
]
DatasetsOption = Annotated[
    list[str] | None, typer.Option("--dataset", help="Only runs on this dataset; repeatable.", metavar="NAME")
]
ProtocolsOption = Annotated[
    list[str] | None, typer.Option("--protocol", help="Only runs under this protocol; repeatable.", metavar="NAME|ID")
]
SeedsOption = Annotated[
    list[int] | None, typer.Option("--seed", help="Only runs with this seed; repeatable.", metavar="N")
]
CHOOSE = "--columns chooses, and a pipe shows all"
CorrectOption = Annotated[
    bool, typer.Option("--correct", help="Only clips that the classifier has right; files are named GROUP-correct.")
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option("--run", help="Only this run, by the name or path of its folder; repeatable.", metavar="FOLDER"),
]


def compare(
    results: ResultsArgument = None,
    out: Annotated[
        Path, typer.Option(help="CSV file to write; one that ends in .gz is compressed.", metavar="FILE")
    ] = Path("results/comparison.csv"),
    dataset: DatasetsOption = None,
    protocol: ProtocolsOption = None,
    seed: SeedsOption = None,
    run: RunsOption = None,
    correct: CorrectOption = False,
) -> None:
    """Write the comparison as CSV, with one line per dataset, classifier, method, metric and area.

    A line holds the mean and its 95% interval (bootstrap over recordings), the number of clips and of undefined
    values, the rank, the methods it is tied with, whether it is better than random (Holm-corrected), and seconds and
    memory per clip. The column mask is "equal area", or "soft" for a method's own soft mask, which is ranked only
    among soft masks. Fitted methods also have training_seconds and trained_parameters.

    Runs are compared with each other if dataset, protocol, seed and precision are the same, and if no clip was scored
    twice by the same method on the same classifier; other runs are in another group (column group). Controls, which
    every run has, count once where their scores are the same. In a group,
    methods are compared on the clips that all of them have scored. The column clips says how many a method has
    scored itself, missing how many it lacks, unreadable how many could not be read, and differs_in whether it was made
    with other code, versions, device or number of threads than most.

    [bold]Examples[/bold]

    xaibench compare

    xaibench compare results/runs/esc10-fold5 --out esc10.csv

    xaibench compare --dataset synth --seed 0

    xaibench compare results/published/esc50.run.tar.xz my-run --out mine.csv
    """
    import gzip

    from xaibench.results.comparison import compare_groups
    from xaibench.storage.atomic import write_atomically
    from xaibench.storage.spreadsheet import csv_bytes

    groups = chosen_groups(results, dataset, protocol, seed, run, correct)
    with notes().status(f"comparing {_count(groups)} runs"):
        lines = compare_groups(groups)
    out.parent.mkdir(parents=True, exist_ok=True)
    content = csv_bytes(lines)
    write_atomically(out, gzip.compress(content, mtime=0) if out.suffix == ".gz" else content)
    compared = ", ".join(str(one) for group in groups for one in group.runs)
    output().print(f"{out}: {len(lines)} lines from {compared}", markup=False, soft_wrap=True)


def leaderboard(
    results: ResultsArgument = None,
    out: Annotated[Path, typer.Option(help="Folder for the tables and plots.", metavar="FOLDER")] = Path("results"),
    plots: Annotated[bool, typer.Option(help="Draw the plots as well.")] = True,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns of the boards, in this order: metrics by name or short name, seconds_per_clip, training. "
            "Default: all that have a place; the CSV file has all in any case.",
            metavar="NAME,...",
        ),
    ] = None,
    methods: Annotated[
        list[str] | None, typer.Option(help="Rows of the boards. Default: all.", metavar="NAME,...")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Metric whose best method stands first. Default: faithfulness.", metavar="NAME")
    ] = None,
    caption: Annotated[str | None, typer.Option(help="Caption of the LaTeX table, as LaTeX.", metavar="TEXT")] = None,
    label: Annotated[
        str | None, typer.Option(help="Label of the LaTeX table. Default: tab:GROUP.", metavar="NAME")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the boards as JSON: one object per dataset, classifier, method and mask."),
    ] = False,
    dataset: DatasetsOption = None,
    protocol: ProtocolsOption = None,
    seed: SeedsOption = None,
    run: RunsOption = None,
    correct: CorrectOption = False,
) -> None:
    """Print the leaderboards, and write them as CSV, Markdown, LaTeX and plots.

    A board is as wide as the terminal. What has no place is named below it, and is there when the output is piped, or
    with [bold]--columns[/bold]. The LaTeX file has one table across the page, its classifiers side by side. What is
    shown changes nothing of what is compared: bold and marks are of all methods.

    A metric is marked if [bold]xaibench validate[/bold] found something against it with the same classifier, that is,
    in a validation-*.csv of the --out folder. Runs that cannot be compared with each other (see [bold]xaibench compare
    --help[/bold]) have leaderboards of their own, and files whose names say what distinguishes them.

    [bold]Examples[/bold]

    xaibench leaderboard

    xaibench leaderboard results/runs/esc10-fold5 --out board --no-plots

    xaibench leaderboard --run esc10-fold5 --run esc10-fold4

    xaibench leaderboard --columns FF,AD,seconds_per_clip --sort AD --label tab:mine
    """
    from xaibench.reports import boards
    from xaibench.reports.latex import PaperConfig
    from xaibench.reports.leaderboard import wide
    from xaibench.reports.marks import read_marks
    from xaibench.results.comparison import compare_groups, compared_rows

    groups = chosen_groups(results, dataset, protocol, seed, run, correct)
    with notes().status(f"comparing {_count(groups)} runs"):
        comparison = compare_groups(groups)
    marks = read_marks(out, groups)
    known = set(comparison["metric"]) | set(comparison["method"])
    config = boards.BoardConfig(columns=split(columns, known), methods=split(methods, known), sort=sort)
    made = {group.name: boards.boards(comparison, group.name, marks, config) for group in groups}
    if as_json:
        print_json([line for name in made for line in wide(comparison, name).to_dict("records")])
    else:
        show(*(one for by_classifier in made.values() for one in by_classifier.values()), remedy=CHOOSE)
    out.mkdir(parents=True, exist_ok=True)
    written = boards.write(comparison, out, marks, config, PaperConfig(caption=caption, label=label))
    if plots:
        from xaibench.reports.plots import write_plots

        with notes().status("drawing"):
            written += write_plots(compared_rows(groups), comparison, out, marks)
    for path in written:
        (notes() if as_json else output()).print(f"wrote {path}", markup=False, soft_wrap=True)


def split(texts: list[str] | None, known: set[str]) -> list[str]:
    """Split lists of names at their commas; a name that has a comma itself stands alone."""
    return [name.strip() for text in texts or () for name in ([text] if text in known else text.split(","))]


def chosen_groups(
    results: list[Path] | None,
    datasets: list[str] | None,
    protocols: list[str] | None,
    seeds: list[int] | None,
    names: list[str] | None,
    correct: bool = False,
) -> list[Group]:
    """Choose and group runs; say what is left out, and why there is more than one group."""
    from xaibench.results import selection
    from xaibench.results.runs import find_runs

    runs = selection.select(
        find_runs(*(results or [Path("results")])),
        datasets=datasets or (),
        protocols=protocols or (),
        seeds=seeds or (),
        names=names or (),
    )
    for gap in filter(None, (selection.left_out(runs) or selection.incomplete(runs), selection.unreadable(runs))):
        warnings().print(gap, style="yellow", markup=False, soft_wrap=True)
    with notes().status(f"reading {len(runs)} runs"):
        groups = selection.group(runs)
    for one in groups:
        if one.repeated:
            text = f"{one.name}: several runs have the same scores of {', '.join(one.repeated)}, which count once"
            notes().print(text, style="dim", markup=False, soft_wrap=True)
        if one.name != one.conditions.dataset:
            text = f"{one.name} is a group of its own: {', '.join(map(str, one.runs))}"
            notes().print(text, style="dim", markup=False, soft_wrap=True)
    return selection.classified_right(groups) if correct else groups


def _count(groups: list[Group]) -> int:
    return sum(len(group.runs) for group in groups)
