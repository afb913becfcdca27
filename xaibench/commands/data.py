"""`xaibench data`: check a dataset, write its events, or download the official archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output, progress
from xaibench.errors import DataError

app = typer.Typer(help="Check a dataset, write its events, or download the official archive.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="Folder or table of the dataset. A generated one has none.", metavar="PATH")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Which dataset it is; [bold]xaibench datasets[/bold] lists all.", metavar="NAME")
    ] = "esc50",
    columns: options.ColumnsOption = None,
) -> None:
    """Check a dataset for missing files, wrong rows, and sound that is broken, short, silent or there twice.

    In the end it says what the dataset holds: clips, recordings, classes, folds, lengths and sample rates. The exit
    code is 1 if there is a problem.

    [bold]Examples[/bold]

    xaibench data check ESC-50-master

    xaibench data check recordings --dataset folder

    xaibench data check clips.csv --dataset csv --columns label=species
    """
    from xaibench.sound import checking, esc50_check

    if path is not None and dataset in esc50_check.TARGETS:
        _check_layout(path, dataset)
    source = options.open_dataset(dataset, path, columns)
    with progress() as bar:
        task = bar.add_task("checking", total=len(source.clips))
        summary = checking.check(source, lambda done, total: bar.update(task, completed=done))
    for kind, sentences in (("problem", summary.problems), ("odd", summary.odd), ("note", summary.notes)):
        for sentence in sentences:
            output().print(f"{kind}: {sentence}", markup=False, soft_wrap=True)
    for line in summary.lines():
        output().print(line, markup=False, soft_wrap=True)
    _refuse(path or dataset, len(summary.problems))


def _check_layout(path: Path, dataset: str) -> None:
    """Print what is wrong with a folder in ESC-50's layout, which other layouts cannot have."""
    from xaibench.sound import esc50_check

    with progress() as bar:
        task = bar.add_task("checking", total=None)
        report = esc50_check.check(path, dataset, lambda done, total: bar.update(task, completed=done, total=total))
    for problem in report.problems:
        output().print(f"problem: {problem}", markup=False, soft_wrap=True)
    if report.unlisted:
        output().print(f"problem: and {report.unlisted} more like these", markup=False, soft_wrap=True)
    for note in report.notes:
        output().print(f"note: {note}", markup=False, soft_wrap=True)
    output().print(report.summary(), markup=False, soft_wrap=True)
    _refuse(path, report.found)


def _refuse(what: Path | str, problems: int) -> None:
    if problems:
        raise DataError(f"{what} has {problems} problem{'s' * (problems > 1)}")


@app.command("events")
def write_events(
    file: Annotated[Path, typer.Argument(help="CSV file to write.", metavar="FILE")],
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    events: options.EventsOption = None,
) -> None:
    """Write when sounds are heard in the clips of a dataset, as a CSV file that [bold]run --events[/bold] reads.

    [bold]Examples[/bold]

    xaibench data events events.csv --dataset synth

    xaibench data events events.csv --dataset folder --data-dir recordings --events recordings
    """
    from xaibench.sound import events as sound_events

    source = options.open_dataset(dataset, data_dir, columns, events=events)
    count = sound_events.write_events(source, file)
    output().print(f"{count} events: --events {file}", markup=False, soft_wrap=True)


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(help="esc50. ESC-10 is part of it.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder to put it into.", metavar="FOLDER")] = Path(
        "data"
    ),
) -> None:
    """Download the official archive (about 600 MB), check it and unpack it.

    If the download is stopped, the same command continues it.

    [bold]Example[/bold]

    xaibench data fetch esc50
    """
    from xaibench.sound import esc50_download as fetcher

    with progress() as bar:
        task = bar.add_task(f"fetching {dataset}", total=None)
        folder = fetcher.fetch(
            dataset, data_dir, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    output().print(f"ready: --data-dir {folder}", markup=False, soft_wrap=True)
    notes().print(f"next: xaibench run --method all --dataset esc10 --data-dir {folder}", markup=False, soft_wrap=True)
