"""What a check found out about a sound model, and what that means, in sentences with their remedies."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

# Above these changes of a probability there is a warning.
_REPEATED, BATCHED, SYNTHESISED = 1e-6, 1e-3, 0.01
# Where p moves by less when the sound is made 20 dB softer, loudness is normalised away.
_LEVEL_MOVES = 0.02
_NEAR_CHANCE = 1.5
_BY_GUESSING = 0.05  # probability

Gradients = Literal["finite", "not finite", "zero", "none"]


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
        shares: whether all its logits lie between 0 and 1, as probabilities do.
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
    shares: bool
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
            (self.agreement is not None and self.agreement < 1, disagrees(self.agreement or 0)),
            (
                self.reordered is not None,
                f"its accuracy would be {percent(self.reordered or 0)} with the classes in another order: give them "
                "in the order of the logits",
            ),
            (
                self.reordered is None and self._near_chance,
                "its accuracy is near chance: compare sample rate, front end and the order of the classes with how it "
                "was trained",
            ),
            (self.synthesis > SYNTHESISED, synthesised(self.synthesis)),
            (self.gradients == "not finite", "its gradients hold NaN or infinities: add a floor before logs and roots"),
            (self.gradients == "zero", "its gradients are zero everywhere: something inside rounds or decides"),
            (self.training, "a part of it is in training mode: call eval()"),
            (
                self.repeated > _REPEATED,
                f"a probability changes by {self.repeated:.2g} when the same is asked again: turn off dropout, dither "
                "and random crops",
            ),
            (self.batched > BATCHED, batched(self.batched)),
        )
        return tuple(words for is_so, words in said if is_so)

    @property
    def _near_chance(self) -> bool:
        if self.accuracy is None or not self.labelled:
            return False
        right = round(self.accuracy * self.labelled)
        return self.accuracy < _NEAR_CHANCE / self.classes or like_guessing(right, self.labelled, self.classes)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Those of the warnings that narrow what scores say."""
        softer = min(self.levels, key=lambda level: level.decibels)
        said = (
            (self.labelled == 0, STRANGE_LABELS),
            (self.shares, LIKE_PROBABILITIES),
            unmoved(softer, self.p),
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
        accuracy = "no labels" if self.accuracy is None else f"{percent(self.accuracy)} of {self.labelled} clips"
        agreement = "not compared" if self.agreement is None else f"on {percent(self.agreement)} of the clips"
        levels = [
            (f"at {one.decibels:+.0f} dB", f"same class on {percent(one.agreement)} of the clips, p {one.p:.3f}")
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


STRANGE_LABELS = (
    "none of the clips has a label that is one of its classes: compare their names, or score without accuracy"
)


LIKE_PROBABILITIES = (
    'all its logits lie between 0 and 1: if they are probabilities, wrap it with returns="probabilities"'
)


def batched(change: float) -> str:
    return f"a probability changes by {change:.2g} with the other clips of the batch: normalise each clip by itself"


def disagrees(agreement: float) -> str:
    return (
        f"the bare model gives another class on {percent(1 - agreement)} of the clips: compare sample rate, length "
        "and front end with how it was trained"
    )


def synthesised(change: float) -> str:
    return (
        f"analysis and synthesis of a clip alone move a probability by {change:.3f}: smaller differences between "
        "methods mean nothing"
    )


def unmoved(softer: Level, p: float) -> tuple[bool, str]:
    """Tell whether p hardly moves when clips are made softer, and say it."""
    change = abs(softer.p - p)
    return change < _LEVEL_MOVES, (
        f"its answers hardly change at {softer.decibels:+.0f} dB (p by {change:.3f}): a scattered mask, which only "
        "makes a clip softer, keeps its p, and what metrics of kept parts say of such masks cannot be interpreted"
    )


def like_guessing(right: int, clips: int, classes: int) -> bool:
    """Tell whether so many right answers are no sign of more than guessing, where more of them would be one."""
    from scipy import stats  # takes a while to import

    guessing = stats.binom(clips, 1 / classes)
    return bool(guessing.sf(right - 1) > _BY_GUESSING >= guessing.sf(clips - 1))


def percent(share: float) -> str:
    return f"{100 * share:.3g}%"
