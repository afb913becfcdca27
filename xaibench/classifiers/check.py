"""Check a sound model before it is scored: whether it is itself in here, and what its numbers can bear."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

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
# Above these changes of a probability there is a warning.
_REPEATED, _BATCHED, _SYNTHESISED = 1e-6, 1e-3, 0.01
# Where p moves by less when the sound is made 20 dB softer, loudness is normalised away.
_LEVEL_MOVES = 0.02
_NEAR_CHANCE = 1.5
GLANCE = 16  # clips
_BY_GUESSING = 0.05  # probability
_OTHER_ORDER = 0.3

Gradients = Literal["finite", "not finite", "zero", "none"]


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


@dataclass(frozen=True, kw_only=True)
class Level:
    """What becomes of the answers when the sound is made louder or softer.

    Attributes:
        decibels: by how much.
        agreement: share of the clips whose class stays.
        p: mean probability of the class that the clip as it is gets.
    """

    decibels: float
    agreement: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found out about a classifier.

    Attributes:
        name: the classifier's.
        clips: how many were heard.
        labelled: how many of them have a label that is one of its classes; None where no clip has a label.
        accuracy: share of these whose class is the label's; None where there are none.
        reordered: the accuracy if its classes were named in the order that fits best; None where that says nothing.
        agreement: share of the clips on which the bare model gives the same class; None without one.
        synthesis: largest change of a probability when a clip goes through analysis and synthesis.
        gradients: whether they are there, and numbers.
        batched: largest change of a probability between a clip in a batch and alone.
        repeated: largest change when the same is asked again.
        training: whether a part of it is in training mode.
        classes: number of its classes, and of its logits.
        p: mean probability of the class that a clip gets.
        levels: the same at other levels.
        seconds: of a clip, in batches of 16.
        memory_bytes: of a clip, at the peak, or None where the system cannot say.
    """

    name: str
    clips: int
    labelled: int | None
    accuracy: float | None
    reordered: float | None
    agreement: float | None
    synthesis: float
    gradients: Gradients
    batched: float
    repeated: float
    training: bool
    classes: int
    p: float
    levels: tuple[Level, ...]
    seconds: float
    memory_bytes: int | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What stands in the way of numbers that mean something, a sentence each with its remedy; best empty."""
        return (*self.faults, *self.cautions)

    @property
    def faults(self) -> tuple[str, ...]:
        """Those of the warnings with which scores mean nothing."""
        said = (
            (self.agreement is not None and self.agreement < 1, _disagrees(self.agreement or 0)),
            (
                self.reordered is not None,
                f"its accuracy would be {_percent(self.reordered or 0)} with the classes in another order: give them "
                "in the order of the logits",
            ),
            (
                self.reordered is None and self._near_chance,
                "its accuracy is near chance: compare sample rate, front end and the order of the classes with how it "
                "was trained",
            ),
            (self.synthesis > _SYNTHESISED, _synthesised(self.synthesis)),
            (self.gradients == "not finite", "its gradients hold NaN or infinities: add a floor before logs and roots"),
            (self.gradients == "zero", "its gradients are zero everywhere: something inside rounds or decides"),
            (self.training, "a part of it is in training mode: call eval()"),
            (
                self.repeated > _REPEATED,
                f"a probability changes by {self.repeated:.2g} when the same is asked again: turn off dropout, dither "
                "and random crops",
            ),
            (
                self.batched > _BATCHED,
                f"a probability changes by {self.batched:.2g} with the other clips of the batch: normalise each clip "
                "by itself",
            ),
        )
        return tuple(words for is_so, words in said if is_so)

    @property
    def _near_chance(self) -> bool:
        if self.accuracy is None or not self.labelled:
            return False
        right = round(self.accuracy * self.labelled)
        return self.accuracy < _NEAR_CHANCE / self.classes or _like_guessing(right, self.labelled, self.classes)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Those of the warnings that narrow what scores say."""
        softer = min(self.levels, key=lambda level: level.decibels)
        said = (
            (self.labelled == 0, _STRANGE_LABELS),
            _unmoved(softer, self.p),
        )
        return tuple(words for is_so, words in said if is_so)

    def lines(self) -> list[str]:
        """What was found out, a plain sentence each."""
        return [f"{what}: {value}" for what, value in self._rows()]

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self._rows())
        table = [f"{what:{width}}  {value}" for what, value in self._rows()]
        return "\n".join([f"{self.name}, {self.clips} clips", *table, *(f"! {words}" for words in self.warnings)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in self._rows())
        notes = "".join(f"<li>{html.escape(words)}</li>" for words in self.warnings)
        title = html.escape(f"{self.name}, {self.clips} clips")
        return f"<table><caption>{title}</caption>{rows}</table><ul>{notes}</ul>"

    def _rows(self) -> list[tuple[str, str]]:
        accuracy = "no labels" if self.accuracy is None else f"{_percent(self.accuracy)} of {self.labelled} clips"
        agreement = "not compared" if self.agreement is None else f"on {_percent(self.agreement)} of the clips"
        levels = [
            (f"at {one.decibels:+.0f} dB", f"same class on {_percent(one.agreement)} of the clips, p {one.p:.3f}")
            for one in self.levels
        ]
        memory = "not known" if self.memory_bytes is None else f"{self.memory_bytes / 2**20:.1f} MiB a clip"
        return [
            ("accuracy", accuracy),
            ("same class as the bare model", agreement),
            ("logits", f"{self.classes}, one for each class"),
            ("synthesis moves p by at most", f"{self.synthesis:.2g}"),
            ("gradients", self.gradients),
            ("a batch moves p by at most", f"{self.batched:.2g}"),
            ("asking again moves p by at most", f"{self.repeated:.2g}"),
            ("p of its own class", f"{self.p:.3f}"),
            *levels,
            ("time", f"{1000 * self.seconds:.1f} ms a clip"),
            ("memory", memory),
        ]


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
    clean = _ask(classifier, sounds)
    seconds = (time.perf_counter() - started) / len(sounds)
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
        training=any(module.training for module in classifier.modules()),
        classes=len(classifier.classes),
        p=_mean_p(clean, predicted),
        levels=tuple(_level(classifier, sounds, predicted, decibels) for decibels in LEVELS),
        seconds=seconds,
        memory_bytes=None if peak.added_bytes is None else peak.added_bytes // len(few),
    )


def glance(classifier: SoundModel, data: Dataset, clips: Sequence[Clip]) -> tuple[str, ...]:
    """Say what a check of few clips finds wrong: accuracy like guessing, disagreement with the bare model, synthesis.

    It also says whether loudness is normalised away. It costs four forward passes for each of at most 16 clips, three
    without a bare model.

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
    clean = _ask(classifier, sounds)
    predicted = clean.argmax(dim=1)
    bare = getattr(classifier, "bare", None)
    agreement = 1.0 if bare is None else _agreement(bare, sounds, predicted)
    synthesis = _change(clean, _ask(classifier, _through(classifier.domain, sounds)))
    accuracy, _, labelled = _accuracy(classifier.classes, predicted.tolist(), labels)
    right = round((accuracy or 0.0) * (labelled or 0))
    said = (
        (agreement < 1, _disagrees(agreement)),
        (labelled == 0, _STRANGE_LABELS),
        (
            _like_guessing(right, labelled or 0, len(classifier.classes)),
            f"it is right on {right} of {labelled} clips, as guessing may be: compare sample rate, front end and the "
            "order of the classes with how it was trained",
        ),
        (synthesis > _SYNTHESISED, _synthesised(synthesis)),
        _unmoved(_level(classifier, sounds, predicted, min(LEVELS)), _mean_p(clean, predicted)),
    )
    return tuple(words for is_so, words in said if is_so)


_STRANGE_LABELS = (
    "none of the clips has a label that is one of its classes: compare their names, or score without accuracy"
)


def _disagrees(agreement: float) -> str:
    return (
        f"the bare model gives another class on {_percent(1 - agreement)} of the clips: compare sample rate, length "
        "and front end with how it was trained"
    )


def _synthesised(change: float) -> str:
    return (
        f"analysis and synthesis of a clip alone move a probability by {change:.3f}: smaller differences between "
        "methods mean nothing"
    )


def _unmoved(softer: Level, p: float) -> tuple[bool, str]:
    """Tell whether p hardly moves when clips are made softer, and say it."""
    change = abs(softer.p - p)
    return change < _LEVEL_MOVES, (
        f"its answers hardly change at {softer.decibels:+.0f} dB (p by {change:.3f}): a scattered mask, which only "
        "makes a clip softer, keeps its p, and what metrics of kept parts say of such masks cannot be interpreted"
    )


def _like_guessing(right: int, clips: int, classes: int) -> bool:
    """Tell whether so many right answers are no sign of more than guessing, where more of them would be one."""
    from scipy import stats  # takes a while to import

    guessing = stats.binom(clips, 1 / classes)
    return bool(guessing.sf(right - 1) > _BY_GUESSING >= guessing.sf(clips - 1))


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
    with seeded(seed), torch.inference_mode():
        parts = [classifier.temperature * classifier.logits(part).double() for part in _batches(sounds)]
    logits = torch.cat(parts)
    return logits.sigmoid() if classifier.activation == "sigmoid" else logits.softmax(dim=1)


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
    return int(np.asarray(answer.cpu() if isinstance(answer, Tensor) else answer).argmax())


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


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
