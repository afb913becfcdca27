"""`xaibench report`: a page of runs to read, hear and pass on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.comparing import (
    DatasetsOption,
    ProtocolsOption,
    ResultsArgument,
    RunsOption,
    SeedsOption,
    chosen_groups,
)
from xaibench.commands.console import output
from xaibench.errors import QUIET


def report(
    results: ResultsArgument = None,
    out: Annotated[
        Path, typer.Option(help="HTML file to write; with --folder, a folder.", metavar="FILE|FOLDER")
    ] = Path("report.html"),
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    class_map: options.ClassMapOption = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier whose clips are shown, or a checkpoint folder of it; repeatable. Default: the first.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    clips: Annotated[
        int, typer.Option(help="Most clips to show; 0 for none, which needs no sound.", metavar="N", min=0)
    ] = 30,
    folder: Annotated[
        bool, typer.Option("--folder", help="Write a folder whose page loads clips one by one, for many clips.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="Title of the page.", metavar="TEXT")] = None,
    marks: Annotated[
        Path, typer.Option(help="Folder with what [bold]xaibench validate[/bold] wrote.", metavar="FOLDER")
    ] = Path("results"),
    clip_seed: Annotated[int, typer.Option(help="Seed of the clips that are drawn at random.", min=0)] = 0,
    device: options.DeviceOption = "auto",
    explainers: options.ExplainersOption = options.EXPLAINERS,
    dataset: DatasetsOption = None,
    protocol: ProtocolsOption = None,
    seed: SeedsOption = None,
    run: RunsOption = None,
) -> None:
    """Write a report of runs that one can read and hear: one HTML file that works from disk, without a network.

    It has the boards, what each method is and costs, clips with their spectrograms, maps and masks, players of what is
    kept and removed, means by class, and what the scores were made with. Clips are chosen by what came out, and at
    random. Their maps are read where the run kept them (run --keep-maps), taken from the cache, or made again.

    The page holds the sound of the clips: their authors and licence are named in it, and hold for it, too.

    [bold]Examples[/bold]

    xaibench report results/runs/synth-fold5

    xaibench report results/runs/esc10-fold5 --data-dir ESC-50-master -c cnn-micro -c vit-micro

    xaibench report --clips 200 --folder --out report --data-dir ESC-50-master
    """
    from xaibench.benchmark.reporting import LARGE, ReportConfig, write_report
    from xaibench.reports.marks import read_marks
    from xaibench.sound.dataset import data_option

    groups = chosen_groups(results, dataset, protocol, seed, run)
    data = None
    if data_dir is not None and clips:
        named = [one.conditions.dataset for one in groups]
        data = options.open_dataset(next(filter(data_option, named), named[0]), data_dir, columns, class_map)
    config = ReportConfig(
        data=data,
        models=classifier or (),
        clips=clips,
        seed=clip_seed,
        device=device,
        explainers=explainers,
        title=title,
        folder=folder,
        progress=QUIET not in sys.argv,
    )
    written = write_report(groups, out, config, read_marks(marks, groups))
    for sentence in written.missing:
        options.warn(sentence)
    if written.size > LARGE and not folder:
        options.warn(f"the page is {written.size / 1e6:.0f} MB, and opens slowly: show fewer --clips, or use --folder")
    said = f"{written.page}: {written.size / 1e6:.1f} MB, {written.clips} clips"
    output().print(said, markup=False, soft_wrap=True)
