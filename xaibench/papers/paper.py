"""What a paper says, as data: who was compared, what was measured, published and claimed.

A paper is one file that makes a `Paper` and one entry point in the group `xaibench.papers`; the steps that
repeat it (`xaibench.papers.steps`) and the table (`xaibench.papers.page`) are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xaibench.classifiers.checkpoint import Card
from xaibench.explaining.fitting import ExplainerCard
from xaibench.explaining.trainable import Setting

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Architecture:
    """A classifier of the paper.

    Attributes:
        family: of the classifiers that can stand for it.
        title: as the paper calls it.
        sizes: registered classifier for each size.
        methods: explainers scored on it, besides the controls.
        pretrained: for a size, the image model that the paper's training started from, as `train --init` takes it.
    """

    family: str
    title: str
    sizes: Mapping[str, str]
    methods: tuple[str, ...]
    pretrained: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """A line of the paper's table: an explanation method on a classifier.

    Attributes:
        title: as the paper calls it.
        family: of its classifier.
        method: as results call it: METHOD, or METHOD-soft for its own soft mask.
        mask: what is kept and removed, in words.
        published: the paper's numbers, by `Column.key`; literature.
    """

    title: str
    family: str
    method: str
    mask: str
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """Something measured of every system.

    Attributes:
        key: a metric's id, or "accuracy" for the share of clips classified correctly.
        heading: over our numbers.
        meaning: one sentence below the table.
        better_than_random: whether a higher value than a random mask's speaks for an explanation.
    """

    key: str
    heading: str
    meaning: str
    better_than_random: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that paired per-clip values can speak for or against.

    Attributes:
        text: the sentence.
        column: key of what is compared.
        first, second: (family, method) of the systems; "more" is said of the first.
        alike: the sentence says that there is no difference.
    """

    text: str
    column: str
    first: tuple[str, str]
    second: tuple[str, str]
    alike: bool = False


@dataclass(frozen=True)
class Facts:
    """What a paper must know of a reproduction to say what differs.

    Attributes:
        dataset: registry name.
        classes: how many.
        folds: the test folds.
        clips: how many were scored.
        cards: of the classifiers, by family, in the order of the folds.
        fitted: of the trained explainers, by (family, method), likewise.
        smoke: whether clips and epochs are only a handful.
    """

    dataset: str
    classes: int
    folds: tuple[int, ...]
    clips: int
    cards: Mapping[str, tuple[Card, ...]]
    fitted: Mapping[tuple[str, str], tuple[ExplainerCard, ...]]
    smoke: bool = False


@dataclass(frozen=True)
class Paper:
    """A comparison that can be run again.

    Attributes:
        name: registry name, and name of the files with the table.
        title, reference: of the paper.
        published_on: what its numbers are of.
        architectures: its classifiers.
        controls: explainers scored beside its own, for comparison.
        systems: the lines of its table.
        columns: what is measured.
        published_columns: headings over the published numbers, by key; `System.published` has the numbers.
        published_note: what the published numbers are, as far as that differs from ours.
        claims: what it says.
        brief: for trained explainers, settings that make a fit short, for measuring and for smoke runs.
        differences: one sentence for everything in which a reproduction differs from the paper.
    """

    name: str
    title: str
    reference: str
    published_on: str
    architectures: tuple[Architecture, ...]
    controls: tuple[str, ...]
    systems: tuple[System, ...]
    columns: tuple[Column, ...]
    published_columns: Mapping[str, str]
    published_note: str
    claims: tuple[Claim, ...]
    brief: Mapping[str, Mapping[str, Setting]]
    differences: Callable[[Facts], list[str]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Ids of the metrics to score."""
        return tuple(column.key for column in self.columns if column.key != ACCURACY)

    @property
    def sizes(self) -> tuple[str, ...]:
        """Sizes in which all its classifiers exist."""
        return tuple(size for size in self.architectures[0].sizes if all(size in a.sizes for a in self.architectures))
