"""`xaibench site`: a web site of several boards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.comparing import (
    DatasetsOption,
    ProtocolsOption,
    ResultsArgument,
    RunsOption,
    SeedsOption,
    chosen_groups,
)
from xaibench.commands.console import notes, output


def site(
    results: ResultsArgument = None,
    out: Annotated[Path, typer.Option(help="Folder to write.", metavar="FOLDER")] = Path("site"),
    title: Annotated[str | None, typer.Option(help="Title of the site.", metavar="TEXT")] = None,
    submit: Annotated[
        str, typer.Option(help="Address where results are handed in, such as that of a repository's issues.")
    ] = "",
    marks: Annotated[
        Path, typer.Option(help="Folder with what [bold]xaibench validate[/bold] wrote.", metavar="FOLDER")
    ] = Path("results"),
    dataset: DatasetsOption = None,
    protocol: ProtocolsOption = None,
    seed: SeedsOption = None,
    run: RunsOption = None,
) -> None:
    """Write a web site of boards: static files for any web host.

    It has the boards of all data sets, protocols and classifiers, which sort and filter, figures, tables and rows to
    load, licences, how to cite, and a page that says how to submit a result and how it is verified. It has no sound.

    [bold]Examples[/bold]

    xaibench site results/runs --out public

    xaibench site published/esc10.run.tar.xz published/esc50.run.tar.xz --submit https://example.org/issues
    """
    from xaibench.benchmark.site import TITLE, write_site
    from xaibench.reports.marks import read_marks

    groups = chosen_groups(results, dataset, protocol, seed, run)
    with notes().status("writing"):
        page = write_site(groups, out, title=title or TITLE, submit=submit, marks=read_marks(marks, groups))
    output().print(f"wrote {page}", markup=False, soft_wrap=True)
