"""Score explanations of sound models, from Python."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaibench import registry
from xaibench.benchmark.data import dataset
from xaibench.benchmark.models import Model, load_models
from xaibench.benchmark.naming import (
    Method,
    MetricLike,
    as_list,
    controls_beside,
    engine_named,
    methods_named,
    metrics_named,
)
from xaibench.benchmark.plan import Plan
from xaibench.benchmark.plan import plan as plan_of
from xaibench.benchmark.results import Failure, Results
from xaibench.benchmark.run import Run
from xaibench.classifiers.device import AUTO, device_named
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.errors import XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.cache import ExplanationCache
from xaibench.reports.progress import Scored
from xaibench.reports.progress import progress as bar_of
from xaibench.scoring.config import TIMEOUT_SECONDS, RunConfig
from xaibench.scoring.evaluate import Event
from xaibench.scoring.targets import with_target
from xaibench.sound.dataset import Dataset
from xaibench.sound.readable import readable
from xaibench.sound.subset import described, sample
from xaibench.storage.user_folders import cache_folder


def evaluate(
    model: Model | Sequence[Model],
    data: Dataset | str,
    methods: Method | Sequence[Method],
    metrics: MetricLike | Sequence[MetricLike] | None = None,
    *,
    folds: Sequence[int] | None = None,
    limit: int | None = None,
    seed: int = 0,
    protocol: str = "standard",
    controls: bool = True,
    fill: str = "silence",
    target: str = "predicted",
    long: str = "cut",
    out: str | Path | None = None,
    keep_maps: bool = False,
    explainers: str | Path = fitting.ROOT,
    device: str = AUTO,
    batch_size: int | None = None,
    strict: bool = False,
    timeout: float | None = TIMEOUT_SECONDS,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    resources: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Results:
    """Score methods on the clips of a dataset, as `xaibench run` does.

    What is odd, left out or failed is warned of (`warnings`), and kept in the results. So is a model that does no
    better than guessing on 16 of the clips, or that does not agree with its bare self there. A class or object that no
    installed package registers, such as one typed into a notebook, is scored in this process, without a time limit.

    Args:
        model: a classifier (`xaibench.wrap`, `xaibench.classifier`, ...), a name, or a list of these.
        data: a dataset (`xaibench.dataset`, `xaibench.clips`), or the name of one that needs no folder.
        methods: names, such as "saliency" or "integrated-gradients:steps=64", Explainer classes and objects.
        metrics: names, Metric classes and objects. None: the default ones of the protocol.
        folds: of the clips. None: the test fold (5) where there is one, else all.
        limit: score a sample of so many clips, of all classes and as many recordings as there can be, the same for
            the same seed; a line says what it holds. None: all.
        seed: of every random draw.
        protocol: "standard", or another one of docs/protocols.md.
        controls: whether the controls "random" and "energy" are scored beside the methods, so that there is something
            to compare with: on the models that one of the methods fits, where the protocol has them.
        fill: what takes the place of removed bins: "silence", "mean" (noise with the clip's mean spectrum) or "noise"
            (white noise at the clip's level).
        target: the class to explain: "predicted", "label", or "labels": each label of a clip by itself, where clips
            have several. Labels that are none of a model's classes have no scores, and are counted.
        long: what is heard of a clip that is longer than a model's input: its beginning ("cut"), its middle ("center"),
            or all of it, window by window ("windows").
        out: run folder; the same call continues a run that was stopped. None: a temporary folder, which goes when the
            results do.
        keep_maps: whether maps are written to maps/CLASSIFIER/METHOD/CLIP.npz in the run folder: `map` (freq, time),
            `frequencies` in Hz, `times` in s, `clip`, `target` and others; `xaibench.Precomputed` reads them.
        explainers: folder with the weights that `fit` and `judge` made; shipped ones are found anyway.
        device: of models that are named, such as "cpu" or "cuda:1"; objects stay where they are. "auto": a GPU if
            there is one.
        batch_size: inputs in one forward pass. None: 16 on a CPU, 128 on a GPU; halved where memory runs out.
        strict: whether clips are refused that cannot be read, which are left out else, or whose sound is odd
            (truncated, silent, ...), and not only named.
        timeout: seconds that 16 clips of a method of another package may take, which runs in a process of its own.
            None: any time.
        workers: processes that score at the same time, each on a GPU of its own if there are several. They make
            everything anew from names and folders; what only this process has is scored here, one part at a time.
            None: this process; with another engine, as many as fit.
        engine: where workers are: "local" (this machine) or another one of docs/scaling.md.
        address: of the engine's cluster. None: its own choice.
        resources: what each worker asks of the cluster, such as {"num_gpus": "1"} of Ray.
        threads: CPU threads of each process that scores, which move the last digits of scores; the number of workers
            does not. None: torch's number where this process scores, else 1.
        progress: whether a progress bar is shown.

    Raises:
        XaibenchError: what is given makes no sense; one line says what to do.
    """
    planned = _planned(
        model,
        data,
        methods,
        metrics,
        folds=folds,
        limit=limit,
        seed=seed,
        protocol=protocol,
        controls=controls,
        fill=fill,
        target=target,
        long=long,
        keep_maps=keep_maps,
        explainers=explainers,
        device=device,
        batch_size=batch_size,
        strict=strict,
        timeout=timeout,
        workers=workers,
        engine=engine,
        address=address,
        resources=resources,
        threads=threads,
    )
    run = planned.run
    temporary = None
    if out is None:
        temporary = tempfile.TemporaryDirectory(prefix="xaibench-")
        out = temporary.name
    folder = run.open(Path(out))
    failures: list[Failure] = []
    with bar_of(progress) as bar:
        if limit is not None:
            bar.console.print(planned.sample, style="dim", soft_wrap=True)
        for sentence in run.beside("controls=False"):
            bar.console.print(sentence, style="dim", soft_wrap=True)
        scored = Scored(bar, run.pairs, len(run.config.clips))

        def report(event: Event) -> None:
            if event.kind == "failed":
                failures.append(Failure(event.classifier, event.method, event.metric, event.reason, event.traceback))
                _warn(f"failed: {event.method} on {event.classifier}: {event.reason}")
            elif event.kind == "costly":
                _warn(f"{event.method} on {event.classifier} takes {event.reason}, unless its maps are kept already")
            elif event.kind == "not reused":
                _warn(f"earlier results of {event.method} on {event.classifier} are not reused: {event.reason}")
            elif event.kind == "alone":
                _warn(f"{event.method} on {event.classifier} is scored in this process alone: {event.reason}")
            scored.add(event)

        run.score(folder, report)
    return Results(
        folder.path,
        tuple(failures),
        {who: why for who, why in run.left_out.items() if why},
        temporary,
        (planned.data, run.loaded),
    )


def plan(
    model: Model | Sequence[Model],
    data: Dataset | str,
    methods: Method | Sequence[Method],
    metrics: MetricLike | Sequence[MetricLike] | None = None,
    *,
    out: str | Path | None = None,
    **settings: Any,
) -> Plan:
    """Estimate what `evaluate` would cost, as `xaibench run --dry-run` does: a few clips are scored for this.

    Args:
        model, data, methods, metrics: as `evaluate` has them.
        out: run folder, of which only what is left is counted. None: everything.
        settings: more arguments of `evaluate`: `folds`, `limit`, `workers`, `threads` and so on.

    Raises:
        XaibenchError: what is given makes no sense; one line says what to do.
    """
    return plan_of(_planned(model, data, methods, metrics, **settings).run, None if out is None else Path(out))


@dataclass(frozen=True)
class _Planned:
    """What `evaluate` scores.

    Attributes:
        run: methods on classifiers.
        data: as it was given.
        sample: a sentence about the clips, where not all are scored.
    """

    run: Run
    data: Dataset
    sample: str


def _planned(
    model: Model | Sequence[Model],
    data: Dataset | str,
    methods: Method | Sequence[Method],
    metrics: MetricLike | Sequence[MetricLike] | None,
    *,
    folds: Sequence[int] | None = None,
    limit: int | None = None,
    seed: int = 0,
    protocol: str = "standard",
    controls: bool = True,
    fill: str = "silence",
    target: str = "predicted",
    long: str = "cut",
    keep_maps: bool = False,
    explainers: str | Path = fitting.ROOT,
    device: str = AUTO,
    batch_size: int | None = None,
    strict: bool = False,
    timeout: float | None = TIMEOUT_SECONDS,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    resources: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> _Planned:
    """Turn the arguments of `evaluate` into what is scored, and warn of what is odd about it."""
    for name, value in {"batch_size": batch_size, "threads": threads}.items():
        if value is not None and value < 1:
            raise XaibenchError(f"{name} is {value}; give 1 or more")
    rules = registry.load("protocols", protocol).with_choices(fill, target, long)
    asked = methods_named(methods)
    beside, broken = controls_beside(asked, rules.name) if controls else ({}, {})
    for name, reason in broken.items():
        _warn(f"left out: {name} ({reason})")
    given = dataset(data) if isinstance(data, str) else data
    source = with_target(given, target)
    chosen = _folds(folds, source)
    clips = source.in_folds(chosen)
    taken = sample(source, clips, limit, seed)
    heard = readable(source, taken, strict)
    for sentence in heard.sentences:
        _warn(f"sound: {sentence}")
    loaded = load_models(as_list(model, "model"), source, chosen, device_named(device), _warn)
    run = Run(
        RunConfig(
            dataset=source,
            clips=heard.clips,
            unreadable=tuple(heard.unreadable),
            methods=asked | beside,
            beside=frozenset(beside),
            metrics=metrics_named(metrics, rules.name),
            seed=seed,
            batch_size=batch_size or min(automatic_batch_size(one.classifier.device) for one in loaded),
            cache=ExplanationCache(cache_folder() / "explanations"),
            protocol=rules,
            keep_maps=keep_maps,
            explainers=Path(explainers),
            timeout=timeout,
        ),
        tuple(loaded),
        chosen,
        limit,
        threads,
        engine_named(engine, workers, address, resources or {}),
    )
    run.check()
    for sentence in run.warnings():
        _warn(sentence)
    for sentence in run.gaps("results.left_out lists them"):
        _warn(sentence)
    return _Planned(run, given, described(taken, clips))


def _folds(folds: Sequence[int] | None, source: Dataset) -> tuple[int, ...]:
    if folds is not None:
        return tuple(sorted(set(folds)))
    return source.test_folds


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)
