"""Check a sound model before it is scored: whether it is itself in here, and what its numbers can bear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.check_findings import (
    BATCHED,
    LIKE_PROBABILITIES,
    STRANGE_LABELS,
    SYNTHESISED,
    Check,
    Gradients,
    Level,
    batched,
    disagrees,
    like_guessing,
    synthesised,
    unmoved,
)
from xaibench.classifiers.memory import measure_peak
from xaibench.errors import DataError
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.domain import Domain
from xaibench.sound.randomness import seeded
from xaibench.sound.subset import sample

LEVELS = (-20.0, 6.0)
CLIPS = 100
_BATCH = 16
_WITH_GRADIENTS = 2  # clips
GLANCE = 16  # clips
_ALONE = 4  # of these
_OTHER_ORDER = 0.3


class SoundModel(Protocol):
    """What is checked of a classifier."""

    name: str
    classes: tuple[str, ...]
    temperature: float
    activation: Literal["softmax", "sigmoid"]
    sample_rate: int
    samples: int | None
    domain: Domain
    capabilities: frozenset[str]

    @property
    def device(self) -> torch.device: ...

    def logits(self, waveform: Tensor) -> Tensor: ...

    def modules(self) -> Iterator[torch.nn.Module]: ...


def check(
    classifier: SoundModel,
    data: Dataset | Tensor,
    bare: Callable[[Tensor], Any] | None = None,
    limit: int | None = CLIPS,
    folds: Sequence[int] | None = None,
) -> Check:
    """Check a classifier on clips.

    Args:
        classifier: frozen, on its device.
        data: a dataset, or waveforms (clips, samples) at the classifier's rate and length.
        bare: the model as its owner asks it: a waveform (1, samples) in, one row of logits or probabilities out.
            By default that of a wrapped model.
        limit: clips to hear of a dataset: a sample of all its classes; None: all.
        folds: of a dataset, from which they are drawn, such as those that were not learned from; None: all.

    Raises:
        ClassifierError: it does not give one logit for each class and clip.
        DataError: there are no clips.
    """
    if isinstance(data, Tensor):
        sounds, labels = list(data), None
    else:
        clips = data.clips if folds is None else data.in_folds(folds)
        sounds, labels = _heard(classifier, data, sample(data, clips, limit))
    if not len(sounds):
        raise DataError("there are no clips to check the classifier on; give a dataset that has some")
    sounds = [one.to(classifier.device) for one in sounds]
    with measure_peak(classifier.device) as peak:
        _ask(classifier, sounds[:_BATCH])
    started = time.perf_counter()
    logits = _logits(classifier, sounds)
    seconds = (time.perf_counter() - started) / len(sounds)
    clean = _probabilities(classifier, logits)
    predicted = clean.argmax(dim=1)
    few = sounds[:_BATCH]
    alone = torch.cat([_ask(classifier, [one]) for one in few])
    again = _ask(classifier, few, seed=1)
    made_again = _ask(classifier, _through(classifier.domain, sounds))
    bare = bare or getattr(classifier, "bare", None)
    accuracy, reordered, labelled = _accuracy(classifier.classes, predicted.tolist(), labels)
    return Check(
        name=classifier.name,
        clips=len(sounds),
        labelled=labelled,
        accuracy=accuracy,
        reordered=reordered,
        agreement=None if bare is None else _agreement(bare, sounds, predicted),
        synthesis=_change(clean, made_again),
        gradients=_gradients(classifier, next(_batches(sounds[:_WITH_GRADIENTS]))),
        batched=_change(clean[: len(few)], alone),
        repeated=_change(clean[: len(few)], again),
        shares=_are_shares(logits),
        training=any(module.training for module in classifier.modules()),
        classes=len(classifier.classes),
        p=_mean_p(clean, predicted),
        levels=tuple(_level(classifier, sounds, predicted, decibels) for decibels in LEVELS),
        seconds=seconds,
        memory_bytes=None if peak.added_bytes is None else peak.added_bytes // len(few),
    )


def glance(classifier: SoundModel, data: Dataset, clips: Sequence[Clip]) -> tuple[str, ...]:
    """Say what a check of few clips finds wrong: accuracy like guessing, disagreement with the bare model, synthesis.

    It also says whether the clips of a batch change each other, whether logits look like probabilities, and whether
    loudness is normalised away. It costs four forward passes for each of at most 16 clips, three without a bare
    model, and a fifth for four of them.

    Args:
        classifier: frozen, on its device.
        data: the dataset.
        clips: of it; 16 of them are drawn, of all classes, always the same ones.
    """
    chosen = sample(data, clips, GLANCE)
    if not chosen:
        return ()
    sounds, labels = _heard(classifier, data, chosen)
    sounds = [one.to(classifier.device) for one in sounds]
    logits = _logits(classifier, sounds)
    clean = _probabilities(classifier, logits)
    predicted = clean.argmax(dim=1)
    bare = getattr(classifier, "bare", None)
    agreement = 1.0 if bare is None else _agreement(bare, sounds, predicted)
    alone = _change(clean[:_ALONE], torch.cat([_ask(classifier, [one]) for one in sounds[:_ALONE]]))
    synthesis = _change(clean, _ask(classifier, _through(classifier.domain, sounds)))
    accuracy, _, labelled = _accuracy(classifier.classes, predicted.tolist(), labels)
    right = round((accuracy or 0.0) * (labelled or 0))
    said = (
        (alone > BATCHED, batched(alone)),
        # Where clips change each other, the bare model, asked about one at a time, cannot but disagree.
        (agreement < 1 and alone <= BATCHED, disagrees(agreement)),
        (labelled == 0, STRANGE_LABELS),
        (
            like_guessing(right, labelled or 0, len(classifier.classes)),
            f"it is right on {right} of {labelled} clips, as guessing may be: compare sample rate, front end and the "
            "order of the classes with how it was trained",
        ),
        (synthesis > SYNTHESISED, synthesised(synthesis)),
        unmoved(_level(classifier, sounds, predicted, min(LEVELS)), _mean_p(clean, predicted)),
        (_are_shares(logits), LIKE_PROBABILITIES),
    )
    return tuple(words for is_so, words in said if is_so)


def _heard(classifier: SoundModel, data: Dataset, clips: Sequence[Clip]) -> tuple[list[Tensor], list[tuple[str, ...]]]:
    """Return waveforms (samples,), and the names of their labels."""
    sounds = [data.waveform_at(clip, classifier.sample_rate, classifier.samples) for clip in clips]
    return [torch.from_numpy(one) for one in sounds], [data.labels(clip) for clip in clips]


def _batches(sounds: Sequence[Tensor]) -> Iterator[Tensor]:
    """Stack neighbours of one length, (batch, samples), at most 16: what hears any length hears no padding."""
    for _, alike in groupby(sounds, len):
        yield from torch.stack(list(alike)).split(_BATCH)


def _ask(classifier: SoundModel, sounds: Sequence[Tensor], seed: int = 0) -> Tensor:
    """Probabilities (clips, classes), float64."""
    return _probabilities(classifier, _logits(classifier, sounds, seed))


def _logits(classifier: SoundModel, sounds: Sequence[Tensor], seed: int = 0) -> Tensor:
    with seeded(seed), torch.inference_mode():
        return torch.cat([classifier.logits(part).double() for part in _batches(sounds)])


def _probabilities(classifier: SoundModel, logits: Tensor) -> Tensor:
    scaled = classifier.temperature * logits
    return scaled.sigmoid() if classifier.activation == "sigmoid" else scaled.softmax(dim=1)


def _are_shares(logits: Tensor) -> bool:
    return bool(((logits >= 0) & (logits <= 1)).all())


def _through(domain: Domain, sounds: Sequence[Tensor]) -> list[Tensor]:
    return [one for part in _batches(sounds) for one in domain.synthesise(*domain.analyse(part), part.shape[1])]


def _change(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _mean_p(p: Tensor, of: Tensor) -> float:
    return float(p.gather(1, of[:, None]).mean())


def _level(classifier: SoundModel, sounds: Sequence[Tensor], predicted: Tensor, decibels: float) -> Level:
    p = _ask(classifier, [one * 10 ** (decibels / 20) for one in sounds])
    same = (p.argmax(dim=1) == predicted).double().mean()
    return Level(decibels=decibels, agreement=float(same), p=_mean_p(p, predicted))


def _agreement(bare: Callable[[Tensor], Any], sounds: Sequence[Tensor], predicted: Tensor) -> float:
    with seeded(0), torch.no_grad():
        own = [_class_of(bare(sound[None].clone())) for sound in sounds]
    return float(np.mean([one == other for one, other in zip(own, predicted.tolist(), strict=True)]))


def _class_of(answer: Any) -> int:
    """Return the class of one row of logits, a tensor or anything that numpy reads."""
    return int(np.asarray(answer.float().cpu() if isinstance(answer, Tensor) else answer).argmax())


def _gradients(classifier: SoundModel, sounds: Tensor) -> Gradients:
    """Tell what the gradient of the predicted class's logit is like."""
    if "gradients" not in classifier.capabilities:
        return "none"
    waveform = sounds.clone().requires_grad_()
    with seeded(0), torch.enable_grad():
        (gradient,) = torch.autograd.grad(classifier.logits(waveform).amax(dim=1).sum(), waveform, allow_unused=True)
    if gradient is None or not (gradient != 0).any():
        return "zero"
    return "finite" if gradient.isfinite().all() else "not finite"


def _accuracy(
    classes: Sequence[str], predicted: Sequence[int], labels: Sequence[Sequence[str]] | None
) -> tuple[float | None, float | None, int | None]:
    """Return the accuracy, that with the best order of the classes where it is much better, and the clips it is of."""
    if labels is None:
        return None, None, None
    index = {name: i for i, name in enumerate(classes)}
    known = [[index[label] for label in of_clip if label in index] for of_clip in labels]
    # Of several labels the predicted one counts, if it is one of them.
    pairs = [(c if c in places else places[0], c) for places, c in zip(known, predicted, strict=True) if places]
    if not pairs:
        return None, None, 0
    from scipy import optimize  # takes a while to import, and nobody else needs it

    counts = np.zeros((len(classes), len(classes)))
    for label, c in pairs:
        counts[label, c] += 1
    accuracy = float(np.trace(counts) / len(pairs))
    best = float(counts[optimize.linear_sum_assignment(-counts)].sum() / len(pairs))
    # With few clips of a class, some order fits by chance.
    telling = len(pairs) >= 3 * len(classes) and best > accuracy + _OTHER_ORDER and best > 0.5
    return accuracy, best if telling else None, len(pairs)
