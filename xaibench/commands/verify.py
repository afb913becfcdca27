"""`xaibench verify`: check run folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output, progress

if TYPE_CHECKING:
    from xaibench.sound.dataset import Dataset


def verify(
    folder: Annotated[
        Path, typer.Argument(help="Run folder, folder with run folders below it, or archive.", metavar="FOLDER")
    ],
    rescore: Annotated[
        int, typer.Option(help="Compute the parts of N random pairs of clip and method again.", min=0, metavar="N")
    ] = 0,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="For --rescore: classifier of the run that is neither shipped nor added; repeatable.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    class_map: options.ClassMapOption = None,
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    explainers: options.ExplainersOption = options.EXPLAINERS,
) -> None:
    """Check runs: structure, hashes, completeness, ranges, and the agreement of rows, paths and descriptions.

    With --rescore, some of the scores are computed again. With the same code and versions, on the same device with
    the same number of threads, they must be equal to the digit; otherwise within 1e-4 of the metric's range. What
    comes out the same is kept in the run folder (rescored.json), and comparisons then do not mark the code of these
    methods any more. The exit code is 0 if nothing is wrong. If something is wrong it is 1, and every finding is
    printed in one line.

    [bold]Examples[/bold]

    xaibench verify results/runs/synth-fold5

    xaibench verify results/runs/esc10-fold5 --rescore 50 --data-dir ESC-50-master
    """
    from xaibench.results import store
    from xaibench.results.runs import find_runs
    from xaibench.results.verify import verify as check

    wrong = 0
    for run in find_runs(folder):
        with notes().status(f"reading {run}"):
            found = check(run)
        findings = list(found.findings)
        again = f", {found.unreadable} clips that could not be read" if found.unreadable else ""
        if rescore and not findings:
            source = options.open_dataset(store.read_manifest(run).dataset, data_dir, columns, class_map)
            scored, lines, left_out = _rescore(run, rescore, classifier or [], source, seed, device, explainers)
            findings += lines
            again += f", {scored} scored again"
            if left_out:
                options.warn(f"{run}: {left_out}")
        for line in findings:
            output().print(f"{run}: {line}", style="red", markup=False, soft_wrap=True)
        verdict = f"{len(findings)} findings" if findings else "all as it should be"
        output().print(
            f"{run}: {found.parts} parts of {found.pairs} pairs{again}: {verdict}", markup=False, soft_wrap=True
        )
        wrong += len(findings)
    if wrong:
        raise typer.Exit(1)


def _rescore(
    run: Path, count: int, names: list[str], source: Dataset, seed: int, device: str, explainers: Path
) -> tuple[int, list[str], str]:
    """Compute parts again; return how many, a line for each whose scores differ, and one of what was left out."""
    from xaibench.benchmark.models import load_scored
    from xaibench.results import store
    from xaibench.scoring.rescore import Rescored
    from xaibench.scoring.rescore import rescore as score_again

    manifest = store.read_manifest(run)
    where = options.open_device(device)
    labels = sorted({path.parent.parent.name for path in store.parts_of(run)})
    loaded = load_scored(labels, names, source, manifest.folds, where, options.warn)
    with progress() as bar:
        task = bar.add_task("scoring again", total=count)

        def report(one: Rescored) -> None:
            bar.update(task, advance=1, description=one.part)

        found, left_out = score_again(run, count, source, loaded, explainers, seed, report)
        bar.update(task, completed=count)
    return len(found), [f"{one.part}: {one.finding}" for one in found if one.finding], left_out
