"""What a paper says, as data: which systems it compares, what it measures, publishes and claims.

A paper is one file that makes a `Paper`, and one entry point in the group `xaibench.papers`. The steps that
repeat it (`xaibench.papers.steps`) and the page (`xaibench.papers.page`) are the same for all papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from xaibench.classifiers.checkpoint import Card
from xaibench.explaining.fitting import ExplainerCard
from xaibench.explaining.trainable import Setting
from xaibench.results.parts import EQUAL_AREA, SOFT

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Architecture:
    """A family of classifiers in the paper.

    Attributes:
        family: `Classifier.family` of the classifiers that can take its place.
        title: its name in the paper.
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
        title: its name in the paper.
        family: of its classifier.
        method: registry name of the explainer.
        soft: scored by the method's own soft mask, not at equal area.
        published: the paper's numbers, by `Column.key` or by a key of `Paper.published_columns`.
    """

    title: str
    family: str
    method: str
    soft: bool = False
    published: Mapping[str, float] = field(default_factory=dict)

    @property
    def mask(self) -> str:
        """What the column `mask` of its rows holds."""
        return SOFT if self.soft else EQUAL_AREA


@dataclass(frozen=True)
class Column:
    """Something measured of every system.

    Attributes:
        key: a metric's id, or ACCURACY for the share of clips classified correctly.
        heading: over our numbers.
        meaning: one sentence below the table.
        better_than_random: whether the table says if a system is higher than the random control.
    """

    key: str
    heading: str
    meaning: str
    better_than_random: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that paired values of the clips can support or contradict.

    Attributes:
        text: the sentence.
        column: key of what is compared.
        first, second: the systems; the claim says that the first has more.
        alike: the claim says instead that there is no difference.
    """

    text: str
    column: str
    first: System
    second: System
    alike: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reproduction found, and what it was made with.

    Attributes:
        rows: per-clip rows of all folds, as `xaibench.results.store` has them.
        dataset: registry name.
        classes: number of classes.
        folds: the test folds.
        labels: name of the classifier in the rows, by family.
        cards: of the classifiers, by family, in the order of the folds.
        fitted: of the trained explainers, by (family, method), in the order of the folds.
        smoke: whether there were only a few clips and epochs.
    """

    rows: pd.DataFrame
    dataset: str
    classes: int
    folds: tuple[int, ...]
    labels: Mapping[str, str]
    cards: Mapping[str, Sequence[Card]]
    fitted: Mapping[tuple[str, str], Sequence[ExplainerCard]]
    smoke: bool = False


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A published comparison that can be run again.

    Attributes:
        name: registry name, and name of the files with the table.
        title, reference: of the paper.
        published_on: the sound and the models behind its numbers.
        architectures: its classifiers.
        controls: explainers scored beside its own, for comparison.
        systems: the lines of its table.
        columns: what is measured.
        published_columns: headings over the published numbers, by key; `System.published` has the numbers.
        published_note: how the published numbers differ from ours in meaning.
        claims: what it says.
        brief: for trained explainers, settings that make a fit short, for measuring its cost and for smoke runs.
        differences: makes one sentence for every difference between a reproduction and the paper.
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
    differences: Callable[[Outcome], list[str]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Ids of the metrics to score."""
        return tuple(column.key for column in self.columns if column.key != ACCURACY)

    @property
    def sizes(self) -> tuple[str, ...]:
        """Sizes in which all its classifiers exist."""
        return tuple(size for size in self.architectures[0].sizes if all(size in a.sizes for a in self.architectures))
