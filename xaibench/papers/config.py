"""What to repeat of a paper, with which sound and classifiers, and where the files go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Recipe
from xaibench.classifiers.checkpoint import Card
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.trainable import Setting
from xaibench.papers.paper import Architecture, Paper
from xaibench.results.store import REPRODUCTIONS
from xaibench.sound.dataset import Dataset, Split
from xaibench.sound.subset import Few

SMOKE_CLIPS = 10  # of every fold
SMOKE_EPOCHS = 2
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class ReproductionConfig:
    """What to repeat, and how.

    Attributes:
        paper: the comparison.
        dataset: its sound.
        size: of the classifiers.
        folds: the test folds, each with classifiers that have not seen it.
        folder: where page and table go; all that is trained, fitted and scored goes to `work` in it.
        command: as typed, for the cards and the page.
        explainers: folder with the weights that the user fitted earlier.
        seed: of every random draw.
        device: where to compute.
        precision: of training and fitting; scores are float32.
        pretrained: whether trainings start from the paper's image models.
        given: classifiers to load instead of training them, each with its card.
        smoke: trains and fits everything again, for a few epochs.

    Raises:
        XaibenchError: the paper has no classifiers of this size or no image models for them, or the given
            classifiers cannot take the place of the paper's.
    """

    paper: Paper
    dataset: Dataset
    size: str
    folds: tuple[int, ...]
    folder: Path
    command: str
    explainers: Path = fitting.ROOT
    seed: int = 0
    device: torch.device = CPU
    precision: torch.dtype = torch.float32
    pretrained: bool = False
    given: tuple[tuple[LoadedClassifier, Card], ...] = ()
    smoke: bool = False

    def __post_init__(self) -> None:
        paper = self.paper
        if self.size not in paper.sizes:
            raise XaibenchError(f"unknown --size '{self.size}'; there are {', '.join(paper.sizes)}")
        for one in paper.architectures if self.pretrained else ():
            if self.size not in one.pretrained:
                name = one.sizes[self.size]
                raise XaibenchError(f"there is no image model of the size of {name}; leave out --pretrained")
        if self.given and len(self.folds) > 1:
            raise XaibenchError(
                "--classifier gives one classifier, --folds all needs one for every fold; leave out one of them"
            )
        known = [one.family for one in paper.architectures]
        families = [loaded.classifier.family for loaded, _ in self.given]
        if len(set(families)) < len(families) or not set(families) <= set(known):
            raise XaibenchError(
                f"--classifier gives {', '.join(families)}; the paper has one each of {', '.join(known)}"
            )

    @property
    def work(self) -> Path:
        """The folder of all that is trained, fitted and scored, one for each choice that decides the numbers."""
        parts = [self.paper.name, self.dataset.name, self.size]
        parts += [f"seed{self.seed}"] * bool(self.seed) + ["pretrained"] * self.pretrained + ["smoke"] * self.smoke
        parts += [loaded.sha256[:8] for loaded, _ in self.given]
        return self.folder / "runs" / REPRODUCTIONS / "-".join(parts)

    def smoke_run(self) -> ReproductionConfig:
        """Make of it a run that tries every step in minutes, with SMOKE_CLIPS of each fold and SMOKE_EPOCHS."""
        return replace(self, dataset=Few(self.dataset, SMOKE_CLIPS), smoke=True)

    def split(self, fold: int) -> Split:
        """Choose the folds for training, validation and test when `fold` is the test fold."""
        return Split.testing(fold, sorted({clip.fold for clip in self.dataset.clips}))

    def given_for(self, architecture: Architecture) -> tuple[LoadedClassifier, Card] | None:
        """Find the given classifier of an architecture."""
        return next((one for one in self.given if one[0].classifier.family == architecture.family), None)

    def recipe(self, architecture: Architecture) -> Recipe:
        """Say how a classifier is trained."""
        own = checkpoint.build(architecture.sizes[self.size], self.dataset.classes).recipe
        return replace(own, epochs=SMOKE_EPOCHS) if self.smoke else own

    def settings(self, method: str) -> dict[str, Setting]:
        """Say with which settings an explainer is fitted."""
        own = dict(registry.load("methods", method).settings)
        return own | dict(self.paper.brief[method]) if self.smoke else own
