"""`xaibench run`: score explanations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench import registry
from xaibench.commands import options
from xaibench.commands.console import notes, progress, verbose
from xaibench.commands.dry_run import print_plan
from xaibench.commands.options import ALL
from xaibench.commands.outcome import print_outcome, print_summary_of_protocol
from xaibench.errors import VERBOSE, XaibenchError

if TYPE_CHECKING:
    from xaibench.explaining.explainer import Explainer
    from xaibench.scoring.engine import Engine
    from xaibench.scoring.evaluate import Event


def run(
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="Explainer, repeatable, or all; [bold]xaibench methods[/bold] lists them. "
            "[bold]NAME:setting=value,setting=value[/bold] changes its parameters.",
            metavar="NAME[:SETTINGS]",
        ),
    ],
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier: a name from [bold]xaibench classifiers[/bold], shipped weights of another dataset, or a "
            "checkpoint folder. Repeatable. Default: all whose weights are shipped for the dataset.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    class_map: options.ClassMapOption = None,
    events: options.EventsOption = None,
    folds: options.FoldsOption = None,
    metric: options.MetricOption = None,
    family: Annotated[
        list[str] | None,
        typer.Option(help="Score all metrics of a family, such as robustness; repeatable.", metavar="FAMILY"),
    ] = None,
    limit: options.LimitOption = None,
    explainers: options.ExplainersOption = options.EXPLAINERS,
    seed: options.SeedOption = 0,
    protocol: Annotated[
        str,
        typer.Option(
            help="standard; spectrogram, which feeds masked pictures and counts all their bins, padding included; or "
            "legacy-speechbrain for the numbers of the original recipes. See docs/protocols.md.",
            metavar="NAME",
        ),
    ] = options.STANDARD,
    controls: options.ControlsOption = True,
    fill: options.FillOption = options.SILENCE,
    target: options.TargetOption = options.PREDICTED,
    long: options.LongOption = options.CUT,
    device: options.DeviceOption = "auto",
    batch_size: Annotated[str, typer.Option(help="Number of inputs per forward pass, or auto.")] = "auto",
    precision: Annotated[
        options.Precision,
        typer.Option(
            help="Precision of the forward passes that score. bfloat16 is faster on a GPU; see docs/protocols.md."
        ),
    ] = options.Precision.float32,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the forward passes that score, which takes a minute at the start."),
    ] = False,
    deterministic: options.DeterministicOption = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse clips that cannot be read or are truncated, short, silent, clipped or too loud."
        ),
    ] = False,
    keep_maps: Annotated[
        bool,
        typer.Option("--keep-maps", help="Write the maps, too: maps/CLASSIFIER/METHOD/CLIP.npz in the run folder."),
    ] = False,
    timeout: Annotated[
        int,
        typer.Option(
            help="Seconds that plugins may take for a part, which is 16 clips by one method; 0 for any time. They run "
            "in a process of their own. xaibench's own methods and metrics have no limit.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 3600,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that score at the same time, each on a GPU of its own if there are several. Scores do not "
            "depend on their number. More may be started by hand at any time: the same command again, also on another "
            "machine that has the folder. Default: 1; with another engine, as many as fit.",
            metavar="N",
            min=1,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where the workers are: local (this machine), ray or slurm; see docs/scaling.md.", metavar="NAME"
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Cluster of the engine: auto or HOST:6379 for Ray. Default: a cluster of this machine alone.",
            metavar="ADDRESS",
        ),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(
            help="What each worker asks of the cluster, in the cluster's words, repeatable: num_gpus=1 for Ray, "
            "partition=gpu for Slurm.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads of each process; they move the last digits of scores. Default: all cores where one "
            "process scores, 1 for each of several.",
            metavar="N",
            min=1,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what the run will cost (passes, time, bytes), from a few clips scored elsewhere, and stop.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: results/runs/DATASET-foldFOLDS.", metavar="FOLDER")
    ] = None,
) -> None:
    """Score explainers on a dataset.

    The score of every clip is written to the run folder (Parquet), and a leaderboard is printed. Two controls, random
    and energy, are scored beside the methods, so that there is something to compare with. Pairs of method and
    classifier that make no sense are left out; --verbose lists them with the reasons. If a run is stopped, the same
    command continues it. What fails is named at the end; run.log in the run folder says where it failed.

    [bold]Examples[/bold]

    xaibench run --method focalnet

    xaibench run --method all --dataset esc10 --data-dir ESC-50-master

    xaibench run -m saliency -m gradcam -c cnn-micro --limit 16

    xaibench run -m integrated-gradients -m integrated-gradients:steps=64 --limit 16

    xaibench run --method all --protocol legacy-speechbrain -c MY-CHECKPOINT --dataset esc10 --data-dir ESC-50-master
    """
    from xaibench.benchmark.naming import engine_named, methods_named
    from xaibench.explaining.settings import registered_name
    from xaibench.scoring.trial import give_up_on_deadly

    methods = _chosen_methods(method)
    with notes().status("trying plugins"):
        only_named = metric and not family and not {ALL, options.DEFAULT} & set(metric)
        tried = metric if metric and only_named else registry.names("metrics")
        bare = [registered_name(name) for name in methods]
        beside = registry.names("controls") if controls else []
        groups: dict[registry.Group, list[str]] = {"methods": bare, "controls": beside, "metrics": tried}
        give_up_on_deadly([(group, name) for group, names in groups.items() for name in names])
    if ALL in method:
        plan_methods, broken = registry.create_all("methods")
        options.say_left_out(broken)
    else:
        plan_methods = methods_named(methods)
    carry_out(
        plan_methods,
        classifier=classifier,
        dataset=dataset,
        data_dir=data_dir,
        columns=columns,
        class_map=class_map,
        events=events,
        folds=folds,
        metric=metric,
        family=family,
        limit=limit,
        explainers=explainers,
        seed=seed,
        protocol=protocol,
        controls=controls,
        fill=fill,
        target=target,
        long=long,
        device=device,
        batch_size=batch_size,
        precision=precision,
        compiled=compiled,
        deterministic=deterministic,
        strict=strict,
        keep_maps=keep_maps,
        timeout=timeout,
        engine=engine_named(engine, workers, address, _resources(resource or [])),
        threads=threads,
        dry_run=dry_run,
        out=out,
    )


def carry_out(
    methods: dict[str, Explainer],
    *,
    classifier: list[str] | None,
    dataset: str,
    data_dir: Path | None,
    columns: str | None = None,
    class_map: Path | None = None,
    events: Path | None = None,
    folds: str | None,
    metric: list[str] | None,
    limit: int | None,
    seed: int,
    protocol: str,
    fill: str,
    target: str,
    long: str,
    device: str,
    out: Path | None,
    family: list[str] | None = None,
    explainers: Path = options.EXPLAINERS,
    batch_size: str = "auto",
    precision: options.Precision = options.Precision.float32,
    compiled: bool = False,
    deterministic: bool = False,
    strict: bool = False,
    keep_maps: bool = False,
    controls: bool = True,
    timeout: int = 3600,
    engine: Engine | None = None,
    threads: int | None = None,
    dry_run: bool = False,
) -> None:
    """Score methods as the options of `run` say, and print what came out.

    Raises:
        XaibenchError: something is wrong with the options, or pairs failed.
    """
    from xaibench.benchmark.models import load_models
    from xaibench.benchmark.naming import controls_beside
    from xaibench.benchmark.run import Run
    from xaibench.classifiers.forward import automatic_batch_size
    from xaibench.explaining.cache import ExplanationCache
    from xaibench.reports.progress import Scored
    from xaibench.scoring.config import RunConfig
    from xaibench.scoring.local import Local
    from xaibench.scoring.targets import with_target
    from xaibench.sound.annotations import counted
    from xaibench.sound.readable import readable
    from xaibench.sound.subset import described, sample
    from xaibench.storage.user_folders import cache_folder

    rules = registry.load("protocols", protocol).with_choices(fill, target, long)
    source = with_target(options.open_dataset(dataset, data_dir, columns, class_map, events), target)
    where = options.open_device(device, deterministic)
    chosen = source.test_folds if folds is None else options.folds_named(folds, source)
    in_folds = source.in_folds(chosen)
    taken = sample(source, in_folds, limit, seed)
    if folds is None and source.draws_folds and len(in_folds) < len(source.clips):
        which = f"{len(in_folds)} of {len(source.clips)} clips: fold{'s' * (len(chosen) > 1)}"
        _say(f"scored are {which} {', '.join(map(str, chosen))} (folds were drawn; --folds all scores every one)")
    with progress() as bar:
        bar.add_task("reading sound", total=None)
        heard = readable(source, taken, strict)
    options.say_odd_sound(heard.sentences)
    if events is not None:
        _say(f"annotated are {counted(source, heard.clips)}")
    beside: dict[str, Explainer] = {}
    if controls:
        beside, broken = controls_beside(methods, rules.name)
        options.say_left_out(broken)
    config = RunConfig(
        dataset=source,
        clips=heard.clips,
        unreadable=tuple(heard.unreadable),
        methods=methods | beside,
        beside=frozenset(beside),
        metrics=options.metrics(metric or [], family or [], rules.name),
        seed=seed,
        batch_size=automatic_batch_size(where) if batch_size == "auto" else _positive(batch_size, "--batch-size"),
        precision=precision.dtype,
        compiled=compiled,
        cache=ExplanationCache(cache_folder() / "explanations"),
        protocol=rules,
        explainers=explainers,
        keep_maps=keep_maps,
        timeout=timeout or None,
    )

    loaded = tuple(load_models(classifier, source, chosen, where, options.warn))
    work = Run(config, loaded, chosen, limit, threads, engine or Local())
    work.check()
    for sentence in work.warnings():
        options.warn(sentence)
    for sentence in work.gaps(None if verbose() else f"{VERBOSE} lists them"):
        _say(sentence)
    for sentence in work.beside("--no-controls"):
        _say(sentence)

    if out is None:
        suffix = (f"-limit{limit}" if limit else "") + (f"-seed{seed}" if seed else "")
        suffix += (f"-{precision}" if precision != options.Precision.float32 else "") + (
            "-compiled" if compiled else ""
        )
        named = folds or ",".join(map(str, chosen))
        suffix += "" if rules.name == options.STANDARD else f"-{rules.name}"
        suffix += "" if fill == options.SILENCE else f"-fill-{fill}"
        suffix += "" if target == options.PREDICTED else f"-target-{target}"
        suffix += "" if long == options.CUT else f"-long-{long}"
        out = Path("results") / "runs" / f"{dataset}-fold{named.replace(',', '-')}{suffix}"
    if dry_run:
        print_plan(work, out)
        return
    folder = work.open(out)
    if limit is not None:
        _say(described(taken, in_folds))

    failures: list[Event] = []
    with progress() as bar:
        scored = Scored(bar, work.pairs, len(heard.clips))
        unprotected: set[str] = set()

        def report(event: Event) -> None:
            if event.kind == "failed":
                failures.append(event)
            elif event.kind == "unprotected" and event.method not in unprotected:
                unprotected.add(event.method)
                options.warn(f"{event.method} runs in this process, without a time limit: {event.reason}")
            elif event.kind == "costly":
                _say(f"{event.method} on {event.classifier} takes {event.reason}, unless its maps are kept already")
            elif event.kind == "not reused":
                options.warn(f"earlier results of {event.method} on {event.classifier} are not reused: {event.reason}")
            elif event.kind == "alone":
                options.warn(f"{event.method} on {event.classifier} is scored in this process alone: {event.reason}")
            scored.add(event)

        work.score(folder, report)
    print_outcome(out, failures)
    if rules.summarise is not None:
        print_summary_of_protocol(out, rules.summarise)
    if failures:
        failed = len({(event.classifier, event.method) for event in failures})
        raise XaibenchError(f"{failed} of {work.pairs} pairs failed (see above); everything else is saved")


def _say(note: str) -> None:
    notes().print(note, style="dim", markup=False, soft_wrap=True)


def _chosen_methods(names: Sequence[str]) -> list[str]:
    """Return the names, or all registered ones if one of them is `all`."""
    for name in names:
        if name != ALL:
            registry.entry("methods", name.partition(":")[0])
    return registry.names("methods") if ALL in names else list(dict.fromkeys(names))


def _resources(given: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for one, (name, mark, value) in zip(given, pairs, strict=True):
        if not name or not mark or not value:
            raise XaibenchError(f"--resource {one!r} is not of the form KEY=VALUE, such as num_gpus=1")
    return {name: value for name, _, value in pairs}


def _positive(text: str, option: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise XaibenchError(f"{option} {text!r} is neither auto nor a positive number")
    return int(text)
