"""`xaibench reproduce`: repeat the comparison of a paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from xaibench import registry
from xaibench.commands import options as choices
from xaibench.commands.console import notes, output, progress
from xaibench.commands.options import ALL
from xaibench.errors import XaibenchError

if TYPE_CHECKING:
    import torch

    from xaibench.classifiers.checkpoint import Card
    from xaibench.classifiers.loaded import LoadedClassifier
    from xaibench.papers.paper import Paper
    from xaibench.papers.steps import Request, Step, Tick
    from xaibench.sound.dataset import Dataset


def reproduce(
    paper: Annotated[str, typer.Argument(help="Paper, such as focalnet-2024.", metavar="PAPER")],
    dataset: choices.DatasetOption = "esc50",
    data_dir: choices.DataDirOption = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the classifiers: base, as in the paper, or micro, whose weights are shipped for synth and "
            "esc10. Default: base, or micro with --smoke.",
            metavar="SIZE",
        ),
    ] = None,
    folds: Annotated[
        str, typer.Option(help="5, or all: then every clip is scored by classifiers that have not seen its fold.")
    ] = "5",
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
    from xaibench.papers import page as reproduction_table
    from xaibench.papers import steps as reproduction
    from xaibench.results.store import REPRODUCTIONS
    from xaibench.sound.subset import Few
    from xaibench.storage.atomic import write_atomically

    plan = registry.load("papers", paper)
    size = size or ("micro" if smoke else "base")
    if size not in plan.sizes:
        raise XaibenchError(f"unknown --size '{size}'; there are {', '.join(plan.sizes)}")
    for one in plan.architectures if pretrained else ():
        if size not in one.pretrained:
            raise XaibenchError(f"there is no image model of the size of {one.sizes[size]}; leave out --pretrained")
    source = choices.open_dataset(dataset, data_dir)
    chosen = _folds(folds, sorted({clip.fold for clip in source.clips}))
    if smoke:
        source = Few(source, reproduction.SMOKE_CLIPS)
    where = choices.open_device(device, deterministic)
    given = _given(classifier or [], plan, source, chosen, where)
    base = out or (Path("results/runs/smoke") if smoke else Path("results"))
    parts = [paper, dataset, size, f"seed{seed}" * bool(seed), "pretrained" * pretrained, "smoke" * smoke]
    parts += [loaded.sha256[:8] for loaded, _ in given.values()]
    command = shlex.join(["xaibench", *sys.argv[1:]])
    request = reproduction.Request(
        paper=plan,
        dataset=source,
        size=size,
        folds=chosen,
        work=base / "runs" / REPRODUCTIONS / "-".join(part for part in parts if part),
        command=command,
        explainers=explainers,
        seed=seed,
        device=where,
        precision=precision.dtype,
        pretrained=pretrained,
        given=given,
        smoke=smoke,
    )
    steps = reproduction.plan(request)
    _print_plan(request, steps)
    if dry_run:
        return
    with progress() as bar:
        current: Step | None = None

        def report(tick: Tick) -> None:
            nonlocal current
            text = tick.step.title(size)
            if tick.step != current:
                current = tick.step
                for task in list(bar.task_ids):
                    bar.remove_task(task)
                bar.add_task(text, total=tick.total)
                if not sys.stderr.isatty():  # a log has no bar
                    notes().print(text, soft_wrap=True)
            said = f"{text} · {tick.text}" if tick.text else text
            bar.update(bar.task_ids[0], completed=tick.done, total=tick.total, description=said)

        outcome = reproduction.run(request, report)
    with notes().status("testing the paper's claims"):
        page = reproduction_table.markdown(plan, outcome, command)
        table = reproduction_table.table(plan, outcome)
    base.mkdir(parents=True, exist_ok=True)
    write_atomically(base / f"{paper}.md", page.encode())
    write_atomically(base / f"{paper}.csv", table.to_csv(index=False, lineterminator="\n").encode())
    output().print(page, markup=False, soft_wrap=True)
    output().print(f"table: {base / paper}.md, {base / paper}.csv", markup=False, soft_wrap=True)


def _folds(text: str, present: list[int]) -> tuple[int, ...]:
    if text == ALL:
        return tuple(present)
    if not text.isdecimal() or int(text) not in present:
        raise XaibenchError(f"--folds {text!r} is neither all nor a fold of the dataset, such as 5")
    return (int(text),)


def _given(
    names: list[str], plan: Paper, source: Dataset, folds: tuple[int, ...], device: torch.device
) -> dict[str, tuple[LoadedClassifier, Card]]:
    """Load the named classifiers, by family.

    Raises:
        XaibenchError: they are not of the paper's families, or there are several folds to test.
    """
    from xaibench.classifiers import checkpoint, references
    from xaibench.commands.classifiers import load_classifiers

    if not names:
        return {}
    if len(folds) > 1:
        raise XaibenchError("--classifier gives one classifier, --folds all needs one for every fold; leave one out")
    families = [one.family for one in plan.architectures]
    found: dict[str, tuple[LoadedClassifier, Card]] = {}
    for name in dict.fromkeys(names):
        (loaded,) = load_classifiers([name], source, folds, device)
        family = loaded.classifier.family
        if family not in families or family in found:
            raise XaibenchError(f"{name} is a {family}; the paper has one each of {', '.join(families)}")
        found[family] = (loaded, checkpoint.Card.read(references.find(name, source.name)))
    return found


def _print_plan(request: Request, steps: list[Step]) -> None:
    from xaibench.papers import cost as reproduction_cost
    from xaibench.storage import provenance

    with notes().status("measuring a few passes of each classifier"):
        costs = reproduction_cost.estimate(request, steps)
    table = Table(box=None, pad_edge=False)
    for heading in ("Step", "State", "Forward passes", "with gradients", "Time", "Memory"):
        table.add_column(heading, justify="left" if heading in {"Step", "State"} else "right")
    for step, cost in zip(steps, costs, strict=True):
        if cost is None:
            table.add_row(step.title(request.size), step.found)
            continue
        figures = (f"{cost.forwards:,}", f"{cost.backwards:,}", _time(cost.seconds), f"{cost.memory / 1e9:.1f} GB")
        table.add_row(step.title(request.size), "to do", *figures)
    notes().print(table)
    to_do = [cost for cost in costs if cost is not None]
    total = sum(cost.seconds for cost in to_do)
    peak = max(cost.memory for cost in to_do)
    forwards = sum(cost.forwards for cost in to_do)
    notes().print(
        f"In all: about {_time(total)}, {peak / 1e9:.1f} GB beside the program, and {forwards:,} forward passes, on "
        f"{provenance.device_name(request.device)}. Scores that exist already are not computed again. "
        f"{reproduction_cost.ASSUMPTIONS}",
        soft_wrap=True,
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
