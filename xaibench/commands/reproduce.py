"""`xaibench reproduce`: repeat the comparison of a paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench import registry
from xaibench.commands import options as choices
from xaibench.commands.console import notes, output, progress, show
from xaibench.commands.options import ALL
from xaibench.errors import XaibenchError

if TYPE_CHECKING:
    from xaibench.papers.config import ReproductionConfig
    from xaibench.papers.paper import Outcome
    from xaibench.papers.steps import Tick
    from xaibench.sound.dataset import Dataset


def reproduce(
    paper: Annotated[str, typer.Argument(help="Paper, such as focalnet-2024.", metavar="PAPER")],
    dataset: choices.DatasetOption = "esc50",
    data_dir: choices.DataDirOption = None,
    columns: choices.ColumnsOption = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the classifiers: base, as in the paper, or micro, whose weights are shipped for synth, "
            "esc10 and esc50. Default: base, or micro with --smoke.",
            metavar="SIZE",
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            help="A fold to test on, or all: then every clip is scored by classifiers that have not seen its fold. "
            "Default: 5 of five, else the last.",
            metavar="FOLD",
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Load this classifier instead of training one of its family; repeatable.",
            metavar=choices.CLASSIFIER,
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Start training from the paper's ImageNet weights, which are downloaded from the hub."
        ),
    ] = False,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Try every step in minutes: a few clips, and two epochs of training and fitting."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps and their estimated costs, and stop.")
    ] = False,
    explainers: choices.ExplainersOption = choices.EXPLAINERS,
    seed: choices.SeedOption = 0,
    device: choices.DeviceOption = "auto",
    precision: Annotated[
        choices.Precision, typer.Option(help="Precision of training and fitting; scores are float32.")
    ] = choices.Precision.float32,
    deterministic: choices.DeterministicOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for PAPER.md and PAPER.csv; weights and scores go to runs/reproductions in it. "
            "Default: results, or results/runs/smoke with --smoke.",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Repeat a paper's comparison: train or load its classifiers, fit and score its explainers, and write its table.

    The table shows our values beside the published ones. Weights that are shipped, or were made by [bold]xaibench
    fit[/bold], are used if they were made on the same folds. If the command is stopped, the same command continues it.

    [bold]Examples[/bold]

    xaibench reproduce focalnet-2024 --data-dir ESC-50-master --dry-run

    xaibench reproduce focalnet-2024 --size micro --dataset esc10 --data-dir ESC-50-master

    xaibench reproduce focalnet-2024 --smoke --dataset esc10 --data-dir ESC-50-master
    """
    from xaibench.benchmark.models import load_models
    from xaibench.classifiers import checkpoint, references
    from xaibench.papers import cost, page, steps
    from xaibench.papers.config import ReproductionConfig

    source = choices.open_dataset(dataset, data_dir, columns)
    chosen = _folds(folds, source)
    choices.warn_of_spanning_groups(source)
    where = choices.open_device(device, deterministic)
    names = list(dict.fromkeys(classifier or []))
    loaded = [load_models([name], source, chosen, where, choices.warn)[0] for name in names]
    cards = [checkpoint.Card.read(references.find(name, source.name)) for name in names]
    config = ReproductionConfig(
        paper=registry.load("papers", paper),
        dataset=source,
        size=size or ("micro" if smoke else "base"),
        folds=chosen,
        folder=out or Path("results/runs/smoke" if smoke else "results"),
        command=shlex.join(["xaibench", *sys.argv[1:]]),
        explainers=explainers,
        seed=seed,
        device=where,
        precision=precision.dtype,
        pretrained=pretrained,
        given=tuple(zip(loaded, cards, strict=True)),
    )
    if smoke:
        config = config.smoke_run()
    to_do = steps.steps_of(config)
    with notes().status("measuring a few passes of each classifier"):
        costs = cost.estimate(config, to_do)
    show(cost.table(config, to_do, costs), console=notes())
    if dry_run:
        return
    with notes().status("reading sound"):
        odd = config.dataset.odd_sound(config.dataset.clips)
    choices.say_odd_sound(odd)
    outcome = _run(config)
    with notes().status("testing the paper's claims"):
        written = page.write(config.paper, outcome, config.command, config.folder)
    output().print(written[0].read_text(), markup=False, soft_wrap=True)
    output().print(f"table: {', '.join(map(str, written))}", markup=False, soft_wrap=True)


def _run(config: ReproductionConfig) -> Outcome:
    """Run all steps, with a progress bar for the one at work."""
    from xaibench.papers.steps import run

    with progress() as bar:
        task = bar.add_task("")

        def report(tick: Tick) -> None:
            title = tick.step.title
            if tick.done == 0:
                bar.reset(task)
                if not sys.stderr.isatty():  # a log has no bar
                    notes().print(title, soft_wrap=True)
            said = f"{title} · {tick.text}" if tick.text else title
            bar.update(task, completed=tick.done, total=tick.total, description=said)

        return run(config, report)


def _folds(text: str | None, source: Dataset) -> tuple[int, ...]:
    """Read the folds to test on; there must be others to train on, and to choose by."""
    test, present = source.split.test, sorted({clip.fold for clip in source.clips})
    if text is None:
        return test
    if text == ALL:
        return tuple(present)
    if not text.isdecimal() or int(text) not in present:
        there = ", ".join(map(str, present))
        raise XaibenchError(f"--folds {text!r} is neither all nor a fold of the dataset; there are {there}")
    return (int(text),)
