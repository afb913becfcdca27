"""`xaibench data`: check a dataset folder, or download the official archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import notes, output, progress
from xaibench.errors import DataError

app = typer.Typer(help="Check a dataset folder, or download the official archive.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder in ESC-50's layout.", metavar="PATH")],
    dataset: Annotated[str, typer.Option(help="esc50, or esc10 to check only this official subset.")] = "esc50",
) -> None:
    """Check a folder in ESC-50's layout for missing files, wrong rows, and audio that is broken, too short or silent.

    [bold]Example[/bold]

    xaibench data check ESC-50-master
    """
    from xaibench.sound import esc50_check as checker

    with progress() as bar:
        task = bar.add_task("checking", total=None)
        report = checker.check(path, dataset, advance=lambda done, total: bar.update(task, completed=done, total=total))
    for problem in report.problems:
        output().print(f"problem: {problem}", markup=False, soft_wrap=True)
    if report.unlisted:
        output().print(f"problem: and {report.unlisted} more like these", markup=False, soft_wrap=True)
    for note in report.notes:
        output().print(f"note: {note}", markup=False, soft_wrap=True)
    output().print(report.summary(), markup=False, soft_wrap=True)
    if report.problems:
        raise DataError(f"{path} has {report.found} problem{'s' * (report.found > 1)}")


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
