"""What the metrics cost: beside Quantus on the same maps and classifier, and beside the bare forward passes.

    python benchmarks/engine.py                       # focalnet-micro, saliency, 16 clips of synth's fold 5
    python benchmarks/engine.py --metric deletion_auc --metric sparseness --clips 4 --markdown

Times are wall clock; of what takes less than eight seconds the median of three runs. Both sides get the same
clips, clean predictions and maps for nothing: making them is the method's cost.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

import numpy as np
import rich.box
import torch
import typer
from _quantus import BATCH, COUNTERPARTS, Counterpart, Found, call
from rich.console import Console
from rich.table import Table
from torch import Tensor

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.commands import options
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric
from xaibench.scoring.protocol import SPECTROGRAM
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth
from xaibench.storage.provenance import device_name

BY_LAYER = "mprt, layer by layer"
QUICK_SECONDS = 8.0  # below this a time is the median of three
NOTHING = "\N{EN DASH}"

Result = TypeVar("Result")


class CountingExplainer(BoundExplainer):
    """Counts the maps that metrics ask for.

    Attributes:
        count: maps made so far.
    """

    count = 0

    def explain(self, batch: Batch, target: Tensor, classifier: Classifier | None = None) -> Explanation:
        self.count += len(batch)
        return super().explain(batch, target, classifier)


@dataclass(frozen=True)
class Bare:
    """Seconds per clip of a forward pass and of a map, in the same batches and of nothing else."""

    forward: float
    explain: float


@dataclass(frozen=True)
class Setting:
    """Clips, maps and classifier.

    Attributes:
        clean: the clips and what the classifier says of them.
        attribution: the method's maps of them.
        explainer: the method and the classifier.
    """

    clean: Clean
    attribution: Tensor
    explainer: CountingExplainer

    def bare(self) -> Bare:
        """What bare passes cost just now."""
        batch, model = self.clean.batch, self.explainer.forwarder.classifier

        def forward() -> None:
            with torch.inference_mode():
                for piece in batch.x.split(BATCH):
                    model.picture_logits(piece)

        def explain() -> None:
            self.explainer.explain(batch, self.clean.target)

        passes = {
            work: statistics.median(timed(work, batch.x.device)[0] for _ in range(times)) / len(batch)
            for work, times in ((forward, 3), (explain, 1))
        }
        return Bare(passes[forward], passes[explain])

    def context(self) -> ScoringContext:
        """Nothing forwarded yet, not even what all methods share."""
        return ScoringContext(replace(self.clean), self.attribution, self.explainer)


@dataclass(frozen=True)
class Cost:
    """What metrics cost here.

    Attributes:
        seconds: wall clock.
        forwards: inputs forwarded.
        explanations: maps made.
        values: of the last metric's last area, (clips,), or of every layer, (layers, clips).
        bare: seconds of as many forward passes and maps alone, timed right before and after.
    """

    seconds: float
    forwards: int
    explanations: int
    values: np.ndarray
    bare: float


@dataclass(frozen=True)
class Line:
    """A row of the table; `theirs` is None where Quantus has nothing like it or fails."""

    name: str
    ours: Cost
    theirs: float | None = None
    difference: float | None = None


def main(
    classifier: Annotated[str, typer.Option(help="Classifier with weights for synth, or checkpoint folder.")] = (
        "focalnet-micro"
    ),
    method: Annotated[str, typer.Option(help="Explainer.")] = "saliency",
    clips: Annotated[int, typer.Option(help="Of synth's fold 5.", min=1)] = 16,
    metric: Annotated[list[str] | None, typer.Option(help="Repeatable. Default: all.")] = None,
    device: options.DeviceOption = "cpu",
    threads: Annotated[int, typer.Option(help="Of the processor.", min=1)] = 2,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Time the metrics, and Quantus beside them."""
    torch.set_num_threads(threads)
    progress = Console(stderr=True)
    setting = prepare(classifier, method, clips, options.open_device(device))
    bare = setting.bare()
    metrics = {name: registry.create("metrics", name) for name in metric or registry.names("metrics")}
    if not metric:  # a map has no soft mask; Quantus scores pictures, so both sides do
        metrics = {
            name: one for name, one in metrics.items() if SPECTROGRAM.name in one.protocols and one.soft_mask != "only"
        }
    lines, notes = [], []
    for name, one in metrics.items():
        with progress.status(name):
            more, note = compare(setting, name, one)
        lines += more
        notes += [note] if note else []
    seconds = {line.name: line.theirs for line in lines if line.theirs is not None and line.name in metrics}
    paired = {name: metrics[name] for name in seconds}
    if len(paired) > 1:
        theirs = sum(seconds.values())
        lines.append(Line(f"these {len(paired)}, sharing", cost(setting, paired), theirs))
    if len(metrics) > max(1, len(paired)):
        lines.append(Line(f"all {len(metrics)}, sharing", cost(setting, metrics)))
    batch = setting.clean.batch
    caption = (
        f"{len(batch)} clips of synth, {classifier}, {method}; {device_name(batch.x.device)}, batches of {BATCH}; "
        f"a bare forward pass {1000 * bare.forward:.1f} ms a clip, a map {1000 * bare.explain:.1f} ms, at the start"
    )
    show(markdown, caption, [row(line) for line in lines], notes)


def prepare(classifier: str, method: str, count: int, device: torch.device) -> Setting:
    """Everything that both sides get for nothing, and the time of the bare passes."""
    source = Synth()
    chosen = source.in_folds((5,))[:count]
    model, _ = checkpoint.resolve(classifier, "synth")
    model.to(device)
    sound = torch.stack([torch.from_numpy(source.waveform(clip)) for clip in chosen])
    stem = torch.stack([torch.from_numpy(source.stem(clip)) for clip in chosen])
    known = torch.stack([torch.from_numpy(source.ground_truth(clip)) for clip in chosen]).to(device)
    x = audio.spectrogram(sound).to(device)
    batch = Batch(x, tuple(clip.id for clip in chosen), 0, known)
    forwarder = Forwarder(model, BATCH)
    explainer = CountingExplainer(registry.create("methods", method), forwarder)
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0], sound, stem)
    maps = [explainer.explain(batch.slice(i, i + 1), clean.target[i : i + 1]).map for i in range(len(batch))]

    setting = Setting(clean, torch.cat(maps), explainer)
    setting.bare()  # the first passes of a process are slow
    return setting


def compare(setting: Setting, name: str, metric: Metric) -> tuple[list[Line], str]:
    """Our cost of one metric and Quantus's; and a note on what Quantus was asked."""
    ours = cost(setting, {name: metric})
    counterpart = COUNTERPARTS.get(name)
    if counterpart is None:
        return [Line(name, ours)], ""
    if counterpart.not_run:
        return [Line(name, ours)], f"{name}: Quantus's {counterpart.words} {counterpart.not_run}"
    found = quantus(setting, counterpart)
    if found.failure:
        return [Line(name, ours)], f"{name}: Quantus's {counterpart.words} fails: {found.failure}"
    kind = "the same as" if counterpart.same else "nearest:"
    lines = [Line(name, ours, found.seconds, difference(ours, found) if counterpart.same else None)]
    note = f"{name}: {kind} Quantus's {counterpart.words}"
    if name == "mprt":
        by_layer = cost_by_layer(setting, metric)
        lines.append(Line(BY_LAYER, by_layer, found.seconds, difference(by_layer, found)))
        note += f", whose one call is set beside both lines; {len(by_layer.values)} layers"
    return lines, note


def difference(ours: Cost, found: Found) -> float | None:
    """The largest between values that both sides have."""
    if found.values is None:
        return None
    both = np.isfinite(ours.values) & np.isfinite(found.values)
    return float(np.abs(ours.values - found.values)[both].max()) if both.any() else None


def cost(setting: Setting, metrics: dict[str, Metric]) -> Cost:
    """Metrics scored together, as the evaluation does it; every run starts from nothing."""

    def score(context: ScoringContext) -> Tensor:
        context.require([one for metric in metrics.values() for one in metric.perturbations(AREAS)])
        for metric in metrics.values():
            for area in AREAS if metric.per_area else (None,):
                values = metric.score(context, area).values
        return values

    return cost_of(setting, score)


def cost_by_layer(setting: Setting, mprt: Metric) -> Cost:
    """MPRT with the layers and the random weights of Quantus; no metric of its own, but in the same file."""
    by_layer = importlib.import_module(type(mprt).__module__).mprt_by_layer
    return cost_of(setting, lambda context: torch.stack(list(by_layer(context).values())))


def cost_of(setting: Setting, score: Callable[[ScoringContext], Tensor]) -> Cost:
    """What it costs to get values from a scoring context of which nothing is computed yet."""

    def once() -> Cost:
        forwarder, explainer = setting.explainer.forwarder, setting.explainer
        before = setting.bare()
        forwards, explanations = forwarder.count, explainer.count
        seconds, values = timed(lambda: score(setting.context()), setting.clean.batch.x.device)
        forwards, explanations = forwarder.count - forwards, explainer.count - explanations
        after = setting.bare()  # a machine is not equally fast from minute to minute
        bare = forwards * (before.forward + after.forward) + explanations * (before.explain + after.explain)
        return Cost(seconds, forwards, explanations, values.cpu().numpy(), bare / 2)

    return median(once, lambda one: one.seconds)


def quantus(setting: Setting, counterpart: Counterpart) -> Found:
    """Quantus on the same maps and classifier."""
    return median(lambda: call(counterpart, setting.context()), lambda found: found.seconds)


def median(run: Callable[[], Result], seconds: Callable[[Result], float]) -> Result:
    """The run itself where it is long, else the one of median time of three."""
    first = run()
    if seconds(first) >= QUICK_SECONDS:
        return first
    return sorted([first, run(), run()], key=seconds)[1]


def timed(work: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Seconds until the device has done the work, and its result."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    started = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - started, result


HEADINGS = ("metric", "forwards", "maps", "s", "s / bare", "Quantus s", "Quantus / ours", "largest difference")


def row(line: Line) -> tuple[str, ...]:
    """The cells under HEADINGS."""
    ours = line.ours
    return (
        line.name,
        f"{ours.forwards:,}" if ours.forwards else NOTHING,
        f"{ours.explanations:,}" if ours.explanations else NOTHING,
        f"{ours.seconds:.3g}",
        f"{ours.seconds / ours.bare:.2f}" if ours.bare else NOTHING,
        NOTHING if line.theirs is None else f"{line.theirs:.3g}",
        NOTHING if line.theirs is None else f"{line.theirs / ours.seconds:.2f}",
        NOTHING if line.difference is None else f"{line.difference:.1g}",
    )


def show(markdown: bool, caption: str, rows: Sequence[tuple[str, ...]], notes: Sequence[str]) -> None:
    """The table, as Markdown or for the terminal."""
    if markdown:
        lines = [HEADINGS, (":--", *["--:"] * (len(HEADINGS) - 1)), *rows]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        print(f"{caption}.", "", *body, "", *(f"- {note}" for note in notes), sep="\n")
        return
    table = Table(title=caption, box=rich.box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
    for cells in rows:
        table.add_row(*cells)
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)
    for note in notes:
        console.print(note, style="dim", markup=False)


if __name__ == "__main__":
    with freed_memory_reused():  # as in a run
        typer.run(main)
