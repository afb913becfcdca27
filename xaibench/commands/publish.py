"""`xaibench publish`: runs as files to pass on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import notes, output


def publish(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, or folders with run folders below them.", metavar="FOLDER...")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the files, or the file of a single run.", metavar="FOLDER|FILE")
    ] = Path("published"),
) -> None:
    """Pack runs into small files, which others can compare theirs with.

    A file holds every score of every clip, and what it was made with: whoever has it can compare, plot and verify the
    run, and add a method to its board without running the others again. Clips and maps are not in it. Its name is that
    of the run folder, unless --out ends in .run.tar.xz.

    [bold]Examples[/bold]

    xaibench publish results/runs/esc10-fold5

    xaibench compare published/esc10-fold5.run.tar.xz my-run

    xaibench verify published/esc10-fold5.run.tar.xz --rescore 50 --data-dir ESC-50-master
    """
    from xaibench.errors import ResultsError
    from xaibench.results.archives import SUFFIX, pack
    from xaibench.results.runs import find_runs

    found, is_file = find_runs(*runs), out.name.endswith(SUFFIX)
    if is_file and len(found) > 1:
        raise ResultsError(f"--out {out} is one file, and there are {len(found)} runs; give a folder")
    for run in found:
        with notes().status(f"packing {run}"):
            path = pack(run, out if is_file else out / run.name)
        output().print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", markup=False, soft_wrap=True)
