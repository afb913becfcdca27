"""What a reproduction will cost on this machine, estimated from a few measured passes."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import PictureClassifier, picture_reader
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.classifiers.memory import measure_peak
from xaibench.explaining.trainable import FitContext, Setting, TrainableExplainer, TrainingClips
from xaibench.papers.config import ReproductionConfig
from xaibench.papers.paper import Architecture
from xaibench.papers.steps import Step
from xaibench.reports.tables import Cell, Row, Table, duration
from xaibench.scoring.config import MethodOnClassifier
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.storage import provenance

MEASURED_CLIPS = 2
CLIP_BYTES = 4 * math.prod(audio.PICTURE_SHAPE)
OPTIMISER_COPIES = 6  # weights, gradients, two moments, the moving average, the best so far
ASSUMPTIONS = (
    f"Measured on {MEASURED_CLIPS} clips of noise at a time, on the machine as busy as it is now. A fit may stop "
    "before its last epoch. Reading sound, sorting bins and writing are not counted."
)


@dataclass(frozen=True)
class Cost:
    """An estimate for one step.

    Attributes:
        forwards: clips through the classifier.
        backwards: how many of these with gradients.
        seconds: wall time on this machine.
        memory: bytes at the peak, with the sound and without the program itself.
    """

    forwards: int
    backwards: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class _PerClip:
    """What a piece of work costs for each clip; memory in bytes."""

    seconds: float
    forwards: float
    memory: int


def estimate(config: ReproductionConfig, steps: Sequence[Step]) -> list[Cost | None]:
    """Estimate the cost of every step, None where it is done already; makes a few passes of each classifier."""
    measured = {one.family: _Measured(config, one) for one in config.paper.architectures}
    return [None if step.found else measured[step.architecture.family].cost(step) for step in steps]


def table(config: ReproductionConfig, steps: Sequence[Step], costs: Sequence[Cost | None]) -> Table:
    """Lay out the cost of every step that is to do; the notes name the others, and sum up."""
    to_do = [(step, cost) for step, cost in zip(steps, costs, strict=True) if cost is not None]
    rows = []
    for step, cost in to_do:
        cells = (f"{cost.forwards:,}", f"{cost.backwards:,}", duration(cost.seconds), _size(cost.memory))
        rows.append(Row(step.title, False, tuple(map(Cell, cells))))
    notes = [f"Done: {step.title} ({step.found})." for step in steps if step.found]
    total, peak = duration(sum(cost.seconds for _, cost in to_do)), _size(max(cost.memory for _, cost in to_do))
    notes += [
        f"In all: about {total}, {peak} beside the program, and {sum(cost.forwards for _, cost in to_do):,} forward "
        f"passes, on {provenance.device_name(config.device)}. Scores that exist already are not computed again.",
        ASSUMPTIONS,
    ]
    caption = f"To do for {config.paper.name} on {config.dataset.name}, {config.size}"
    columns = ("Forwards", "Gradients", "Time", "Memory")
    return Table(caption, columns, tuple(rows), tuple(notes), names="Step")


def _size(memory: int) -> str:
    return f"{memory / 1e9:.1f} GB"


class _Measured:
    """What a clip costs on this machine with one classifier, measured on noise when it is first asked for."""

    def __init__(self, config: ReproductionConfig, architecture: Architecture) -> None:
        self.config, self.architecture = config, architecture
        given = config.given_for(architecture)
        if given is None:
            fresh = checkpoint.build(architecture.sizes[config.size], config.dataset.classes)
            self.classifier = checkpoint.freeze(fresh).to(config.device)
        else:
            self.classifier = given[0].classifier
        generator = torch.Generator().manual_seed(0)
        self.noise = torch.rand(MEASURED_CLIPS, *audio.PICTURE_SHAPE, generator=generator).to(config.device)

    def cost(self, step: Step) -> Cost:
        """Estimate a step: what a clip costs, times clips and epochs."""
        config, split = self.config, self.config.split(step.fold)
        folds = (split.train, split.validation, split.test)
        train, valid, test = (len(config.dataset.in_folds(one)) for one in folds)
        sound, weights = (train + valid) * CLIP_BYTES, 4 * self.classifier.parameter_count
        if step.kind == "train":
            recipe = config.recipe(step.architecture)
            epochs = recipe.epochs
            judged = epochs * valid + valid + test
            seconds = epochs * train * self.training.seconds + judged * self.forward.seconds
            memory = sound + OPTIMISER_COPIES * weights + recipe.batch_size * self.training.memory
            return Cost(epochs * train + judged, epochs * train, seconds, memory)
        if step.kind == "fit":
            fit, settings = self.methods[step.method][0], config.settings(step.method)
            clips, batch = _epochs(settings) * (train + valid), int(settings.get("batch_size", 1))
            return Cost(round(clips * fit.forwards), 0, clips * fit.seconds, sound + weights + batch * fit.memory)
        explained = [explaining for _, explaining in self.methods.values()]
        scored = 1 + sum(_scored_passes(config, method) for method in self.methods)  # 1: the clean clip
        forwards = scored + sum(one.forwards for one in explained)
        seconds = scored * self.forward.seconds + sum(one.seconds for one in explained)
        memory = weights + automatic_batch_size(config.device) * (3 * CLIP_BYTES + self.forward.memory)
        return Cost(round(test * forwards), 0, test * seconds, memory)

    @cached_property
    def forward(self) -> _PerClip:
        with torch.inference_mode():
            self.classifier.picture_logits(self.noise)  # the first pass is slow
            return self._per_clip(lambda: self.classifier.picture_logits(self.noise))

    @cached_property
    def training(self) -> _PerClip:
        """Forward and backward; what the optimiser does once a batch is little beside it."""
        classifier, noise, precision = self.classifier, self.noise, self.config.precision
        target = torch.zeros(len(noise), dtype=torch.long, device=noise.device)

        def step() -> None:
            with torch.autocast(noise.device.type, precision, enabled=precision != torch.float32):
                logits = classifier.picture_logits(noise)
            functional.cross_entropy(classifier.temperature * logits.float(), target).backward()

        classifier.train().requires_grad_(True)
        try:
            step()  # makes the gradients, which are counted apart
            return self._per_clip(step)
        finally:
            classifier.zero_grad(set_to_none=True)
            classifier.eval().requires_grad_(False)

    @cached_property
    def methods(self) -> dict[str, tuple[_PerClip, _PerClip]]:
        """Fitting (0 where nothing is fitted) and explaining, by method."""
        config, classifier = self.config, self.classifier
        batch = Batch(self.noise[:1], ("noise",), config.seed)
        target = torch.zeros(1, dtype=torch.long, device=self.noise.device)
        waveform = torch.randn(MEASURED_CLIPS, audio.CLIP_SAMPLES, generator=torch.Generator().manual_seed(0))
        clips = TrainingClips(self.noise.cpu(), tuple(f"noise-{i}" for i in range(MEASURED_CLIPS)), waveform)
        found = {}
        for method in (*self.architecture.methods, *config.paper.controls):
            explainer, fitting = registry.create("methods", method), _PerClip(0.0, 0.0, 0)
            if isinstance(explainer, TrainableExplainer):
                settings = {**explainer.settings, **config.paper.brief[method]}
                with tempfile.TemporaryDirectory() as folder:
                    context = FitContext(
                        settings=settings,
                        seed=config.seed,
                        device=config.device,
                        precision=config.precision,
                        state=Path(folder),
                        report=lambda epoch: None,
                    )
                    passed = _epochs(settings) * 2 * MEASURED_CLIPS
                    fitting = self._per_clip(partial(explainer.fit, classifier, clips, clips, context), passed)
            found[method] = fitting, self._per_clip(partial(explainer.explain, classifier, batch, target), 1)
        return found

    def _per_clip(self, work: Callable[[], object], passed: int = MEASURED_CLIPS) -> _PerClip:
        """Measure a piece of work in which `passed` clips take part, MEASURED_CLIPS of them at a time."""
        device = self.classifier.device
        with _counted(picture_reader(self.classifier)) as count, measure_peak(device) as peak:
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - started
        return _PerClip(seconds / passed, count[0] / passed, (peak.added_bytes or 0) // MEASURED_CLIPS)


def _epochs(settings: Mapping[str, Setting]) -> int:
    return int(settings.get("epochs", 1))


def _scored_passes(config: ReproductionConfig, method: str) -> int:
    """Count the forward passes per clip that the paper's metrics ask for, each once."""
    explainer = registry.create("methods", method)
    masks = (False, True) if explainer.native_mask else (False,)
    ways = [MethodOnClassifier(name=method, method=explainer, soft=soft) for soft in masks]
    metrics = [registry.create("metrics", name) for name in config.paper.metrics]
    return sum(len({one for metric in metrics for one in metric.perturbations(way.areas)}) for way in ways)


@contextmanager
def _counted(classifier: PictureClassifier) -> Iterator[list[int]]:
    """Count the clips that pass the classifier; every forward pass goes through its deepest map."""
    count = [0]

    def add(module: object, args: object, output: Tensor) -> None:
        count[0] += len(output)

    hook = classifier.feature_maps.register_forward_hook(add)
    try:
        yield count
    finally:
        hook.remove()
