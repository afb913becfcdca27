"""What a reproduction will cost on this machine, from a few measured passes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.classifiers.training import BATCH_SIZE
from xaibench.explaining.trainable import FitContext, TrainableExplainer, TrainingClips
from xaibench.papers.paper import Architecture
from xaibench.papers.steps import Request, Step, recipe, settings, untrained
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.memory import measure_peak
from xaibench.sound import audio
from xaibench.sound.batch import Batch

MEASURED_CLIPS = 2
CLIP_BYTES = 4 * audio.N_FREQS * audio.N_FRAMES
OPTIMISER_COPIES = 6  # weights, gradients, two moments, the moving average, the best so far
ASSUMPTIONS = (
    f"Assumed: measured on {MEASURED_CLIPS} clips of noise at a time, on a machine as busy as now; all epochs run (a "
    "fit may stop early); reading sound, sorting bins and writing are not counted."
)


@dataclass(frozen=True)
class Cost:
    """An estimate for one step.

    Attributes:
        forwards: clips through the classifier.
        backwards: how many of these with gradients.
        seconds: wall time on this machine.
        memory: bytes at the peak, sound included, the program itself not.
    """

    forwards: int
    backwards: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class Measured:
    """Seconds, passes and bytes per clip of one classifier on this machine."""

    forward_seconds: float
    forward_bytes: int
    training_seconds: float
    training_bytes: int
    parameters: int
    fit_seconds: dict[str, float] = field(default_factory=dict)
    fit_forwards: dict[str, float] = field(default_factory=dict)
    fit_bytes: dict[str, int] = field(default_factory=dict)
    explain_seconds: dict[str, float] = field(default_factory=dict)
    explain_forwards: dict[str, float] = field(default_factory=dict)


def estimate(request: Request, steps: list[Step]) -> list[Cost | None]:
    """The cost of every step, None where it is done already; a few passes of each classifier are made to find out."""
    open_steps = [step for step in steps if not step.found]
    measured = {}
    for one, classifier in untrained(request):
        mine = [step for step in open_steps if step.architecture is one]
        if mine:
            kinds = {step.kind for step in mine}
            measured[one.family] = _measure(request, one, classifier, "train" in kinds)
    return [None if step.found else _cost(request, step, measured[step.architecture.family]) for step in steps]


def _cost(request: Request, step: Step, measured: Measured) -> Cost:
    split, data = request.split(step.fold), request.dataset
    train, valid, test = (len(data.in_folds(folds)) for folds in (split.train, split.validation, split.test))
    if step.kind == "train":
        epochs = recipe(request, step.architecture).epochs
        measuring = epochs * valid + valid + test
        seconds = epochs * train * measured.training_seconds + measuring * measured.forward_seconds
        memory = (train + valid) * CLIP_BYTES + OPTIMISER_COPIES * 4 * measured.parameters
        memory += BATCH_SIZE * measured.training_bytes
        return Cost(epochs * train + measuring, epochs * train, seconds, memory)
    if step.kind == "fit":
        chosen = settings(request, step.method)
        epochs, batch = int(chosen.get("epochs", 1)), int(chosen.get("batch_size", BATCH_SIZE))
        clips = epochs * (train + valid)
        memory = (train + valid) * CLIP_BYTES + 4 * measured.parameters + batch * measured.fit_bytes[step.method]
        forwards = round(clips * measured.fit_forwards[step.method])
        return Cost(forwards, 0, clips * measured.fit_seconds[step.method], memory)
    passes, seconds = 1.0, measured.forward_seconds  # the clean clip
    for method in (*step.architecture.methods, *request.paper.controls):
        scored = _scored_passes(request, method)
        passes += measured.explain_forwards[method] + scored
        seconds += measured.explain_seconds[method] + scored * measured.forward_seconds
    batch = automatic_batch_size(request.device)
    memory = 4 * measured.parameters + batch * (3 * CLIP_BYTES + measured.forward_bytes)
    return Cost(round(test * passes), 0, test * seconds, memory)


def _scored_passes(request: Request, method: str) -> int:
    """Forward passes per clip that the paper's metrics ask for, each counted once."""
    explainer = registry.create("methods", method)
    ways = [MethodOnClassifier(name=method, method=explainer)]
    if explainer.native_mask:
        ways.append(MethodOnClassifier(name=method, method=explainer, soft=True))
    total = 0
    for way in ways:
        metrics = [registry.create("metrics", name) for name in request.paper.metrics]
        total += len({one for metric in metrics for one in metric.perturbations(way.areas)})
    return total


def _measure(request: Request, one: Architecture, classifier: Classifier, trains: bool) -> Measured:
    device = request.device
    noise = torch.rand(MEASURED_CLIPS, *audio.PICTURE_SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        with measure_peak(device) as activations:
            classifier.logits(noise)
        forward = _timed(lambda: classifier.logits(noise), device) / MEASURED_CLIPS
    training, peak = _training(classifier, noise, request.precision) if trains else (0.0, 0)
    fit_seconds, fit_forwards, fit_bytes = {}, {}, {}
    explain_seconds, explain_forwards = {}, {}
    batch = Batch(noise[:1], ("noise",), request.seed)
    target = torch.zeros(1, dtype=torch.long, device=device)
    for method in (*one.methods, *request.paper.controls):
        explainer = registry.create("methods", method)
        if isinstance(explainer, TrainableExplainer):
            chosen = dict(type(explainer).settings) | dict(request.paper.brief[method])
            clips = TrainingClips(noise.cpu(), tuple(f"noise-{i}" for i in range(MEASURED_CLIPS)))
            with tempfile.TemporaryDirectory() as folder, _counted(classifier) as count, measure_peak(device) as added:
                context = FitContext(
                    settings=chosen,
                    seed=request.seed,
                    device=device,
                    precision=request.precision,
                    state=Path(folder),
                    report=lambda epoch: None,
                )
                started = time.perf_counter()
                fitted = explainer.fit(classifier, clips, clips, context)
                seconds = time.perf_counter() - started
            passed = 2 * MEASURED_CLIPS * len(fitted.epochs)
            fit_seconds[method], fit_forwards[method] = seconds / passed, count[0] / passed
            fit_bytes[method] = (added.added_bytes or 0) // MEASURED_CLIPS
        with _counted(classifier) as count:
            explain_seconds[method] = _timed(partial(explainer.explain, classifier, batch, target), device)
        explain_forwards[method] = float(count[0])
    return Measured(
        forward,
        (activations.added_bytes or 0) // MEASURED_CLIPS,
        training,
        peak,
        classifier.parameter_count,
        fit_seconds,
        fit_forwards,
        fit_bytes,
        explain_seconds,
        explain_forwards,
    )


def _training(classifier: Classifier, noise: Tensor, precision: torch.dtype) -> tuple[float, int]:
    """Seconds and bytes per clip of a training step: forward, backward, AdamW."""
    target = torch.zeros(len(noise), dtype=torch.long, device=noise.device)
    classifier.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.0)

    def step() -> None:
        with torch.autocast(noise.device.type, precision, enabled=precision != torch.float32):
            logits = classifier.logits(noise)
        loss = functional.cross_entropy(classifier.temperature * logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    try:
        step()  # makes the optimiser's state, which is counted apart
        with measure_peak(noise.device) as peak:
            seconds = _timed(step, noise.device)
    finally:
        classifier.zero_grad(set_to_none=True)
        classifier.eval().requires_grad_(False)
    return seconds / len(noise), (peak.added_bytes or 0) // len(noise)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@contextmanager
def _counted(classifier: Classifier) -> Iterator[list[int]]:
    """Counts the clips that pass the classifier; every forward pass goes through its deepest map."""
    count = [0]

    def add(module: object, args: object, output: Tensor) -> None:
        count[0] += len(output)

    hook = classifier.feature_maps.register_forward_hook(add)
    try:
        yield count
    finally:
        hook.remove()
