"""Clips per second of a classifier: bare forward passes, the default metrics with one method, training.

    python benchmarks/throughput.py --device cuda --precision float32 --precision bfloat16 --batch-size 16,128
    python benchmarks/throughput.py --classifier focalnet-micro --device cpu --clips 8

Weights are random, for no time depends on them; clips are synth's. One pass warms up; of what then takes less than
eight seconds the median of three is taken. Metrics and maps are timed through the evaluation loop, so with
everything that `xaibench run` does for a part of 16 clips, and nothing kept from other runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from engine import median, timed

from xaibench import registry
from xaibench.classifiers import checkpoint, training
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.commands import options
from xaibench.errors import XaibenchError
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.evaluate import Event, LoadedClassifier, RunConfig, evaluate
from xaibench.sound import audio
from xaibench.sound.dataset import TEST_FOLDS, TRAIN_FOLDS
from xaibench.sound.synth import Synth
from xaibench.storage.provenance import device_name, versions


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        batch_size: inputs per pass; the largest that fitted, where memory ran out.
        peak_bytes: most GPU memory that was allocated, None on a CPU.
    """

    work: str
    precision: str
    batch_size: int
    clips: int
    seconds: float
    peak_bytes: int | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As they are printed."""
        memory = "\N{EN DASH}" if self.peak_bytes is None else f"{self.peak_bytes / 1e9:.1f}"
        rate = f"{self.clips / self.seconds:.3g}"
        return (self.work, self.precision, str(self.batch_size), str(self.clips), f"{self.seconds:.3g}", rate, memory)


HEADINGS = ("work", "precision", "batch", "clips", "s", "clips / s", "GPU memory, GB")


def main(
    classifier: Annotated[str, typer.Option(help="Registered classifier.")] = "focalnet-base",
    method: Annotated[str, typer.Option(help="Explainer of the metrics.")] = "saliency",
    device: options.DeviceOption = "auto",
    precision: Annotated[list[options.Precision] | None, typer.Option(help="Repeatable. Default: float32.")] = None,
    batch_size: Annotated[str, typer.Option(help="Inputs per forward pass, such as 16,128.")] = "16",
    clips: Annotated[int, typer.Option(help="For each kind of work, of at most 80.", min=1, max=80)] = 80,
) -> None:
    """Print a Markdown table."""
    where = options.open_device(device)
    if not all(part.isdecimal() and int(part) for part in batch_size.split(",")):
        raise typer.BadParameter(f"--batch-size {batch_size!r} is not a list of sizes; write 16 or 16,128")
    source = Synth()
    torch.manual_seed(0)
    model = checkpoint.build(classifier, source.classes).to(where).eval()
    print(
        f"{classifier} ({model.parameter_count / 1e6:.1f} M parameters) at {model.front_end.image_size[0]} x "
        f"{model.front_end.image_size[1]}; {device_name(where)}, torch {versions()['torch']}.",
        "",
        *map(row, (HEADINGS, (":--", ":--", *["--:"] * (len(HEADINGS) - 2)))),
        sep="\n",
    )
    for kind in precision or [options.Precision.float32]:
        for size in batch_size.split(","):
            for line in inference(model, method, source, clips, int(size), kind):
                print(row(line.cells), flush=True)
        print(row(training_steps(classifier, source, clips, kind, where).cells), flush=True)


def row(cells: tuple[str, ...]) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def inference(
    model: Classifier, method: str, source: Synth, count: int, size: int, precision: options.Precision
) -> Iterator[Line]:
    """Bare forward passes, and all that scoring a method by the default metrics takes."""
    chosen = source.in_folds(TEST_FOLDS)[:count]
    device = model.device
    x = audio.spectrogram(torch.stack([torch.from_numpy(source.waveform(clip)) for clip in chosen])).to(device)
    forwarder = Forwarder(model, size, precision.dtype)
    seconds, peak = measured(lambda: forwarder.logits(x), device)
    yield Line("forward", precision, forwarder.batch_size, count, seconds, peak)

    metrics = options.metrics([], [])
    config = RunConfig(
        dataset=source,
        clips=chosen,
        methods={method: registry.create("methods", method)},
        metrics=metrics,
        seed=0,
        batch_size=size,
        precision=precision.dtype,
    )

    loaded = LoadedClassifier(model.name, model, "")
    seconds, peak = measured(lambda: score(config, loaded), device)
    yield Line(f"{method}, {len(metrics)} default metrics", precision, size, count, seconds, peak)


def score(config: RunConfig, loaded: LoadedClassifier) -> None:
    """Score clips of the test folds by the evaluation loop; what it writes is not kept."""
    manifest = Manifest(
        dataset=config.dataset.name,
        dataset_fingerprint=config.dataset.fingerprint(),
        folds=TEST_FOLDS,
        limit=len(config.clips),
        clips=len(config.clips),
        seed=config.seed,
        protocol=config.protocol.id,
    )
    with tempfile.TemporaryDirectory() as folder:
        evaluate(config, loaded, RunFolder(Path(folder), manifest), refuse_failure)


def refuse_failure(event: Event) -> None:
    """A method that failed would look fast."""
    if event.kind == "failed":
        raise XaibenchError(f"{event.method} failed: {event.reason}")


def training_steps(name: str, source: Synth, count: int, precision: options.Precision, device: torch.device) -> Line:
    """Whole training steps: augmentation, both passes, optimiser and moving average."""
    x, labels = training.magnitudes(source, source.in_folds(TRAIN_FOLDS)[:count])
    recipe = replace(checkpoint.build(name, source.classes).recipe, epochs=10)
    config = training.TrainingConfig(
        classifier=name,
        dataset=source.name,
        seed=0,
        recipe=recipe,
        precision=precision.dtype,
        device=device,
        command="",
    )
    trainer = training._Trainer(config, source, (x, labels), (x, labels))
    generator = torch.Generator().manual_seed(0)
    seconds, peak = measured(lambda: trainer.pass_once(generator), device)
    return Line("training", precision, recipe.batch_size, count, seconds, peak)


def measured(work: Callable[[], object], device: torch.device) -> tuple[float, int | None]:
    """Seconds of work once warm, and the most GPU memory that it held."""
    work()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = median(lambda: timed(work, device)[0], lambda one: one)
    return seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


if __name__ == "__main__":
    typer.run(main)
